"""What a click of each offer is worth, as an estimate with its uncertainty: FTDs per click times commission per FTD.

- Conversions and commission come late, and what has not come yet is not nothing (Chapelle 2014, *Modeling delayed
  feedback in display advertising*; as a bandit: Vernade, Cappé, Perchet 2017, *Stochastic bandit models for delayed
  conversions*): clicks and FTDs count as far as their delay has passed. The delay is not known either: the shapes it
  may have, to the day where a programme holds commission back, are averaged by how well they explain the days so far
  (marginal likelihood of a Gamma-Poisson model).
- Commission is the settled one; where it is pending the forecast stands for it, with the forecast's own variance.
- What all offers have in common is the prior of each, as far as they turn out alike (empirical Bayes: Morris 1983,
  *Parametric empirical Bayes inference*), so that one without history is worth a try. Rev share: see `players`.
- FTDs per click may drift: how fast is averaged by how well each drift foretold the days so far, of the offer and of
  the campaign's together, so that nothing is forgotten where nothing drifts (West, Harrison, Migon 1985, *Dynamic
  generalized linear models and Bayesian forecasting*). Commission per FTD is forgotten with a half-life.
- From the day on which a rate has plainly changed nothing before it counts (generalised likelihood ratio: Besson,
  Kaufmann, Maillard, Seznec 2022, *Efficient change-point detection for tackling piecewise-stationary bandits*).
"""

from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from math import exp, lgamma, log, sqrt
from operator import mul

import msgspec

from storage.ledger.distribution.players import Cohorts, lifetimes

HALF_LIFE = 30.0  # days after which a past day of commission counts half
PRIOR_PAYMENTS = 6.0  # events that the common rate is worth as evidence of an offer's own, before any is known
_FEW_SERIES = 2.0  # series that this is worth as evidence of how far rates differ
_LEAST_ALIKE, _MOST_ALIKE = 2.0, 40.0  # payments that a common rate may be worth
DRIFTS = (0.0, 0.0003, 0.0015)  # by which the relative variance of FTDs per click may grow a day
_DRIFTING = (0.6, 0.2, 0.2)  # how likely each is, in offers that have shown it
_CHANGED = 8.0  # log likelihood ratio from which a rate has changed: one day in some thousands by chance
_LEAST_DUE = 1e-6  # exposure of a delay by which nothing was due
_UNLIKELY = 1e-4  # share of a delay below which it is left out
_EVERY_DAY = 0.02  # share of each delay that is spread evenly, so that no day is impossible


class OfferDay(msgspec.Struct, frozen=True, kw_only=True):
    """An offer's day in a campaign; amounts are micro-units of one currency.

    `first_deposits` is None where nothing reports them, `commission` where it is not settled; `shared` is the part of
    it that is rev share. Of a pending day `pending` is what the forecast expects, with its standard deviation `spread`;
    None where there is no forecast either.
    """

    clicks: int
    first_deposits: int | None = None
    commission: int | None = None
    shared: int = 0
    pending: int | None = None
    spread: float = 0.0


class OfferHistory(msgspec.Struct, frozen=True, kw_only=True):
    """Days of one offer, oldest first, the same calendar days for all offers.

    `doubt`: where a day's commission is an estimate of all that its FTDs bring, the standard deviation of that, in
    parts of it; None where commission is what a platform states, sooner or later.
    """

    days: tuple[OfferDay, ...]
    doubt: float | None = None

    @property
    def clicks(self) -> int:
        return sum(day.clicks for day in self.days)

    @property
    def reports_first_deposits(self) -> bool:
        """Whether anything does: a postback, or the platform."""
        return any(day.first_deposits is not None for day in self.days)

    @property
    def shared_part(self) -> float:
        """The part of the settled commission that is rev share, taken without signs."""
        shared = sum(abs(day.shared) for day in self.days)
        once = sum(abs((day.commission or 0) - day.shared) for day in self.days)
        return shared / (shared + once) if shared else 0.0


class ClickValue(msgspec.Struct, frozen=True, kw_only=True):
    """Earnings per click in micro-units, and their standard deviation. `arrived` is the share of the clicks'
    commission that has come by now, `payments` how many independent payments are behind it, `first_deposit` what an
    FTD brings in all (a click, where no FTDs are reported), with its standard deviation. `common`: the part of the
    standard deviation by which all offers with such a part stray together."""

    mean: float
    spread: float
    arrived: float = 0.0
    payments: float = 0.0
    first_deposit: float = 0.0
    first_deposit_spread: float = 0.0
    common: float = 0.0


