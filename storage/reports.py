"""The merged report: kept cells where they suffice, facts merged on the spot where not."""

import asyncio
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, timedelta
from operator import attrgetter
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.asked import Asked
from storage.day_facts import catalogue, day_facts
from storage.entities import codes
from storage.ledger.attribution import Catalogue, Grain
from storage.ledger.cells import Cell
from storage.ledger.collapse import Collapsing, View
from storage.ledger.errors import Refused
from storage.ledger.facts import OfferFact
from storage.ledger.merge import merge_day
from storage.ledger.reporting import SUB_NAMES, MergedReport, check_dimensions
from storage.rates import load_rates
from storage.tables import (
    accounts,
    campaigns,
    casinos,
    conversion_states,
    conversions,
    merged,
    offers,
    revenue,
    settled_days,
    sites,
    sources,
    touched,
)

Clock = Literal["event", "visit"]
Days = list[tuple[date, Sequence[Cell]]]

_decoder = msgspec.json.Decoder(list[Cell])
_TABLES = {
    "campaign": campaigns, "site": sites, "offer": offers, "casino": casinos, "account": accounts, "source": sources
}  # fmt: skip


class ReportQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What a report is asked for: days of the report's clock, both included; entities to keep as codes.

    With a filter by campaign, site, offer, casino or source, unassigned revenue is left out: it belongs to none.
    """

    team_id: int
    first: date
    last: date
    by: tuple[str, ...] = ("day",)
    as_of: datetime | None = None
    clock: Clock = "event"
    campaigns: tuple[str, ...] | None = None
    sites: tuple[str, ...] | None = None
    offers: tuple[str, ...] | None = None
    casinos: tuple[str, ...] | None = None
    accounts: tuple[str, ...] | None = None
    sources: tuple[str, ...] | None = None
    timezone: str = "UTC"
    currency: str = "EUR"

    @property
    def grain(self) -> Grain:
        subs = tuple(SUB_NAMES.index(name) for name in self.by if name in SUB_NAMES)
        return Grain("country" in self.by, "device" in self.by, subs, self.clock == "visit")

    @property
    def asked(self) -> Asked:
        zone = ZoneInfo(self.timezone)
        return Asked(team_id=self.team_id, zone=zone, grain=self.grain, as_of=self.as_of)


async def merged_report(tx: AsyncConnection, query: ReportQuery) -> MergedReport:
    """The report. Raises Refused for a dimension there is not, or a range that ends before it starts."""
    check_dimensions(query.by)
    if query.last < query.first:
        raise Refused(f"to: the range ends before it starts: {query.first}..{query.last}", field="to")
    named = await catalogue(tx, query.team_id)
    days = await _cells(tx, query, named)
    collapsing = Collapsing(await _view(tx, query, named, days))
    for day, cells in days:
        collapsing.add(day, cells)
        await asyncio.sleep(0)  # clicks answered by the same process go on in between
    return collapsing.report()


async def _cells(tx: AsyncConnection, query: ReportQuery, named: Catalogue) -> Days:
    if query.as_of is None and query.clock == "event" and not query.grain.fine:
        return await _kept(tx, query, named)
    days = await _days_with_facts(tx, query)
    return [(day, merge_day(await day_facts(tx, query.asked, day), named, query.grain)) for day in days]


async def _kept(tx: AsyncConnection, query: ReportQuery, named: Catalogue) -> Days:
    """Cells as last settled; days that moved since are merged on the spot."""
    mine = merged.c.team_id == query.team_id, merged.c.day.between(query.first, query.last)
    kept = {row.day: row.cells for row in await tx.execute(select(merged.c.day, merged.c.cells).where(*mine))}
    t = touched.c
    moved = select(t.day).where(t.team_id == query.team_id, t.day.between(query.first, query.last)).distinct()
    fresh = set((await tx.execute(moved)).scalars())
    days: Days = []
    for day in sorted(kept.keys() | fresh):
        if day in fresh:
            days.append((day, merge_day(await day_facts(tx, query.asked, day), named)))
        else:
            days.append((day, _decoder.decode(kept[day])))
            await asyncio.sleep(0)
    return days


async def _days_with_facts(tx: AsyncConnection, query: ReportQuery) -> list[date]:
    """Days to merge. By the visit's clock, also days on which visits of the range had consequences."""
    within = {query.first + timedelta(days=n) for n in range((query.last - query.first).days + 1)}
    if query.clock == "event":
        return sorted(within)
    c, r = conversions.c, revenue.c
    converted = select(c.day).where(c.team_id == query.team_id, c.visit_day.between(query.first, query.last)).distinct()
    later = r.day >= query.first - timedelta(days=2)
    paid = select(r.day).where(r.team_id == query.team_id, r.sub != "", later).distinct()
    return sorted(within | set((await tx.execute(converted)).scalars()) | set((await tx.execute(paid)).scalars()))


