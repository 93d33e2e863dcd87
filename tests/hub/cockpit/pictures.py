"""`make pictures`: a picture of every page of the cockpit, for docs/cockpit.md and the README, in docs/pictures.

Starts a deployment whose team has 30 days of history, looks at each page in Chromium, and stores PNGs of 128 colours.
"""

import asyncio
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.hub.cockpit.history import KEY, write_history
from tests.hub.cockpit.pages import PAGES
from tests.hub.cockpit.screen import Screen, chromium
from tests.journeys.deployment import ROOT, Deployment
from tests.standins.browser import CHROMIUM, MISSING

FOLDER = ROOT / "docs" / "pictures"
#: Pages that look like another one are left out.
LIKE_ANOTHER = {"postbacks-out", "conversions", "offers", "offer", "casinos", "casino", "sites", "site", "sources",
                "source", "domains", "accounts", "campaign-edit", "automation-form", "find"}  # fmt: skip
#: So that a rotation has something to show.
RULES = (
    "country=FI,SE and not device=mobile -> baltic-crown-baltic-crown:2,casa-verde-casa-verde:1; "
    "sub1=news-* or returning -> casa-verde-casa-verde"
)
DARK = {"today", "campaign"}
PHONE = {"today", "report"}


def main() -> int:
    if CHROMIUM is None:
        sys.stderr.write(f"{MISSING}\n")
        return 1
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(write_history(Path(folder)))
        hub = Deployment(f"sqlite+aiosqlite:///{Path(folder) / 'casinoflux.db'}", Path(folder), SECRET_KEY=KEY)
        hub.start()
        try:
            _look(hub)
        finally:
            hub.stop()
    return 0


def _look(hub: Deployment) -> None:
    click = hub.get("conversion/list", limit=1)["items"][0]["click_id"]
    hub.post("view/save", name="Margins", query="stats 30d by campaign sort=-profit")
    hub.post("alert/add", rule="ftd < 50% of 7d avg", channel="terminal")
    hub.post("digest/subscribe", at="09:00", channel="terminal")
    hub.post("automation/add", rule="pause campaign until midnight when clicks > 90 today",
             name="Enough for today", dry=True, channel="terminal")  # fmt: skip
    hub.post("campaign/edit", campaign="alpine-native", rules=RULES)
    pages = {name: path for name, path in PAGES.items() if name not in LIKE_ANOTHER}
    pages |= {
        "story": f"/cockpit/story/{click}",
        "rotation": "/cockpit/campaign/alpine-native/rotation",
        "automation": "/cockpit/automation/automation-1",
    }
    with chromium() as browser:
        for width, dark, names in ((1280, False, set(pages)), (1280, True, DARK), (390, False, PHONE)):
            screen = Screen(browser, hub, width=width, height=800, dark=dark).sign_in()
            for name in (name for name in pages if name in names):
                screen.open(pages[name]).drawn()
                screen.page.wait_for_timeout(400)
                suffix = "-dark" if dark else "-phone" if width < 700 else ""
                _store(screen.page.screenshot(), FOLDER / f"{name}{suffix}.png")
            screen.close()


def _store(png: bytes, path: Path) -> None:
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