class _Delay(msgspec.Struct, frozen=True):
    """How late events follow: a geometric delay (`decay` a day) after `wait` days. `grows`: they are booked on the day
    they follow from, which grows afterwards."""

    decay: float = 0.0
    wait: int = 0
    grows: bool = False
    prior: float = 1.0


class _Rate(msgspec.Struct, frozen=True):
    """Events per unit of exposure: estimate, variance, and the exposure of which events have come."""

    mean: float
    variance: float
    exposure: float
    events: float
    common: float = 0.0  # part of the variance that moves all offers alike
    drifts: tuple[float, ...] = ()  # how likely each of `DRIFTS` is


_WAITS = range(2, 17, 2)
_HOLDS = range(1, 17)  # days after which a programme pays, to the day
_CONVERSION_DELAYS = (
    _Delay(prior=3.0), _Delay(0.3, prior=3.0), _Delay(0.6), _Delay(0.8), _Delay(0.88), *(_Delay(0.5, w) for w in _WAITS)
)  # fmt: skip
_COMMISSION_DELAYS = (
    _Delay(prior=32.0), *(_Delay(decay, grows=grows) for decay in (0.6, 0.8, 0.9) for grows in (False, True)),
    *(_Delay(0.5, wait, grows) for wait in _WAITS for grows in (False, True)),
    *(_Delay(0.0, hold, grows) for hold in _HOLDS for grows in (False, True)),
)  # fmt: skip


def click_values(histories: Sequence[OfferHistory]) -> list[ClickValue]:
    """What a click of each offer is worth; the offers are those that a campaign shares its clicks out over."""
    seen = [history.reports_first_deposits for history in histories if history.clicks]
    reports = [history.reports_first_deposits if history.clicks else any(seen) or not seen for history in histories]
    known = list(zip(histories, reports, strict=True))
    conversions = _rates([_Series.of_conversions(history, reported) for history, reported in known])
    usual = _common([(rate.mean, 1.0) for rate, reported in zip(conversions, reports, strict=True) if reported]) or 1.0
    commission = [_Series.of_commission(*parts) for parts in known]
    once = _rates(commission, first_deposits_per_click=usual)
    share = _shares_of_revenue(known, usual, otherwise=_usual_payment(once))
    if not any(rate.events for rate in once):
        shared = [rate.mean for rate, history in zip(share, histories, strict=True) if history.shared_part]
        once = _rates(commission, first_deposits_per_click=usual, otherwise=abs(mean(shared)))
    return [_value(*parts) for parts in zip(histories, reports, conversions, once, share, strict=True)]


def _usual_payment(once: Sequence[_Rate]) -> float:
    """What an FTD is paid where some have been; else 0."""
    return abs(mean([rate.mean for rate in once if rate.events]))


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _shares_of_revenue(known: Sequence[tuple[OfferHistory, bool]], usual: float, *, otherwise: float) -> list[_Rate]:
    """What players by rev share bring in all, by FTD, or by click where no FTDs are reported; `usual`: FTDs per
    click, `otherwise`: what an FTD brings at once."""
    made = [_Rate(0.0, 0.0, 0.0, 0.0)] * len(known)
    mine = [at for at, (history, _) in enumerate(known) if history.shared_part]
    found = lifetimes([_cohorts(*known[at], usual) for at in mine], otherwise=otherwise)
    for at, players in zip(mine, found, strict=True):
        per = 1.0 if known[at][1] else usual
        events = players.mean**2 / players.variance if players.variance else 0.0
        made[at] = _Rate(
            players.mean * per, players.variance * per**2, players.arrived / per, events, players.common * per**2
        )
    return made


def _cohorts(history: OfferHistory, reported: bool, usual: float) -> Cohorts:
    days, part = history.days, history.shared_part
    return Cohorts(
        players=[1.0 * (day.first_deposits or 0) if reported else usual * day.clicks for day in days],
        amounts=[_known(day, part, shared=True) for day in days],
        variances=[(part * day.spread) ** 2 if day.commission is None else 0.0 for day in days],
    )  # fmt: skip


