"""A report that cannot be right: held a day later, told at once, looked at, decided; old answers replace nothing."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from hub.jobs import alerts
from storage.ledger.errors import Refused
from storage.tables import messages, outbound, revenue_revisions
from tests.hub.jobs.test_sync import FIGURES, figures, status, synced
from tests.hub.syncing import Hub, hub, programme

ROOM = "channel=slack:C0123456"
DOUBLED = {"visits_count": 80, "registrations_count": 20, "first_deposits_count": 8, "deposits_sum": "800.00",
           "ngr": "-25.00", "partner_income": "180.00"}  # fmt: skip


async def queued(team: Hub) -> list[Any]:
    async with team.runtime.database.read() as tx:
        return [row.message for row in await tx.execute(select(messages).order_by(messages.c.id))]


async def calls(team: Hub) -> list[Any]:
    """What webhooks are to be told."""
    async with team.runtime.database.read() as tx:
        rows = (await tx.execute(select(outbound).order_by(outbound.c.id))).all()
    return [msgspec.json.decode(row.request["webhook"]["body"]) for row in rows]


def buttons(message: Any) -> list[str]:
    return [button["label"] for block in message["blocks"] for button in block.get("buttons", [])]


async def doubled_a_day_later(team: Hub, casino: Any) -> None:
    """Today is taken over in between: what ran yesterday has grown, and a new day has begun."""
    casino.says("2026-10-20", "spring", **FIGURES)
    await team.say("sync now main")
    await team.sync()
    team.clock.later(days=1)
    for day in ("2026-10-18", "2026-10-19", "2026-10-20"):
        casino.says(day, "spring", **DOUBLED)
    casino.says("2026-10-21", "spring", **FIGURES | {"visits_count": 3})
    await team.say("sync now main")
    await team.sync()


async def test_doubled_figures_are_held_told_at_once_and_shown_row_by_row(opened: Callable[[], Any]) -> None:
    async with synced(opened) as (team, casino):
        await team.say(f"digest subscribe at=09:00 {ROOM}")
        await team.say("webhook add https://hooks.example.test events=sync,held_report")
        await doubled_a_day_later(team, casino)
        assert (await status(team))["state"] == "suspect"
        done, held, ended = await calls(team)
        assert (done["type"], done["data"]["account"]["name"], done["data"]["rows"]) == ("sync.done", "Main", 3)
        assert (held["type"], ended["type"], ended["data"]["state"]) == ("report.held", "sync.held", "held")
        assert "2 times" in held["data"]["title"]
        (message,) = await queued(team)
        assert "2 times" in message["title"]
        assert buttons(message) == ["Confirm", "Discard", "Show rows"]
        shown = await team.say("sync show main limit=5")
        assert (len(shown["items"]), shown["next"]) == (5, "5")
        assert [(item["changed"], item["new"]) for item in shown["reports"]] == [(3, 1)]
        ftds = next(item for item in shown["totals"] if item["measure"] == "first_deposits")
        assert (ftds["before"], ftds["now"]) == (12, 28)
        answer = await team.say("sync confirm main")
        assert "FTDs 12 → 28" in answer["consequence"]
        assert (await figures(team, "first_deposits"))["2026-10-19"] == 4


async def test_a_sound_report_supersedes_it_and_the_alert_is_over(opened: Callable[[], Any]) -> None:
    async with synced(opened) as (team, casino):
        await team.say(f"alert add kind=suspect {ROOM}")
        await doubled_a_day_later(team, casino)
        assert await alerts.notice(team.runtime) == 1
        (message,) = await queued(team)
        assert "a report of Main is held" in message["title"]
        assert buttons(message)[:2] == ["Confirm", "Discard"]
        for day in ("2026-10-18", "2026-10-19", "2026-10-20"):
            casino.says(day, "spring", **FIGURES)
        await team.say("sync now main")
        await team.sync()
        assert (await status(team))["state"] == "idle"
        assert await alerts.notice(team.runtime) == 1
        assert (await queued(team))[-1]["title"] == "🟢 Over: no report of Main is held any more"


async def unreadable(team: Hub, casino: Any, ngr: str) -> None:
    """An answer that is kept since its day column was misnamed."""
    casino.says("2026-10-19", "spring", **FIGURES | {"ngr": ngr})
    await team.say('account edit main test=false options="{\\"columns\\": {\\"day\\": \\"visits_count\\"}}"')
    await team.say("sync now main")
    await team.sync()
    assert (await status(team))["state"] == "failed"
    await team.say('account edit main test=false options="{\\"columns\\": null}"')


async def test_an_old_answer_read_again_never_replaces_newer_figures(opened: Callable[[], Any]) -> None:
    async with synced(opened) as (team, casino):
        await unreadable(team, casino, "77")
        team.clock.later(hours=1)
        casino.says("2026-10-19", "spring", **FIGURES)  # as before the answer that could not be read
        await team.say("sync now main")
        await team.sync()
        team.clock.later(hours=1)
        await team.say("sync read main")
        await team.sync()
        assert (await status(team))["state"] == "idle"
        assert (await figures(team, "ngr"))["2026-10-19"] == -12_500_000


async def test_an_old_answer_read_again_does_not_decide_about_a_newer_one_that_is_held(
    opened: Callable[[], Any],
) -> None:
    async with synced(opened) as (team, casino):
        await unreadable(team, casino, "77")
        team.clock.later(hours=1)
        for day in ("2026-10-18", "2026-10-19"):
            casino.says(day, "spring", **DOUBLED)
        await team.say("sync now main")
        await team.sync()
        team.clock.later(hours=1)
        await team.say("sync read main")
        await team.sync()
        assert (await figures(team, "ngr"))["2026-10-19"] == 77_000_000
        assert (await status(team))["state"] == "suspect"
        code = (await team.say("sync confirm main"))["confirm"]
        await team.say(f"confirm {code}")
        await team.sync()
        assert (await figures(team, "ngr"))["2026-10-19"] == -25_000_000


async def test_what_an_old_answer_says_is_known_from_the_moment_it_was_read(opened: Callable[[], Any]) -> None:
    async with synced(opened) as (team, casino):
        team.clock.later(hours=1)
        await unreadable(team, casino, "77")
        team.clock.later(days=2)
        await team.say("sync read main")
        await team.sync()
        assert (await figures(team, "ngr"))["2026-10-19"] == 77_000_000
        async with team.runtime.database.read() as tx:
            latest = select(revenue_revisions.c.recorded_at).order_by(revenue_revisions.c.id.desc()).limit(1)
            assert (await tx.execute(latest)).scalar_one() == team.clock()


async def test_warnings_of_a_background_sync_stay_in_the_status(opened: Callable[[], Any]) -> None:
    with programme() as casino:
        casino.says("2026-10-19", "spring", visits_count=40, partner_income="90.00")
        async with hub(opened) as team:
            quick = {"requests_per_second": 1000}
            await team.say(f"account add affilka name=Main base_url={casino.url} token=t", options=quick)
            await team.sync()
            warnings = (await status(team))["warnings"]
            assert any("first_deposits" in warning for warning in warnings)
            await team.say("sync now main")
            await team.sync()
            assert (await status(team))["warnings"] == warnings


async def test_days_that_can_be_read_both_ways_never_withdraw_settled_figures(opened: Callable[[], Any]) -> None:
    async with synced(opened) as (team, _casino):
        await team.say("account add csv_upload name=Own")
        settled = ["day,tag,commission", "2026-01-15,x,4", "2026-02-20,x,5", "2026-03-01,x,6"]
        await team.say("sync upload own", lines=settled)
        with pytest.raises(Refused, match="day first or month first"):
            await team.say("sync upload own", lines=["day,tag,commission", "01/10/2026,x,1", "02/10/2026,x,2"])
