"""The merged report: pages of its days where they suffice, kept cells where not, facts merged on the spot at last."""

import asyncio
from collections.abc import Sequence
from datetime import date, timedelta

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.errors import Refused
from storage.ledger.reports.attribution import Catalogue
from storage.ledger.reports.cells import Cell
from storage.ledger.reports.collapse import Collapsing
from storage.ledger.reports.merge import merge_day
from storage.ledger.reports.report_pages import PagedReport
from storage.ledger.reports.report_rows import MergedReport, check_dimensions
from storage.reports.day_facts import catalogue, day_facts
from storage.reports.report_pages import Paging
from storage.reports.report_view import Clock, ReportQuery, view_of
from storage.tables import conversions, merged, revenue, touched

__all__ = ["Clock", "ReportQuery", "merged_report", "paged_report", "summed_report"]

Days = list[tuple[date, Sequence[Cell]]]

_decoder = msgspec.json.Decoder(list[Cell])


async def merged_report(tx: AsyncConnection, query: ReportQuery) -> MergedReport:
    """The report. Raises Refused for a dimension there is not, or a range that ends before it starts."""
    paged = await paged_report(tx, query)
    return paged.report() if paged else await summed_report(tx, query)


async def paged_report(tx: AsyncConnection, query: ReportQuery) -> PagedReport | None:
    """The report of pages; None for one that has none: fine dimensions, filters, another clock or moment, or rows that
    are not by day first. Raises Refused like `merged_report`.
    """
    _check(query)
    if query.by[:1] != ("day",) or query.filtered or not cells_suffice(query):
        return None
    named = await catalogue(tx, query.team_id)
    fresh = {day: merge_day(await day_facts(tx, query.facts_query, day), named) for day in await _moved(tx, query)}
    return await Paging(tx, query, named, fresh=fresh).report()


async def summed_report(tx: AsyncConnection, query: ReportQuery) -> MergedReport:
    """The report without pages: every cell is read and summed now."""
    _check(query)
    named = await catalogue(tx, query.team_id)
    days = await _cells(tx, query, named)
    currencies = {currency for _, cells in days for cell in cells for currency in cell.money}
    collapsing = Collapsing(await view_of(tx, query, named, currencies=currencies, days=[day for day, _ in days]))
    for day, cells in days:
        collapsing.add(day, cells)
        await asyncio.sleep(0)  # clicks answered by the same process go on in between
    return collapsing.report()


def _check(query: ReportQuery) -> None:
    check_dimensions(query.by)
    if query.last < query.first:
        raise Refused(f"to: the range ends before it starts: {query.first}..{query.last}", field="to")


def cells_suffice(query: ReportQuery) -> bool:
    """Whether settled cells answer the query; else days are merged from their facts."""
    return query.as_of is None and query.clock == "event" and not query.grain.fine


async def _cells(tx: AsyncConnection, query: ReportQuery, named: Catalogue) -> Days:
    if cells_suffice(query):
        return await _stored_cells(tx, query, named)
    days = await _days_with_facts(tx, query)
    return [(day, merge_day(await day_facts(tx, query.facts_query, day), named, query.grain)) for day in days]


async def _moved(tx: AsyncConnection, query: ReportQuery) -> set[date]:
    """Days of the range that moved since they were settled."""
    t = touched.c
    moved = select(t.day).where(t.team_id == query.team_id, t.day.between(query.first, query.last)).distinct()
    return set((await tx.execute(moved)).scalars())


async def _stored_cells(tx: AsyncConnection, query: ReportQuery, named: Catalogue) -> Days:
    """Cells as last settled; days that moved since are merged on the spot."""
    mine = merged.c.team_id == query.team_id, merged.c.day.between(query.first, query.last)
    stored = {row.day: row.cells for row in await tx.execute(select(merged.c.day, merged.c.cells).where(*mine))}
    fresh = await _moved(tx, query)
    days: Days = []
    for day in sorted(stored.keys() | fresh):
        if day in fresh:
            days.append((day, merge_day(await day_facts(tx, query.facts_query, day), named)))
        else:
            days.append((day, _decoder.decode(stored[day])))
            await asyncio.sleep(0)
    return days


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
