"""Sums of whole weeks of a report, kept in memory: months are added up of weeks instead of every cell.

A week's sums follow from its cells (their versions) and from what of today's catalogue, rates and settlement they look
at (`Tokens`): kept ones are either exactly what would be summed now, or recognised as outdated.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import msgspec

from storage.ledger.bounded_cache import BoundedCache
from storage.ledger.dates import monday_of
from storage.ledger.reports.cells import Cell
from storage.ledger.reports.collapse import Block, Collapsing, View
from storage.reports.report_pages import Token, Tokens
from storage.reports.report_view import ReportQuery

#: Groups kept in memory, of some 900 bytes each: a year of 200 campaigns.
MOST_GROUPS = 12_000

Versions = tuple[tuple[date, int], ...]


class Week(msgspec.Struct, frozen=True, kw_only=True):
    """A week's sums, the versions of the days they are of, and what else they depend on."""

    versions: Versions
    token: Token
    currencies: frozenset[str]
    block: Block

    @property
    def groups(self) -> int:
        return len(self.block.rows) + len(self.block.unassigned)


#: Weeks in memory, those last used.
WEEKS: BoundedCache[tuple[Any, ...], Week] = BoundedCache(MOST_GROUPS, lambda week: week.groups)


class WeekSums:
    """The whole weeks of one report, of which no day moved since it was settled: those kept, and those to be kept."""

    def __init__(self, query: ReportQuery, settled: Mapping[date, int | None], *, moved: Collection[date]) -> None:
        self._query = query
        self._versions = {} if query.filtered else _whole_weeks(query, settled, moved)
        kept = {monday: WEEKS.get(self._key(monday)) for monday in self._versions}
        self._kept = {monday: week for monday, week in kept.items() if week and week.versions == self._versions[monday]}
        self._tokens: Tokens | None = None

    def _key(self, monday: date) -> tuple[Any, ...]:
        return self._query.team_id, self._query.by, self._query.currency, monday

    @property
    def days(self) -> set[date]:
        """Days whose cells need not be read."""
        return {day for week in self._kept.values() for day, _ in week.versions}

    @property
    def currencies(self) -> set[str]:
        """Of the amounts in them."""
        return {currency for week in self._kept.values() for currency in week.currencies}

    def drop_outdated(self, view: View) -> set[date]:
        """Forget what would be summed otherwise now; the days whose cells have to be read after all."""
        if not self._versions:
            return set()
        tokens = self._tokens = Tokens(view)
        outdated = [
            monday for monday, week in self._kept.items()
            if week.token != tokens.of_days([day for day, _ in week.versions], sorted(week.currencies))
        ]  # fmt: skip
        return {day for monday in outdated for day, _ in self._kept.pop(monday).versions}

    async def collapse(self, view: View, cells: Mapping[date, Sequence[Cell]]) -> Collapsing:
        """The kept weeks and the cells of all other days, in the order of days."""
        collapsing = Collapsing(view)
        for day in sorted(cells.keys() | self.days):
            monday = monday_of(day)
            if monday not in self._versions:
                collapsing.add(day, cells[day])
            elif day == self._versions[monday][0][0]:
                collapsing.add_block((self._kept.get(monday) or await self._sum(monday, view, cells)).block)
            await asyncio.sleep(0)  # clicks answered by the same process go on in between
        return collapsing

    async def _sum(self, monday: date, view: View, cells: Mapping[date, Sequence[Cell]]) -> Week:
        collapsing = Collapsing(view)
        days = [day for day, _ in self._versions[monday]]
        for day in days:
            collapsing.add(day, cells[day])
            await asyncio.sleep(0)
        currencies = frozenset(currency for day in days for cell in cells[day] for currency in cell.money)
        tokens = self._tokens or Tokens(view)
        week = Week(versions=self._versions[monday], token=tokens.of_days(days, sorted(currencies)),
                    currencies=currencies, block=collapsing.block())  # fmt: skip
        if week.groups <= MOST_GROUPS // 8:
            WEEKS.put(self._key(monday), week)
        return week


def _whole_weeks(
    query: ReportQuery, settled: Mapping[date, int | None], moved: Collection[date]
) -> dict[date, Versions]:
    """Of each week within the range, the versions of its days; old cells have none."""
    unsettled = [day for day, version in settled.items() if version is None]
    restless = {monday_of(day) for day in [*moved, *unsettled]}
    weeks: dict[date, list[tuple[date, int]]] = {}
    for day, version in sorted(settled.items()):
        if version is not None and (monday := monday_of(day)) not in restless:
            weeks.setdefault(monday, []).append((day, version))
    last = query.last - timedelta(days=6)
    return {monday: tuple(days) for monday, days in weeks.items() if query.first <= monday <= last}
