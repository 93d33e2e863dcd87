"""What distribution has won against the visitors of the holdout, with a 95 % interval.

A share of the visitors is sent by the weights set by hand. What they brought, divided by that share, is compared with
what the others brought, divided by theirs: no click needs to be counted, since the share itself is known. FTDs are
taken to be Poisson, offer by offer, and each is worth what an FTD of its offer brings in all; the interval follows by
the delta method, of the ratio on the logarithmic scale (Deng, Knoblich, Lu 2018, *Applying the delta method in metric
analytics*).
"""

from collections.abc import Sequence
from math import exp, log, sqrt

import msgspec

LEAST_FIRST_DEPOSITS = 5  # on either side; below them nothing is said
_NORMAL = 1.96


class OfferOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """FTDs of visitors sent to an offer by its current weight, and by the holdout's; `value` is what one brings in
    all, in micro-units."""

    distributed: int
    held_out: int
    value: float


class Uplift(msgspec.Struct, frozen=True, kw_only=True):
    """Earnings in micro-units. `won` is what the distributed visitors brought more than by the old weights, with its
    interval; `ratio` is that as a share of what they would have brought. All are None while too little is known:
    `lacking` says what."""

    distributed: int
    held_out: int
    first_deposits: int  # of the distributed
    held_out_first_deposits: int
    won: int | None = None
    won_low: int | None = None
    won_high: int | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    lacking: str | None = None


def uplift(outcomes: Sequence[OfferOutcome], *, holdout: float) -> Uplift:
    """Compare both sides; `holdout` is the share of visitors held out, above 0 and below 1."""
    distributed = sum(outcome.distributed * outcome.value for outcome in outcomes)
    held_out = sum(outcome.held_out * outcome.value for outcome in outcomes)
    counts = sum(outcome.distributed for outcome in outcomes), sum(outcome.held_out for outcome in outcomes)
    made = Uplift(
        distributed=round(distributed), held_out=round(held_out), first_deposits=counts[0],
        held_out_first_deposits=counts[1],
    )  # fmt: skip
    if min(counts) < LEAST_FIRST_DEPOSITS:
        return msgspec.structs.replace(
            made, lacking=f"{counts[1]} FTDs of the holdout and {counts[0]} of the others: {LEAST_FIRST_DEPOSITS} of "
            "each are needed",
        )  # fmt: skip
    if distributed <= 0 or held_out <= 0:
        return msgspec.structs.replace(made, lacking="the FTDs have brought nothing so far")
    scale = (1 - holdout) / holdout
    variances = (
        sum(outcome.distributed * outcome.value**2 for outcome in outcomes),
        sum(outcome.held_out * outcome.value**2 for outcome in outcomes),
    )
    won, stray = distributed - scale * held_out, _NORMAL * sqrt(variances[0] + scale**2 * variances[1])
    ratio = log(distributed / (scale * held_out))
    width = _NORMAL * sqrt(variances[0] / distributed**2 + variances[1] / held_out**2)
    return msgspec.structs.replace(
        made, won=round(won), won_low=round(won - stray), won_high=round(won + stray), ratio=exp(ratio) - 1,
        ratio_low=exp(ratio - width) - 1, ratio_high=exp(ratio + width) - 1,
    )  # fmt: skip
