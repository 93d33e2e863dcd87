"""Weights: the limits hold whatever is earned, and weights follow what is."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.ledger.distribution.earnings import ClickValue
from storage.ledger.distribution.weights import WHOLE, Limits, best_shares, share_out, start, visitor_shares

VALUES = st.builds(ClickValue, mean=st.floats(-5e6, 5e6), spread=st.floats(0, 5e6))
CAMPAIGNS = st.integers(2, 12).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(1, 1000), min_size=n, max_size=n),  # weights set by hand
        st.lists(st.lists(VALUES, min_size=n, max_size=n), min_size=1, max_size=12),
        st.lists(st.integers(0, 1000), min_size=n, max_size=n),  # clicks
        st.builds(Limits, floor=st.none() | st.integers(0, WHOLE // n), most_change=st.integers(1, WHOLE)),
    )
)


@settings(max_examples=60, deadline=None)
@given(CAMPAIGNS, st.lists(st.integers(1, 40), min_size=12, max_size=12))
def test_no_limit_is_ever_broken(
    campaign: tuple[list[int], list[list[ClickValue]], list[int], Limits], minutes: list[int]
) -> None:
    by_hand, moments, clicks, limits = campaign
    past = [(0, start(by_hand, limits, clicks=clicks))]
    for values, apart in zip(moments, minutes, strict=False):
        now = past[-1][0] + apart
        in_force = [at for at, _ in past if at <= now - 60][-1:]
        recent = [weights for at, weights in past if at >= (in_force[0] if in_force else 0)]
        past.append((now, share_out(best_shares(values), limits=limits, recent=recent, clicks=clicks)))
    for at, weights in past:
        assert sum(weights) == WHOLE
        assert min(weights) >= limits.least(len(weights))
        for earlier, before in past:
            if at - 60 < earlier <= at:
                assert max(abs(a - b) for a, b in zip(weights, before, strict=True)) <= limits.most_change


@settings(max_examples=40, deadline=None)
@given(st.lists(VALUES, min_size=2, max_size=12))
def test_the_same_figures_give_the_same_weights(values: list[ClickValue]) -> None:
    once, again = best_shares(values), best_shares(list(values))
    assert once == again
    assert abs(sum(once) - 1) < 1e-9


@settings(max_examples=40, deadline=None)
@given(VALUES, st.integers(2, 12))
def test_offers_that_earn_alike_get_alike(value: ClickValue, offers: int) -> None:
    weights = share_out(best_shares([value] * offers), limits=Limits(), recent=(), clicks=[WHOLE] * offers)
    assert max(weights) - min(weights) <= 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=12).filter(any))
def test_the_likeliest_get_more_than_their_probability_and_no_one_is_passed(parts: list[float]) -> None:
    best = [part / sum(parts) for part in parts]
    shares = visitor_shares(best)
    assert sum(shares) == pytest.approx(1)
    assert shares[best.index(max(best))] >= max(best) - 1e-9
    for (one, own), (other, others) in pairwise(sorted(zip(best, shares, strict=True))):
        assert one <= other
        assert own <= others


def test_the_offer_that_plainly_earns_most_gets_all_but_the_floors() -> None:
    values = [ClickValue(mean=mean, spread=0.1) for mean in (1.0, 5.0, 2.0)]
    weights = share_out(best_shares(values), limits=Limits(floor=500), recent=(), clicks=[1000] * 3)
    assert weights == [500, 9000, 500]


def test_a_share_moves_by_the_most_an_hour_at_a_time() -> None:
    values = [ClickValue(mean=mean, spread=0.1) for mean in (1.0, 5.0)]
    limits = Limits(floor=500, most_change=1_000)
    first = share_out(best_shares(values), limits=limits, recent=[[5_000, 5_000]], clicks=[1000] * 2)
    second = share_out(best_shares(values), limits=limits, recent=[[5_000, 5_000], first], clicks=[1000] * 2)
    later = share_out(best_shares(values), limits=limits, recent=[first], clicks=[1000] * 2)
    assert (first, second, later) == ([4_000, 6_000], [4_000, 6_000], [3_000, 7_000])


def test_a_new_offer_is_given_clicks_to_be_judged_by() -> None:
    values = [ClickValue(mean=mean, spread=0.1) for mean in (5.0, 5.0, 1.0)]
    weights = share_out(best_shares(values), limits=Limits(warm_up=300), recent=(), clicks=[1000, 1000, 299])
    assert weights[2] == WHOLE // 6
    judged = share_out(best_shares(values), limits=Limits(warm_up=300), recent=(), clicks=[1000, 1000, 300])
    assert judged[2] == Limits().least(3)


def test_it_begins_with_the_weights_set_by_hand() -> None:
    assert start([3, 1], Limits(), clicks=[1000, 1000]) == [7_500, 2_500]
    assert start([99, 1], Limits(floor=500), clicks=[1000, 1000]) == [9_500, 500]


def test_what_is_uncertain_of_all_alike_does_not_blur_which_is_best() -> None:
    """Two offers that differ plainly but for something that moves both."""
    alone = [ClickValue(mean=mean, spread=2.0) for mean in (5.0, 4.0)]
    together = [ClickValue(mean=mean, spread=2.0, common=1.95) for mean in (5.0, 4.0)]
    assert best_shares(together)[0] > 0.9 > 0.7 > best_shares(alone)[0]
    against_another = [*together, ClickValue(mean=5.0, spread=0.1)]
    assert 0.3 < best_shares(against_another)[2] < 0.7