def _value(history: OfferHistory, reported: bool, conversion: _Rate, once: _Rate, share: _Rate) -> ClickValue:
    """FTDs per click times all that an FTD brings; these rates are taken to be independent."""
    first_deposit = once.mean + share.mean
    variance = once.variance + share.variance + ((history.doubt or 0.0) * first_deposit) ** 2
    first_deposits = sum(day.first_deposits or 0 for day in history.days)
    base = first_deposits if reported else history.clicks
    arrived = max(once.exposure, share.exposure) if once.mean >= share.mean else share.exposure
    return ClickValue(
        mean=conversion.mean * first_deposit,
        spread=sqrt(
            conversion.variance * first_deposit**2 + variance * conversion.mean**2 + conversion.variance * variance
        ),
        arrived=min(arrived / base, 1.0) if base else 0.0, payments=once.events + share.events,
        first_deposit=first_deposit, first_deposit_spread=sqrt(variance), common=conversion.mean * sqrt(share.common),
    )  # fmt: skip


class _Series(msgspec.Struct, frozen=True, kw_only=True):
    """Exposures by day, events (None: not known), what one event is (micro-units, or 1), and the variance of events
    that are themselves estimates."""

    exposures: list[float]
    events: list[float | None]
    variances: list[float]
    delays: tuple[_Delay, ...]
    size: float | None = 1.0  # None: of what the events are, they say themselves
    per_click: bool = False
    nothing: float = 1.0  # the rate where there are no exposures

    @classmethod
    def of_conversions(cls, history: OfferHistory, reported: bool) -> "_Series":
        """FTDs by clicks; of an offer whose FTDs are not reported each click is taken for one."""
        days = history.days
        clicks = [1.0 * day.clicks for day in days]
        if not reported:
            return cls(exposures=[], events=[], variances=[], delays=_CONVERSION_DELAYS[:1])
        return cls(
            exposures=clicks,
            events=[None if day.first_deposits is None else 1.0 * day.first_deposits for day in days],
            variances=[0.0] * len(days), delays=_CONVERSION_DELAYS,
        )  # fmt: skip

    @classmethod
    def of_commission(cls, history: OfferHistory, reported: bool) -> "_Series":
        """Commission by FTDs, or by clicks where no FTDs are reported: all that is no rev share."""
        days, scale = history.days, 1 - history.shared_part  # of what the forecast expects of both
        if not scale:
            return cls(exposures=[], events=[], variances=[], delays=_COMMISSION_DELAYS[:1], nothing=0.0)
        return cls(
            exposures=[1.0 * ((day.first_deposits or 0) if reported else day.clicks) for day in days],
            events=[_known(day, scale, shared=False) for day in days],
            variances=[(scale * day.spread) ** 2 if day.commission is None else 0.0 for day in days],
            delays=_COMMISSION_DELAYS if history.doubt is None else _COMMISSION_DELAYS[:1], size=None,
            per_click=not reported,
        )  # fmt: skip


def _known(day: OfferDay, scale: float, *, shared: bool) -> float | None:
    if day.commission is None:
        return None if day.pending is None else scale * day.pending
    return 1.0 * (day.shared if shared else day.commission - day.shared)


def _rates(several: Sequence[_Series], *, first_deposits_per_click: float = 1.0, otherwise: float = 0.0) -> list[_Rate]:
    """Each series' rate. The prior is what the series of one unit have in common, where they have anything; else what
    those of the other unit have, or `otherwise`, by FTD. Delays are judged by what they had in common before any was:
    by what was learnt with a delay each one would confirm itself."""
    learners = {place: _Learner(series) for place, series in enumerate(several) if series.exposures}
    units = [[place for place in learners if several[place].per_click is per_click] for per_click in (False, True)]
    usual = [_Usual(_common([learners[place].known_sums() for place in unit])) for unit in units]
    usual = before = _of_both(usual, first_deposits_per_click, otherwise)
    for _ in range(2):
        rates = {
            place: learner.rate(usual[several[place].per_click], before[several[place].per_click].rate)
            for place, learner in learners.items()
        }
        learnt = [common.learnt([rates[place] for place in unit]) for common, unit in zip(usual, units, strict=True)]
        usual = _of_both(learnt, first_deposits_per_click, otherwise)
    nothing = [_Rate(series.nothing, 0.0, 0.0, 0.0) for series in several]
    return [rates.get(place, rate) for place, rate in enumerate(nothing)]


