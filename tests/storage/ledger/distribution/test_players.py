"""What players by rev share bring in all: learnt from weeks of commission, and as sure as there are players."""

import pytest

from storage.ledger.distribution.players import OFFER_VARIANCE, Cohorts, lifetimes

EURO = 1e6


def cohorts(*, a_day: float, brings: float, half_life: float, days: int = 60) -> Cohorts:
    """So many players begin each day; each brings some euro in all, evenly while they stay."""
    staying, players, amounts = 0.5 ** (1 / half_life), 0.0, []
    for _ in range(days):
        players = players * staying + a_day
        amounts.append(players * brings * (1 - staying) * EURO)
    return Cohorts(players=[a_day] * days, amounts=list(amounts), variances=[0.0] * days)


def nothing(days: int = 60) -> Cohorts:
    return Cohorts(players=[0.0] * days, amounts=[0.0] * days, variances=[0.0] * days)


@pytest.mark.parametrize("half_life", [25.0, 45.0, 65.0])
def test_how_long_players_stay_is_learnt(half_life: float) -> None:
    """With 45 days taken for all, the first would be thought worth 150 and the last 75."""
    found = lifetimes([cohorts(a_day=40, brings=100, half_life=half_life)])[0]
    assert 85 * EURO < found.mean < 115 * EURO


def test_how_sure_it_is_follows_from_the_players_and_not_from_what_has_come() -> None:
    few, many = (lifetimes([cohorts(a_day=a_day, brings=100, half_life=45, days=20)] * 2)[0] for a_day in (1, 20))
    assert many.arrived < 0.2 * 20 * 20  # a fifth of what they will bring
    assert few.variance - few.common > 3 * (many.variance - many.common)
    assert (many.variance - many.common) ** 0.5 < 0.2 * many.mean


def test_one_without_players_is_thought_like_the_others() -> None:
    known, unknown = lifetimes([cohorts(a_day=10, brings=100, half_life=45), nothing()])
    assert unknown.mean == pytest.approx(known.mean, rel=0.15)
    assert unknown.variance == pytest.approx(OFFER_VARIANCE * unknown.mean**2, rel=0.5)


def test_few_players_are_thought_like_ftds_of_the_campaigns_other_offers() -> None:
    """Three days of three players say little, sixty days of twenty a lot; what is unsure moves all alike."""
    few, many = (
        [
            lifetimes([cohorts(a_day=a_day, brings=50, half_life=45, days=days)], otherwise=other * EURO)[0]
            for other in (50, 200)
        ]
        for a_day, days in ((3, 3), (20, 60))
    )
    assert few[1].mean > 1.5 * few[0].mean
    assert many[1].mean < 1.1 * many[0].mean
    assert few[0].common / few[0].mean ** 2 > 3 * many[0].common / many[0].mean ** 2
    assert all(0 <= of.common <= of.variance for of in (*few, *many))


def test_players_who_win_make_their_offer_a_loss() -> None:
    losing, earning = lifetimes(
        [cohorts(a_day=10, brings=-50, half_life=45), cohorts(a_day=10, brings=100, half_life=45)], otherwise=1.0
    )
    assert losing.mean < 0 < earning.mean


def test_days_that_are_not_known_are_left_out() -> None:
    whole = cohorts(a_day=10, brings=100, half_life=45)
    known = Cohorts(players=whole.players, amounts=[*whole.amounts[:57], None, None, None], variances=whole.variances)
    assert lifetimes([known])[0].mean == pytest.approx(lifetimes([whole])[0].mean, rel=0.1)
