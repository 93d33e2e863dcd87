"""Delayed revenue: revisions instead of overwriting, withdrawn figures, suspects, settled days."""

import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from storage.db import read_only
from storage.db.engine import Database
from storage.ledger.errors import ConnectorError, Refused
from storage.ledger.facts import Figures, Report
from storage.revenue import held_reports
from storage.revenue import revisions as revenue
from storage.revenue.row_diff import Origin
from storage.tables import revenue as table
from storage.tables import revenue_reports, revenue_revisions, settled_days, touched
from tests.storage.books import FIRST, UTC_ZONE, Books, at, build, later, row

Open = Callable[[], Any]


async def count(tx: Any, of: Any) -> int:
    return int((await tx.execute(select(func.count()).select_from(of))).scalar_one())


async def test_a_report_again_writes_nothing(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        rows = [row(later(n), registrations=n, commission_cpa=n * 100) for n in range(1, 4)]
        first = await books.sync(tx, "acme", rows, now=at(later(5)))
        assert (first.rows, first.revisions, first.restated) == (3, 3, 0)
        marks = await count(tx, touched)
        again = await books.sync(tx, "acme", [*rows, rows[0]], now=at(later(6)))
        assert (again.rows, again.revisions, again.restated) == (3, 0, 0)
        assert (await count(tx, table), await count(tx, revenue_revisions)) == (3, 0)
        assert (await count(tx, revenue_reports), await count(tx, touched)) == (1, marks)


async def test_a_corrected_figure_is_a_new_revision(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        await books.sync(tx, "acme", [row(FIRST, first_deposits=20, ngr=50)], now=at(later(1)))
        done = await books.sync(tx, "acme", [row(FIRST, first_deposits=18, ngr=-50)], now=at(later(2)))
        assert (done.revisions, done.restated) == (1, 1)
        stored = (await tx.execute(select(revenue_revisions).order_by(revenue_revisions.c.id))).all()
        assert [(row.first_deposits, row.ngr) for row in stored] == [(20, 50), (18, -50)]
        assert [row.recorded_at for row in stored] == [at(later(1)), at(later(2))]


async def test_a_row_that_has_its_first_figures_as_a_revision_already_keeps_them_once(opened: Open) -> None:
    """Until 2026-11-27 every row had a revision from the first."""
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        await books.sync(tx, "acme", [row(FIRST, ngr=1)], now=at(later(1)))
        names = [column.name for column in revenue_revisions.c if column.name not in {"id", "revenue_id"}]
        copied = select(table.c.id, *(table.c[name] for name in names))
        await tx.execute(insert(revenue_revisions).from_select(["revenue_id", *names], copied))
        for n in (2, 3):
            await books.sync(tx, "acme", [row(FIRST, ngr=n)], now=at(later(n)))
        stored = await tx.execute(select(revenue_revisions.c.ngr).order_by(revenue_revisions.c.id))
        assert list(stored.scalars()) == [1, 2, 3]
        for n in (1, 2, 3):
            report = await books.report(tx, "day", last=FIRST, as_of=at(later(n)))
            assert report.totals.ngr == n


async def test_a_row_that_is_gone_becomes_zero_and_can_come_back(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        both = [row(FIRST, ngr=5, registrations=1), row(FIRST, "other", ngr=7)]
        await books.sync(tx, "acme", both, now=at(later(1)))
        done = await books.sync(tx, "acme", both[1:], now=at(later(2)))
        assert (done.rows, done.restated) == (1, 1)
        stands = (await tx.execute(select(table).where(table.c.tag == "main"))).one()
        assert (stands.ngr, stands.registrations, stands.commission_cpa, stands.withdrawn) == (0, 0, None, True)
        await books.sync(tx, "acme", both, now=at(later(3)))
        stands = (await tx.execute(select(table).where(table.c.tag == "main"))).one()
        assert (stands.ngr, stands.withdrawn) == (5, False)


async def test_days_are_settled_when_they_are_over_where_the_platform_is(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        await books.account(tx, "far", zone="America/Los_Angeles")
        rows = [row(FIRST, ngr=1), row(later(1), ngr=1)]
        await books.sync(tx, "far", rows, now=at(later(2), 6))  # 23:00 of the day before, over there
        days = await tx.execute(select(settled_days.c.day))
        assert list(days.scalars()) == [FIRST]
        await books.sync(tx, "far", rows, now=at(later(2), 7))
        days = await tx.execute(select(settled_days.c.day).order_by(settled_days.c.day))
        assert list(days.scalars()) == [FIRST, later(1)]


async def test_days_without_rows_are_settled_too_and_rows_outside_the_window_left_out(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        rows = [row(FIRST, ngr=1), row(later(9), ngr=1)]
        done = await books.sync(tx, "acme", rows, now=at(later(5)), days=(FIRST, later(2)))
        assert done.rows == 1
        assert await count(tx, settled_days) == 3


async def test_a_day_twice_with_different_figures_changes_nothing(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        with pytest.raises(ConnectorError, match="twice"):
            await books.sync(tx, "acme", [row(FIRST, ngr=1), row(FIRST, "MAIN", ngr=2)], now=at(later(1)))
        assert await count(tx, table) == 0


async def test_what_no_database_keeps_is_left_out_or_refused(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        await books.sync(tx, "acme", [row(FIRST, "ma\0in", ngr=1)], now=at(later(1)))
        assert (await tx.execute(select(table.c.tag))).scalar_one() == "main"
        with pytest.raises(ConnectorError, match="too large"):
            await books.sync(tx, "acme", [row(FIRST, ngr=2**63)], now=at(later(1)))


def fat(day: date, factor: int = 1) -> Any:
    return row(day, registrations=4 * factor, first_deposits=2 * factor, commission_cpa=100 * factor)


@pytest.mark.parametrize(
    ("then", "why"),
    [
        ([], "empty"),
        ([row(FIRST, registrations=0, commission_cpa=0)], "zero"),
        ([fat(FIRST, 2), fat(later(1), 2)], "2 times"),
    ],
)
async def test_an_unbelievable_report_is_held_and_changes_no_figure(opened: Open, then: list[Any], why: str) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        window = (FIRST, later(1))
        await books.sync(tx, "acme", [fat(FIRST), fat(later(1))], now=at(later(3)), days=window)
        held = await books.sync(tx, "acme", then, now=at(later(4)), days=window)
        assert held.suspect is not None
        assert why in held.suspect
        assert (held.revisions, await count(tx, revenue_revisions)) == (0, 0)
        states = select(revenue_reports.c.state).order_by(revenue_reports.c.id)
        assert list((await tx.execute(states)).scalars()) == ["merged", "suspect"]


async def test_totals_that_contradict_the_rows_are_suspect(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        report = Report(
            first=FIRST, last=FIRST, rows=(row(FIRST, ngr=10_000_000),), raw=b"", totals=Figures(ngr=99_000_000)
        )
        held = await books.record(tx, "acme", report, now=at(later(1)))
        assert held.suspect is not None
        assert "10.00 ngr" in held.suspect


@asynccontextmanager
async def holding(opened: Open) -> AsyncIterator[tuple[Database, Books, int]]:
    """A database with a report of three times what stands, held; and the account's id."""
    async with opened() as database:
        async with database.begin() as tx:
            books = await build(tx)
            await books.sync(tx, "acme", [fat(FIRST)], now=at(later(1)))
            assert (await books.sync(tx, "acme", [fat(FIRST, 3)], now=at(later(2)))).suspect
        yield database, books, books.ids["acme"]


async def stored(database: Database) -> tuple[list[int], list[str]]:
    """Registrations as they stand, and the states of all reports."""
    async with database.read() as tx:
        states = select(revenue_reports.c.state).order_by(revenue_reports.c.id)
        registrations = list((await tx.execute(select(table.c.registrations))).scalars())
        return registrations, list((await tx.execute(states)).scalars())


async def test_a_suspect_report_is_merged_when_confirmed(opened: Open) -> None:
    async with holding(opened) as (database, _books, account):
        done = await held_reports.confirm(database, account_id=account, now=at(later(3)), zone=UTC_ZONE)
        assert (done.reports, done.rows, done.restated) == (1, 1, 1)
        assert await stored(database) == ([12], ["merged", "superseded", "confirmed"])
        with pytest.raises(Refused, match="suspect"):
            await held_reports.confirm(database, account_id=account, now=at(later(3)), zone=UTC_ZONE)
        async with database.begin() as tx:
            with pytest.raises(Refused, match="suspect"):
                await held_reports.discard(tx, account_id=account)


async def test_a_report_that_is_decided_while_it_is_confirmed_changes_nothing_more(opened: Open) -> None:
    async with holding(opened) as (database, _books, account):

        async def discard_first(report_id: int) -> held_reports.HeldComparison:
            held = await held_reports.compare_held_read_only(database.url, report_id)
            async with database.begin() as tx:
                await held_reports.discard(tx, account_id=account)
            return held

        with pytest.raises(Refused, match="taken the place"):
            await held_reports.confirm(
                database, account_id=account, now=at(later(3)), zone=UTC_ZONE, in_helper=discard_first
            )
        assert await stored(database) == ([4], ["merged", "discarded"])
        await read_only.close()


async def test_a_newer_report_stops_one_that_is_being_confirmed(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async with holding(opened) as (database, books, account):
        begin = revenue.Recording.begin

        async def begin_and_sync(recording: revenue.Recording, tx: Any, proof: bytes) -> bool:
            going_on = await begin(recording, tx, proof)
            monkeypatch.undo()
            newer = row(FIRST, registrations=5, first_deposits=2, commission_cpa=100)
            assert (await books.sync(tx, "acme", [newer], now=at(later(3)))).suspect is None
            return going_on

        monkeypatch.setattr(revenue.Recording, "begin", begin_and_sync)
        with pytest.raises(Refused, match="taken the place"):
            await held_reports.confirm(database, account_id=account, now=at(later(3)), zone=UTC_ZONE)
        assert await stored(database) == ([5], ["merged", "superseded", "superseded", "merged"])


async def test_pages_of_a_held_report_join_to_the_whole_and_come_from_the_helper_where_it_is_large(
    opened: Open,
) -> None:
    async with opened() as database:
        async with database.begin() as tx:
            books = await build(tx)
            account = books.ids["acme"]
            rows = [row(later(n % 3), sub=f"s{n}", currency=("EUR", "USD")[n % 2], ngr=n, visits=n)
                    for n in range(1, 1_100)]  # fmt: skip
            await books.sync(tx, "acme", rows, now=at(later(5)))
            assert (await books.sync(tx, "acme", [], now=at(later(6)), days=(FIRST, later(2)))).suspect
        requests: list[tuple[int, int, int]] = []

        async def in_helper(account_id: int, start: int, limit: int) -> held_reports.HeldReports:
            requests.append((account_id, start, limit))
            return await held_reports.held_reports_read_only(database.url, account_id, start, limit)

        async with database.read() as tx:
            whole = await held_reports.held_reports(tx, account, limit=10_000)
            pages = [
                await held_reports.held_reports(tx, account, in_helper, start=n, limit=500)
                for n in range(0, 2_500, 500)
            ]
        await read_only.close()
        assert requests == [
            (account, n, 500) for n in range(0, 2_500, 500)
        ]  # 1,099 rows stand, though the report is empty
        assert (whole.count, len(whole.figures), whole.reports[0].gone) == (2_198, 2_198, 1_099)
        assert [figure for page in pages for figure in page.figures] == whole.figures
        assert all(page.totals == whole.totals for page in pages)


async def test_a_suspect_report_is_forgotten_when_discarded_or_superseded(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        account = books.ids["acme"]
        await books.sync(tx, "acme", [fat(FIRST)], now=at(later(1)))
        await books.sync(tx, "acme", [fat(FIRST, 3)], now=at(later(2)))
        assert await held_reports.discard(tx, account_id=account) == 1
        await books.sync(tx, "acme", [fat(FIRST, 3)], now=at(later(3)))
        sound = row(FIRST, registrations=5, first_deposits=2, commission_cpa=100)
        assert (await books.sync(tx, "acme", [sound], now=at(later(4)))).suspect is None
        assert await held_reports.suspects(tx, account) == []
        states = select(revenue_reports.c.state).order_by(revenue_reports.c.id)
        assert list((await tx.execute(states)).scalars()) == ["merged", "discarded", "superseded", "merged"]


async def test_a_long_report_is_recorded_in_short_turns_and_completed_after_a_break(opened: Open) -> None:
    async with opened() as database:
        async with database.begin() as tx:
            books = await build(tx)
        rows = [row(later(n), sub=f"s{m}", registrations=m, commission_cpa=n) for n in range(3) for m in range(700)]
        raw = b"".join(b"%d," % n for n in range(100_000))
        report = Report(first=FIRST, last=later(2), rows=tuple(rows), raw=raw)
        whose: dict[str, Any] = {"team_id": books.team_id, "account_id": books.ids["acme"], "run_id": None}
        arguments = {**whose, "report": report, "now": at(later(9)), "zone": UTC_ZONE}
        recording = revenue.Recording(Origin(**whose, now=at(later(9))), report, zone=UTC_ZONE)
        async with database.begin() as tx:
            await recording.compare(tx)
            assert await recording.begin(tx, b"")
            latest, *earlier = recording.slices
            assert len(earlier) == 2
            for batch in latest.batches:
                assert await recording.write(tx, batch)
            await recording.settle(tx, latest.first, latest.last)
        async with database.begin() as tx:
            assert await count(tx, table) == 700
            assert list((await tx.execute(select(settled_days.c.day))).scalars()) == [later(2)], "day by day"
        done = await revenue.record_in_slices(database, **arguments)
        assert (done.rows, done.revisions) == (2100, 1400)
        assert (await revenue.record_in_slices(database, **arguments)).revisions == 0
        async with database.read() as tx:
            assert (await count(tx, table), await count(tx, settled_days)) == (2100, 3)
            kept = (await tx.execute(select(revenue_reports.c.raw).order_by(revenue_reports.c.id.desc()))).scalars()
            assert zlib.decompress(next(iter(kept))) == raw, "compressed in parts"
            assert (await books.report(tx, "day", last=later(2))).totals.commission == 700 + 1400


async def test_what_another_writer_records_between_batches_is_seen(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        report = Report(first=FIRST, last=FIRST, rows=(row(FIRST, ngr=5),), raw=b"")
        of = Origin(team_id=books.team_id, account_id=books.ids["acme"], run_id=None, now=at(later(9)))
        recording = revenue.Recording(of, report, zone=UTC_ZONE)
        await recording.compare(tx)
        await books.sync(tx, "acme", [row(FIRST, ngr=3)], now=at(later(8)))
        assert await recording.begin(tx, b"")
        assert not await recording.write(tx, recording.slices[0].batches[0])
        await recording.compare(tx, judged=False)
        assert await recording.write(tx, recording.slices[0].batches[0])
        assert (await recording.end(tx)).restated == 1
        assert (await tx.execute(select(table.c.ngr))).scalar_one() == 5
        assert await count(tx, revenue_revisions) == 2