class _Usual(msgspec.Struct, frozen=True):
    """What series have in common: their rate, and how many payments that is worth as evidence of another's."""

    rate: float
    payments: float = PRIOR_PAYMENTS
    drifts: tuple[float, ...] = _DRIFTING

    def learnt(self, rates: Sequence[_Rate]) -> "_Usual":
        """The same by what the series have turned out to be: the mean of their own rates and how far these differ, each
        weighed by how sure it is (method of moments of a Gamma-Poisson model). One that is less sure than what all have
        in common, since its delay is not known, says nothing."""
        drifting = _drifting_alike(rates)
        means, whole, strays, certain = 0.0, 0.0, _FEW_SERIES / PRIOR_PAYMENTS, _FEW_SERIES
        for rate in rates:
            payments = rate.mean**2 / rate.variance - self.payments if rate.variance and rate.events else 0.0
            due = (payments + self.payments) * self.rate / rate.mean - self.payments if rate.mean > 0 else 0.0
            if due <= 0 or payments < 0:
                continue
            sure = due / (due + PRIOR_PAYMENTS)
            means, whole = means + sure * payments / due, whole + sure
            strays += sure**2 * ((payments / due - 1) ** 2 - 1 / due)
            certain += sure**2
        if not whole:
            return msgspec.structs.replace(self, drifts=drifting)
        alike = min(max(strays / certain, 1 / _MOST_ALIKE), 1 / _LEAST_ALIKE)
        return _Usual(abs(means / whole) * self.rate, 1 / alike, drifting)


def _drifting_alike(rates: Sequence[_Rate]) -> tuple[float, ...]:
    """How likely each drift is in a campaign of which some rates are known."""
    counts = [sum(column) for column in zip(_DRIFTING, *(rate.drifts for rate in rates if rate.drifts), strict=True)]
    return tuple(count / sum(counts) for count in counts)


def _of_both(usual: Sequence[_Usual], first_deposits_per_click: float, otherwise: float) -> list[_Usual]:
    """Where one unit, FTDs or clicks, has nothing in common the other's stands for it."""
    by_first_deposit, by_click = usual
    rate = by_first_deposit.rate or by_click.rate / first_deposits_per_click or otherwise or 1.0
    return [
        msgspec.structs.replace(by_first_deposit, rate=rate),
        msgspec.structs.replace(by_click, rate=by_click.rate or rate * first_deposits_per_click),
    ]


def _common(sums: Sequence[tuple[float, float]]) -> float:
    """Events per exposure of all together, taken without sign: losses are an offer's own; 0 where there are none."""
    events, exposure = abs(sum(events for events, _ in sums)), sum(exposure for _, exposure in sums)
    return events / exposure if exposure > 0 else 0.0


