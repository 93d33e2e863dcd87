"""Sums over players by week of registration and age: one SQL aggregate, kept week by week, and the report of them."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Literal

import msgspec
from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    Text,
    and_,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.engine import Database
from storage.ledger.money import convert
from storage.ledger.reports.cohorts import (
    HORIZONS,
    LAST_BAND,
    WEEKS,
    Forecast,
    Week,
    forecast,
    is_matured,
    median_age,
    monday,
)
from storage.reports.rates import load_rates
from storage.tables import (
    PLAYER_MEASURES,
    accounts,
    cohort_sums,
    player_days,
    player_feeds,
    players,
    touched_cohorts,
)

Dimension = Literal["week", "campaign", "source", "offer", "account", "country"]
DIMENSIONS: tuple[Dimension, ...] = ("week", "campaign", "source", "offer", "account", "country")
COUNTS = ("registrations", "observed", "first_deposits", "active")
_WEEK = 7
_THURSDAY = 3  # 1970-01-01 was one: so many days after a Monday
_WHOLE_WEEK = 0.98  # of a week's players that must be known from their first week, for a forecast to use the week
_TURN = 500  # rows between two turns of others


class CohortQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for: weeks from one Monday to another, both included; entities to keep by id."""

    team_id: int
    first: date
    last: date
    by: Dimension = "week"
    currency: str = "EUR"
    keep: Mapping[Dimension, tuple[str, ...]] = {}


class Cohort(msgspec.Struct, frozen=True, kw_only=True):
    """Players of one group. Amounts are micro-units of the report's currency, None where they are not told or have no
    rate; `ltv` is commission per player at each horizon, of matured weeks; `cells` by weeks of age."""

    group: str
    registrations: int
    observed: int
    first_deposits: int
    reg2dep: float | None
    deposits: int | None
    deposit_amount: int | None
    ngr: int | None
    commission: int | None
    days_to_ftd: int | None
    ltv: dict[str, int | None]
    ltv_players: dict[str, int]
    retention: list[float | None]
    cumulated: list[int | None]
    forecast: list[Forecast]


class Cohorts(msgspec.Struct, frozen=True, kw_only=True):
    """Cohorts, and up to which day players are told of (None: of no account)."""

    by: str
    first: date = msgspec.field(name="from")
    last: date = msgspec.field(name="to")
    currency: str
    until: date | None
    items: list[Cohort]
    total: Cohort | None
    unconverted: dict[str, int] = {}
    names: dict[str, str] = {}


def _week(day: Any) -> Any:
    """The Monday of a day, both as days since 1970."""
    number = cast(day, Integer)
    return number - (number + _THURSDAY) % _WEEK


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


_VALUES: Mapping[Dimension, Any] = {
    "campaign": cast(players.c.campaign_id, Text),
    "source": cast(players.c.source_id, Text),
    "offer": cast(players.c.offer_id, Text),
    "account": cast(players.c.account_id, Text),
    "country": players.c.country,
}


