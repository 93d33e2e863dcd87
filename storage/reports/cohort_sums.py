"""Sums over players by week of registration and age: a week is summed up whole when one of its players moves."""

import asyncio
from collections.abc import Collection
from datetime import date, timedelta
from typing import Any, Literal

import msgspec
from sqlalchemy import Integer, Select, and_, case, cast, delete, func, insert, literal, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.engine import Database
from storage.ledger.reports.cohorts import BANDS, LAST_BAND, PLACES, Ages, add_up
from storage.tables import (
    PLAYER_MEASURES,
    cohort_cells,
    cohort_weeks,
    player_days,
    player_feeds,
    players,
    touched_cohorts,
)

Dimension = Literal["week", "campaign", "source", "offer", "account", "country"]
DIMENSIONS: tuple[Dimension, ...] = ("week", "campaign", "source", "offer", "account", "country")
#: The column of `cohort_cells`, and of `players`, that a dimension stands in.
COLUMNS = {
    "campaign": "campaign_id", "source": "source_id", "offer": "offer_id", "account": "account_id",
    "country": "country",
}  # fmt: skip
_COUNTS = ("registrations", "observed", "first_deposits", "active")
_WEEK = 7
_TURN = 500  # cells between two turns of others
_encode = msgspec.msgpack.Encoder().encode


async def rebuild(database: Database) -> int:
    """Sum up the weeks that moved; returns how many. Marks set meanwhile stay for the next time."""
    if not await database.look(_any_touched):
        return 0
    async with database.read() as tx:
        marks = list(await tx.execute(select(touched_cohorts)))
    weeks: dict[tuple[int, date], list[int]] = {}
    for mark in marks:
        weeks.setdefault((mark.team_id, mark.week), []).append(mark.id)
    for (team_id, week), ids in weeks.items():
        await _rebuild_week(database, team_id, week, ids)
    return len(weeks)


async def _any_touched(tx: AsyncConnection) -> bool:
    return (await tx.execute(select(touched_cohorts.c.id).limit(1))).first() is not None


async def _rebuild_week(database: Database, team_id: int, week: date, marks: Collection[int]) -> None:
    """Read beside the writers, and written in one short transaction."""
    async with database.read() as tx:
        rows = (await tx.execute(_select_cells(team_id, week))).all()
    cells: dict[tuple[Any, ...], _Sums] = {}
    for number, row in enumerate(rows):
        if number % _TURN == 0:
            await asyncio.sleep(0)
        key = row.campaign_id, row.source_id, row.offer_id, row.account_id, row.country, row.currency
        cells.setdefault(key, _Sums()).take(row)
    by_value: dict[tuple[Dimension, str, str], _Sums] = {}
    for number, (key, sums) in enumerate(cells.items()):
        if number % _TURN == 0:
            await asyncio.sleep(0)
        for dimension, value in zip(DIMENSIONS, ("", *map(str, key[:5])), strict=True):
            by_value.setdefault((dimension, value, key[5]), _Sums()).add(sums)
    same = {"team_id": team_id, "week": week}
    weeks = [
        {**same, "dimension": dimension, "value": value, "currency": currency, **sums.values()}
        for (dimension, value, currency), sums in by_value.items()
    ]
    names = (*COLUMNS.values(), "currency")
    parts = [{**same, **dict(zip(names, key, strict=True)), **sums.values()} for key, sums in cells.items()]
    async with database.begin() as tx:
        for table, made in ((cohort_weeks, weeks), (cohort_cells, parts)):
            await tx.execute(delete(table).where(table.c.team_id == team_id, table.c.week == week))
            if made:
                await tx.execute(insert(table), made)
        await tx.execute(delete(touched_cohorts).where(touched_cohorts.c.id.in_(marks)))