class _Learner:
    """One series: its known days, and what is due on them with each delay that it may have."""

    def __init__(self, series: _Series) -> None:
        self._series = series
        self._known = [d for d, event in enumerate(series.events) if event is not None]
        self._events = [series.events[d] or 0.0 for d in self._known]
        self._exact = [not series.variances[d] for d in self._known]  # not themselves estimates
        self._due = [[due[d] for d in self._known] for due in (_lagged(series, delay) for delay in series.delays)]
        self._priors = [log(delay.prior) for delay in series.delays]
        self._weights = [_forgetting(len(series.exposures))[d] for d in self._known]
        counted = [weight if exact else 0.0 for weight, exact in zip(self._weights, self._exact, strict=True)]
        self._arrived = list(map(mul, counted, (max(event, 0.0) for event in self._events)))
        self._explained = [self._explains(due) for due in self._due]
        self._passed = [sum(map(mul, counted, due)) for due in self._due]

    def known_sums(self) -> tuple[float, float]:
        """Events of the known days, and the exposure that was due on them as far as the days alone tell: the delays are
        weighed by on which of the days events came, whatever the rate is (a Poisson process given its total), so that
        one by which hardly anything was due yet does not make the rate out of nothing."""
        size = self._series.size or _size(self._series, 0.0)
        payments = sum(self._arrived) / size
        evidence = [
            own + (explains / size - payments * log(passed + _LEAST_DUE) if payments else 0.0)
            for own, explains, passed in zip(self._priors, self._explained, self._passed, strict=True)
        ]
        shares = _weighed(evidence)
        return sum(self._events), sum(share * sum(due) for share, due in zip(shares, self._due, strict=True))

    def rate(self, usual: _Usual, before_delays: float) -> _Rate:
        """The rate with each delay, weighed by how well that explains the days: a Gamma posterior, which counts in
        payments of one size. `before_delays` is the usual rate that delays are judged by."""
        prior, size = usual.rate, self._series.size or _size(self._series, usual.rate)
        delays = self._delays(size=size, prior=before_delays)
        expected = [sum(share * due[at] for share, due in delays) for at in range(len(self._known))]
        if self._series.size is not None:
            return self._drifting(delays, expected, usual)
        size = self._observed_size(expected, self._weights, size=size, prior=prior)
        before = usual.payments * size / prior
        mean, variance = self._posterior(delays, self._weights, before=before, size=size, prior=prior)
        return _Rate(mean, variance, sum(expected), sum(max(event, 0.0) for event in self._events) / size)

    def _drifting(self, delays: Sequence[tuple[float, list[float]]], expected: Sequence[float], usual: _Usual) -> _Rate:
        """The rate since it last changed plainly, with each drift that it may have, by how well that explains the
        days."""
        since = _changed(self._events, expected)
        days = list(zip(self._known, self._events, expected, strict=True))[since:]
        made, evidence = [], []
        for drift, likely in zip(DRIFTS, usual.drifts, strict=True):
            (first, *kept), explains = _filtered(days, usual, drift)
            before = first * usual.payments / usual.rate
            weights = [0.0] * since + kept
            made.append(self._posterior(delays, weights, before=before, size=1.0, prior=usual.rate))
            evidence.append(log(likely) + explains)
        shares = _weighed(evidence)
        mean = sum(share * mean for share, (mean, _) in zip(shares, made, strict=True))
        square = sum(share * (variance + mean**2) for share, (mean, variance) in zip(shares, made, strict=True))
        variance = max(square - mean**2, 0.0)
        return _Rate(mean, variance, sum(expected), sum(self._events), drifts=tuple(shares))

    def _posterior(
        self, delays: Sequence[tuple[float, list[float]]], weights: Sequence[float], *, before: float, size: float,
        prior: float,
    ) -> tuple[float, float]:  # fmt: skip
        """The rate's mean and variance by days of such weights; `before` is the exposure that the prior is worth."""
        amount = before * prior + sum(map(mul, weights, self._events))
        payments = before * prior / size
        for weight, event, exact in zip(weights, self._events, self._exact, strict=True):
            payments += weight * max(event, 0.0) / size if exact else 0.0
        variance = size**2 * payments + sum(
            weight * weight * self._series.variances[d] for weight, d in zip(weights, self._known, strict=True)
        )
        seen = [(share, before + sum(map(mul, weights, due))) for share, due in delays]
        mean = sum(share * amount / exposure for share, exposure in seen)
        square = sum(share * (variance + amount**2) / exposure**2 for share, exposure in seen)
        return mean, max(square - mean**2, 0.0)

    def _delays(self, *, size: float, prior: float) -> list[tuple[float, list[float]]]:
        """How well each delay explains the days, all of them together being 1, and what is due with it; without those
        that hardly do."""
        before = PRIOR_PAYMENTS * size / prior
        total = PRIOR_PAYMENTS + sum(self._arrived) / size
        evidence = [
            own + explains / size - total * log(passed + before)
            for own, explains, passed in zip(self._priors, self._explained, self._passed, strict=True)
        ]
        likely = [case for case in zip(_weighed(evidence), self._due, strict=True) if case[0] > _UNLIKELY]
        whole = sum(share for share, _ in likely)
        return [(share / whole, due) for share, due in likely]

    def _explains(self, due: Sequence[float]) -> float:
        """The logarithm of how likely what has come would come on its days, if such exposures are due on them."""
        evenly = _EVERY_DAY * sum(due) / max(len(due), 1) + 1e-12
        total = 0.0
        for amount, shares in zip(self._arrived, due, strict=True):
            total += amount * log((1 - _EVERY_DAY) * shares + evenly) if amount else 0.0
        return total

    def _observed_size(
        self, expected: Sequence[float], weights: Sequence[float], *, size: float, prior: float
    ) -> float:
        """The size of independent payments that explains how far days stray (Pearson), starting at what FTDs tell."""
        exact = [at for at in range(len(expected)) if self._exact[at] and expected[at] > 0]
        exposure = sum(weights[at] * expected[at] for at in exact) + PRIOR_PAYMENTS * size / prior
        amount = sum(weights[at] * self._events[at] for at in exact) + PRIOR_PAYMENTS * size
        due = [(self._events[at], amount / exposure * expected[at]) for at in exact]
        strays = sum((event - middle) ** 2 / max(abs(middle), size / 4) for event, middle in due)
        return max((2 * size + strays) / (2 + len(exact)), size * 0.1)


