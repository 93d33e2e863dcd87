"""What a click earns: late commission is expected and not taken for nothing, and uncertainty says how sure that is."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.ledger.distribution.earnings import OfferDay, OfferHistory, click_values

EURO = 1_000_000


def history(
    first_deposits: Sequence[int | None], commission: Sequence[int | None], *, clicks: int = 100, shared: bool = False
) -> OfferHistory:
    """So many clicks a day; commission in euro."""
    return OfferHistory(days=tuple(
        OfferDay(
            clicks=clicks, first_deposits=ftds, commission=None if paid is None else paid * EURO,
            shared=(paid or 0) * EURO if shared else 0,
        )
        for ftds, paid in zip(first_deposits, commission, strict=True)
    ))  # fmt: skip


def test_a_click_earns_what_was_paid_for_it() -> None:
    sooner, worse = click_values([history([4] * 30, [400] * 30), history([2] * 30, [200] * 30)])
    assert 3.6 * EURO < sooner.mean < 4.1 * EURO
    assert 1.9 * EURO < worse.mean < 2.4 * EURO
    assert sooner.mean - sooner.spread > worse.mean + worse.spread
    assert 98 * EURO < sooner.first_deposit < 101 * EURO
    assert sooner.arrived > 0.9


def test_commission_that_comes_ten_days_late_is_expected() -> None:
    """Both have 4 FTDs a day; one pays 60 at once, the other 140 on the tenth day after."""
    early = history([4] * 20, [240] * 20)
    late = history([4] * 20, [0] * 10 + [560] * 10)
    soon, later = click_values([early, late])
    assert 2.1 * EURO < soon.mean < 2.7 * EURO
    assert 4.5 * EURO < later.mean < 6.5 * EURO  # not 2.80, which 560 a day on half of the days would be
    assert 0.4 < later.arrived < 0.6


@pytest.mark.parametrize("hold", [3, 9, 14])
def test_a_programme_that_holds_commission_back_is_known_by_its_first_payments(hold: int) -> None:
    """FTDs come and go; each is paid 140 so many days later, to the day, and only four days have been paid."""
    ftds = [3, 5, 2, 6, 4, 1, 5, 3, 4, 6, 2, 5, 3, 4, 6, 2, 4, 5][: hold + 4]
    paid = [0] * hold + [140 * n for n in ftds[:4]]
    other = history([4] * len(ftds), [240] * len(ftds))
    value = click_values([other, history(ftds, paid)])[1]
    assert 125 * EURO < value.first_deposit < 155 * EURO


def test_nothing_is_forgotten_where_nothing_drifts() -> None:
    """120 FTDs of 60 steady days are nearly as sure as they are many; with a rate that comes and goes they are not."""
    steady = history([2] * 60, [200] * 60)
    drifting = history([1, 1, 1, 2, 2, 3, 4, 4, 3, 2, 1, 1] * 5, [200] * 60)
    sure, unsure = (click_values([of] * 3)[0] for of in (steady, drifting))
    assert sure.spread / sure.mean < 1.4 * 120**-0.5
    assert unsure.spread / unsure.mean > 1.1 * sure.spread / sure.mean


def test_a_day_that_grows_as_its_players_qualify_is_expected_to_grow() -> None:
    soon, later = click_values([history([4] * 20, [240] * 20), history([4] * 20, [560] * 12 + [0] * 8)])
    assert later.mean > 4.5 * EURO > soon.mean


def test_what_is_pending_is_not_taken_for_nothing() -> None:
    paid = history([4] * 20, [400] * 20)
    pending = history([4] * 20, [400] * 15 + [None] * 5)
    whole, known = click_values([paid, pending])
    assert abs(whole.mean - known.mean) < 0.1 * whole.mean
    assert known.spread > whole.spread * 0.95


def test_a_forecast_stands_for_a_pending_day_with_its_own_uncertainty() -> None:
    def forecast(amount: int, spread: int) -> OfferHistory:
        known = history([4] * 3, [400] * 3).days
        day = OfferDay(clicks=100, first_deposits=4, pending=amount * EURO, spread=float(spread * EURO))
        return OfferHistory(days=(*known, *[day] * 20))

    low, sure, unsure = click_values([forecast(200, 20), forecast(400, 20), forecast(400, 400)])
    assert low.mean < 0.75 * sure.mean
    assert abs(unsure.mean - sure.mean) < 0.05 * sure.mean
    assert unsure.spread > sure.spread


def test_an_offer_that_stops_converting_is_seen_within_days() -> None:
    alive = history([4] * 34, [400] * 34)
    dead = history([4] * 30 + [0] * 4, [400] * 30 + [0] * 4)
    standing, died = click_values([alive, dead])
    assert died.mean + 2 * died.spread < standing.mean


def test_an_offer_without_history_is_worth_a_try() -> None:
    known, unknown = click_values([history([4] * 30, [400] * 30), OfferHistory(days=(OfferDay(clicks=0),) * 30)])
    assert 0.5 * known.mean < unknown.mean < 1.5 * known.mean
    assert unknown.spread > 3 * known.spread


def test_an_offer_without_history_among_those_of_rev_share_is_worth_a_try() -> None:
    """Nothing says yet how it pays: it is taken to bring what an FTD of the others does."""
    known, unknown = click_values(
        [history([4] * 30, [100] * 30, shared=True), OfferHistory(days=(OfferDay(clicks=0),) * 30)]
    )
    assert 0.5 * known.mean < unknown.mean < 1.5 * known.mean
    assert unknown.spread > known.spread


def test_offers_that_turn_out_alike_say_more_about_each_other() -> None:
    """The last one has had 200 clicks and no FTD."""

    def last(rates: Sequence[int]) -> float:
        histories = [history([rate] * 30, [100 * rate] * 30) for rate in rates]
        quiet = OfferDay(clicks=0, first_deposits=0, commission=0)
        new = OfferHistory(days=(msgspec.structs.replace(quiet, clicks=200), *[quiet] * 29))
        return click_values([*histories, new])[-1].mean

    assert last([4] * 8) > 1.1 * last([1, 2, 3, 4, 4, 5, 6, 7])


def test_where_nothing_reports_ftds_clicks_and_commission_suffice() -> None:
    better, worse = click_values([history([None] * 30, [300] * 30), history([None] * 30, [200] * 30)])
    assert 2.7 * EURO < better.mean < 3.1 * EURO
    assert better.mean - better.spread > worse.mean


def test_rev_share_counts_what_the_players_will_bring() -> None:
    """A player brings one euro a day and half of them leave within 45 days: 65 euro in all."""
    players, brought = 0.0, []
    for _ in range(40):
        players = players * 0.5 ** (1 / 45) + 4
        brought.append(round(players))
    once, share = click_values([history([4] * 40, [160] * 40), history([4] * 40, brought, shared=True)])
    assert 1.5 * EURO < once.mean < 1.8 * EURO
    assert 2.1 * EURO < share.mean < 2.9 * EURO
    assert share.arrived < 0.4


def test_players_who_win_make_an_offer_worth_less_than_nothing() -> None:
    losing, earning = click_values([history([4] * 30, [-100] * 30, shared=True), history([4] * 30, [100] * 30)])
    assert losing.mean < 0 < earning.mean


@settings(max_examples=50, deadline=None)
@given(st.lists(
    st.lists(
        st.builds(
            OfferDay, clicks=st.integers(0, 10**6), first_deposits=st.none() | st.integers(0, 10**4),
            commission=st.none() | st.integers(-(10**13), 10**13), shared=st.integers(-(10**13), 10**13),
            pending=st.none() | st.integers(-(10**12), 10**12), spread=st.floats(0, 1e12),
        ),
        min_size=8, max_size=8,
    ),
    min_size=1, max_size=5,
))  # fmt: skip
def test_whatever_the_days_are_a_click_has_a_value(offers: list[list[OfferDay]]) -> None:
    for value in click_values([OfferHistory(days=tuple(days)) for days in offers]):
        assert value.mean == value.mean  # not NaN
        assert 0 <= value.spread < float("inf")
        assert 0 <= value.arrived <= 1
