"""What a report is asked for, and how it looks at cells: names, rates, settlement and since when postbacks measure."""

from collections.abc import Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from datetime import date, datetime
from operator import attrgetter
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.facts import SUBS, OfferFact
from storage.ledger.reports.attribution import Grain
from storage.ledger.reports.cells import Cell
from storage.ledger.reports.collapse import View, sorted_by
from storage.ledger.reports.report_rows import PERIODS, period
from storage.reports.facts_query import FactsQuery
from storage.reports.rates import load_rates
from storage.reports.report_data import ReportData
from storage.revenue import account_measures
from storage.tables import accounts, conversion_states, conversions, offers, settled_days, touched

Clock = Literal["event", "visit"]
Sortings = Mapping[str, Mapping[int, tuple[str | None, frozenset[str]]]]
"""Group code and folded tags by the ids of campaigns, sites and offers."""


class ReportQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What a report is asked for: days of the report's clock, both included; entities to keep as codes.

    `values` holds the values to keep of periods, country, device and sub ids. With a filter by anything but account or
    period, unassigned revenue is left out: it belongs to none.
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
    groups: tuple[str, ...] | None = None  # `none`: in no group
    tags: tuple[str, ...] | None = None  # one of them
    values: Mapping[str, tuple[str, ...]] = {}
    timezone: str = "UTC"
    currency: str = "EUR"

    @property
    def filtered(self) -> bool:
        """Whether some entities or values are asked for, and not all of them."""
        named = self.campaigns, self.sites, self.offers, self.casinos, self.accounts, self.sources
        return bool(self.values) or any(codes is not None for codes in (*named, self.groups, self.tags))

    @property
    def grain(self) -> Grain:
        used = {*self.by, *self.values}
        subs = tuple(position for position, name in enumerate(SUBS) if name in used)
        return Grain("country" in used, "device" in used, subs, self.clock == "visit")

    @property
    def facts_query(self) -> FactsQuery:
        zone = ZoneInfo(self.timezone)
        return FactsQuery(team_id=self.team_id, zone=zone, grain=self.grain, as_of=self.as_of)


async def view_of(data: ReportData, query: ReportQuery, *, currencies: Collection[str], days: Collection[date]) -> View:
    """How the query looks at the cells of these days, which hold amounts in these currencies."""
    tx, named, labels = data.tx, await data.catalogue(), await data.labels()
    names = {name: {key: label.code for key, label in labelled.items()} for name, labelled in labels.items()}
    first, last = (min(days), max(days)) if days else (query.first, query.last)
    sorts = "group" in query.by or query.groups is not None or query.tags is not None
    sorting = await data.sorting() if sorts else {}
    by_noun = {noun: {key: code for key, (code, _) in labelled.items()} for noun, labelled in sorting.items()}
    return View(
        timezone=query.timezone,
        first=query.first,
        last=query.last,
        by=query.by,
        rates=await load_rates(tx, query.team_id, query.currency, currencies, first, last),
        offers=named.offers,
        codes=names,
        names={name: {label.code: label.name for label in labelled.values()} for name, labelled in labels.items()},
        subs=query.grain.subs,
        settled=await _settled(tx, query, names["account"], first, last),
        account_ids=frozenset(names["account"]),
        accounts_since=await postbacks_since(tx, query.team_id, accounts, query.as_of),
        offers_since=await postbacks_since(tx, query.team_id, offers, query.as_of),
        measures=await account_measures.of_team(tx, query.team_id, as_of=query.as_of),
        group_codes=by_noun if "group" in query.by else {},
        keep=_keep(query, names, named.offers, sorting),
        keep_day=_keep_day(query.values),
        keep_unassigned=_keep_unassigned(query, names["account"]),
    )


async def _settled(
    tx: AsyncConnection, query: ReportQuery, account_codes: dict[int, str], first: date, last: date
) -> frozenset[tuple[int, date]]:
    s = settled_days.c
    query_ = select(s.account_id, s.day).where(s.account_id.in_(account_codes), s.day.between(first, last))
    if query.as_of is not None:
        query_ = query_.where(s.settled_at <= query.as_of)
    return frozenset((account_id, day) for account_id, day in (await tx.execute(query_)).all())