def _filtered(days: Sequence[tuple[int, float, float]], usual: _Usual, drift: float) -> tuple[list[float], float]:
    """How much of the prior and of each day still counts for the last day's rate, if its relative variance grows by
    `drift` a day, and the logarithm of how likely the days (number, events, exposure due) are then."""
    payments, exposure = usual.payments, usual.payments / usual.rate
    kept, evidence, before = [], 0.0, days[0][0] if days else 0
    for day, event, due in days:
        left = 1 / (1 + drift * (day - before) * payments)
        payments, exposure, before = payments * left, exposure * left, day
        kept.append(left)
        if due > 0:
            evidence += lgamma(payments + event) - lgamma(payments) - payments * log(1 + due / exposure)
            evidence -= event * log(1 + exposure / due)
        payments, exposure = payments + event, exposure + due
    weights = list(accumulate(reversed(kept), mul, initial=1.0))
    return [weights[-1], *weights[-2::-1]], evidence


def _lagged(series: _Series, delay: _Delay) -> list[float]:
    """Exposures on the days on which their events are due."""
    exposures, days = series.exposures, len(series.exposures)
    if delay.grows:
        return [
            exposure * (1.0 if series.events[d] is None or series.variances[d] else _passed(delay, days - 1 - d))
            for d, exposure in enumerate(exposures)
        ]
    later = [0.0] * min(delay.wait, days) + exposures[: max(days - delay.wait, 0)]
    if not delay.decay:
        return later
    return list(accumulate(later, lambda due, new: delay.decay * due + (1 - delay.decay) * new, initial=0.0))[1:]


def _passed(delay: _Delay, age: int) -> float:
    """Which share of a day's events has come after so many further days."""
    return 1 - delay.decay ** (age - delay.wait + 1) if age >= delay.wait else 0.0


@cache
def _forgetting(days: int) -> list[float]:
    return [0.5 ** ((days - 1 - d) / HALF_LIFE) for d in range(days)]


def _size(series: _Series, prior: float) -> float:
    """What one payment is, in micro-units: of an offer with FTDs commission per FTD, else of a day with commission."""
    amounts = [abs(event) for event in series.events if event]
    if series.per_click:
        return sum(amounts) / len(amounts) if amounts else 1.0
    first_deposits = sum(
        exposure for event, exposure in zip(series.events, series.exposures, strict=True) if event is not None
    )
    return max((sum(amounts) + 2 * prior) / (first_deposits + 2), 1e-6)


def _changed(payments: Sequence[float], expected: Sequence[float]) -> int:
    """The first day from which on the rate is plainly another than before; 0 if it never changed."""
    events = list(accumulate((max(n, 0.0) for n in payments), initial=0.0))
    exposures = list(accumulate(expected, initial=0.0))
    whole = _likelihood(events[-1], exposures[-1])
    best, since = _CHANGED, 0
    for at in range(1, len(payments)):
        split = _likelihood(events[at], exposures[at])
        split += _likelihood(events[-1] - events[at], exposures[-1] - exposures[at])
        if split - whole > best:
            best, since = split - whole, at
    return since


def _likelihood(payments: float, exposure: float) -> float:
    return payments * log(payments / exposure) if payments > 0 and exposure > 0 else 0.0


def _weighed(logarithms: Sequence[float]) -> list[float]:
    """Shares in proportion to what these are the logarithms of."""
    most = max(logarithms)
    parts = [exp(value - most) for value in logarithms]
    total = sum(parts)
    return [part / total for part in parts]
