"""A hub behind PgBouncer in transaction mode: each transaction may meet another of few server connections."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from storage.db import leases
from storage.db.engine import Database
from storage.db.report_database import ReportDatabase
from storage.db.schema import lock_start
from tests.journeys.deployment import Deployment
from tests.journeys.postgres_server import USER
from tests.journeys.steps import click, postback, today
from tests.waiting import free_port, wait_for

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed (apt-get install pgbouncer)"),
]
CONNECTIONS = 3  # to the server
CLIENTS = 12


@pytest.fixture
def pooled_url(upgraded_url: str, tmp_path: Path) -> Iterator[str]:
    """The database behind PgBouncer; without the word in the URL that says so."""
    url = make_url(upgraded_url)
    port = free_port()
    settings = tmp_path / "pgbouncer.ini"
    settings.write_text(f"""
[databases]
* = host={url.query["host"]} user={url.username}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {CONNECTIONS}
max_client_conn = 500
""")
    settings.chmod(0o644)
    copy = Path("/dev/shm") / f"pgbouncer-{port}.ini" if USER else settings  # pytest's folders are its user's alone
    shutil.copy(settings, copy)
    assert PGBOUNCER is not None
    process = subprocess.Popen([PGBOUNCER, "-q", str(copy)], user=USER, cwd="/", stderr=subprocess.DEVNULL,
                               env={**os.environ, "LC_ALL": "C"})  # fmt: skip
    try:
        yield f"postgresql://{url.username}@127.0.0.1:{port}/{url.database}"
    finally:
        process.terminate()
        process.wait(60)
        copy.unlink()


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_hub_works_behind_a_pooler_that_its_url_names(pooled_url: str, tmp_path: Path) -> None:
    hub = Deployment(pooled_url, tmp_path)
    unnamed = hub.shell("serve", "--port", str(hub.port))
    assert (unnamed.returncode, unnamed.stderr.count("\n")) == (1, 1), unnamed.stderr
    assert "?pgbouncer=1" in unnamed.stderr
    asyncio.run(_check_locks(f"{pooled_url}?pgbouncer=1"))

    hub.settings["DATABASE_URL"] += "?pgbouncer=1"
    hub.start()
    try:
        hub.post("account/add", name="acme", platform="postback_only", timezone="UTC", currency="EUR")
        hub.post("offer/add", casino="Lucky", account="acme", url="https://lucky.example.test/?s={click_id}")
        link = hub.post("campaign/create", name="One", offers=["lucky"])["url"]
        address = hub.post("postback/url", account="acme")["url"].partition("?")[0]

        def visit(n: int) -> str:
            click_id = str(httpx.URL(click(hub, link, n)).params["s"])
            assert postback(address, n, click_id) == "accepted"
            hub.get("campaign/show", campaign="one")
            return click_id

        with ThreadPoolExecutor(CLIENTS) as clients:
            assert len(set(clients.map(visit, range(40)))) == 40

        def settled() -> bool:
            day = today(hub)
            totals = hub.get("report/merged", **{"from": day, "to": day, "by": "campaign"})["totals"]
            return bool((totals["clicks"], totals["first_deposits"]["postback"]) == (40, 40))

        wait_for(settled, "the day to be settled", told=hub.log)
        assert hub.shell("db", "check").returncode == 0
        checks = hub.shell("doctor").stdout
        assert "ok    pooler: connections go through a pooler" in checks, checks
        assert hub.stop() == 0
        assert "Traceback" not in hub.log(), hub.log()
    finally:
        if hub.process and hub.process.poll() is None:
            hub.stop()


async def _check_locks(url: str) -> None:
    """Of many processes one gets a lease, and locks are held until their transaction's end, no longer."""
    databases = [Database(url) for _ in range(CLIENTS)]
    now = datetime.now(UTC)
    under_lock: list[int] = []

    async def take(n: int) -> bool:
        async with databases[n].begin() as tx:
            mine = await leases.acquire(tx, "job:one", f"process {n}", now=now, good_for=timedelta(seconds=20))
        async with databases[n].begin() as tx:
            await lock_start(tx)
            under_lock.append(n)
            await tx.execute(text("SELECT pg_sleep(0.02)"))
            assert under_lock.pop() == n, "another one came in"
            assert not under_lock
        return mine

    try:
        for _ in range(3):
            taken = await asyncio.gather(*map(take, range(CLIENTS)))
            assert sum(taken) == 1
        answers = await asyncio.gather(*(
            databases[n % CLIENTS].look(lambda tx, n=n: tx.execute(text("SELECT CAST(:n AS int)"), {"n": n}))  # type: ignore[misc]
            for n in range(200)
        ))  # fmt: skip
        assert [answer.scalar_one() for answer in answers] == list(range(200))
        reports = ReportDatabase(databases[0], url, most_lag=60)
        assert await reports.choose() is None
        assert reports.fault == "it is no standby"
        await reports.close()
    finally:
        for database in databases:
            await database.close()
