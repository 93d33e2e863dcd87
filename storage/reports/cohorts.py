"""What players of a week of registration, campaign, source, offer, account or country did, and are worth by age."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.dates import monday_of
from storage.ledger.money import convert
from storage.ledger.reports.cohorts import (
    ENDS,
    HORIZONS,
    WEEKS,
    Ages,
    Cumulated,
    Forecast,
    Week,
    add_up,
    cumulate,
    ends_reached,
    forecast,
    median_age,
)
from storage.reports.cohort_sums import COLUMNS, Dimension
from storage.reports.rates import load_rates
from storage.tables import accounts, cohort_cells, cohort_weeks, player_feeds

_TOTALS = ("registrations", "deposits", "deposit_amount", "ngr", "commission")
_AMOUNTS = ("deposits", "deposit_amount", "ngr")
_WEEKS_BEFORE = tuple(sum(end % 7 == 0 for end in ENDS[:reached]) for reached in range(len(ENDS) + 1))
_WHOLE_WEEK = 0.98  # of a week's players that must be known from their first week, for a forecast to use the week
_TURN = 100  # rows between two turns of others
_decode = msgspec.msgpack.Decoder(Ages).decode


class CohortQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for: weeks from one Monday to another, both included; entities to keep by id."""

    team_id: int
    first: date
    last: date
    by: Dimension = "week"
    currency: str = "EUR"
    keep: Mapping[Dimension, tuple[str, ...]] = {}


class Cohort(msgspec.Struct, frozen=True, kw_only=True):
    """Players of one group. Amounts are micro-units of the report's currency, None where unreported or without a
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
    """Cohorts, and up to which day players are reported (None: for no account)."""

    by: str
    first: date = msgspec.field(name="from")
    last: date = msgspec.field(name="to")
    currency: str
    until: date | None
    items: list[Cohort]
    total: Cohort | None
    unconverted: dict[str, int] = {}
    names: dict[str, str] = {}


async def reported_until(tx: AsyncConnection, team_id: int, account_ids: Sequence[int] | None) -> date | None:
    """Up to which day the players of all accounts that are not paused (or of those named) are reported."""
    f, a = player_feeds.c, accounts.c
    query = select(func.min(f.until)).join(accounts, a.id == f.account_id).where(f.team_id == team_id)
    mine = a.paused_at.is_(None) if account_ids is None else f.account_id.in_(account_ids)
    until: date | None = (await tx.execute(query.where(mine))).scalar_one_or_none()
    return until


async def cohorts(tx: AsyncConnection, query: CohortQuery) -> Cohorts:
    """The report, of the sums that are kept: by one dimension, or by all where it is filtered by another."""
    account_ids = [int(value) for value in query.keep["account"]] if "account" in query.keep else None
    until = await reported_until(tx, query.team_id, account_ids)
    first, last = monday_of(query.first), monday_of(query.last)
    made = Cohorts(by=query.by, first=first, last=last + timedelta(days=6), currency=query.currency, until=until,
                   items=[], total=None)  # fmt: skip
    if until is None:
        return made
    rows = (await tx.execute(_select(query, first, last))).all()
    rates = await load_rates(tx, query.team_id, query.currency, {row.currency for row in rows}, first, last)
    groups: dict[str, Group] = {}
    whole = Group("")
    unconverted: dict[str, int] = {}
    for number, row in enumerate(rows):
        if number % _TURN == 0:
            await asyncio.sleep(0)
        ages = _decode(row.ages)
        same = row.currency == query.currency
        rate = None if same else rates.rate(row.currency, row.week)
        sums = Sums.of(row, ages, until, None if rate is None else partial(convert, rate=rate))
        if not same and rate is None:
            if lost := sum(ages.commission or ()):
                unconverted[row.currency] = unconverted.get(row.currency, 0) + lost
            sums = sums.without_amounts()
        group = row.week.isoformat() if query.by == "week" else str(row.value)
        groups.setdefault(group, Group(group)).add(row.week, sums)
        whole.add(row.week, sums)
    items = []
    for name in sorted(groups):
        items.append(groups[name].cohort(until, whole))
        await asyncio.sleep(0)
    return msgspec.structs.replace(made, items=items, total=whole.cohort(until, whole), unconverted=unconverted)


def _select(query: CohortQuery, first: date, last: date) -> Select[Any]:
    """The rows of sums that make up the report, each with its `week`, `currency`, and the `value` it is grouped by."""
    value: ColumnElement[Any]
    where: list[ColumnElement[bool]]
    used = {query.by, *query.keep} - {"week"}
    if len(used) <= 1:
        dimension: Dimension = next(iter(used), "week")
        c = cohort_weeks.c
        value, where = c.value, [c.dimension == dimension]
        where += [c.value.in_(query.keep[dimension])] if dimension in query.keep else []
    else:
        c = cohort_cells.c
        where = []
        value = literal("") if query.by == "week" else c[COLUMNS[query.by]]
        for dimension, values in query.keep.items():
            column = c[COLUMNS[dimension]]
            where.append(column.in_(values if dimension == "country" else [int(each) for each in values]))
    sums = (c[name] for name in ("registrations", *_AMOUNTS, "ages"))
    picked = select(c.week, value.label("value"), c.currency, *sums)
    return picked.where(c.team_id == query.team_id, c.week.between(first, last), *where)


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """A row of sums in the report's currency: in all, by band, and until each of the ages all its players have
    reached (`reached` of ENDS)."""

    registrations: int
    deposits: int | None
    deposit_amount: int | None
    ngr: int | None
    commission: int | None
    ages: Ages
    so_far: Cumulated
    reached: int

    @classmethod
    def of(cls, row: Any, ages: Ages, until: date, in_currency: Callable[[int], int] | None) -> "Sums":
        def amount(value: int | None) -> int | None:
            return value if value is None or in_currency is None else in_currency(value)

        so_far = cumulate(ages, in_currency)
        return cls(
            registrations=row.registrations, deposits=row.deposits, deposit_amount=amount(row.deposit_amount),
            ngr=amount(row.ngr), commission=None if ages.commission is None else so_far.commission_in_all, ages=ages,
            so_far=so_far, reached=ends_reached(row.week, until),
        )  # fmt: skip

    def without_amounts(self) -> "Sums":
        """Of a currency that has no rate."""
        nothing = msgspec.structs.replace(self.so_far, commission=[0] * len(ENDS))
        return msgspec.structs.replace(self, deposit_amount=None, ngr=None, commission=None, so_far=nothing)


class GroupWeek:
    """A group's players of one week of registration."""

    def __init__(self) -> None:
        self.observed = self.early = 0  # in all, and known from their first week on
        self.commission: list[int] = []  # until each of ENDS

    def add(self, sums: Sums) -> None:
        self.observed += sum(sums.ages.observed)
        self.early += sums.so_far.observed[0]
        add_up(self.commission, sums.so_far.commission)


