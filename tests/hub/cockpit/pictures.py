"""`make pictures`: a picture of every page of the cockpit, for docs/cockpit.md and the README, in docs/pictures.

`python -m tests.hub.cockpit.pictures cohorts imports` makes those of some pages only.
Starts a deployment whose team has 30 days of history, looks at each page in Chromium, and stores PNGs of 128 colours.
"""

import asyncio
import io
import sys
import tempfile
from functools import partial
from pathlib import Path

from PIL import Image

from hub.cli.standins.web import StubAnswer, StubRequest
from tests.hub.cockpit.history import KEY, write_history
from tests.hub.cockpit.pages import PAGES
from tests.hub.cockpit.screen import Screen, chromium
from tests.journeys.deployment import ROOT, Deployment
from tests.standins.browser import CHROMIUM, MISSING
from tests.standins.serving import answering
from tests.waiting import wait_for

FOLDER = ROOT / "docs" / "pictures"
#: So that a rotation has something to show.
RULES = (
    "country=FI,SE and not device=mobile -> baltic-crown-baltic-crown:2,casa-verde-casa-verde:1; "
    "sub1=news-* or returning -> casa-verde-casa-verde"
)
DARK = {"today", "campaign", "cohorts"}
PHONE = {"today", "report"}
#: What a team brings along from another tracker.
HISTORY = """day,campaign,offer,country,clicks,conversions,ftd,revenue,cost
2026-01-01,Alpine native,Alpine Spins,CH,1840,61,14,1120.00,690.00
2026-01-01,Alpine native,Alpine Spins,AT,920,27,6,480.00,345.00
2026-01-02,Alpine native,Alpine Spins,CH,1765,58,11,880.00,662.00
2026-01-02,Nordic push,Casa Verde,FI,2410,44,9,675.00,482.00
"""


def receive(request: StubRequest) -> StubAnswer:
    """Takes webhooks at /events; anywhere else the receiver has moved."""
    return StubAnswer(200 if request.path == "/events" else 404)


def main(*only: str) -> int:
    if CHROMIUM is None:
        sys.stderr.write(f"{MISSING}\n")
        return 1
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(write_history(Path(folder)))
        hub = Deployment(f"sqlite+aiosqlite:///{Path(folder) / 'casinoflux.db'}", Path(folder), SECRET_KEY=KEY)
        hub.start()
        with answering(receive) as address:
            try:
                _add_webhooks(hub, address)
                _move_in(hub)
                _look(hub, only)
            finally:
                hub.stop()
    return 0


def _add_webhooks(hub: Deployment, address: str) -> None:
    """Two webhooks, one of which takes its calls."""
    for name, path, events in (("Warehouse", "events", []), ("Old sheet", "sheet", ["alert", "digest"])):
        webhook = hub.post("webhook/add", url=f"{address}/{path}", name=name, events=events)["code"]
        hub.post("webhook/test", webhook=webhook)
        wait_for(partial(_called, hub, webhook), "a call")


def _called(hub: Deployment, webhook: str) -> bool:
    return bool(hub.get("webhook/log", webhook=webhook)["items"][0]["attempts"])


def _moved_in(hub: Deployment, number: int) -> bool:
    return bool(hub.get("import/show", **{"import": number})["state"] == "done")


def _move_in(hub: Deployment) -> None:
    """An import that is done, and one whose dry run waits for a word."""
    for table in (HISTORY, HISTORY.replace("2026-01", "2026-02").replace("Nordic", "Baltic")):
        number = hub.post("import/csv", csv=table)["id"]
        if table == HISTORY:
            hub.post("import/map", **{"import": number, "statuses": {"ftd": "first_deposit"}})
            hub.post("import/run", **{"import": number})
            wait_for(partial(_moved_in, hub, number), "the import")


def _look(hub: Deployment, only: tuple[str, ...]) -> None:
    click = hub.get("conversion/list", limit=1)["items"][0]["click_id"]
    hub.post("view/save", name="Margins", query="stats 30d by campaign sort=-profit")
    hub.post("alert/add", rule="ftd < 50% of 7d avg", channel="terminal")
    hub.post("digest/subscribe", at="09:00", channel="terminal")
    hub.post("automation/add", rule="pause campaign until midnight when clicks > 90 today",
             name="Enough for today", dry=True, channel="terminal")  # fmt: skip
    hub.post("campaign/edit", campaign="alpine-native", rules=RULES)
    pages = PAGES | {
        "story": f"/cockpit/story/{click}",
        "rotation": "/cockpit/campaign/alpine-native/rotation",
        "automation": "/cockpit/automation/automation-1",
        "account-form": "/cockpit/do/account/add?platform=netrefer",
        "import": "/cockpit/imports/1",
    }
    with chromium() as browser:
        for width, dark, names in ((1280, False, set(pages)), (1280, True, DARK), (390, False, PHONE)):
            screen = Screen(browser, hub, width=width, height=800, dark=dark).sign_in()
            for name in (name for name in pages if name in names and (not only or name in only)):
                screen.open(pages[name]).drawn()
                screen.page.wait_for_timeout(400)
                suffix = "-dark" if dark else "-phone" if width < 700 else ""
                _store(screen.page.screenshot(), FOLDER / f"{name}{suffix}.png")
            screen.close()


def _store(png: bytes, path: Path) -> None:
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
