"""The forecast keeps its word: over many simulated worlds its intervals hold what they say, and it leans to no side."""

from itertools import product

import pytest

from storage.ledger.reports.forecast import Accuracy, Past, Pending, estimate, forecast_offer, shortage, total
from tests.storage.ledger.reports.forecast_worlds import OFFERS, Tally, forecast_world, singles, totals
from tests.storage.ledger.reports.worlds import DISCRETE, EURO, PROCESSES, RATES, World

CELLS = list(product(PROCESSES, RATES))


def check(tally: Tally, process: str, *, slack: float) -> None:
    """75–85 % of outcomes (at least 75 where they are discrete); `slack` is two standard errors of so few worlds."""
    assert tally.cover >= 75 - slack
    if process not in DISCRETE:
        assert tally.cover <= 85 + slack
    assert abs(tally.bias) <= (10 if process.startswith("rev share") else 5) + slack
    assert tally.claimed >= 75 - slack / 2


@pytest.mark.slow
@pytest.mark.parametrize(("process", "rate"), CELLS)
def test_single_offers_keep_their_interval(process: str, rate: float) -> None:
    check(singles(process, rate, range(12)), process, slack=2)
    check(singles(process, rate, range(12), common=True), process, slack=2)


@pytest.mark.slow
@pytest.mark.parametrize(("process", "rate"), CELLS)
def test_totals_over_six_offers_keep_their_interval(process: str, rate: float) -> None:
    check(totals([process] * OFFERS, rate, range(6)), process, slack=4)


def test_a_few_worlds_of_each_kind() -> None:
    inside, forecasts = 0.0, 0
    for process in PROCESSES:
        tally = singles(process, 2.0, range(4))
        inside, forecasts = inside + tally.inside, forecasts + tally.forecasts
        assert tally.forecasts == (160 if process in DISCRETE else 40)
    assert 75 <= 100 * inside / forecasts <= 97


def test_a_world_is_the_same_each_time() -> None:
    assert World("hybrid", 2.0, "1").stated(0, 100) == World("hybrid", 2.0, "1").stated(0, 100)
    assert World("hybrid", 2.0, "1").stated(0, 100) != World("hybrid", 2.0, "2").stated(0, 100)


def test_an_offer_that_always_pays_the_same_is_estimated_exactly() -> None:
    history = [Past(n % 3, n % 3 * 100 * EURO) for n in range(60)]
    made = estimate(3, history)
    assert made is not None
    assert (made.estimate, made.low, made.high, made.days) == (300 * EURO, 300 * EURO, 300 * EURO, 60)


def test_rev_share_follows_the_stock_of_players_and_not_the_days_ftds() -> None:
    history = [Past(1, (n + 1) * EURO + n % 7 * EURO // 10) for n in range(60)]
    none, many = estimate(0, history), estimate(5, history)
    assert none is not None
    assert many is not None
    assert 55 * EURO < none.estimate < 66 * EURO


def test_too_short_a_past_says_what_it_lacks() -> None:
    assert shortage([Past(1, EURO)] * 12) == "12 of 28 settled days, 12 of 10 FTDs"
    assert shortage([Past(0, EURO)] * 40) == "40 of 28 settled days, 0 of 10 FTDs"
    assert shortage([Past(1, 0)] * 40) == "no commission so far"
    assert estimate(3, [Past(1, EURO)] * 27) is None
    assert shortage([Past(1, EURO)] * 28) is None


def test_ends_are_what_can_happen() -> None:
    """Whole FTDs, and never 0 at most while one may still come."""
    history = [Past(n % 2, 100 * EURO * (n % 4 == 1)) for n in range(60)]
    made = forecast_offer(history, [Pending(0, expected=0.02), Pending(1)])
    assert made is not None
    running, item = made.estimates
    assert running.high >= 100 * EURO
    assert item.low == 0
    assert item.high >= 100 * EURO
    assert item.high % (100 * EURO) == 0


def test_what_has_not_matured_is_no_outcome() -> None:
    world = World("cpa after 8 days", 12.0, "3")
    made = forecast_world(world, 110)
    assert made is not None
    existing = [day for day in made.errors if day is not None]
    assert len(made.errors) == 90
    assert 40 < len(existing) < 80
    assert made.errors[-1] is None
    assert made.accuracy.share is not None
    assert made.accuracy.share > 0.75


def test_days_that_are_not_settled_keep_their_place() -> None:
    full = [Past(n % 3, n % 3 * 100 * EURO) for n in range(60)]
    gap = [Past(day.first_deposits, None) if 30 <= n < 33 else day for n, day in enumerate(full)]
    made = estimate(2, gap)
    assert made is not None
    assert (made.estimate, made.days) == (200 * EURO, 57)


def test_nothing_to_add_up_is_no_total() -> None:
    assert total([]) == (None, Accuracy(0, 0))