class Group:
    """The sums of one group; of matured weeks until each of ENDS."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.totals: dict[str, int | None] = dict.fromkeys(_TOTALS)
        self.first_deposits: list[int] = []  # by band
        self.depositors: list[int] = []
        self.observed: list[int] = []
        self.commission: list[int] = []
        self.active: list[int] = []  # by week of age
        self.weeks: dict[date, GroupWeek] = {}

    def add(self, week: date, sums: Sums) -> None:
        for name in _TOTALS:
            value = getattr(sums, name)
            if value is not None:
                self.totals[name] = (self.totals[name] or 0) + value
        reached = sums.reached
        add_up(self.first_deposits, sums.ages.first_deposits)
        add_up(self.depositors, sums.so_far.first_deposits[:reached])
        add_up(self.observed, sums.so_far.observed[:reached])
        add_up(self.commission, sums.so_far.commission[:reached])
        add_up(self.active, sums.ages.active[: _WEEKS_BEFORE[reached]])
        self.weeks.setdefault(week, GroupWeek()).add(sums)

    def cohort(self, until: date, whole: "Group") -> Cohort:
        """The group's figures; `whole` is what a forecast rests on where the group itself has too little."""
        registrations, ftds = self.totals["registrations"] or 0, sum(self.first_deposits)
        worth = {horizon: self._per_player(horizon) for horizon in HORIZONS}
        return Cohort(
            group=self.name, registrations=registrations, first_deposits=ftds,
            observed=sum(week.observed for week in self.weeks.values()),
            reg2dep=ftds / registrations if registrations else None, deposits=self.totals["deposits"],
            deposit_amount=self.totals["deposit_amount"], ngr=self.totals["ngr"], commission=self.totals["commission"],
            days_to_ftd=median_age(self.first_deposits),
            ltv={str(horizon): value for horizon, (value, _) in worth.items()},
            ltv_players={str(horizon): observed for horizon, (_, observed) in worth.items()},
            retention=[self._retained(number) for number in range(WEEKS)],
            cumulated=[self._per_player((number + 1) * 7)[0] for number in range(WEEKS)],
            forecast=self._forecasts(until, whole),
        )  # fmt: skip

    def _per_player(self, horizon: int) -> tuple[int | None, int]:
        """Commission per player of matured weeks, and how many players that is of."""
        place = ENDS.index(horizon)
        observed = _at(self.observed, place)
        if not observed or self.totals["commission"] is None:
            return None, observed
        return round(_at(self.commission, place) / observed), observed

    def _retained(self, number: int) -> float | None:
        """Of the players with a first deposit by the end of that week of age, the share who deposited in it."""
        depositors = _at(self.depositors, ENDS.index((number + 1) * 7))
        return _at(self.active, number) / depositors if depositors else None

    def _forecasts(self, until: date, whole: "Group") -> list[Forecast]:
        own, basis = self.reported_weeks(), whole.reported_weeks()
        made = (
            forecast(own, own, horizon=horizon, until=until) or forecast(own, basis, horizon=horizon, until=until)
            for horizon in HORIZONS
        )
        return [each for each in made if each is not None]

    def reported_weeks(self) -> list[Week]:
        """The weeks whose players are known from their first week on."""
        return [
            Week(day, week.early, week.commission)
            for day, week in self.weeks.items()
            if week.early and week.early >= _WHOLE_WEEK * week.observed
        ]


def _at(values: Sequence[int], place: int) -> int:
    return values[place] if place < len(values) else 0
