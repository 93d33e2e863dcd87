"""Two PostgreSQL servers behind one setting: the primary dies, its standby takes over, nothing answered is lost."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from storage.db.engine import Database
from storage.db.report_database import ReportDatabase
from tests.journeys.deployment import Deployment
from tests.journeys.postgres_server import Server, new_servers
from tests.journeys.steps import click, postback, today
from tests.waiting import free_port, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def servers(postgres: str) -> Iterator[tuple[Server, Server]]:
    """A primary, and the standby without which it acknowledges nothing."""
    with new_servers("primary", "standby") as (primary, standby):
        primary.set_up()
        standby.follow(primary)
        primary.ask("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.ask("SELECT pg_reload_conf()")
        wait_for(lambda: primary.ask("SELECT sync_state FROM pg_stat_replication") == "sync", "the standby to follow")
        yield primary, standby


@pytest.fixture
def hub(servers: tuple[Server, Server], tmp_path: Path) -> Iterator[Deployment]:
    """A hub that is given a host where nothing listens, the standby and the primary, in this order."""
    primary, standby = servers
    hosts = f"127.0.0.1:{free_port()},127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
    reports = f"postgresql://postgres@127.0.0.1:{standby.port}/hub"
    hub = Deployment(f"postgresql://postgres@{hosts}/hub", tmp_path, REPORT_DATABASE_URL=reports)
    hub.start()
    try:
        yield hub
    finally:
        if hub.process and hub.process.poll() is None:
            hub.stop()


def _check_reports_from_the_standby(hub: Deployment, link: str, standby: Server) -> None:
    """A standby that replays nothing is read, and its lag is said, until it replays again."""
    day = today(hub)

    def report() -> tuple[int, str]:
        query = {"from": day, "to": day, "by": "campaign"}
        headers = {"authorization": f"Bearer {hub.token}"}
        answer = hub.http.get("/api/v1/report/merged", params=query, headers=headers)
        return answer.json()["totals"]["clicks"], answer.headers.get("casinoflux-report-lag", "")

    wait_for(lambda: report() == (20, ""), "the standby to have all", told=hub.log)
    standby.ask("SELECT pg_wal_replay_pause()")
    click(hub, link, 98)
    wait_for(lambda: report()[1], "the lag to be said", told=hub.log)
    clicks, lag = report()
    assert (clicks, int(lag) >= 5) == (20, True), "the click that the standby does not show yet"
    assert "come from the standby" in hub.shell("run", "stats", "today").stdout
    standby.ask("SELECT pg_wal_replay_resume()")
    wait_for(lambda: report() == (21, ""), "the standby to have all again", told=hub.log)


async def _check_fallback(primary: Server, standby: Server) -> None:
    """The primary is read while the standby is too far behind, of another database, or no standby."""
    database = Database(f"postgresql://postgres@127.0.0.1:{primary.port}/hub")
    urls = [f"postgresql://postgres@127.0.0.1:{port}/hub" for port in (standby.port, primary.port, free_port())]
    several = [ReportDatabase(database, url, most_lag=0.1) for url in urls]
    try:
        standby.ask("SELECT pg_wal_replay_pause()")
        primary.ask("CREATE TABLE IF NOT EXISTS later (n int)", "hub")
        await asyncio.sleep(0.3)
        assert [await reports.choose() for reports in several] == [None] * 3
        behind, none, away = (reports.fault for reports in several)
        assert "s behind the primary" in behind
        assert none == "it is no standby"
        assert away.startswith("it cannot be read"), away
        standby.ask("SELECT pg_wal_replay_resume()")
    finally:
        for reports in several:
            await reports.close()
        await database.close()


def test_the_standby_takes_over_and_nothing_answered_is_lost(servers: tuple[Server, Server], hub: Deployment) -> None:
    primary, standby = servers
    hub.post("account/add", name="acme", platform="postback_only", timezone="UTC", currency="EUR")
    hub.post("offer/add", casino="Lucky", account="acme", url="https://lucky.example.test/?s={click_id}")
    link = hub.post("campaign/create", name="One", offers=["lucky"])["url"]
    address = hub.post("postback/url", account="acme")["url"].partition("?")[0]

    waits: list[float] = []

    def visit(n: int) -> str:
        began = time.monotonic()
        click_id = str(httpx.URL(click(hub, link, n)).params["s"])
        waits.append(time.monotonic() - began)
        return click_id

    clicks = [visit(n) for n in range(20)]
    assert {postback(address, n, click_id) for n, click_id in enumerate(clicks)} == {"accepted"}

    asyncio.run(_check_fallback(primary, standby))
    _check_reports_from_the_standby(hub, link, standby)
    clicks.append(visit(99))

    primary.kill()
    killed = time.monotonic()
    waits.clear()
    clicks += [visit(n) for n in range(20, 40)]  # every visitor is redirected while no database can be written
    for n in range(15, 30):  # those of the first five are known already
        postback(address, n, clicks[n])
    assert hub.http.get("/readyz").json()["postbacks_spooled"] == 15
    standby.run("pg_ctl", "-D", str(standby.data), "-w", "promote")
    clicks += [visit(n) for n in range(40, 60)]
    wait_for(lambda: hub.http.get("/readyz").status_code == 200, "the new primary to be used", told=hub.log)
    again = time.monotonic() - killed
    print(f"{len(waits)} clicks in the gap, the slowest {max(waits):.2f} s; written and drained after {again:.1f} s")

    clicks += [visit(n) for n in range(60, 80)]
    stored = int(standby.ask("SELECT count(DISTINCT id) FROM clicks", "hub"))
    assert (stored, int(standby.ask("SELECT count(*) FROM clicks", "hub"))) == (82, 82)
    assert len(set(clicks)) == 81
    assert int(standby.ask("SELECT count(*) FROM postbacks", "hub")) == 35, "each request once"
    # One that was placed before its click came out of the other spool waits for it.
    counted = "SELECT count(*) FROM conversions WHERE event = 'first_deposit'"
    wait_for(lambda: int(standby.ask(counted, "hub")) >= 30, "the postbacks to find their clicks")
    assert int(standby.ask(counted, "hub")) == 30
    assert hub.post("campaign/create", name="Two", offers=["lucky"])["code"] == "two"
    assert "Traceback" not in hub.log(), hub.log()


def test_a_report_that_the_standby_gives_up_comes_from_the_primary(
    servers: tuple[Server, Server], hub: Deployment
) -> None:
    """Its replay waits for no query: what it locks cancels whoever reads (a recovery conflict)."""
    primary, standby = servers
    hub.post("account/add", name="acme", platform="postback_only", timezone="UTC", currency="EUR")
    hub.post("offer/add", casino="Lucky", account="acme", url="https://lucky.example.test/?s={click_id}")
    click(hub, hub.post("campaign/create", name="One", offers=["lucky"])["url"], 1)
    query = {"from": today(hub), "to": today(hub), "by": "campaign"}
    wait_for(lambda: hub.get("report/merged", **query)["totals"]["clicks"] == 1, "the click to be settled")
    standby.ask("ALTER SYSTEM SET max_standby_streaming_delay = 0")
    standby.ask("SELECT pg_reload_conf()")
    lock = "DO $$ BEGIN FOR n IN 1..100 LOOP LOCK TABLE merged IN ACCESS EXCLUSIVE MODE; COMMIT; END LOOP; END $$"
    stopped = threading.Event()

    def lock_often() -> None:
        while not stopped.is_set():
            primary.ask(lock, "hub")

    locking = threading.Thread(target=lock_often)
    locking.start()

    def report_was_given_up() -> bool:
        assert hub.get("report/merged", **query)["totals"]["clicks"] == 1, "whoever answers"
        return "it failed" in hub.http.get("/readyz").json()["report_database"]

    try:
        wait_for(report_was_given_up, "a conflict", told=hub.log)
    finally:
        stopped.set()
        locking.join(60)
    conflicts = "SELECT sum(confl_lock) FROM pg_stat_database_conflicts"
    assert int(standby.ask(conflicts)) > 0
    assert hub.get("report/merged", **query)["totals"]["clicks"] == 1

    def standby_is_used_again() -> bool:
        hub.get("report/merged", **query)
        return bool(hub.http.get("/readyz").json()["report_database"] == "ok")

    wait_for(standby_is_used_again, "the standby to be used again")
