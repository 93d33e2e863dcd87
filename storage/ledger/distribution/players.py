"""What players by rev share bring in all, and how long they stay, learnt from the commission of the weeks so far.

- A player brings some each day and leaves sooner or later (a constant hazard: Fader, Hardie 2007, *How to project
  customer retention*). After how many days half of them have left is not known: several numbers are averaged by how
  well they explain the weeks, and how likely each is follows from all offers of a campaign (empirical Bayes).
- Players differ much more than offers do. How sure a figure is depends on how many players are behind it, not on how
  much of their revenue has come: the weeks of one player belong together (generalised least squares).
- What players win and lose from day to day is taken from how far days stray from the day before (von Neumann 1941,
  *Distribution of the ratio of the mean square successive difference to the variance*).
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from math import exp, log, sqrt

import msgspec

HALF_LIVES = (25.0, 35.0, 45.0, 60.0, 80.0)  # days after which half of the players have left
_LIKELY = (1.0, 2.0, 2.0, 2.0, 1.0)  # how likely each is, in offers that have shown it
ALIKE = 0.7  # part of the variance by how long players stay that is the same for all offers
PLAYER_VARIANCE = 4.0  # of what players bring, in squares of the mean: some bring most of it
OFFER_VARIANCE = 0.15  # of what an offer's players bring, in squares of what those of all offers do
_DAY_VARIANCE = 12.0  # of what a player brings on one day, in squares of the mean
_DAYS = 5.0  # that this is worth as evidence
_PERIOD = 10  # days that are looked at together
_OTHER_VARIANCE = 0.3  # of what players by rev share bring, in squares of what FTDs of other offers do
_ANY_VARIANCE = 1.0  # of the same, where nothing else is known
_FEW = PLAYER_VARIANCE / OFFER_VARIANCE  # players that what is usual is worth as evidence of an offer's own


class Cohorts(msgspec.Struct, frozen=True, kw_only=True):
    """An offer's days, oldest first: players who began, and the rev share in micro-units; None where it is not known.
    One with a variance is an estimate."""

    players: list[float]
    amounts: list[float | None]
    variances: list[float]


class Lifetime(msgspec.Struct, frozen=True, kw_only=True):
    """What a player brings in all (micro-units) and its variance; `common` is the part of that which moves all offers
    alike. `arrived`: for how many players' whole stay revenue has come."""

    mean: float
    variance: float
    common: float
    arrived: float


def lifetimes(offers: Sequence[Cohorts], *, otherwise: float = 0.0) -> list[Lifetime]:
    """What a player of each offer brings in all; `otherwise` is what FTDs of the campaign's other offers do, 0 where
    that is not known."""
    several = [[_Periods.of(offer, half_life) for half_life in HALF_LIVES] for offer in offers]
    likely = [prior / sum(_LIKELY) for prior in _LIKELY]
    usual = _usual(several, likely, otherwise)
    explained = [_explained([periods.fit(usual) for periods in own], likely) for own in several]
    counts = [prior + sum(shares[at] for shares in explained) for at, prior in enumerate(_LIKELY)]
    likely = [count / sum(counts) for count in counts]
    usual = _usual(several, likely, otherwise)
    return [_averaged(own, [periods.fit(usual) for periods in own], likely) for own in several]


class _Usual(msgspec.Struct, frozen=True):
    """What players bring, and the variance of that in squares of it."""

    mean: float
    variance: float


class _Fit(msgspec.Struct, frozen=True):
    mean: float
    variance: float
    common: float  # more variance, by which all offers stray together
    evidence: float  # logarithm of how likely these figures are


