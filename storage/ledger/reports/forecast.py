"""Commission that a platform has yet to state: an estimate, an 80 % interval, and how such intervals did before.

A day brings what its first deposits bring, some at once and some late, and what the players brought so far bring. The
interval is how far past days strayed from the estimate made of earlier days, at a level that follows the misses.

- Late commission: a day's own that grows as its players qualify (what has not come yet is not nothing: Chapelle 2014,
  *Modeling delayed feedback in display advertising*), or commission booked on the day they qualify (geometric lags:
  Koyck 1954). The shapes are averaged by how well they fit.
- Rev share: the stock of players is a column of its own; an offer that pays per FTD alone has none.
- Coefficients: least squares that forget with a half-life of 45 days, updated day by day (recursive least squares).
- Interval: ranks of the past errors, each divided by its day's spread (Lei, G'Sell, Rinaldo, Tibshirani, Wasserman
  2018, *Distribution-free predictive inference for regression*); days without FTDs are compared with such days (Vovk,
  Lindsay, Nouretdinov, Gammerman 2003, *Mondrian confidence machine*); the level is adaptive (Gibbs, Candès 2021,
  *Adaptive conformal inference under distribution shift*). A total is calibrated on the errors of past totals.
- Only matured days are outcomes. Ends are rounded outwards: to a multiple of what one FTD pays, else to a cent.
"""

from bisect import insort
from collections.abc import Iterable, Sequence
from math import ceil, floor, gcd, sqrt

import msgspec

from storage.ledger.reports.forecast_fit import Fit, FittedDay
from storage.ledger.reports.forecast_fit import Past as Past
from storage.ledger.reports.forecast_fit import Pending as Pending

LEAST_DAYS, LEAST_FIRST_DEPOSITS = 28, 10  # of history; below them nothing is estimated
MOST_DAYS = 120  # of history that are looked at
_MISSES = 0.172  # share of outcomes outside: 0.2, less what fitting the columns makes past errors too small
_MISSES_OF_TOTALS = 0.185  # errors of several offers even out
_STEP, _LEAST_LEVEL, _MOST_LEVEL = 0.03, 0.02, 0.6  # of the adaptive level
_FIRST_ERRORS = 20  # before that many the level stands, and no interval is judged
_GROUP = 9  # errors that an interval of their own needs
_CENT = 10_000


class Estimate(msgspec.Struct, frozen=True):
    """Commission in micro-units, with an 80 % interval; `days` of history are behind it."""

    estimate: int
    low: int
    high: int
    days: int


class Accuracy(msgspec.Struct, frozen=True):
    """How many past days have an outcome, and how many outcomes lay inside the interval made of the days before."""

    days: int
    inside: int

    @property
    def share(self) -> float | None:
        return self.inside / self.days if self.days else None


class Rounding(msgspec.Struct, frozen=True):
    """How ends are rounded: outwards to multiples of `unit`; never below 0 where no past day was."""

    unit: int = 0
    never_negative: bool = False

    def ends(self, low: float, high: float) -> tuple[int, int]:
        unit = self.unit or _CENT
        tolerance = unit * 1e-6
        ends = floor((low + tolerance) / unit) * unit, ceil((high - tolerance) / unit) * unit
        return (max(ends[0], 0), max(ends[1], 0)) if self.never_negative else ends


class OfferForecast(msgspec.Struct, frozen=True, kw_only=True):
    """One offer's pending days, and what a total of several offers is made of.

    Positions of `errors` are calendar days, the first one being `first_day`; days that are no outcomes are None.
    """

    estimates: tuple[Estimate, ...]
    accuracy: Accuracy
    first_day: int
    errors: tuple[FittedDay | None, ...]
    spread: float  # of the pending days' sum
    rounding: Rounding


def shortage(history: Sequence[Past]) -> str | None:
    """Why there is no estimate yet; None if there is one."""
    settled = [past for past in history if past.commission is not None]
    first_deposits = sum(past.first_deposits for past in settled)
    if len(settled) < LEAST_DAYS or first_deposits < LEAST_FIRST_DEPOSITS:
        return f"{len(settled)} of {LEAST_DAYS} settled days, {first_deposits} of {LEAST_FIRST_DEPOSITS} FTDs"
    return None if any(past.commission for past in settled) else "no commission so far"


def estimate(first_deposits: int, history: Sequence[Past]) -> Estimate | None:
    """What the day after the history may bring; None if `shortage` says why not."""
    made = forecast_offer(history, [Pending(first_deposits)])
    return made.estimates[0] if made else None


def forecast_offer(
    history: Sequence[Past], pending: Sequence[Pending], *, skip: int = 0, first_day: int = 0
) -> OfferForecast | None:
    """The pending days after the history, one entry a calendar day, oldest first; None if `shortage` says why not.

    The first `skip` of them are only there for what follows from their first deposits. `first_day` numbers the
    history's first day, so that totals put the same days of several offers together.
    """
    recent = history[-MOST_DAYS:]
    if shortage(recent) is not None:
        return None
    return _forecast(Fit(recent, pending, skip=skip), first_day + len(history) - len(recent))


