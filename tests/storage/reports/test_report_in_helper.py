"""Reports made in another process say, byte for byte, what they say here; nothing can be written meanwhile."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import delete, select
from sqlalchemy.exc import DBAPIError

from hub.runtime.helper_process import HelperProcess
from storage.db import read_only
from storage.ledger.facts import Report, RevenueRow
from storage.ledger.revenue.report_parts import ReportParts
from storage.reports import report_in_helper, settle, usual_pages
from storage.reports.merged_report import ReportQuery, merged_report
from storage.revenue import revisions
from storage.revenue.comparison import Comparison, compare_parts
from storage.tables import merged, report_pages
from tests.storage.books import FIRST, UTC_ZONE, at, build, later, row

Open = Callable[[], Any]


@pytest.mark.slow_on_postgresql
async def test_a_report_of_the_helper_process_is_the_report(opened: Open) -> None:
    helper = HelperProcess()
    async with opened() as database:
        async with database.begin() as tx:
            books = await build(tx)
            await books.sync(tx, "acme", [row(FIRST, first_deposits=2)], now=at(later(1)))
            await books.click(tx, at(FIRST), campaign="spring", offer="lucky", sub1="a")
        await settle.settle_all(database, UTC_ZONE)
        forms: list[tuple[tuple[str, ...], Any]] = [
            (("day",), {}), (("day", "offer"), {}), (("day", "sub1"), {}), (("campaign",), {"clock": "visit"}),
            (("offer",), {"as_of": at(later(9))}),
        ]  # fmt: skip
        try:
            for by, options in forms:
                query = ReportQuery(team_id=books.team_id, first=FIRST, last=later(4), by=by, **options)
                async with database.read() as tx:
                    expected = await merged_report(tx, query)
                parts = await helper.run(report_in_helper.report_parts, database.url, query)
                assert b"".join(parts.json()) == msgspec.json.encode(expected)
                assert await parts.report() == expected
        finally:
            helper.close()


@pytest.mark.slow_on_postgresql
async def test_what_must_be_merged_when_read_is_never_light(opened: Open) -> None:
    async with opened() as database:
        async with database.begin() as tx:
            books = await build(tx)
        query = ReportQuery(team_id=books.team_id, first=FIRST, last=FIRST + timedelta(days=1))
        async with database.read() as tx:
            assert await report_in_helper.is_light(tx, query)
            for other in ({"by": ("sub1",)}, {"clock": "visit"}, {"as_of": at(FIRST)}):
                assert not await report_in_helper.is_light(tx, msgspec.structs.replace(query, **other))


@pytest.mark.slow_on_postgresql
async def test_the_helper_process_can_write_nothing(opened: Open) -> None:
    async with opened() as database:
        async with read_only.read_only(database.url) as tx:
            with pytest.raises(DBAPIError):
                await tx.execute(delete(merged))
        await read_only.close()


@pytest.mark.slow_on_postgresql
async def test_a_large_report_is_compared_its_days_merged_and_pages_of_them_made_in_the_helper_process(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usual_pages, "_FEW", 1)
    helper = HelperProcess()
    used: list[str] = []
    async with opened() as database:
        async with database.begin() as tx:
            books = await build(tx)

        async def compare(account_id: int, parts: ReportParts) -> Comparison:
            used.append("compare")
            return await helper.run(compare_parts, database.url, account_id, parts)

        async def merge(request: settle.MergeRequest) -> list[settle.Merged]:
            used.append("merge")
            return await helper.run(settle.merge_read_only, database.url, request)

        async def pages(request: usual_pages.PagesRequest) -> list[usual_pages.DayPages]:
            used.append("pages")
            return await helper.run(usual_pages.make_read_only, database.url, request)

        async def record(rows: list[RevenueRow], hour: int) -> revisions.Recorded:
            report = Report(first=FIRST, last=later(1), rows=tuple(rows), raw=b"")
            done = await revisions.record_in_slices(
                database, team_id=books.team_id, account_id=books.ids["acme"], run_id=None, report=report,
                now=at(later(3), hour), zone=UTC_ZONE, in_helper=compare,
            )  # fmt: skip
            await settle.settle_all(database, UTC_ZONE, in_helper=merge)
            await usual_pages.make_missing(database, UTC_ZONE, at(later(9)), currency="EUR", in_helper=pages)
            return done

        rows = [row(later(n), sub=f"s{m}", registrations=m, commission_cpa=m) for n in range(2) for m in range(1_100)]
        restated = [row(later(0), sub="s5", registrations=9, commission_cpa=9), *rows[:5], *rows[6:-1]]
        query = ReportQuery(team_id=books.team_id, first=FIRST, last=later(1), by=("day",))
        try:
            first = await record(rows, 1)
            second = await record(restated, 2)
            third = await record([], 3)
        finally:
            helper.close()
        async with database.read() as tx:
            report = await merged_report(tx, query)
            pages_kept = (
                await tx.execute(select(report_pages.c.day).where(report_pages.c.form == "day,offer:EUR"))
            ).all()
        assert len(pages_kept) == 2
        assert (first.rows, first.revisions, first.restated) == (2_200, 2_200, 0)
        assert (second.rows, second.revisions, second.restated) == (2_199, 2, 2)
        assert third.suspect is not None
        assert used == ["compare", "merge", "pages"] * 2  # an empty report is small, and touches no day
        assert report.totals.registrations.platform == 2 * sum(range(1_100)) + 4 - 1_099
