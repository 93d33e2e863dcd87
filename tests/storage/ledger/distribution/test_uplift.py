"""What distribution won: the right amount, an interval that holds as often as it says, and silence before it can."""

from math import exp
from random import Random

import pytest

from storage.ledger.distribution.uplift import OfferOutcome, uplift

EURO = 1_000_000


def test_what_was_won_is_measured_against_the_holdouts_share() -> None:
    """A tenth is held out: 40 FTDs there stand for 360 among the others, who had 450."""
    made = uplift([
        OfferOutcome(distributed=400, held_out=20, value=100.0 * EURO),
        OfferOutcome(distributed=50, held_out=20, value=50.0 * EURO),
    ], holdout=0.1)  # fmt: skip
    assert made.won == (400 * 100 + 50 * 50 - 9 * (20 * 100 + 20 * 50)) * EURO
    assert made.won_low is not None
    assert made.won_high is not None
    assert made.won_low < made.won < made.won_high
    assert made.ratio == pytest.approx(42_500 / 27_000 - 1)


def test_too_few_ftds_say_nothing() -> None:
    made = uplift([OfferOutcome(distributed=80, held_out=4, value=100.0 * EURO)], holdout=0.1)
    assert (made.won, made.ratio) == (None, None)
    assert made.lacking == "4 FTDs of the holdout and 80 of the others: 5 of each are needed"
    unpaid = uplift([OfferOutcome(distributed=80, held_out=8, value=0.0)], holdout=0.1)
    assert unpaid.lacking == "the FTDs have brought nothing so far"


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    chance, inside, times = Random(7), 0, 400
    for _ in range(times):
        made = uplift([
            OfferOutcome(distributed=_poisson(chance, 270), held_out=_poisson(chance, 15), value=100.0 * EURO),
            OfferOutcome(distributed=_poisson(chance, 45), held_out=_poisson(chance, 15), value=150.0 * EURO),
        ], holdout=0.1)  # fmt: skip
        truth = (270 * 100 + 45 * 150) / (9 * (15 * 100 + 15 * 150)) - 1
        assert made.ratio_low is not None
        assert made.ratio_high is not None
        inside += made.ratio_low <= truth <= made.ratio_high
    assert 0.92 <= inside / times <= 0.98


def _poisson(chance: Random, mean: float) -> int:
    count, left = 0, exp(-mean)
    part = chance.random()
    while part > left:
        count += 1
        part *= chance.random()
    return count
