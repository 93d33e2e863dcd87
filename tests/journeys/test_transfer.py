"""A hub moves from SQLite to PostgreSQL under clicks, postbacks and commands: nothing is lost, and nothing twice."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from storage.clicks.queries import codec
from storage.db.engine import Database
from storage.tables import campaigns, clicks, postbacks
from tests.conftest import new_postgres
from tests.journeys.conftest import Deploy
from tests.journeys.deployment import Deployment
from tests.journeys.steps import BROWSER
from tests.journeys.test_serve import campaign
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


class Traffic:
    """Visitors, a platform that sends postbacks for their clicks, someone who adds campaigns; what was answered."""

    def __init__(self, hub: Deployment, link: str, address: str) -> None:
        self._hub, self._link, self._address = hub, link, address
        self.clicks: list[str] = []
        self.postbacks: list[str] = []
        self.campaigns: list[str] = []
        self.slowest = 0.0
        self._stopped = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._repeat, args=(work,)) for work in (self._visit, self._change)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join(60)

    def _repeat(self, work: object) -> None:
        assert callable(work)
        with httpx.Client(timeout=30) as http:
            for n in count():
                if self._stopped.is_set():
                    return
                try:
                    work(http, n)
                except httpx.TransportError:
                    time.sleep(0.05)  # it is being restarted: nothing was answered

    def _visit(self, http: httpx.Client, n: int) -> None:
        began = time.monotonic()
        headers = {"user-agent": f"{BROWSER}{n}", "x-forwarded-for": f"203.0.{n // 250}.{n % 250}"}
        answer = http.get(self._link, headers=headers)
        http.cookies.clear()
        assert answer.status_code == 302, answer.text
        self.slowest = max(self.slowest, time.monotonic() - began)
        click = httpx.URL(answer.headers["location"]).params["s"]
        self.clicks.append(click)
        if n % 3 == 0:
            query = {"click_id": click, "event": "ftd", "amount": "10", "txn_id": f"t{n}"}
            answer = http.get(self._address, params=query)
            assert answer.status_code == 200, answer.text
            self.postbacks.append(f"t{n}")

    def _change(self, http: httpx.Client, n: int) -> None:
        headers = {"authorization": f"Bearer {self._hub.token}"}
        answer = http.post(f"{self._hub.url}/api/v1/campaign/create", json={"name": f"more {n}"}, headers=headers)
        if answer.status_code == 200:
            self.campaigns.append(answer.json()["code"])
        else:
            assert answer.status_code == 503, answer.text
        time.sleep(0.1)


async def _stored(url: str) -> tuple[list[str], list[str], int, set[str]]:
    """Clicks as they stand in links, transactions of postbacks, how many clicks count as unique, campaigns."""
    database = Database(url)
    async with database.read() as tx:
        sealed = await codec(tx)
        rows = (await tx.execute(select(clicks.c.id, clicks.c.unique_click))).all()
        requests = [bytes(query).decode() for query in (await tx.execute(select(postbacks.c.query))).scalars()]
        codes = set((await tx.execute(select(campaigns.c.code))).scalars())
    await database.close()
    words = [sealed.encode(row.id) for row in rows]
    return (
        words,
        [httpx.QueryParams(query)["txn_id"] for query in requests],
        sum(row.unique_click for row in rows),
        codes,
    )


def test_a_hub_moves_to_postgresql_while_it_serves(deploy_sqlite: Deploy, postgres: str, tmp_path: Path) -> None:
    hub = deploy_sqlite()
    hub.start()
    link = campaign(hub)
    address = hub.post("postback/url", account="main")["url"].partition("?")[0]
    traffic = Traffic(hub, link, address)
    with new_postgres(postgres) as url:
        with traffic.running():
            wait_for(lambda: len(traffic.clicks) > 100, "traffic")
            moved = hub.shell("db", "transfer", url)
            assert moved.returncode == 0, moved.stderr
            assert "CASINOFLUX_DATABASE_URL" in moved.stdout
            reached = len(traffic.clicks)
            wait_for(lambda: len(traffic.clicks) > reached + 50, "clicks after it")
            state = hub.http.get("/readyz").json()
            assert "was moved to postgresql://" in state["database"]
            assert state["spooled"] > 50
            assert state["postbacks_spooled"] > 10
            assert hub.try_post("campaign/list").status_code == 503
            assert hub.stop() == 0, hub.log()
            again = hub.shell("db", "transfer", url)
            served = hub.shell("serve", "--port", str(hub.port))
            for refused in (again, served):
                assert refused.returncode == 1
                assert "was moved to" in refused.stderr
                assert refused.stderr.count("\n") == 1
            hub.settings["DATABASE_URL"] = url
            hub.start()
            wait_for(lambda: hub.http.get("/readyz").json()["spooled"] == 0, "the spool drained", told=hub.log)
            reached = len(traffic.clicks)
            wait_for(lambda: len(traffic.clicks) > reached + 50, "clicks on PostgreSQL")
        wait_for(lambda: hub.http.get("/readyz").status_code == 200, "it to be well", told=hub.log)
        stored, transactions, unique, codes = asyncio.run(_stored(url))
        assert (len(stored), len(transactions)) == (len(set(stored)), len(set(transactions))), "nothing twice"
        assert (set(traffic.clicks) - set(stored), set(traffic.postbacks) - set(transactions)) == (set(), set())
        assert unique == len(stored), "each visitor came once"
        assert set(traffic.campaigns) <= codes
        checked = hub.shell("db", "check")
        assert checked.returncode == 0, checked.stdout
        print(f"{len(traffic.clicks)} clicks, the slowest {traffic.slowest:.2f} s")
        assert hub.stop() == 0, hub.log()
        assert "Traceback" not in hub.log(), hub.log()


def _grow(path: Path) -> None:
    """So many rows that whatever goes through all of them takes a second."""
    with closing(sqlite3.connect(path, timeout=60)) as connection, connection:
        many = ((100_000 + n, f"agent {n} {'x' * 60}", "other", "", "") for n in range(200_000))
        connection.executemany("INSERT INTO user_agents VALUES (?, ?, ?, ?, ?)", many)


def _kill_when(hub: Deployment, begun: Callable[[], bool], *words: str) -> None:
    """Begin a command in a process of its own, and end that by SIGKILL as soon as it has begun."""
    command = [sys.executable, "-m", "hub", *words]
    with subprocess.Popen(command, cwd=hub.folder, env=hub.environment, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(begun, "it to begin")
        finally:
            process.kill()
        assert process.wait(60) == -9, "it was not done before"


def test_what_is_killed_half_way_may_begin_again(deploy_sqlite: Deploy, postgres: str, tmp_path: Path) -> None:
    hub = deploy_sqlite()
    hub.start()
    campaign(hub)
    path, file = tmp_path / "casinoflux.db", tmp_path / "all.zip"
    _grow(path)

    def is_noting() -> bool:
        with closing(sqlite3.connect(path, timeout=60)) as connection:
            return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'transfer_log'").fetchone())

    with new_postgres(postgres) as url:
        _kill_when(hub, is_noting, "db", "transfer", url)
        assert is_noting()
        _kill_when(hub, lambda: Path(f"{file}.part").exists(), "db", "backup", str(file))
        assert (is_noting(), file.exists()) == (False, False)
        backed = hub.shell("db", "backup", str(file))
        assert backed.returncode == 0, backed.stderr
        _kill_when(
            hub, lambda: bool(list(tmp_path.glob("*.restoring-*"))), "db", "restore", str(file), "--replace"
        )  # fmt: skip
        restored = hub.shell("db", "restore", str(file), "--replace")
        assert restored.returncode == 0, restored.stderr
        assert not [*tmp_path.glob("*.restoring-*"), *tmp_path.glob("*.part"), *tmp_path.glob("*.handover")]
        _kill_when(hub, is_noting, "db", "transfer", url)
        early = hub.shell("run", "campaign list")  # what anybody runs next
        assert (early.returncode, is_noting()) == (0, False)
        moved = hub.shell("db", "transfer", url)
        assert moved.returncode == 0, moved.stderr
        assert hub.stop() == 0, hub.log()
        hub.settings["DATABASE_URL"] = url
        hub.start()
        assert [item["code"] for item in hub.get("campaign/list")["items"]] == ["c"]
        assert hub.stop() == 0, hub.log()
    assert "Traceback" not in hub.log(), hub.log()
