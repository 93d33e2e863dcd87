"""A sync of an account whose platform tells of players: fetched over HTTP with its figures, faults in its status."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage.reports.cohort_sums import rebuild
from tests.connectors.web import Request, answer, serving
from tests.hub.syncing import hub

RECORDINGS = Path(__file__).parents[2] / "connectors"
LOGINS = {
    "cellxpert": "affiliate_id=3001 api_key=k", "income_access": "key=k", "smartico": "api_key=k",
    "trackbox": "username=u password=p api_key=k",
}  # fmt: skip
EMPTY = {
    "cellxpert": answer("", kind="text/xml"), "income_access": answer("No Records Found", kind="text/plain"),
    "smartico": answer('{"meta":{"affiliate_id":1},"data":[]}'), "trackbox": b"",
}  # fmt: skip
#: What a request for players says that one for figures does not.
OF_PLAYERS = {"cellxpert": "command=registrations", "income_access": "AccountReport", "smartico": "registration_id",
              "trackbox": "/api/pull/customers"}  # fmt: skip
#: registrations, FTDs, deposited and commission, in whole units, of the recordings; TrackBox tells no money
TOLD = {"cellxpert": (2, 1, 20, 96.48), "income_access": (1, 1, 200, 18.72), "smartico": (1, 1, 60, 88.5),
        "trackbox": (5, 3, None, None)}  # fmt: skip


def platform_of(name: str, players: Callable[[Request], bytes]) -> Callable[[Request], bytes]:
    """A platform without figures, and with these players."""
    return lambda request: players(request) if OF_PLAYERS[name] in request.target else EMPTY[name]


def recorded(name: str) -> Callable[[Request], bytes]:
    """The recorded players: Income Access has an answer for each of two days, none for the others."""

    def players(request: Request) -> bytes:
        if name != "income_access":
            return answer((RECORDINGS / name / "players.json").read_bytes())
        day = dict(request.query)["reportstartdate"]
        number = {"2026/10/01": 1, "2026/10/02": 2}.get(day)
        return answer((RECORDINGS / name / f"players.{number}.csv").read_bytes()) if number else EMPTY[name]

    return players


@pytest.mark.parametrize("name", LOGINS)
async def test_a_sync_fetches_players_and_cohorts_show_them(opened: Callable[[], Any], name: str) -> None:
    async with serving(platform_of(name, recorded(name))) as web, hub(opened) as team:
        quick = {"requests_per_second": 1000, "players": True}
        await team.say(f"account add {name} name=Main base_url={web.url} {LOGINS[name]} currency=EUR timezone=UTC",
                       options=quick)  # fmt: skip
        await team.sync()
        now = (await team.say("sync status main"))["items"][0]
        assert (now["state"], now["warnings"]) == ("idle", [])
        await rebuild(team.runtime.database)
        total = (await team.say("cohorts from=2026-08-01"))["total"]
        registrations, ftds, deposited, commission = TOLD[name]
        assert (total["registrations"], total["first_deposits"]) == (registrations, ftds)
        micro = [None if amount is None else amount * 1_000_000 for amount in (deposited, commission)]
        assert [total["deposit_amount"], total["commission"]] == micro


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("fault", "said"), [
    (answer("no", status=403), "refused"), (answer("oops", status=500), "500"),
    (answer('{"registrations":[{"User_ID":"1","Registration_Date":"soon"}]}'), "'Registration_Date'"),
])  # fmt: skip
async def test_a_fault_of_the_players_is_said_in_the_status_and_costs_no_figure(
    opened: Callable[[], Any], fault: bytes, said: str
) -> None:
    healthy = [True]

    def players(request: Request) -> bytes:
        return recorded("cellxpert")(request) if healthy[0] else fault

    async with serving(platform_of("cellxpert", players)) as web, hub(opened) as team:
        quick = {"requests_per_second": 1000, "players": True}
        await team.say(f"account add cellxpert name=Main base_url={web.url} {LOGINS['cellxpert']} currency=EUR",
                       options=quick)  # fmt: skip
        await team.sync()
        healthy[0] = False
        await team.say("sync now main")
        await team.sync()
        now = (await team.say("sync status main"))["items"][0]
        assert now["state"] == "idle"
        assert now["warnings"][0].startswith("players were not fetched: ")
        assert said in now["warnings"][0]
        await rebuild(team.runtime.database)
        assert (await team.say("cohorts from=2026-09-01"))["total"]["registrations"] == 2
        healthy[0] = True
        await team.say("sync now main")
        await team.sync()
        assert (await team.say("sync status main"))["items"][0]["warnings"] == []


async def test_players_are_not_asked_for_unless_the_account_says_so(opened: Callable[[], Any]) -> None:
    async with serving(platform_of("cellxpert", recorded("cellxpert"))) as web, hub(opened) as team:
        await team.say(f"account add cellxpert name=Main base_url={web.url} {LOGINS['cellxpert']} currency=EUR",
                       options={"requests_per_second": 1000})  # fmt: skip
        await team.sync()
        assert web.asked
        assert not any(OF_PLAYERS["cellxpert"] in request.target for request in web.asked)
