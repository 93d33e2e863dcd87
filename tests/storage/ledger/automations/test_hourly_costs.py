"""Costs by the hour in which they are known: prices, and what is stated of a day."""

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from storage.ledger.automations.hourly_costs import CostedClicks, HourConversions, HourCost, StatedCost, hourly_costs
from storage.ledger.cost_models import CPA, PER_DAY, CostRule

DAY = 20_000
FIRST = 24 * DAY


def clicked(hour: int, offer: int, clicks: int, cost: int = 0) -> CostedClicks:
    return CostedClicks(hour=FIRST + hour, campaign=1, offer=offer, source=7, clicks=clicks, cost=cost, currency="EUR")


def stated_at(hour: int, amount: int, origin: str = "api") -> StatedCost:
    return StatedCost(campaign=1, day=DAY, origin=origin, amount=amount, currency="EUR", stated=FIRST + hour, source=7)


def costs(clicks: Sequence[CostedClicks], *stated: StatedCost, rule: CostRule | None = None) -> list[HourCost]:
    return list(hourly_costs(clicks, [], stated, {DAY: {1: rule}} if rule else {}))


def known_by(hour: int, of: Sequence[HourCost]) -> Counter[int]:
    """What each offer has cost by the end of an hour."""
    sums: Counter[int] = Counter()
    for cost in of:
        if cost.known <= FIRST + hour:
            sums[cost.offer] += cost.amount
    return sums


def test_what_is_told_of_the_running_day_takes_the_place_of_clicks_from_that_hour_on() -> None:
    clicks = [clicked(3, 1, 30, cost=300), clicked(3, 2, 10, cost=100), clicked(9, 1, 50, cost=500)]
    made = costs(clicks, stated_at(5, 1_000), stated_at(20, 1_800))
    assert known_by(4, made) == {1: 300, 2: 100}
    assert known_by(5, made) == {1: 750, 2: 250}  # by the clicks until then
    assert known_by(19, made) == known_by(5, made)
    assert known_by(20, made) == {1: 1_600, 2: 200}


def test_what_is_told_after_the_day_is_none_of_its_running_figures() -> None:
    clicks = [clicked(3, 1, 30, cost=300), clicked(9, 2, 10, cost=100)]
    made = costs(clicks, stated_at(33, 2_000), stated_at(40, 800, "csv"))
    assert known_by(32, made) == {1: 300, 2: 100}
    assert known_by(33, made) == {1: 1_500, 2: 500}
    assert known_by(40, made) == {1: 2_100, 2: 700}
    by_hour: Counter[int] = Counter()
    for cost in made:
        by_hour[cost.hour - FIRST] += cost.amount
    assert by_hour == {3: 2_100, 9: 700}  # each hour its part of the day


def test_a_price_per_day_is_due_with_the_first_click_and_one_per_conversion_with_it() -> None:
    clicks = [clicked(2, 1, 0), clicked(4, 1, 1), clicked(4, 2, 3), clicked(9, 1, 5)]
    made = costs(clicks, rule=CostRule(model=PER_DAY, cost=100, currency="EUR"))
    assert known_by(3, made) == {}
    assert known_by(23, made) == {1: 25, 2: 75}
    brought = [HourConversions(hour=FIRST + 5, campaign=1, offer=2, source=7, event=event, n=2,
                               is_ftd=event == "first_deposit")
               for event in ("registration", "first_deposit", "deposit")]  # fmt: skip
    for event in ("registration", "first_deposit"):
        rule = CostRule(model=CPA, cost=30, currency="EUR", event=event)
        assert known_by(23, list(hourly_costs(clicks, brought, [], {DAY: {1: rule}}))) == {2: 60}


CLICKS = st.builds(clicked, st.integers(0, 23), st.integers(1, 3), st.integers(0, 50), st.integers(0, 999))
TOLD = st.builds(stated_at, st.integers(-5, 60), st.integers(0, 10**6), st.sampled_from(["api", "csv"]))


@given(st.lists(CLICKS, max_size=9), st.lists(TOLD, min_size=1, max_size=5))
def test_a_day_costs_what_was_told_last_to_the_micro_unit(clicks: list[CostedClicks], stated: list[StatedCost]) -> None:
    stated.sort(key=lambda one: one.stated)
    made = costs(clicks, *stated)
    latest = {one.origin: one.amount for one in stated}
    assert sum(known_by(10**6, made).values()) == sum(latest.values())
    assert all(FIRST <= cost.hour < FIRST + 24 and cost.known >= cost.hour for cost in made)
