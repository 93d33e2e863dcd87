"""Figures of the tracker a team had before: a layer of its own, in no sum with ours."""

from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, func, literal, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.errors import Refused
from storage.ledger.money import convert
from storage.ledger.reports.report_rows import PERIODS, period
from storage.reports.rates import load_rates
from storage.tables import accounts, campaigns, casinos, cutovers, imported_days, offers, sources

COUNTS = (
    "clicks", "unique_clicks", "conversions", "registrations", "first_deposits", "deposits", "qualified", "reversals",
)  # fmt: skip
AMOUNTS = ("revenue", "cost")
DIMENSIONS = (*PERIODS, "campaign", "offer", "country", "source", "account", "casino", "tracker")
_D = imported_days.c


class HistoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """What the tracker counted of a group; None is not measured, or not mapped to an event.

    `revenue` is what its postbacks reported, `profit` that less its cost; both in micro-units of the report currency.
    `unconverted` holds revenue and cost by currency that lack a rate.
    """

    group: dict[str, str | None]
    clicks: int | None = None
    unique_clicks: int | None = None
    conversions: int | None = None
    registrations: int | None = None
    first_deposits: int | None = None
    deposits: int | None = None
    qualified: int | None = None
    reversals: int | None = None
    revenue: int | None = None
    cost: int | None = None
    profit: int | None = None
    unconverted: dict[str, dict[str, int]] = {}


class HistoryReport(msgspec.Struct, frozen=True, kw_only=True):
    """Imported figures of a range, before each campaign's cut-over day. `names` maps codes to names."""

    currency: str
    from_: date = msgspec.field(name="from")
    to: date
    rows: list[HistoryRow]
    totals: HistoryRow
    names: dict[str, dict[str, str]] = {}


class HistoryQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which figures; filters hold codes, countries or trackers by dimension, `campaigns` what the actor may see."""

    team_id: int
    first: date
    last: date
    by: tuple[str, ...]
    currency: str
    filters: Mapping[str, Collection[str]] = {}
    campaigns: Collection[str] | None = None


def check_dimensions(by: tuple[str, ...]) -> None:
    """Raises Refused at `by` for what another tracker's figures cannot be grouped by."""
    for dimension in by:
        if dimension not in DIMENSIONS:
            raise Refused(f"by: imported figures have no {dimension!r}: there is {', '.join(DIMENSIONS)}", field="by")
        if by.count(dimension) > 1:
            raise Refused(f"by: {dimension} is named twice", field="by")


def _columns() -> dict[str, ColumnElement[Any]]:
    return {
        "campaign": campaigns.c.code, "offer": offers.c.code, "source": sources.c.code, "account": accounts.c.code,
        "casino": casinos.c.code, "country": _D.country, "tracker": _D.system,
    }  # fmt: skip


def _named() -> dict[str, tuple[ColumnElement[Any], ColumnElement[Any]]]:
    tables = {"campaign": campaigns, "offer": offers, "source": sources, "account": accounts, "casino": casinos}
    return {dimension: (table.c.code, table.c.name) for dimension, table in tables.items()}


def _counts_before_cutover(query: HistoryQuery) -> list[ColumnElement[bool]]:
    where = [
        _D.team_id == query.team_id, _D.day.between(query.first, query.last),
        or_(cutovers.c.day.is_(None), _D.day < cutovers.c.day),
    ]  # fmt: skip
    columns = _columns()
    where += [columns[name].in_(list(values)) for name, values in query.filters.items() if values]
    if query.campaigns is not None:
        where.append(campaigns.c.code.in_(list(query.campaigns)))
    return where


def _joined(statement: Any) -> Any:
    return (
        statement.select_from(imported_days)
        .join(cutovers, cutovers.c.campaign_id == _D.campaign_id, isouter=True)
        .join(campaigns, campaigns.c.id == _D.campaign_id, isouter=True)
        .join(sources, sources.c.id == campaigns.c.source_id, isouter=True)
        .join(offers, offers.c.id == _D.offer_id, isouter=True)
        .join(accounts, accounts.c.id == offers.c.account_id, isouter=True)
        .join(casinos, casinos.c.id == offers.c.casino_id, isouter=True)
    )