def _forecast(fit: Fit, first_day: int) -> OfferForecast:
    rounding = Rounding(fit.unit if fit.counting else 0, fit.never_negative)
    errors = _outcomes(fit)
    calibration = Calibration(rounding)
    calibration.learn(error for error in errors if error is not None)
    estimates = []
    for day in fit.pending:
        middle = round(max(day.estimate, 0.0) if fit.never_negative else day.estimate)
        low, high = calibration.ends(day.estimate, day.spread, alone=day.alone)
        estimates.append(Estimate(middle, min(low, middle), max(high, middle), len(fit.reported_days)))
    return OfferForecast(
        estimates=tuple(estimates), accuracy=calibration.accuracy, first_day=first_day, errors=tuple(errors),
        spread=fit.pending_spread, rounding=rounding,
    )  # fmt: skip


def _outcomes(fit: Fit) -> list[FittedDay | None]:
    """The past days with an outcome; where too few have matured, those that have not as well, none of them judged."""
    matured = [day if day is not None and day.matured else None for day in fit.past]
    enough = sum(day is not None for day in matured) >= _FIRST_ERRORS
    return matured if enough else fit.past


def total(forecasts: Sequence[OfferForecast]) -> tuple[Estimate | None, Accuracy]:
    """All pending days of several offers as one, and how past days' totals did."""
    if not any(forecast.estimates for forecast in forecasts):
        return None, Accuracy(0, 0)
    units = [forecast.rounding.unit for forecast in forecasts]
    never_negative = all(forecast.rounding.never_negative for forecast in forecasts)
    rounding = Rounding(gcd(*units) if all(units) else 0, never_negative)
    calibration = Calibration(rounding, _MISSES_OF_TOTALS if len(forecasts) > 1 else _MISSES)
    calibration.learn(_past_totals(forecasts))
    middle = sum(estimate.estimate for forecast in forecasts for estimate in forecast.estimates)
    low, high = calibration.ends(middle, sqrt(sum(forecast.spread**2 for forecast in forecasts)))
    days = min(estimate.days for forecast in forecasts for estimate in forecast.estimates)
    return Estimate(middle, min(low, middle), max(high, middle), days), calibration.accuracy


def _past_totals(forecasts: Sequence[OfferForecast]) -> Iterable[FittedDay]:
    """Per calendar day the sums over the offers that have an outcome."""
    first = min(forecast.first_day for forecast in forecasts)
    last = max(forecast.first_day + len(forecast.errors) for forecast in forecasts)
    for day in range(first, last):
        errors = [
            error
            for forecast in forecasts
            if 0 <= day - forecast.first_day < len(forecast.errors)
            and (error := forecast.errors[day - forecast.first_day]) is not None
        ]
        if errors:
            yield FittedDay(
                sum(error.estimate for error in errors), sum(error.outcome for error in errors),
                sqrt(sum(error.spread**2 for error in errors)),
                judged=all(error.judged and error.matured for error in errors),
            )  # fmt: skip


class Calibration:
    """Past errors in order of time, what level they ask for, and the intervals that follow."""

    def __init__(self, rounding: Rounding, misses: float = _MISSES) -> None:
        self._rounding = rounding
        self._misses = misses
        self._errors: list[float] = []  # ordered, in spreads
        self._groups: dict[bool, list[float]] = {False: [], True: []}
        self._level = misses
        self._days = self._inside = 0

    @property
    def accuracy(self) -> Accuracy:
        return Accuracy(self._days, self._inside)

    def learn(self, errors: Iterable[FittedDay]) -> None:
        """Take in more past days, oldest first: each is compared with the interval made of those before it."""
        for error in errors:
            stray = (error.outcome - error.estimate) / error.spread
            if len(self._errors) >= _FIRST_ERRORS:
                low, high = _ranks(self._errors, self._level)
                change = _STEP * (self._misses - (not low <= stray <= high))
                if error.judged and error.matured:
                    self._judge(error)
                self._level = min(_MOST_LEVEL, max(_LEAST_LEVEL, self._level + change))
            insort(self._errors, stray)
            insort(self._groups[error.alone], stray)

    def _judge(self, error: FittedDay) -> None:
        self._days += 1
        low, high = self._exact_ends(error.estimate, error.spread, error.alone)
        if not low <= error.outcome <= high:  # rounding outwards may take it in
            low, high = self._rounding.ends(low, high)
        self._inside += low - 1 <= error.outcome <= high + 1

    def ends(self, middle: float, spread: float, *, alone: bool = False) -> tuple[int, int]:
        """The interval around an estimate; without past errors the estimate itself."""
        if not self._errors:
            return self._rounding.ends(middle, middle)
        return self._rounding.ends(*self._exact_ends(middle, spread, alone))

    def _exact_ends(self, middle: float, spread: float, alone: bool) -> tuple[float, float]:
        group = self._groups[alone]
        low, high = _ranks(group if len(group) >= _GROUP else self._errors, self._level)
        return middle + low * spread, middle + high * spread


def _ranks(ordered: list[float], level: float) -> tuple[float, float]:
    """The errors that leave `level` of as many and one more outside, half on each side, rounded outwards."""
    outside = max(1, int((len(ordered) + 1) * level / 2))
    return ordered[outside - 1], ordered[-outside]
