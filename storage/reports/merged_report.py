"""The merged report: pages of its days where they suffice, kept cells where not, facts merged on the spot at last."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.errors import Refused
from storage.ledger.reports.cells import Cell
from storage.ledger.reports.report_pages import PagedReport
from storage.ledger.reports.report_rows import MergedReport, check_dimensions
from storage.reports.report_data import ReportData
from storage.reports.report_pages import Paging, among, settled_versions
from storage.reports.report_view import Clock, ReportQuery, view_of
from storage.reports.week_sums import WeekSums
from storage.tables import conversions, merged, revenue, touched

__all__ = ["Clock", "ReportQuery", "merged_report", "paged_report", "summed_report"]

_decoder = msgspec.json.Decoder(list[Cell])


async def merged_report(tx: AsyncConnection, query: ReportQuery, data: ReportData | None = None) -> MergedReport:
    """The report. Raises Refused for a dimension there is not, or a range that ends before it starts.

    Several reports of one moment share `data`, which is of the same transaction.
    """
    data = data or ReportData(tx, query.team_id)
    paged = await paged_report(tx, query, data)
    return paged.report() if paged else await summed_report(tx, query, data)


async def paged_report(tx: AsyncConnection, query: ReportQuery, data: ReportData | None = None) -> PagedReport | None:
    """The report of pages; None for one that has none: fine dimensions, filters, another clock or moment, or rows that
    are not by day first. Raises Refused like `merged_report`.
    """
    _check(query)
    if query.by[:1] != ("day",) or query.filtered or not cells_suffice(query):
        return None
    data = data or ReportData(tx, query.team_id)
    fresh = {day: await data.merge(query.facts_query, day) for day in await _moved(tx, query)}
    return await Paging(data, query, fresh=fresh).report()


async def summed_report(tx: AsyncConnection, query: ReportQuery, data: ReportData | None = None) -> MergedReport:
    """The report without pages: sums of whole weeks where they are kept, else every cell is read and summed now."""
    _check(query)
    data = data or ReportData(tx, query.team_id)
    cells: dict[date, Sequence[Cell]] = {}
    settled: Mapping[date, int | None] = {}
    if cells_suffice(query):
        settled, days = await settled_versions(tx, query), sorted(await _moved(tx, query))
    else:
        days = await _days_with_facts(tx, query)
    for day in days:
        cells[day] = await data.merge(query.facts_query, day)
    weeks = WeekSums(query, settled, moved=days)
    await _read_cells(tx, query, settled.keys() - weeks.days - set(days), cells)
    currencies = {currency for of_day in cells.values() for cell in of_day for currency in cell.money}
    view = await view_of(data, query, currencies=currencies | weeks.currencies, days=cells.keys() | weeks.days)
    await _read_cells(tx, query, weeks.drop_outdated(view), cells)
    return (await weeks.collapse(view, cells)).report()


def _check(query: ReportQuery) -> None:
    check_dimensions(query.by)
    if query.last < query.first:
        raise Refused(f"to: the range ends before it starts: {query.first}..{query.last}", field="to")


def cells_suffice(query: ReportQuery) -> bool:
    """Whether settled cells answer the query; else days are merged from their facts."""
    return query.as_of is None and query.clock == "event" and not query.grain.fine


async def _moved(tx: AsyncConnection, query: ReportQuery) -> set[date]:
    """Days of the range that moved since they were settled."""
    t = touched.c
    moved = select(t.day).where(t.team_id == query.team_id, t.day.between(query.first, query.last)).distinct()
    return set((await tx.execute(moved)).scalars())


async def _read_cells(
    tx: AsyncConnection, query: ReportQuery, days: Collection[date], cells: dict[date, Sequence[Cell]]
) -> None:
    """Add the cells of days as they were last settled."""
    if not days:
        return
    m = merged.c
    mine = select(m.day, m.cells).where(m.team_id == query.team_id, among(m.day, days))
    for day, stored in await tx.execute(mine):
        if day in days:
            cells[day] = _decoder.decode(stored)
            await asyncio.sleep(0)


async def _days_with_facts(tx: AsyncConnection, query: ReportQuery) -> list[date]:
    """Days to merge. By the visit's clock, also days on which visits of the range had consequences."""
    m = merged.c
    stored_days = select(m.day).where(m.team_id == query.team_id, m.day.between(query.first, query.last))
    within = set((await tx.execute(stored_days)).scalars()) | await _moved(tx, query)
    if query.clock == "event":
        return sorted(within)
    c, r = conversions.c, revenue.c
    converted = select(c.day).where(c.team_id == query.team_id, c.visit_day.between(query.first, query.last)).distinct()
    later = r.day >= query.first - timedelta(days=2)
    paid = select(r.day).where(r.team_id == query.team_id, r.sub != "", later).distinct()
    return sorted(within | set((await tx.execute(converted)).scalars()) | set((await tx.execute(paid)).scalars()))