class _Periods(msgspec.Struct, frozen=True):
    """An offer's commission by period, if half of the players leave within some days. Of what one player brings in
    all: `due` has come by period, `shared` is what periods have in common by having the same players, and
    `player_days` how many players were there."""

    amounts: list[float]
    variances: list[float]
    due: list[float]
    shared: list[list[float]]
    player_days: list[float]
    strays: float  # half the squares of what days differ from the day before
    players: float
    leaving: float

    @classmethod
    def of(cls, offer: Cohorts, half_life: float) -> "_Periods":
        known = tuple(amount is not None for amount in offer.amounts)
        parts = _parts(known, half_life)
        began = [(n, parts[day]) for day, n in enumerate(offer.players) if n > 0]
        due = [sum(n * part[at] for n, part in began) for at in range(len(parts[0]))] if parts else []
        seen = [at for at, amount in enumerate(due) if amount > 0]
        leaving = 1 - 0.5 ** (1 / half_life)
        days = [(day, amount) for day, amount in enumerate(offer.amounts) if amount is not None]
        return cls(
            amounts=[sum(amount for day, amount in days if day // _PERIOD == at) for at in seen],
            variances=[sum(offer.variances[day] for day, _ in days if day // _PERIOD == at) for at in seen],
            due=[due[at] for at in seen],
            shared=[[sum(n * part[a] * part[b] for n, part in began) for b in seen if b <= a] for a in seen],
            player_days=[due[at] / leaving for at in seen],
            strays=sum((b - a) ** 2 for (_, a), (_, b) in pairwise(days)) / 2,
            players=sum(n for n, part in began if any(part)), leaving=leaving,
        )  # fmt: skip

    @property
    def information(self) -> float:
        """How sure the known days are of what a player brings: 1 divided by the variance, in squares of the mean."""
        if not self.due:
            return 0.0
        players = PLAYER_VARIANCE * sum(2 * sum(row) - row[-1] for row in self.shared)
        days = _DAY_VARIANCE * self.leaving**2 * sum(self.player_days)
        return sum(self.due) ** 2 / (players + days)

    def fit(self, usual: _Usual) -> _Fit:
        """What a player brings in all, by the weeks and by what is usual: a normal posterior."""
        before, common = 1 / (OFFER_VARIANCE * usual.mean**2), usual.variance * usual.mean**2
        if not self.due:
            return _Fit(usual.mean, 1 / before, common, 0.0)
        factor = _cholesky(self._covariance(usual.mean))
        due, amounts = _solved(factor, self.due), _solved(factor, self.amounts)
        precision = before + sum(part * part for part in due)
        mean = (before * usual.mean + sum(part * amount for part, amount in zip(due, amounts, strict=True))) / precision
        squares = sum(amount * amount for amount in amounts) + before * usual.mean**2 - precision * mean**2
        spread = sum(log(row[-1]) for row in factor) + 0.5 * log(precision / before)
        return _Fit(mean, 1 / precision, common * (before / precision) ** 2, -spread - 0.5 * squares)

    def _covariance(self, usual: float) -> list[list[float]]:
        """The lower half: what players have in common, and on the diagonal what days stray."""
        passed = sum(self.due) / self.players
        size = abs(sum(self.amounts) + _FEW * passed * usual) / (sum(self.due) + _FEW * passed)
        size = max(size, usual / 4)
        day = (size * self.leaving) ** 2
        usual_days = _DAYS * sum(self.player_days) / (_PERIOD * len(self.due))
        noise = (usual_days * _DAY_VARIANCE * day + self.strays) / (usual_days + sum(self.player_days))
        made = [[PLAYER_VARIANCE * size**2 * value for value in row] for row in self.shared]
        for at, row in enumerate(made):
            row[-1] += noise * self.player_days[at] + self.variances[at]
        return made


@lru_cache(64)
def _parts(known: tuple[bool, ...], half_life: float) -> list[list[float]]:
    """By the day on which a player begins: the part of all they bring that is booked on the known days of each
    period."""
    staying, days = 0.5 ** (1 / half_life), len(known)
    made = []
    for began in range(days):
        part = [0.0] * ((days - 1) // _PERIOD + 1)
        for day in range(began, days):
            if known[day]:
                part[day // _PERIOD] += (1 - staying) * staying ** (day - began)
        made.append(part)
    return made


def _usual(several: Sequence[Sequence[_Periods]], likely: Sequence[float], otherwise: float) -> _Usual:
    """What players bring, as a mean of offers by how sure each one's figure is, without sign: losses are an offer's
    own; the less sure it is, the more it is what FTDs of other offers bring."""
    means, whole, known = 0.0, 0.0, 0.0
    for own in several:
        if due := sum(share * sum(periods.due) for share, periods in zip(likely, own, strict=True)):
            information = sum(share * periods.information for share, periods in zip(likely, own, strict=True))
            sure = information / (information + 1 / OFFER_VARIANCE)
            means, whole = means + sure * abs(sum(own[0].amounts)) / due, whole + sure
            known += information
    mean = means / whole if whole else 0.0
    if otherwise:
        mean = (known * mean + otherwise / _OTHER_VARIANCE) / (known + 1 / _OTHER_VARIANCE)
    return _Usual(mean or 1.0, 1 / (known + 1 / (_OTHER_VARIANCE if otherwise else _ANY_VARIANCE)))


def _explained(fits: Sequence[_Fit], likely: Sequence[float]) -> list[float]:
    """How well each half-life explains an offer's periods, all of them together being 1."""
    logarithms = [log(prior) + fit.evidence for prior, fit in zip(likely, fits, strict=True)]
    most = max(logarithms)
    parts = [exp(value - most) for value in logarithms]
    return [part / sum(parts) for part in parts]


def _averaged(own: Sequence[_Periods], fits: Sequence[_Fit], likely: Sequence[float]) -> Lifetime:
    shares = _explained(fits, likely)
    mean = sum(share * fit.mean for share, fit in zip(shares, fits, strict=True))
    own_variance = sum(share * fit.variance for share, fit in zip(shares, fits, strict=True))
    staying = sum(share * (fit.mean - mean) ** 2 for share, fit in zip(shares, fits, strict=True))
    arrived = sum(share * sum(periods.due) for share, periods in zip(shares, own, strict=True))
    common = sum(share * fit.common for share, fit in zip(shares, fits, strict=True))
    return Lifetime(
        mean=mean, variance=own_variance + staying + common, common=ALIKE * staying + common, arrived=arrived
    )  # fmt: skip


def _cholesky(lower: Sequence[Sequence[float]]) -> list[list[float]]:
    """The lower factor of a symmetric matrix of which the lower half is given."""
    made: list[list[float]] = []
    for row in lower:
        new: list[float] = []
        for at, value in enumerate(row):
            rest = value - sum(a * b for a, b in zip(new, made[at] if at < len(made) else new, strict=False))
            new.append(rest / made[at][at] if at < len(made) else sqrt(max(rest, 1e-9 * value, 1e-12)))
        made.append(new)
    return made


def _solved(factor: Sequence[Sequence[float]], values: Sequence[float]) -> list[float]:
    """What the factor has to be multiplied with to make the values."""
    made: list[float] = []
    for row, value in zip(factor, values, strict=True):
        made.append((value - sum(a * b for a, b in zip(row, made, strict=False))) / row[-1])
    return made
