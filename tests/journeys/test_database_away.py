"""A hub that is started while its PostgreSQL is unavailable."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from storage.db.snapshot import describe
from tests.journeys.deployment import Deployment
from tests.journeys.postgres_server import Server, new_servers
from tests.journeys.steps import click, postback, today
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def server(postgres: str) -> Iterator[Server]:
    with new_servers("server") as (server,):
        server.set_up()
        yield server


@pytest.fixture
def hub(server: Server, tmp_path: Path) -> Iterator[Deployment]:
    hub = Deployment(f"postgresql://postgres@127.0.0.1:{server.port}/hub", tmp_path)
    try:
        yield hub
    finally:
        if hub.process and hub.process.poll() is None:
            hub.stop()


def test_clicks_and_postbacks_go_by_the_last_plans_until_the_database_is_back(server: Server, hub: Deployment) -> None:
    hub.start()
    hub.post("account/add", name="acme", platform="postback_only", timezone="UTC", currency="EUR")
    hub.post("offer/add", casino="Lucky", account="acme", url="https://lucky.example.test/?s={click_id}")
    link = hub.post("campaign/create", name="One", offers=["lucky"])["url"]
    address = hub.post("postback/url", account="acme")["url"].partition("?")[0]

    def visit(n: int) -> str:
        return str(httpx.URL(click(hub, link, n)).params["s"])

    clicks = [visit(0)]
    assert postback(address, 0, clicks[0]) == "accepted"
    (folder,) = hub.folder.glob("*.spool")

    def snapshot_is_of_now() -> bool:
        kept = [described for path in folder.glob("*.plans") if (described := describe(path))]
        return [described.version for described in kept] == [int(server.ask("SELECT n FROM changes", "hub"))]

    wait_for(snapshot_is_of_now, "the plans to be kept", told=hub.log)
    assert {path.stat().st_mode & 0o777 for path in folder.glob("*.plans")} == {0o600}
    hub.kill()
    server.stop()

    hub.start(away=True)
    clicks += [visit(n) for n in range(1, 5)]
    assert postback(address, 1, clicks[1]) == "accepted"
    assert hub.http.get("/postback/unknown-key").status_code == 503, "perhaps an account that is not known here yet"
    assert hub.try_post("campaign/list").status_code == 503
    readiness = hub.http.get("/readyz")
    state = readiness.json()
    assert (readiness.status_code, state["spooled"], state["postbacks_spooled"]) == (503, 4, 1)
    assert "away since this process started" in state["database"]

    server.start()
    wait_for(lambda: hub.http.get("/readyz").status_code == 200, "the database to be used", told=hub.log)
    clicks.append(visit(5))
    assert postback(address, 2, clicks[2]) == "accepted"
    assert len(set(clicks)) == 6
    counts = "SELECT count(*), count(DISTINCT id) FROM clicks"
    assert server.ask(counts, "hub") == "6|6"
    assert server.ask("SELECT count(*) FROM postbacks", "hub") == "3"
    counted = "SELECT count(*) FROM conversions WHERE event = 'first_deposit'"
    wait_for(lambda: server.ask(counted, "hub") == "3", "the postbacks to find their clicks", told=hub.log)
    report = hub.get("report/merged", **{"from": today(hub), "to": today(hub), "by": "campaign"})
    assert report["totals"]["clicks"] == 6, report
    assert "plans_of" not in hub.http.get("/readyz").json()
    assert hub.post("campaign/create", name="Two", offers=["lucky"])["code"] == "two"
    assert hub.stop() == 0
    assert "Traceback" not in hub.log(), hub.log()
