"""A winner is named when it is one, and not before."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.ledger.reports.experiment import Arm, compare


def test_too_few_visitors_are_not_enough_yet() -> None:
    verdict = compare([Arm("a", 50, 5), Arm("b", 40, 20)])
    assert verdict.winner is None
    assert verdict.reason == "not enough yet: b has 40 visitors, 200 are needed"


def test_a_clear_lead_is_a_win() -> None:
    verdict = compare([Arm("a", 1000, 80), Arm("b", 1000, 140)])
    assert verdict.winner == "b"
    assert verdict.standings[1].best > 0.99
    assert verdict.standings[1].expected_loss < 0.001 < verdict.standings[0].expected_loss


def test_a_close_race_stays_open() -> None:
    verdict = compare([Arm("a", 400, 40), Arm("b", 400, 42)])
    assert verdict.winner is None
    assert "probability" in verdict.reason


def test_one_variant_is_no_test() -> None:
    assert compare([Arm("a", 5000, 500)]).reason == "not enough yet: there is only one variant"


@pytest.mark.slow
@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(0, 3000), st.floats(0, 1)), min_size=1, max_size=4))
def test_probabilities_add_up_and_rates_lie_in_their_interval(counts: list[tuple[int, float]]) -> None:
    arms = [Arm(str(n), visitors, int(visitors * share)) for n, (visitors, share) in enumerate(counts)]
    verdict = compare(arms)
    assert abs(sum(standing.best for standing in verdict.standings) - 1) < 1e-9
    assert all(0 <= standing.low <= standing.high <= 1 for standing in verdict.standings)
    assert compare(arms) == verdict