async def _view(tx: AsyncConnection, query: ReportQuery, named: Catalogue, days: Days) -> View:
    names = {name: await codes(tx, table, query.team_id) for name, table in _TABLES.items()}
    currencies = {currency for _, cells in days for cell in cells for currency in cell.money}
    first, last = (days[0][0], days[-1][0]) if days else (query.first, query.last)
    return View(
        timezone=query.timezone,
        first=query.first,
        last=query.last,
        by=query.by,
        rates=await load_rates(tx, query.team_id, query.currency, currencies, first, last),
        offers=named.offers,
        codes=names,
        settled=await _settled(tx, query, names["account"], first, last),
        account_ids=frozenset(names["account"]),
        accounts_since=await _since(tx, query, accounts, days),
        offers_since=await _since(tx, query, offers, days),
        keep=_keep(query, names, named.offers),
        keep_unassigned=_keep_unassigned(query, names["account"]),
    )


async def _settled(
    tx: AsyncConnection, query: ReportQuery, account_codes: dict[int, str], first: date, last: date
) -> frozenset[tuple[int, date]]:
    s = settled_days.c
    found = select(s.account_id, s.day).where(s.account_id.in_(account_codes), s.day.between(first, last))
    if query.as_of is not None:
        found = found.where(s.settled_at <= query.as_of)
    return frozenset((row.account_id, row.day) for row in await tx.execute(found))


async def _since(tx: AsyncConnection, query: ReportQuery, table: Any, days: Days) -> dict[int, date]:
    """Since when accounts or offers are measured by postbacks, what is not settled yet included."""
    c = conversions.c
    column = c.account_id if table is accounts else c.offer_id
    if query.as_of is None:
        t = table.c
        found = select(t.id, t.postbacks_since).where(t.team_id == query.team_id, t.postbacks_since.is_not(None))
        since = {row[0]: row[1] for row in await tx.execute(found)}
        recent = select(column, func.min(c.day)).where(
            c.team_id == query.team_id, c.account_id.is_not(None),
            c.day.in_(select(touched.c.day).where(touched.c.team_id == query.team_id)),
        )  # fmt: skip
    else:
        s = conversion_states.c
        since = {}
        recent = (
            select(column, func.min(s.day))
            .join_from(conversions, conversion_states, s.conversion_id == c.id)
            .where(c.team_id == query.team_id, c.account_id.is_not(None), s.recorded_at <= query.as_of)
        )
    for one, day in await tx.execute(recent.group_by(column)):
        since[one] = min(day, since.get(one, day))
    return since


def _keep(
    query: ReportQuery, names: dict[str, dict[int, str]], of: dict[int, OfferFact]
) -> Callable[[Cell], bool] | None:
    """Whether a cell is among the entities asked for."""
    tests: list[Callable[[Cell], bool]] = []
    for plain in ("campaign", "site", "offer", "source"):
        if (ids := _ids(getattr(query, f"{plain}s"), names[plain])) is not None:
            tests.append(_among(attrgetter(f"{plain}_id"), ids))
    for derived in ("casino", "account"):
        if (ids := _ids(getattr(query, f"{derived}s"), names[derived])) is not None:
            mine = {one.id for one in of.values() if getattr(one, f"{derived}_id") in ids}
            tests.append(_among(attrgetter("offer_id"), mine))
    return (lambda cell: all(test(cell) for test in tests)) if tests else None


def _among(read: Callable[[Cell], int], ids: AbstractSet[int]) -> Callable[[Cell], bool]:
    return lambda cell: read(cell) in ids


def _ids(wanted: tuple[str, ...] | None, named: dict[int, str]) -> set[int] | None:
    return None if wanted is None else {one for one, code in named.items() if code in wanted}


def _keep_unassigned(query: ReportQuery, account_codes: dict[int, str]) -> Callable[[int], bool] | None:
    if any(one is not None for one in (query.campaigns, query.sites, query.offers, query.casinos, query.sources)):
        return lambda _account_id: False
    ids = _ids(query.accounts, account_codes)
    return None if ids is None else lambda account_id: account_id in ids