def _select_sums(dimensions: Collection[Dimension], where: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """Players that meet the conditions, summed up by week of registration, dimensions, currency and age band."""
    p, d, f = players.c, player_days.c, player_feeds.c
    registered = cast(p.registered, Integer)
    values = [_VALUES[dimension].label(dimension) for dimension in dimensions if dimension != "week"]
    keys = [_week(p.registered).label("week"), p.currency.label("currency"), *values]
    known = case((p.known_from.is_not(None), cast(p.known_from, Integer) - registered),
                 (p.registered >= f.since, 0))  # fmt: skip
    condition = and_(p.forgotten.is_(False), *where)
    fed = players.outerjoin(player_feeds, f.account_id == p.account_id)
    none: list[Any] = [cast(literal(None), cohort_sums.c[name].type).label(name) for name in PLAYER_MEASURES]

    def counted(name: str, band: Any) -> Select[Any]:
        counts = [literal(int(each == name), Integer).label(each) for each in COUNTS]
        return select(*keys, band.label("band"), *counts, *none).select_from(fed).where(condition)

    age = (cast(d.day, Integer) - registered).label("age")
    paid = or_(d.deposits > 0, d.deposit_amount > 0)
    done = fed.join(player_days, d.player_id == p.id)
    whole = and_(condition, or_(p.known_from.is_not(None), p.registered >= f.since))
    zeros = [literal(0, Integer).label(each) for each in COUNTS]
    days = select(*keys, _band(age).label("band"), *zeros, *(d[name] for name in PLAYER_MEASURES)).select_from(done)
    in_week = age - age % _WEEK
    weeks_active = select(p.id.label("player"), *keys, in_week.label("age_week")).select_from(done)
    weeks_active = weeks_active.where(whole, paid, age >= 0, age < LAST_BAND).distinct()
    w = weeks_active.subquery().c
    active = [literal(int(each == "active"), Integer).label(each) for each in COUNTS]
    parts = union_all(
        counted("registrations", literal(0, Integer)),
        counted("observed", _band(known)).where(known.is_not(None)),
        counted("first_deposits", _band(cast(p.ftd_day, Integer) - registered)).where(p.ftd_day.is_not(None)),
        days.where(whole),
        select(w.week, w.currency, *(w[key.name] for key in values), w.age_week.label("band"), *active, *none),
    ).subquery()
    sums = [func.sum(parts.c[name]).label(name) for name in (*COUNTS, *PLAYER_MEASURES)]
    by = [parts.c[name] for name in ("week", "currency", *(key.name for key in values), "band")]
    return select(*by, *sums).group_by(*by)


async def rebuild(database: Database) -> int:
    """Sum up the weeks that moved; returns how many. Marks set meanwhile stay for the next time."""
    async with database.read() as tx:
        marks = list(await tx.execute(select(touched_cohorts)))
    weeks: dict[tuple[int, date], list[int]] = {}
    for mark in marks:
        weeks.setdefault((mark.team_id, mark.week), []).append(mark.id)
    for (team_id, week), ids in weeks.items():
        await _rebuild_week(database, team_id, week, ids)
    return len(weeks)


async def _rebuild_week(database: Database, team_id: int, week: date, marks: Collection[int]) -> None:
    """Read beside the writers, and written in one short transaction."""
    p, s = players.c, cohort_sums.c
    within = p.team_id == team_id, p.registered.between(week, week + timedelta(days=6))
    async with database.read() as tx:
        cells = (await tx.execute(_select_sums(DIMENSIONS, within))).all()
    kept = _Kept()
    for number, cell in enumerate(cells):
        if number % _TURN == 0:
            await asyncio.sleep(0)
        kept.add(cell)
    rows = [
        {"team_id": team_id, "week": week, **dict(zip(_KEYS, key, strict=True)), **dict(zip(_SUMS, sums, strict=True))}
        for key, sums in kept.sums.items()
    ]
    async with database.begin() as tx:
        await tx.execute(delete(cohort_sums).where(s.team_id == team_id, s.week == week))
        if rows:
            await tx.execute(insert(cohort_sums), rows)
        await tx.execute(delete(touched_cohorts).where(touched_cohorts.c.id.in_(marks)))


_KEYS = ("dimension", "value", "currency", "band")
_SUMS = (*COUNTS, *PLAYER_MEASURES)


class _Kept:
    """Cells of all dimensions at once, summed up by each of them alone."""

    def __init__(self) -> None:
        self.sums: dict[tuple[str, str, str, int], list[int | None]] = {}

    def add(self, cell: Any) -> None:
        values = [_whole(cell[position]) for position in range(-len(_SUMS), 0)]
        band, currency = int(cell.band), cell.currency
        for dimension in DIMENSIONS:
            key = dimension, "" if dimension == "week" else getattr(cell, dimension), currency, band
            known = self.sums.get(key)
            if known is None:
                self.sums[key] = list(values)
                continue
            for place, value in enumerate(values):
                if value is not None:
                    known[place] = (known[place] or 0) + value


def _whole(value: Any) -> Any:
    """Sums as whole numbers: PostgreSQL's are decimals."""
    return value if value is None or isinstance(value, str) else int(value)


async def told_until(tx: AsyncConnection, team_id: int, account_ids: Sequence[int] | None) -> date | None:
    """Up to which day the players of all accounts that are not paused (or of those named) are told of."""
    f, a = player_feeds.c, accounts.c
    query = select(func.min(f.until)).join(accounts, a.id == f.account_id).where(f.team_id == team_id)
    mine = a.paused_at.is_(None) if account_ids is None else f.account_id.in_(account_ids)
    until: date | None = (await tx.execute(query.where(mine))).scalar_one_or_none()
    return until


async def cohorts(tx: AsyncConnection, query: CohortQuery) -> Cohorts:
    """The report: rows of sums that are kept where one dimension suffices, else of the players themselves."""
    account_ids = [int(value) for value in query.keep["account"]] if "account" in query.keep else None
    until = await told_until(tx, query.team_id, account_ids)
    first, last = monday(query.first), monday(query.last)
    made = Cohorts(by=query.by, first=first, last=last + timedelta(days=6), currency=query.currency, until=until,
                   items=[], total=None)  # fmt: skip
    if until is None:
        return made
    rows = await _rows(tx, query, first, last)
    rates = await load_rates(tx, query.team_id, query.currency, {row.currency for row in rows}, first, last)
    groups: dict[str, Group] = {}
    whole = Group("")
    unconverted: dict[str, int] = {}
    for number, row in enumerate(rows):
        if number % _TURN == 0:
            await asyncio.sleep(0)
        rate = rates.rate(row.currency, row.week)
        amounts = {
            name: value if value is None or row.currency == query.currency else None if rate is None
            else convert(value, rate) for name in _AMOUNTS for value in (row.sums[name],)
        }  # fmt: skip
        if rate is None and row.sums["commission"]:
            unconverted[row.currency] = unconverted.get(row.currency, 0) + row.sums["commission"]
        sums = {**row.sums, **amounts}
        group = row.week.isoformat() if query.by == "week" else row.value
        groups.setdefault(group, Group(group)).add(row.week, row.band, sums)
        whole.add(row.week, row.band, sums)
    return msgspec.structs.replace(
        made, items=[groups[name].cohort(until, whole) for name in sorted(groups)], total=whole.cohort(until, whole),
        unconverted=unconverted,
    )  # fmt: skip


_AMOUNTS = ("deposit_amount", "ngr", "commission")


class Row(msgspec.Struct, frozen=True):
    """Sums of one week of registration, value of a dimension, currency and band."""

    week: date
    value: str
    currency: str
    band: int
    sums: dict[str, Any]


async def _rows(tx: AsyncConnection, query: CohortQuery, first: date, last: date) -> list[Row]:
    used = {query.by, *query.keep} - {"week"}
    if len(used) <= 1:
        dimension: Dimension = next(iter(used), "week")
        rows, place = await tx.execute(_kept(query, dimension, first, last)), "value"
    else:
        p = players.c
        where = [p.team_id == query.team_id, p.registered.between(first, last + timedelta(days=6))]
        where += [_VALUES[dimension].in_(values) for dimension, values in query.keep.items()]
        rows, place = await tx.execute(_select_sums((query.by,), where)), query.by
    return [
        Row(_day(row.week), "" if query.by == "week" else row._mapping[place], row.currency, int(row.band),
            {name: _whole(row._mapping[name]) for name in _SUMS})
        for row in rows
    ]  # fmt: skip


def _day(value: Any) -> date:
    """A week's Monday: as the column gives it, or as days since 1970 out of an expression."""
    return value if isinstance(value, date) else date(1970, 1, 1) + timedelta(days=int(value))


def _kept(query: CohortQuery, dimension: Dimension, first: date, last: date) -> Select[Any]:
    s = cohort_sums.c
    value = s.value if query.by == dimension else literal("", Text).label("value")
    by = [s.week, s.currency, s.band, *([s.value] if query.by == dimension else [])]
    sums = [func.sum(s[name]).label(name) for name in (*COUNTS, *PLAYER_MEASURES)]
    picked = select(s.week, value, s.currency, s.band, *sums).group_by(*by)
    picked = picked.where(s.team_id == query.team_id, s.dimension == dimension, s.week.between(first, last))
    return picked.where(s.value.in_(query.keep[dimension])) if dimension in query.keep else picked


class Group:
    """The sums of one group, by week of registration and age band."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.weeks: dict[date, dict[int, dict[str, int | None]]] = {}

    def add(self, week: date, band: int, sums: Mapping[str, int | None]) -> None:
        cell = self.weeks.setdefault(week, {}).setdefault(band, {})
        for name, value in sums.items():
            if value is not None:
                cell[name] = (cell.get(name) or 0) + value

    def total(self, name: str) -> int | None:
        values = [cell[name] for bands in self.weeks.values() for cell in bands.values() if cell.get(name) is not None]
        return sum(value or 0 for value in values) if values else None

    def until(self, name: str, week: date, age: int) -> int:
        """A sum over the first `age` days of a week's players."""
        return sum(cell.get(name) or 0 for band, cell in self.weeks[week].items() if band < age)

    def cohort(self, until: date, whole: "Group") -> Cohort:
        """The group's figures; `whole` is what a forecast rests on where the group itself has too little."""
        registrations, ftds = self.total("registrations") or 0, self.total("first_deposits") or 0
        worth = {horizon: self._per_player(horizon, until) for horizon in HORIZONS}
        return Cohort(
            group=self.name, registrations=registrations, observed=self.total("observed") or 0, first_deposits=ftds,
            reg2dep=ftds / registrations if registrations else None, deposits=self.total("deposits"),
            deposit_amount=self.total("deposit_amount"), ngr=self.total("ngr"), commission=self.total("commission"),
            days_to_ftd=median_age(self._by_band("first_deposits")),
            ltv={str(horizon): value for horizon, (value, _) in worth.items()},
            ltv_players={str(horizon): observed for horizon, (_, observed) in worth.items()},
            retention=[self._retained(number, until) for number in range(WEEKS)],
            cumulated=[self._per_player((number + 1) * 7, until)[0] for number in range(WEEKS)],
            forecast=self._forecasts(until, whole),
        )  # fmt: skip

    def _by_band(self, name: str) -> dict[int, int]:
        by_band: dict[int, int] = {}
        for bands in self.weeks.values():
            for band, cell in bands.items():
                by_band[band] = by_band.get(band, 0) + (cell.get(name) or 0)
        return by_band

    def _per_player(self, horizon: int, until: date) -> tuple[int | None, int]:
        """Commission per player of matured weeks, and how many players that is of."""
        weeks = [week for week in self.weeks if is_matured(week, horizon, until)]
        observed = sum(self.until("observed", week, horizon) for week in weeks)
        if not observed or self.total("commission") is None:
            return None, observed
        return round(sum(self.until("commission", week, horizon) for week in weeks) / observed), observed

    def _retained(self, number: int, until: date) -> float | None:
        """Of the players with a first deposit by the end of that week of age, the share who deposited in it."""
        weeks = [week for week in self.weeks if is_matured(week, (number + 1) * 7, until)]
        depositors = sum(self.until("first_deposits", week, (number + 1) * 7) for week in weeks)
        active = sum(self.weeks[week].get(number * 7, {}).get("active") or 0 for week in weeks)
        return active / depositors if depositors else None

    def _forecasts(self, until: date, whole: "Group") -> list[Forecast]:
        own, basis = self._told_weeks(), whole._told_weeks()
        made = (
            forecast(own, own, horizon=horizon, until=until) or forecast(own, basis, horizon=horizon, until=until)
            for horizon in HORIZONS
        )
        return [each for each in made if each is not None]

    def _told_weeks(self) -> list[Week]:
        """The weeks whose players are known from their first week on."""
        made = []
        for week, bands in self.weeks.items():
            observed = sum(cell.get("observed") or 0 for cell in bands.values())
            early = self.until("observed", week, _WEEK)
            if early and early >= _WHOLE_WEEK * observed:
                made.append(Week(week, early, {band: cell.get("commission") or 0 for band, cell in bands.items()}))
        return made
