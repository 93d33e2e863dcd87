"""Cohorts: players by week of registration, by age in bands, what a player is worth after so many days, and forecasts.

An age is the number of days since registration, 0 on its day. Only matured weeks count for a horizon: those whose last
day of registration is so many days before the last day told. Amounts are micro-units.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from itertools import accumulate
from operator import add
from statistics import NormalDist

import msgspec

HORIZONS = (7, 30, 90, 180)
WEEKS = 26  # of age that are shown one by one
LAST_BAND = 364  # everything after a year is one band
_WEEK = 7
LEAST_WEEKS = 5  # matured weeks that a forecast needs
_SHARE = 0.8  # of outcomes that a forecast's range should hold
_SPLITS = {28: 30, 84: 90, 175: 180}  # weeks within which a horizon ends


def band_of(age: int) -> int:
    """The first age of the band an age falls into: days in the first week, then weeks, cut where a horizon ends."""
    if age < 7:
        return max(age, 0)
    week = min(age // 7 * 7, LAST_BAND)
    split = _SPLITS.get(week)
    return split if split is not None and age >= split else week


#: The first age of every band.
BANDS = tuple(age for age in range(LAST_BAND + 1) if band_of(age) == age)
#: The place of each age's band in BANDS; ages after LAST_BAND are in the last.
PLACES = tuple(BANDS.index(band_of(age)) for age in range(LAST_BAND + 1))
#: The ages at which what a player has brought so far is read: the end of each week that is shown, and the horizons.
ENDS = tuple(sorted({*HORIZONS, *(7 * number for number in range(1, WEEKS + 1))}))
_BEFORE = tuple(bisect_left(BANDS, end) for end in ENDS)  # how many bands end by each of them


class Ages(msgspec.Struct, frozen=True, array_like=True):
    """Sums over players by age, in the order of BANDS and without zeros at the end: whose figures are known from that
    age on, first deposits, commission in micro-units (None: not reported); `active`: with a deposit, by week of age."""

    observed: list[int]
    first_deposits: list[int]
    active: list[int]
    commission: list[int] | None


class Cumulated(msgspec.Struct, frozen=True):
    """The sums of `Ages` until each of ENDS, and commission in all."""

    observed: list[int]
    first_deposits: list[int]
    commission: list[int]
    commission_in_all: int


def cumulate(ages: Ages, convert: Callable[[int], int] | None = None) -> Cumulated:
    """Sums so far at each of ENDS; `convert` brings commission to another currency."""
    commission = ages.commission or []
    converted = commission if convert is None else [convert(value) if value else 0 for value in commission]
    return Cumulated(_so_far(ages.observed), _so_far(ages.first_deposits), _so_far(converted), sum(converted))


def _so_far(values: Sequence[int]) -> list[int]:
    sums = list(accumulate(values, initial=0))
    last = len(sums) - 1
    return [sums[before if before < last else last] for before in _BEFORE]


def add_up(total: list[int], values: Sequence[int]) -> None:
    """Add values to a total place by place; the total grows where it is shorter."""
    total[: len(values)] = [*map(add, total, values), *values[len(total) :]]


def ends_reached(week: date, until: date) -> int:
    """How many of ENDS the players who registered in the week have all been reported for."""
    return bisect_right(ENDS, (until - week).days - _WEEK + 2)


def is_matured(week: date, horizon: int, until: date) -> bool:
    """Whether every player who registered in the week has been reported for `horizon` days."""
    return week + timedelta(days=6 + horizon - 1) <= until


_END_AT = {end: number for number, end in enumerate(ENDS)}


class Week(msgspec.Struct, frozen=True):
    """What a forecast reads of a week of registration: its players, and their commission until each of ENDS."""

    week: date
    players: int
    commission: Sequence[int]

    def until(self, age: int) -> int:
        """Commission of the first `age` days, in micro-units; `age` is 0 or one of ENDS."""
        return self.commission[_END_AT[age]] if age else 0


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What a player will have brought `horizon` days after registration; 8 of 10 outcomes should be in the range."""

    horizon: int
    estimate: int
    low: int
    high: int
    weeks: int  # matured ones it rests on


def forecast(weeks: Sequence[Week], basis: Iterable[Week], *, horizon: int, until: date) -> Forecast | None:
    """Commission per player of the weeks at `horizon`: of a matured week what it has brought, of another what it has
    so far, plus what matured weeks of `basis` brought from that age on.

    The mean of the basis is weighted by players; the range is a prediction interval of Student's t from how far its
    weeks differ, wider for few players. None if every week is matured, with fewer than five matured weeks to rest on,
    or without players.
    """
    matured = [week for week in basis if week.players and is_matured(week.week, horizon, until)]
    players = sum(week.players for week in weeks)
    coming = [week for week in weeks if week.players and not is_matured(week.week, horizon, until)]
    if not players or not coming or len(matured) < LEAST_WEEKS:
        return None
    value: float = sum(week.until(horizon) for week in weeks if is_matured(week.week, horizon, until))
    own = shared = 0.0
    for week in coming:
        age = age_of(week.week, until)
        mean, variance = _rise(matured, age, horizon)
        value += week.until(age) + week.players * mean
        own, shared = own + week.players * variance, shared + week.players * math.sqrt(variance)
    of_mean = shared**2 / sum(week.players for week in matured)  # the means of all ages are of the same weeks
    spread = _student(len(matured) - 1) * math.sqrt(own + of_mean) / players
    estimate = value / players
    return Forecast(
        horizon=horizon, estimate=round(estimate), low=round(estimate - spread), high=round(estimate + spread),
        weeks=len(matured),
    )  # fmt: skip


def age_of(week: date, until: date) -> int:
    """The whole weeks, in days, that every player of a week of registration has been reported for."""
    return max((until - week).days - 6 + 1, 0) // 7 * 7


def _rise(matured: Sequence[Week], age: int, horizon: int) -> tuple[float, float]:
    """What a player brought from an age until the horizon: the mean over matured weeks, and the variance of one."""
    rises = [(week.players, (week.until(horizon) - week.until(age)) / week.players) for week in matured]
    total = sum(players for players, _ in rises)
    mean = sum(players * rise for players, rise in rises) / total
    return mean, sum(players * (rise - mean) ** 2 for players, rise in rises) / (len(rises) - 1)


def _student(degrees: int) -> float:
    """The two-sided 80 % quantile of Student's t, by Cornish and Fisher's expansion: within 1 % from 4 degrees on."""
    z = NormalDist().inv_cdf(0.5 + _SHARE / 2)
    first = (z**3 + z) / (4 * degrees)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
    return z + first + second


def median_age(counts: Sequence[int]) -> int | None:
    """The first age of the band within which half of a count is reached, of counts by BANDS; None of nothing."""
    half, so_far = sum(counts) / 2, 0
    for band, number in zip(BANDS, counts, strict=False):
        so_far += number
        if number and so_far >= half:
            return band
    return None


class CampaignDay(msgspec.Struct, frozen=True):
    """A day of a campaign: what it cost, what it brought; micro-units of one currency, None where it is not known."""

    day: date
    spend: int | None
    commission: int | None


def break_even_day(days: Sequence[CampaignDay]) -> date | None:
    """The day from which on the cumulated commission has stayed at or above the cumulated spend; None without one."""
    spend = commission = 0
    reached: date | None = None
    for day in sorted(days, key=lambda each: each.day):
        spend += day.spend or 0
        commission += day.commission or 0
        if commission < spend or not spend:
            reached = None
        elif reached is None:
            reached = day.day
    return reached