async def history(tx: AsyncConnection, query: HistoryQuery) -> HistoryReport:
    """The report. Raises Refused for a dimension there is not."""
    check_dimensions(query.by)
    where, columns = _counts_before_cutover(query), _columns()
    currencies = list((await tx.execute(_joined(select(_D.currency).distinct()).where(*where))).scalars())
    rates = await load_rates(tx, query.team_id, query.currency, currencies, query.first, query.last)
    by_day = bool({*query.by} & {*PERIODS}) or set(currencies) - {query.currency}
    key = [_D.day if by_day else literal(None), _D.currency, *(columns[name] for name in query.by if name in columns)]
    sums = [func.sum(_D[name]) for name in (*COUNTS, *AMOUNTS)]
    grouped = [column for column in key if column is not key[0] or by_day]
    statement = _joined(select(*key, *sums)).where(*where).group_by(*grouped)
    rows: dict[tuple[str | None, ...], _Sum] = {}
    totals = _Sum()
    for row in await tx.execute(statement):
        values = iter(row[2 : len(key)])
        group = tuple(period(name, row[0]) if name in PERIODS else next(values) or None for name in query.by)
        rate = rates.rate(row[1], row[0] or query.last)
        for target in (rows.setdefault(group, _Sum()), totals):
            target.add([None if n is None else int(n) for n in row[len(key) :]], row[1], rate)
    ordered = sorted(rows.items(), key=lambda item: tuple((value is None, value or "") for value in item[0]))
    return HistoryReport(
        currency=query.currency, from_=query.first, to=query.last, totals=totals.row({}),
        rows=[row_sums.row(dict(zip(query.by, group, strict=True))) for group, row_sums in ordered],
        names=await _names(tx, query, ordered),
    )  # fmt: skip


class _Sum:
    """Sums of one group."""

    def __init__(self) -> None:
        self.counts: list[int | None] = [None] * len(COUNTS)
        self.amounts: list[int | None] = [None] * len(AMOUNTS)
        self.unconverted: dict[str, dict[str, int]] = {}

    def add(self, figures: list[int | None], currency: str, rate: Any) -> None:
        for n, figure in enumerate(figures[: len(COUNTS)]):
            if figure is not None:
                self.counts[n] = (self.counts[n] or 0) + figure
        for n, amount in enumerate(figures[len(COUNTS) :]):
            if amount is None:
                continue
            if rate is None:
                amounts = self.unconverted.setdefault(AMOUNTS[n], {})
                amounts[currency] = amounts.get(currency, 0) + amount
            else:
                self.amounts[n] = (self.amounts[n] or 0) + convert(amount, rate)

    def row(self, group: dict[str, str | None]) -> HistoryRow:
        amounts = {
            name: None if name in self.unconverted else amount
            for name, amount in zip(AMOUNTS, self.amounts, strict=True)
        }
        profit = None if amounts["revenue"] is None else amounts["revenue"] - (amounts["cost"] or 0)
        if "cost" in self.unconverted:
            profit = None
        return HistoryRow(
            group=group, **dict(zip(COUNTS, self.counts, strict=True)), **amounts, profit=profit,
            unconverted=self.unconverted,
        )  # fmt: skip


async def _names(
    tx: AsyncConnection, query: HistoryQuery, rows: list[tuple[tuple[str | None, ...], _Sum]]
) -> dict[str, dict[str, str]]:
    names: dict[str, dict[str, str]] = {}
    for at, dimension in enumerate(query.by):
        if dimension in (named := _named()):
            code, name = named[dimension]
            codes = {group[at] for group, _ in rows} - {None}
            mine = code.table.c.team_id == query.team_id
            listed = await tx.execute(select(code, name).where(mine))
            names[dimension] = {row[0]: row[1] for row in listed if row[0] in codes}
    return names


async def has_history(
    tx: AsyncConnection, team_id: int, first: date, last: date, campaigns: Collection[str] | None
) -> bool:
    """Whether another tracker counted anything in the range before the cut-over."""
    query = HistoryQuery(team_id=team_id, first=first, last=last, by=(), currency="", campaigns=campaigns)
    statement = _joined(select(_D.day)).where(*_counts_before_cutover(query)).limit(1)
    return (await tx.execute(statement)).first() is not None


async def set_cutover(tx: AsyncConnection, team_id: int, campaign_id: int, day: date) -> date | None:
    """From `day` on a campaign's figures are ours; the day before, None if there was none."""
    c = cutovers.c
    before: date | None = (await tx.execute(select(c.day).where(c.campaign_id == campaign_id))).scalar()
    statement = upsert(cutovers).values(campaign_id=campaign_id, team_id=team_id, day=day)
    await tx.execute(statement.on_conflict_do_update(index_elements=["campaign_id"], set_={"day": day}))
    return before
