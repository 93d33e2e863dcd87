"""A backup takes the place of an SQLite database under a running hub: it notices, keeps clicks meanwhile, goes on."""

import asyncio
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from storage.clicks.queries import codec
from storage.db.engine import Database
from storage.tables import clicks
from tests.journeys.conftest import Deploy
from tests.journeys.deployment import Deployment
from tests.journeys.steps import BROWSER
from tests.journeys.test_serve import Clicking, campaign
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


@contextmanager
def clicking(link: str) -> Iterator[list[Clicking]]:
    threads = [Clicking(link, n) for n in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        for thread in threads:
            thread.stopped.set()
            thread.join(120)


async def _stored(url: str) -> list[str]:
    database = Database(url)
    async with database.read() as tx:
        sealed = await codec(tx)
        words = [sealed.encode(number) for number in (await tx.execute(select(clicks.c.id))).scalars()]
    await database.close()
    return words


def _watch(hub: Deployment, seen: list[dict[str, object]], stopped: threading.Event) -> None:
    with httpx.Client(base_url=hub.url, timeout=30) as http:
        while not stopped.is_set():
            answer = http.get("/readyz")
            if answer.status_code == 503:
                seen.append(answer.json())


def test_a_backup_is_restored_in_place_while_the_hub_serves(deploy_sqlite: Deploy, tmp_path: Path) -> None:
    hub = deploy_sqlite()
    hub.start()
    link, file = campaign(hub), tmp_path / "all.zip"
    before = httpx.get(link, headers={"user-agent": BROWSER}, timeout=60).headers["location"]
    assert hub.shell("db", "backup", str(file)).returncode == 0
    hub.post("campaign/create", name="made after the backup", offers=["lucky-x"])
    later = httpx.get(link, headers={"user-agent": BROWSER, "x-forwarded-for": "192.0.2.7"}, timeout=60).headers[
        "location"
    ]
    seen: list[dict[str, object]] = []
    stopped = threading.Event()
    watch = threading.Thread(target=_watch, args=(hub, seen, stopped))
    watch.start()
    with clicking(link) as threads:
        restored = hub.shell("db", "restore", str(file), "--replace")
        assert restored.returncode == 0, restored.stderr
        wait_for(lambda: hub.http.get("/readyz").status_code == 200, "the hub to go on", told=hub.log)
        spooled = sum(len(thread.answered) for thread in threads)
        wait_for(lambda: sum(len(thread.answered) for thread in threads) > spooled + 20, "clicks on what was restored")
    stopped.set()
    watch.join(120)
    assert any("being restored from a backup" in str(state["database"]) for state in seen)
    assert max(int(str(state["spooled"])) for state in seen) > 0
    assert [item["code"] for item in hub.get("campaign/list")["items"]] == ["c"]
    stored = asyncio.run(_stored(hub.settings["DATABASE_URL"]))
    assert len(stored) == len(set(stored)), "nothing twice"
    words = {name: httpx.URL(place).params["s"] for name, place in (("before", before), ("later", later))}
    assert (words["before"] in stored, words["later"] in stored) == (True, False), "as it was when it was backed up"
    # Those of the last second before the exchange may have gone with the rest; those in the spool may not.
    drained = hub.http.get("/metrics").text
    assert f"casinoflux_writer_spooled_total {_metric(drained, 'writer_drained')}" in drained
    assert {answered for thread in threads for answered in thread.answered[-5:]} <= set(stored)
    (aside,) = tmp_path.glob("*.before-restore-*")
    assert words["later"] in asyncio.run(_stored(f"sqlite+aiosqlite:///{aside}"))
    assert hub.post("campaign/create", name="made later", offers=["lucky-x"])["code"] == "made-later"
    checked = hub.shell("db", "check")
    assert checked.returncode == 0, checked.stdout
    assert hub.stop() == 0, hub.log()
    assert "Traceback" not in hub.log(), hub.log()
    assert not list(tmp_path.glob("*.handover")) + list(tmp_path.glob("*.restoring-*"))


def _metric(text: str, name: str) -> str:
    return next(line.split()[1] for line in text.splitlines() if line.startswith(f"casinoflux_{name}_total "))


def test_what_may_not_take_the_place_is_refused(deploy_sqlite: Deploy, tmp_path: Path) -> None:
    hub, other = deploy_sqlite(), deploy_sqlite()
    other.settings["DATABASE_URL"] = f"sqlite+aiosqlite:///{tmp_path / 'other.db'}"
    hub.start()
    campaign(hub)
    assert hub.shell("db", "backup", str(tmp_path / "ours.zip")).returncode == 0
    other.start()
    for name, target, wrong in (
        ("ours.zip", other, "is of another deployment: restore it into a new database"),
        ("new.zip", hub, "it is of a newer version: install that one"),
        ("ours.zip", None, "not empty: restore into a new one"),
    ):
        if name == "new.zip":
            with zipfile.ZipFile(tmp_path / name, "w") as archive:
                archive.writestr("schema", "9999")
        words = ["db", "restore", str(tmp_path / name), *(["--replace"] if target else [])]
        refused = (target or hub).shell(*words)
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), refused.stderr
        assert wrong in refused.stderr
    assert hub.http.get("/readyz").status_code == 200
    assert not list(tmp_path.glob("*.handover")) + list(tmp_path.glob("*.restoring-*"))
