"""Delayed revenue as it comes in: on time, restated, broken, suspect, and never zeroed by an error."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import event, select, text, update

from hub.jobs import sync
from storage.db.unavailable import DatabaseUnavailable
from storage.ledger.errors import Refused
from storage.revenue import sync_status, syncs
from storage.tables import accounts, revenue, revenue_reports, settled_days, sync_runs
from tests.hub.syncing import Hub, Programme, hub, programme
from tests.waiting import eventually

FIGURES = {"visits_count": 40, "registrations_count": 10, "first_deposits_count": 4, "deposits_sum": "400.00",
           "ngr": "-12.50", "partner_income": "90.00"}  # fmt: skip


@asynccontextmanager
async def synced(opened: Callable[[], Any], **settings: Any) -> AsyncIterator[tuple[Hub, Programme]]:
    """A team whose account has fetched two days of one campaign."""
    with programme() as casino:
        casino.says("2026-10-18", "spring", **FIGURES)
        casino.says("2026-10-19", "spring", **FIGURES)
        async with hub(opened) as team:
            words = " ".join(f"{name}={value}" for name, value in settings.items())
            quick = {"requests_per_second": 1000}
            await team.say(f"account add affilka name=Main base_url={casino.url} token=t {words}", options=quick)
            await team.sync()
            yield team, casino


async def status(team: Hub) -> Any:
    return (await team.say("sync status main"))["items"][0]


async def figures(team: Hub, measure: str) -> dict[str, int]:
    """The measure by day as it stands."""
    async with team.runtime.database.read() as tx:
        rows = await tx.execute(select(revenue.c.day, revenue.c[measure]).order_by(revenue.c.day))
        return {row[0].isoformat(): row[1] for row in rows}


async def test_a_new_accounts_first_sync_brings_its_figures(opened: Callable[[], Any]) -> None:
    async with synced(opened) as (team, casino):
        now = await status(team)
        assert (now["state"], now["rows"], now["revisions"], now["restated"]) == ("idle", 2, 2, 0)
        assert now["last_success_at"] == "2026-10-20T12:00:00Z"
        assert now["next_run_at"] == "2026-10-21T06:00:00Z"
        assert await figures(team, "ngr") == {"2026-10-18": -12_500_000, "2026-10-19": -12_500_000}
        requests = [r for r in casino.standin.requests if r["path"].endswith("/report")]
        assert dict(requests[-1]["query"])["from"] == "2026-09-20"


async def test_the_status_of_all_accounts_is_one_statement(opened: Callable[[], Any]) -> None:
    async with hub(opened) as team:
        for name in ("One", "Two", "Three"):
            await team.say(f"account add affilka name={name} base_url=https://{name}.example.test token=t test=false")
        await team.say("sync now two from=2026-10-01 to=2026-10-02")
        statements: list[str] = []
        async with team.runtime.database.read() as tx:
            rows = (await tx.execute(select(accounts).order_by(accounts.c.id))).all()
            event.listen(tx.sync_connection, "before_cursor_execute", lambda *of: statements.append(of[2]))
            result = await sync_status.statuses(tx, rows)
        assert len(statements) == 1
        assert [(item.account, item.state) for item in result] == [
            ("one", "queued"),
            ("two", "queued"),
            ("three", "queued"),
        ]
        assert (result[1].from_day, result[1].to_day) == (date(2026, 10, 1), date(2026, 10, 2))


async def test_the_daily_sync_comes_by_itself_and_brings_restatements(opened: Callable[[], Any]) -> None:
    async with synced(opened) as (team, casino):
        casino.says("2026-10-19", "spring", **FIGURES | {"first_deposits_count": 3, "ngr": "-200"})
        await team.sync()
        assert (await figures(team, "first_deposits"))["2026-10-19"] == 4
        team.clock.later(hours=19)
        await team.sync()
        now = await status(team)
        assert (now["state"], now["revisions"], now["restated"]) == ("idle", 1, 1)
        assert (await figures(team, "ngr"))["2026-10-19"] == -200_000_000
        assert now["next_run_at"] == "2026-10-22T06:00:00Z"


async def test_an_attempt_is_never_earlier_than_the_request_it_answers(opened: Callable[[], Any]) -> None:
    """Whoever waits for the sync they asked for waits for an attempt after their request."""
    async with synced(opened) as (team, _):
        team.clock.later(days=1)  # the daily sync is due
        async with team.runtime.database.begin() as tx:
            beginning = asyncio.create_task(sync.of(team.runtime).begin())
            await asyncio.wait({beginning}, timeout=0.3)  # on SQLite it waits for this transaction
            team.clock.later(minutes=1)
            account = (await tx.execute(select(accounts.c.id, accounts.c.team_id))).one()
            await syncs.queue(tx, team_id=account.team_id, account_id=account.id, now=team.clock())
        requested = team.clock()
        await beginning
        await team.sync()
        assert datetime.fromisoformat((await status(team))["last_attempt_at"]) >= requested


async def test_any_range_can_be_asked_for_and_is_fetched_in_pieces(opened: Callable[[], Any]) -> None:
    async with synced(opened) as (team, casino):
        casino.standin.requests.clear()
        answer = await team.say("sync now main from=2026-08-01 to=2026-12-31")
        assert answer["requested_at"] == "2026-10-20T12:00:00Z"
        await team.sync()
        spans = [dict(r["query"])["from"] for r in casino.standin.requests if r["path"].endswith("/report")]
        assert spans == ["2026-10-02", "2026-09-01", "2026-08-01"]
        with pytest.raises(Refused, match="still to come"):
            await team.say("sync now main from=2026-10-25")


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("mode", "state", "message"),
    [(401, "paused", "refused the login"), ("login", "paused", "login page"), (500, "failed", "500"),
     (429, "failed", "asked too often"), ("html", "failed", "web page"), ("truncated", "failed", "cut off"),
     ("error", "failed", "something went wrong"), ("garbage", "failed", "something else than JSON"),
     ("cut", "failed", "half way")],
)  # fmt: skip
async def test_no_error_of_the_platform_changes_a_number(
    opened: Callable[[], Any], mode: Any, state: str, message: str
) -> None:
    async with synced(opened) as (team, casino):
        before = await figures(team, "commission_other")
        casino.fails(mode)
        await team.say("sync now main")
        await team.sync()
        now = await status(team)
        assert now["state"] == state
        assert message in now["error"]
        assert await figures(team, "commission_other") == before
        casino.fails(None)
        if state == "paused":
            await team.say("account resume main")
        else:
            assert now["next_run_at"] == "2026-10-20T12:10:00Z"
            team.clock.later(minutes=11)
        await team.sync()
        assert (await status(team))["state"] == "idle"


async def test_a_long_retry_after_is_kept_to(opened: Callable[[], Any]) -> None:
    async with synced(opened) as (team, casino):
        casino.fails(429, retry_after=7200)
        await team.say("sync now main")
        await team.sync()
        assert (await status(team))["next_run_at"] == "2026-10-20T14:00:00Z"


async def test_an_empty_answer_where_figures_stood_is_held_until_decided(opened: Callable[[], Any]) -> None:
    async with synced(opened) as (team, casino):
        for campaign_day in ("2026-10-18", "2026-10-19"):
            casino.control("remove", day=campaign_day, campaign="spring")
        await team.say("sync now main")
        await team.sync()
        assert (await status(team))["state"] == "suspect"
        assert (await figures(team, "visits"))["2026-10-19"] == 40
        assert (await team.say("sync discard main"))["reports"] == 1
        assert (await status(team))["state"] == "idle"
        await team.say("sync now main")
        await team.sync()
        answer = await team.say("sync confirm main")
        assert answer["consequence"].startswith("main: 2 rows would be withdrawn; visits 80 → 0")
        assert (await team.say(f"confirm {answer['confirm']}"))["restated"] == 2
        assert (await figures(team, "visits"))["2026-10-19"] == 0


async def test_a_column_that_disappears_wipes_out_nothing(opened: Callable[[], Any]) -> None:
    async with synced(opened) as (team, casino):
        casino.standin.figures.clear()
        less = {name: value for name, value in FIGURES.items() if name != "ngr"}
        casino.says("2026-10-19", "spring", **less)
        await team.say("sync now main")
        await team.sync()
        now = await status(team)
        assert now["state"] == "failed"
        assert "no longer says ngr" in now["error"]
        assert (await figures(team, "ngr"))["2026-10-19"] == -12_500_000


async def test_an_unreadable_answer_is_kept_and_read_again_after_a_fix(opened: Callable[[], Any]) -> None:
    async with synced(opened) as (team, casino):
        casino.says("2026-10-20", "spring", **FIGURES)
        casino.standin.figures["2026-10-20", "spring", ""]["ngr"] = "12"
        await team.say('account edit main test=false options="{\\"columns\\": {\\"day\\": \\"visits_count\\"}}"')
        await team.say("sync now main")
        await team.sync()
        assert "no day" in (await status(team))["error"]
        await team.say('account edit main test=false options="{\\"columns\\": null}"')
        await team.say("sync read main")
        await team.sync()
        assert (await figures(team, "ngr"))["2026-10-20"] == 12_000_000
        with pytest.raises(Refused, match="no unreadable report"):
            await team.say("sync read main")


async def test_names_known_before_stand_when_the_platform_does_not_tell_them(opened: Callable[[], Any]) -> None:
    async with synced(opened) as (team, casino):
        casino.fails("nameless")
        casino.says("2026-10-17", "spring", **FIGURES)
        await team.say("sync now main")
        await team.sync()
        assert (await status(team))["state"] == "idle"
        async with team.runtime.database.read() as tx:
            named = (await tx.execute(select(revenue.c.tag, revenue.c.tag_name))).all()
        assert {tuple(row) for row in named} == {("19941", "spring")}
        assert len(named) == 3


async def test_days_missed_in_an_outage_are_fetched_after_it(opened: Callable[[], Any]) -> None:
    async with synced(opened) as (team, casino):
        casino.fails(500)
        team.clock.later(days=20)
        await team.sync()
        assert (await status(team))["state"] == "failed"
        casino.fails(None)
        await team.say("sync now main from=2026-09-01 to=2026-09-02")
        await team.sync()
        casino.standin.requests.clear()
        team.clock.later(days=1)
        await team.sync()
        spans = [dict(r["query"])["from"] for r in casino.standin.requests if r["path"].endswith("/report")]
        assert min(spans) <= "2026-10-13"


async def test_a_sync_left_behind_by_a_dead_process_is_taken_over(opened: Callable[[], Any]) -> None:
    async with synced(opened) as (team, _casino):
        await team.say("sync now main")
        async with team.runtime.database.begin() as tx:
            run = await syncs.claim(tx, "dead", team.clock())
            assert run is not None
            assert await syncs.claim(tx, "other", team.clock()) is None
        await team.sync()
        assert (await status(team))["state"] == "running"
        team.clock.later(seconds=61)
        await team.sync()
        assert (await status(team))["state"] == "idle"


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
@pytest.mark.parametrize("begun_first", [True, False])
async def test_a_sync_asked_for_while_a_waiting_one_is_begun_is_attempted_after_that(
    opened: Callable[[], Any], *, begun_first: bool
) -> None:
    async with synced(opened) as (team, _casino):
        await team.say("sync now main")
        database, before = team.runtime.database, team.clock()
        async with database.read() as tx:
            account = (await tx.execute(select(accounts))).one()
        words = {"team_id": account.team_id, "account_id": account.id}
        team.clock.later(seconds=1)
        asked_at = team.clock()

        async def begin(tx: Any) -> None:
            assert await syncs.claim(tx, "me", before)

        async def ask(tx: Any) -> None:
            await syncs.queue(tx, now=asked_at, **words)

        async def in_a_transaction(work: Callable[[Any], Any]) -> None:
            async with database.begin() as tx:
                await work(tx)

        first, second = (begin, ask) if begun_first else (ask, begin)
        async with database.begin() as tx:
            await first(tx)
            other = asyncio.create_task(in_a_transaction(second))
            waiting = text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            await eventually(lambda: _is_positive(database, waiting), "the other to wait for a lock")
        await other
        async with database.read() as tx:
            queued = (await tx.execute(select(sync_runs.c.id).where(sync_runs.c.state == "queued"))).all()
            attempted_at = (await tx.execute(select(accounts.c.last_attempt_at))).scalar_one()
        assert queued if begun_first else attempted_at >= asked_at


async def _is_positive(database: Any, query: Any) -> bool:
    async with database.read() as tx:
        return bool((await tx.execute(query)).scalar_one())


async def test_a_sync_broken_off_by_a_stop_is_queued_again(opened: Callable[[], Any]) -> None:
    async with synced(opened) as (team, casino):
        casino.fails("slow", seconds=1)
        await team.say("sync now main")
        await sync.tick(team.runtime)
        assert (await status(team))["state"] == "running"
        await sync.stop(team.runtime)
        assert (await status(team))["state"] == "queued"
        casino.fails(None)
        await team.sync()
        assert (await status(team))["state"] == "idle"


async def test_a_sync_asked_for_twice_is_done_once(opened: Callable[[], Any]) -> None:
    async with synced(opened) as (team, _casino):
        await team.say("sync now main")
        await team.say("sync now")
        async with team.runtime.database.read() as tx:
            queued = (await tx.execute(select(sync_runs.c.id).where(sync_runs.c.state == "queued"))).all()
        assert len(queued) == 1


async def test_the_same_answer_again_writes_nothing(opened: Callable[[], Any]) -> None:
    async with synced(opened) as (team, _casino):
        async with team.runtime.database.read() as tx:
            before = len((await tx.execute(select(revenue_reports.c.id))).all())
        await team.say("sync now main")
        await team.sync()
        assert ((await status(team))["rows"], (await status(team))["revisions"]) == (2, 0)
        async with team.runtime.database.read() as tx:
            assert len((await tx.execute(select(revenue_reports.c.id))).all()) == before


async def test_an_answer_known_by_heart_still_settles_days_and_one_that_comes_back_counts_again(
    opened: Callable[[], Any],
) -> None:
    async with synced(opened) as (team, casino):
        week = "sync now main from=2026-10-14 to=2026-10-20"

        async def told(commission: str) -> dict[str, Any]:
            casino.says("2026-10-20", "spring", **FIGURES | {"partner_income": commission})
            await team.say(week)
            await team.sync()
            return {"now": (await figures(team, "commission_other"))["2026-10-20"], **await status(team)}

        async def is_settled() -> bool:
            async with team.runtime.database.read() as tx:
                result = await tx.execute(select(settled_days.c.day).where(settled_days.c.day == date(2026, 10, 20)))
                return result.first() is not None

        for commission in ("5", "6", "5", "6"):
            item = await told(commission)
            assert (item["now"], item["rows"], item["revisions"]) == (int(commission) * 1_000_000, 3, 1)
        again = await told("6")
        assert (again["rows"], again["revisions"], await is_settled()) == (3, 0, False)
        team.clock.later(hours=13)
        again = await told("6")
        assert (again["state"], again["rows"], again["revisions"], await is_settled()) == ("idle", 3, 0, True)


async def test_another_time_zone_settles_the_days_that_were_over_there(opened: Callable[[], Any]) -> None:
    async with synced(opened) as (team, _casino):

        async def settled_to() -> str:
            async with team.runtime.database.read() as tx:
                days = (await tx.execute(select(settled_days.c.day))).scalars()
                return str(max(days))

        assert await settled_to() == "2026-10-19"
        await team.say("account edit main timezone=Pacific/Kiritimati test=false")  # the 21st there since 10:00 UTC
        assert await settled_to() == "2026-10-20"
        await team.say("account edit main timezone=Etc/GMT+12 test=false")  # the 20th there since 12:00 UTC
        assert await settled_to() == "2026-10-19"
        team.clock.later(hours=20)
        await team.say("sync now main")
        await team.sync()
        await team.say("account edit main timezone=UTC test=false")
        assert await settled_to() == "2026-10-20"
        await team.say("account edit main timezone=America/Los_Angeles test=false")
        assert await settled_to() == "2026-10-20"
        await team.say("account edit main timezone=Etc/GMT+12 test=false")
        assert await settled_to() == "2026-10-19"
        report = await team.say("stats 2026-10-19..2026-10-19 by day")
        assert [item["settlement"] for item in report["rows"] + report["unassigned"]] == ["settled"]


async def test_a_known_answer_is_read_again_when_the_account_reads_it_otherwise(opened: Callable[[], Any]) -> None:
    async with synced(opened) as (team, _casino):
        week = "sync now main from=2026-09-20 to=2026-10-20"
        await team.say(week)
        await team.sync()
        assert (await status(team))["revisions"] == 0
        await team.say('account edit main test=false options="{\\"columns\\": {\\"ngr\\": \\"partner_income\\"}}"')
        await team.say(week)
        await team.sync()
        assert (await status(team))["revisions"] == 2
        assert set((await figures(team, "ngr")).values()) == {90_000_000}


async def test_a_database_that_was_busy_for_a_moment_pauses_nothing(opened: Callable[[], Any]) -> None:
    async with synced(opened) as (team, _):
        await team.say("sync now main")
        at_work = sync.of(team.runtime)
        async with team.runtime.database.begin() as tx:
            run = await syncs.claim(tx, at_work.holder, team.clock())
        assert run is not None
        await sync.Run(at_work, run)._failed(DatabaseUnavailable("another transaction of this process does not end"))
        now = await status(team)
        assert now["state"] != "paused"
        assert now["next_run_at"] is not None


async def test_a_sealed_login_that_cannot_be_opened_is_tried_again_and_pauses_no_account(
    opened: Callable[[], Any],
) -> None:
    async with synced(opened) as (team, _casino):
        from storage.tables import accounts

        async with team.runtime.database.begin() as tx:
            await tx.execute(update(accounts).values(credentials_secret="gAAAA-not-ours"))
        async with team.runtime.database.begin() as tx:
            await syncs.queue(tx, team_id=team.runtime.team_id, account_id=1, now=team.clock())
        await team.sync()
        async with team.runtime.database.read() as tx:
            row = (await tx.execute(select(accounts))).one()
        assert row.paused_why is None
        now = await status(team)
        assert "CASINOFLUX_SECRET_KEY" in now["error"]
        assert now["next_run_at"] is not None


def test_the_window_is_a_week_and_the_last_month_at_the_turn_of_one() -> None:
    assert syncs.rolling(date(2026, 10, 20), None) == (date(2026, 10, 13), date(2026, 10, 20))
    assert syncs.rolling(date(2026, 10, 10), None) == (date(2026, 9, 1), date(2026, 10, 10))
    assert syncs.rolling(date(2026, 1, 3), None) == (date(2025, 12, 1), date(2026, 1, 3))
    assert syncs.rolling(date(2026, 10, 20), date(2026, 10, 1)) == (date(2026, 9, 24), date(2026, 10, 20))


def test_the_next_sync_is_at_its_hour_in_the_platforms_zone_when_clocks_change_too() -> None:
    malta = ZoneInfo("Europe/Malta")
    due = syncs.next_due(datetime(2026, 10, 24, 12, tzinfo=UTC), malta, 6)
    assert due == datetime(2026, 10, 25, 5, tzinfo=UTC)
    assert syncs.next_due(due, malta, 6) - due == timedelta(days=1)
