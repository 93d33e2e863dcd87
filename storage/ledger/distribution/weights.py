"""Which share of its clicks each offer of a campaign gets: as often as it is the best one (Thompson sampling).

A visitor is sent to an offer with the probability that it earns most per click (Thompson 1933, *On the
likelihood that one unknown probability exceeds another*); these probabilities are integrated, not drawn, and serve a
batch of visitors (Scott 2010, *A modern Bayesian look at the multi-armed bandit*; delayed batches: Chapelle, Li 2011,
*An empirical evaluation of Thompson sampling*). So the same figures always give the same weights. Limits are kept by
projecting on them: the nearest weights that no limit forbids.
"""

from collections.abc import Sequence
from functools import cache
from math import erf, sqrt
from statistics import NormalDist

import msgspec

from storage.ledger.distribution.earnings import ClickValue

WHOLE = 10_000  # what weights add up to: a weight is in hundredths of a per cent
RESHAPED = 3.0  # power of the probabilities
_NODES, _COMMON_NODES = 48, 5  # of the integrals


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How freely weights move, in parts of WHOLE: the least share of an offer, the most that a share may change within
    an hour, the least share of an offer new in the campaign until it has had `warm_up` clicks."""

    floor: int | None = None
    most_change: int = 2_000
    warm_up: int = 300

    def least(self, offers: int) -> int:
        """The floor; where none is said a twentieth of an equal share, so that all of them cost little. One that so
        many offers leave no room for is half of an equal share."""
        if self.floor is None:
            return WHOLE // (20 * offers)
        return self.floor if self.floor * offers <= WHOLE else WHOLE // (2 * offers)

    def warming(self, offers: int) -> int:
        return max(self.least(offers), WHOLE // (2 * offers))


def best_shares(values: Sequence[ClickValue]) -> list[float]:
    """The probability of each offer to earn most per click."""
    if len(values) == 1:
        return [1.0]
    moved = _nodes(_COMMON_NODES) if any(value.common for value in values) else (0.0,)
    shares = [sum(_best(values, place, at) for at in moved) for place in range(len(values))]
    total = sum(shares)
    return [share / total for share in shares]


def visitor_shares(best: Sequence[float]) -> list[float]:
    """Each offer's share of visitors, by its probability to earn most: the likeliest get more than that, since a
    campaign lasts months and not for ever (posterior reshaping: Chapelle, Li 2011)."""
    parts = [probability**RESHAPED for probability in best]
    total = sum(parts)
    return [part / total for part in parts]


def _best(values: Sequence[ClickValue], place: int, moved: float) -> float:
    """How likely an offer earns most, where what they have in common strays by so many standard deviations."""
    mean, spread = _alone(values[place], moved)
    others = [_alone(value, moved) for at, value in enumerate(values) if at != place]
    total = 0.0
    for node in _nodes(_NODES):
        at = mean + spread * node
        chance = 1.0
        for other, stray in others:
            chance *= 0.5 + 0.5 * erf((at - other) / (stray * _ROOT))
            if chance < 1e-12:
                break
        total += chance
    return total / _NODES


def _alone(value: ClickValue, moved: float) -> tuple[float, float]:
    """What an offer's clicks are worth then, and how far that strays by itself."""
    return value.mean + moved * value.common, max(sqrt(max(value.spread**2 - value.common**2, 0.0)), 1e-9)


_ROOT = sqrt(2.0)


@cache
def _nodes(n: int) -> tuple[float, ...]:
    """Equally likely values of a standard normal variable."""
    normal = NormalDist()
    return tuple(normal.inv_cdf((at + 0.5) / n) for at in range(n))


def share_out(
    shares: Sequence[float], *, limits: Limits, recent: Sequence[Sequence[int]], clicks: Sequence[int]
) -> list[int]:
    """Weights as near to the shares as the limits allow; they add up to WHOLE.

    `recent` are the weights that were in force at some moment of the last hour, `clicks` what each offer has had in
    the campaign.
    """
    offers = len(shares)
    lowest, highest = [limits.least(offers)] * offers, [WHOLE] * offers
    for place in range(offers):
        past = [weights[place] for weights in recent]
        if past:
            lowest[place] = max(lowest[place], max(past) - limits.most_change)
            highest[place] = min(highest[place], min(past) + limits.most_change)
        if clicks[place] < limits.warm_up:
            lowest[place] = max(lowest[place], min(limits.warming(offers), highest[place]))
    return nearest(shares, lowest, highest)


def start(weights: Sequence[int], limits: Limits, *, clicks: Sequence[int]) -> list[int]:
    """The weights to begin with: the given ones (of any sum), as near as the floor and the warm-up allow."""
    total = sum(weights)
    shares = [weight / total for weight in weights] if total else [1 / len(weights)] * len(weights)
    return share_out(shares, limits=limits, recent=(), clicks=clicks)


def nearest(shares: Sequence[float], lowest: Sequence[int], highest: Sequence[int]) -> list[int]:
    """The integers between the bounds that add up to WHOLE and are nearest to the shares (Euclidean projection); the
    bounds must leave room for that."""
    if not sum(lowest) <= WHOLE <= sum(highest):
        raise ValueError("the bounds leave no room")
    low, high = -2.0 * WHOLE, 2.0 * WHOLE
    for _ in range(40):
        shift = (low + high) / 2
        if sum(_within(shares, lowest, highest, shift)) < WHOLE:
            low = shift
        else:
            high = shift
    exact = _within(shares, lowest, highest, high)
    weights = [int(value) for value in exact]
    rest = sorted(range(len(exact)), key=lambda place: (weights[place] - exact[place], place))
    lacking = WHOLE - sum(weights)
    while lacking:
        step = 1 if lacking > 0 else -1
        for place in rest:
            if lacking and lowest[place] <= weights[place] + step <= highest[place]:
                weights[place] += step
                lacking -= step
    return weights


def _within(shares: Sequence[float], lowest: Sequence[int], highest: Sequence[int], shift: float) -> list[float]:
    return [
        1.0 * min(max(share * WHOLE + shift, low), high)
        for share, low, high in zip(shares, lowest, highest, strict=True)
    ]