class _Sums:
    """What is summed up of some players, with a place for every band."""

    def __init__(self) -> None:
        self.registrations = 0
        self.totals: list[int | None] = [None, None, None]
        self.observed = [0] * len(BANDS)
        self.first_deposits = [0] * len(BANDS)
        self.active = [0] * (LAST_BAND // _WEEK)
        self.commission: list[int] | None = None

    def take(self, row: Any) -> None:
        """Add a cell: sums of a band. PostgreSQL's are decimals."""
        place = PLACES[int(row.band)]
        self.registrations += int(row.registrations)
        self.observed[place] += int(row.observed)
        self.first_deposits[place] += int(row.first_deposits)
        if row.active:
            self.active[int(row.band) // _WEEK] += int(row.active)
        self._add_totals([row.deposits, row.deposit_amount, row.ngr])
        if row.commission is not None:
            self.commission = self.commission or [0] * len(BANDS)
            self.commission[place] += int(row.commission)

    def add(self, other: "_Sums") -> None:
        self.registrations += other.registrations
        self._add_totals(other.totals)
        for mine, theirs in (
            (self.observed, other.observed), (self.first_deposits, other.first_deposits), (self.active, other.active),
        ):  # fmt: skip
            add_up(mine, theirs)
        if other.commission is not None:
            self.commission = self.commission or [0] * len(BANDS)
            add_up(self.commission, other.commission)

    def _add_totals(self, totals: list[int | None]) -> None:
        for place, value in enumerate(totals):
            if value is not None:
                self.totals[place] = (self.totals[place] or 0) + int(value)

    def values(self) -> dict[str, Any]:
        """The columns of a row."""
        deposits, deposit_amount, ngr = self.totals
        ages = Ages(
            _cut(self.observed), _cut(self.first_deposits), _cut(self.active),
            None if self.commission is None else _cut(self.commission),
        )  # fmt: skip
        return {"registrations": self.registrations, "deposits": deposits, "deposit_amount": deposit_amount,
                "ngr": ngr, "ages": _encode(ages)}  # fmt: skip


def _cut(values: list[int]) -> list[int]:
    """Without the zeros at the end."""
    last = len(values)
    while last and not values[last - 1]:
        last -= 1
    return values[:last]


def _band(age: Any) -> Any:
    """`storage.ledger.reports.cohorts.band_of` in SQL."""
    return case(
        (age < 0, 0),
        (age < _WEEK, age),
        (age >= LAST_BAND, LAST_BAND),
        (age.between(30, 34), 30),
        (age == 90, 90),
        (age.between(180, 181), 180),
        else_=age - age % _WEEK,
    )


def _select_cells(team_id: int, week: date) -> Select[Any]:
    """The players who registered in a week, summed up by all dimensions, currency and age band."""
    p, d, f = players.c, player_days.c, player_feeds.c
    within = p.team_id == team_id, p.registered.between(week, week + timedelta(days=6)), p.forgotten.is_(False)
    registered = cast(p.registered, Integer)
    keys = [*(p[name] for name in COLUMNS.values()), p.currency]
    known = case((p.known_from.is_not(None), cast(p.known_from, Integer) - registered),
                 (p.registered >= f.since, 0))  # fmt: skip
    fed = players.outerjoin(player_feeds, f.account_id == p.account_id)
    none: list[Any] = [cast(literal(None), player_days.c[name].type).label(name) for name in PLAYER_MEASURES]

    def counted(name: str, band: Any) -> Select[Any]:
        counts = [literal(int(each == name), Integer).label(each) for each in _COUNTS]
        return select(*keys, band.label("band"), *counts, *none).select_from(fed).where(*within)

    age = (cast(d.day, Integer) - registered).label("age")
    paid = or_(d.deposits > 0, d.deposit_amount > 0)
    done = fed.join(player_days, d.player_id == p.id)
    whole = and_(*within, or_(p.known_from.is_not(None), p.registered >= f.since))
    zeros = [literal(0, Integer).label(each) for each in _COUNTS]
    days = select(*keys, _band(age).label("band"), *zeros, *(d[name] for name in PLAYER_MEASURES)).select_from(done)
    in_week = age - age % _WEEK
    weeks_active = select(p.id.label("player"), *keys, in_week.label("age_week")).select_from(done)
    weeks_active = weeks_active.where(whole, paid, age >= 0, age < LAST_BAND).distinct()
    w = weeks_active.subquery().c
    active = [literal(int(each == "active"), Integer).label(each) for each in _COUNTS]
    parts = union_all(
        counted("registrations", literal(0, Integer)),
        counted("observed", _band(known)).where(known.is_not(None)),
        counted("first_deposits", _band(cast(p.ftd_day, Integer) - registered)).where(p.ftd_day.is_not(None)),
        days.where(whole),
        select(*(w[key.name] for key in keys), w.age_week.label("band"), *active, *none),
    ).subquery()
    sums = [func.sum(parts.c[name]).label(name) for name in (*_COUNTS, *PLAYER_MEASURES)]
    by = [parts.c[name] for name in (*COLUMNS.values(), "currency", "band")]
    return select(*by, *sums).group_by(*by)