async def postbacks_since(
    tx: AsyncConnection, team_id: int, table: Any, as_of: datetime | None = None
) -> dict[int, date]:
    """Since when accounts or offers (`table`) are measured by postbacks, what is not settled yet included."""
    c = conversions.c
    column = c.account_id if table is accounts else c.offer_id
    if as_of is None:
        t = table.c
        query = select(t.id, t.postbacks_since).where(t.team_id == team_id, t.postbacks_since.is_not(None))
        since = {row[0]: row[1] for row in await tx.execute(query)}
        recent = select(column, func.min(c.day)).where(
            c.team_id == team_id, c.account_id.is_not(None),
            c.day.in_(select(touched.c.day).where(touched.c.team_id == team_id)),
        )  # fmt: skip
    else:
        s = conversion_states.c
        since = {}
        recent = (
            select(column, func.min(s.day))
            .join_from(conversions, conversion_states, s.conversion_id == c.id)
            .where(c.team_id == team_id, c.account_id.is_not(None), s.recorded_at <= as_of)
        )
    for key, day in await tx.execute(recent.group_by(column)):
        since[key] = min(day, since.get(key, day))
    return since


def _keep(
    query: ReportQuery,
    names: dict[str, dict[int, str]],
    offers_by_id: dict[int, OfferFact],
    sorting: Sortings,
) -> Callable[[Cell], bool] | None:
    """Whether a cell is among the entities asked for."""
    tests: list[Callable[[Cell], bool]] = []
    for plain in ("campaign", "site", "offer", "source"):
        if (ids := _ids(getattr(query, f"{plain}s"), names[plain])) is not None:
            tests.append(_among(attrgetter(f"{plain}_id"), ids))
    for derived in ("casino", "account"):
        if (ids := _ids(getattr(query, f"{derived}s"), names[derived])) is not None:
            entity_ids = {entity.id for entity in offers_by_id.values() if getattr(entity, f"{derived}_id") in ids}
            tests.append(_among(attrgetter("offer_id"), entity_ids))
    if query.groups is not None:
        tests.append(_in_group(query.groups, sorting))
    if query.tags is not None:
        tests.append(_tagged(query.tags, sorting))
    tests += [_has_value(name, values, query.grain) for name, values in query.values.items() if name not in PERIODS]
    return (lambda cell: all(test(cell) for test in tests)) if tests else None


def _in_group(codes: tuple[str, ...], sorting: Sortings) -> Callable[[Cell], bool]:
    return lambda cell: ((sorted_by(sorting, cell) or _UNSORTED)[0] or "none") in codes


def _tagged(tags: tuple[str, ...], sorting: Sortings) -> Callable[[Cell], bool]:
    wanted = {tag.casefold() for tag in tags}
    return lambda cell: not wanted.isdisjoint((sorted_by(sorting, cell) or _UNSORTED)[1])


_UNSORTED: tuple[None, frozenset[str]] = (None, frozenset())


def _has_value(name: str, values: Collection[str], grain: Grain) -> Callable[[Cell], bool]:
    """Whether a cell's country, device or sub id is one of these, in any letter case."""
    folded = {value.casefold() for value in values}
    if name in SUBS:
        place = grain.subs.index(SUBS.index(name))
        return lambda cell: place < len(cell.subs) and (cell.subs[place] or "").casefold() in folded
    read: Callable[[Cell], str] = attrgetter(name)
    return lambda cell: read(cell).casefold() in folded


def _keep_day(values: Mapping[str, tuple[str, ...]]) -> Callable[[date], bool] | None:
    """Whether a day is in the days, weeks and months asked for."""
    periods = {name: {value.upper() for value in values[name]} for name in PERIODS if name in values}
    return (lambda day: all(period(name, day) in allowed for name, allowed in periods.items())) if periods else None


def _among(read: Callable[[Cell], int], ids: AbstractSet[int]) -> Callable[[Cell], bool]:
    return lambda cell: read(cell) in ids


def _ids(codes: tuple[str, ...] | None, named: dict[int, str]) -> set[int] | None:
    return None if codes is None else {id_ for id_, code in named.items() if code in codes}


def _keep_unassigned(query: ReportQuery, account_codes: dict[int, str]) -> Callable[[int], bool] | None:
    entities_named = (
        query.campaigns, query.sites, query.offers, query.casinos, query.sources, query.groups, query.tags
    )  # fmt: skip
    if query.values.keys() - set(PERIODS) or any(codes is not None for codes in entities_named):
        return lambda _account_id: False
    ids = _ids(query.accounts, account_codes)
    return None if ids is None else lambda account_id: account_id in ids
