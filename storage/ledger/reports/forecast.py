"""An estimate of commission a platform has yet to state, from the first deposits in hand; how good such estimates were.

A day's commission is taken to be the offer's own commission per first deposit, times the day's first deposits; the
interval is as wide as past days strayed from that, a stray being measured against the square root of the day's first
deposits plus one (as counts stray). A rule of thumb with open books: its past hits are counted beside it.
"""

from collections.abc import Sequence
from math import isqrt, sqrt

import msgspec

LEAST_DAYS = 7  # history below which nothing is estimated
LOW, HIGH = 0.1, 0.9  # an 80 % interval
_SCALE = 1_000


class Past(msgspec.Struct, frozen=True):
    """A settled day: first deposits as they were in hand, and the commission that came of it (micro-units)."""

    first_deposits: int
    commission: int


class Estimate(msgspec.Struct, frozen=True):
    """Commission in micro-units, with an 80 % interval; `days` of history are behind it."""

    estimate: int
    low: int
    high: int
    days: int


class Accuracy(msgspec.Struct, frozen=True):
    """How many past days there was an estimate for, and how many turned out inside its interval."""

    days: int
    inside: int

    @property
    def share(self) -> float | None:
        return self.inside / self.days if self.days else None


def estimate(first_deposits: int, history: Sequence[Past]) -> Estimate | None:
    """What a day with so many first deposits may bring; None if the history is too short to say."""
    told = sum(past.first_deposits for past in history)
    if len(history) < LEAST_DAYS or told == 0:
        return None
    earned = sum(past.commission for past in history)
    middle = earned * first_deposits // told
    strays = sorted(
        (past.commission - earned * past.first_deposits / told) / sqrt(past.first_deposits + 1) for past in history
    )
    width = isqrt((first_deposits + 1) * _SCALE * _SCALE)
    low = middle + round(quantile(strays, LOW) * width) // _SCALE
    high = middle + round(quantile(strays, HIGH) * width) // _SCALE
    return Estimate(middle, min(low, middle), max(high, middle), len(history))


def quantile(ordered: Sequence[float], share: float) -> float:
    """A quantile that errs to the outside: of few values the outermost, since those not seen may lie beyond."""
    at = share * (len(ordered) + 1) - 1
    below = max(0, min(len(ordered) - 1, int(at // 1)))
    above = min(len(ordered) - 1, below + 1)
    within = min(max(at - below, 0.0), 1.0)
    return ordered[below] + (ordered[above] - ordered[below]) * within


def accuracy(history: Sequence[Past]) -> Accuracy:
    """Each past day estimated from the days before it alone, oldest first."""
    days = inside = 0
    for at, past in enumerate(history):
        told = estimate(past.first_deposits, history[:at])
        if told is not None:
            days += 1
            inside += told.low <= past.commission <= told.high
    return Accuracy(days, inside)


def total(parts: Sequence[Estimate]) -> Estimate | None:
    """Several estimates as one. They are taken to stray independently: the interval grows with the square root."""
    if not parts:
        return None
    middle = sum(one.estimate for one in parts)
    down = isqrt(sum((one.estimate - one.low) ** 2 for one in parts))
    up = isqrt(sum((one.high - one.estimate) ** 2 for one in parts))
    return Estimate(middle, middle - down, middle + up, min(one.days for one in parts))
