"""Two PostgreSQL servers behind one setting: the primary dies, its standby takes over, nothing answered is lost."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.journeys.deployment import Deployment, free_port, wait_for
from tests.journeys.postgres_server import Server, new_servers
from tests.journeys.steps import click, postback

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


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
    hub = Deployment(f"postgresql://postgres@{hosts}/hub", tmp_path)
    hub.start()
    try:
        yield hub
    finally:
        if hub.process and hub.process.poll() is None:
            hub.stop()


def test_the_standby_takes_over_and_nothing_answered_is_lost(servers: tuple[Server, Server], hub: Deployment) -> None:
    primary, standby = servers
    hub.post("account/add", name="acme", platform="postback_only", timezone="UTC", currency="EUR")
    hub.post("offer/add", casino="Lucky", account="acme", url="https://lucky.example.test/?s={click_id}")
    link = hub.post("campaign/create", name="One", offers=["lucky"])["url"]
    address = hub.post("postback/url", account="acme")["url"].partition("?")[0]

    def visit(n: int) -> str:
        return str(httpx.URL(click(hub, link, n)).params["s"])

    clicks = [visit(n) for n in range(20)]
    assert {postback(address, n, click_id) for n, click_id in enumerate(clicks)} == {"accepted"}

    primary.kill()
    clicks += [visit(n) for n in range(20, 40)]  # every visitor is redirected while no database can be written
    for n in range(15, 30):  # those of the first five are known already
        postback(address, n, clicks[n])
    assert hub.http.get("/readyz").json()["postbacks_spooled"] == 15
    standby.run("pg_ctl", "-D", str(standby.data), "-w", "promote")
    clicks += [visit(n) for n in range(40, 60)]
    wait_for(lambda: hub.http.get("/readyz").status_code == 200, "the new primary to be used", told=hub.log)

    clicks += [visit(n) for n in range(60, 80)]
    stored = int(standby.ask("SELECT count(DISTINCT id) FROM clicks", "hub"))
    assert (stored, int(standby.ask("SELECT count(*) FROM clicks", "hub"))) == (80, 80)
    assert len(set(clicks)) == 80
    assert int(standby.ask("SELECT count(*) FROM postbacks", "hub")) == 35, "each request once"
    # One that was placed before its click came out of the other spool waits for it.
    counted = "SELECT count(*) FROM conversions WHERE event = 'first_deposit'"
    wait_for(lambda: int(standby.ask(counted, "hub")) >= 30, "the postbacks to find their clicks")
    assert int(standby.ask(counted, "hub")) == 30
    assert hub.post("campaign/create", name="Two", offers=["lucky"])["code"] == "two"
    assert "Traceback" not in hub.log()
