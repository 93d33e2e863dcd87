"""The laboratory's accounting notices what is lost, doubled, out of turn or late."""

import pytest

from tests.cluster.accounting import compare, gap, percentile
from tests.cluster.jobs import Run, alternates
from tests.cluster.load import Attempt


def test_what_is_lost_doubled_or_beyond_what_was_answered_is_named() -> None:
    account = compare({"a", "b", "c"}, ["a", "b", "b", "d"])
    assert (account.answered, account.kept, account.lost, account.twice, account.further) == (3, 2, ["c"], ["b"], 1)
    assert not account.balanced
    assert compare({"a"}, ["a"]).balanced


@pytest.mark.parametrize(
    ("hubs", "shared"),
    [("1111", False), ("1122", False), ("112211", True), ("12121", True), ("1122" + "-" * 30 + "11", False)],
)
def test_a_job_that_two_hubs_run_by_turns_is_noticed_and_a_takeover_is_none(hubs: str, shared: bool) -> None:
    runs = [Run(float(second), second + 0.9, hub) for second, hub in enumerate(hubs) if hub != "-"]
    assert bool(alternates(runs, within=20)) is shared


def test_a_hub_that_was_started_again_takes_over_and_a_long_look_proves_no_order() -> None:
    first, other = Run(0, 1, "h1", born=1), Run(2, 3, "h2", born=2)
    assert alternates([first, other, Run(4, 5, "h1", born=1)], within=20)
    assert not alternates([first, other, Run(4, 5, "h1", born=3.5)], within=20)
    assert not alternates(
        [Run(0, 100, "h1", born=1), Run(50, 51, "h2", born=2), Run(100, 101, "h1", born=1)], within=20
    )


def test_the_gap_begins_with_the_fault_and_ends_with_the_next_row() -> None:
    rows = [
        Attempt(kind="row", key=str(at), at=at, took=0.5, status=status)
        for at, status in ((1.0, 200), (2.0, 200), (4.0, 0), (9.0, 200), (10.0, 200))
    ]
    assert gap(rows, start=3.0) == 6.5
    assert gap(rows, start=9.9) == pytest.approx(0.6)


def test_a_percentile_of_few_values_is_the_largest_of_them() -> None:
    assert (percentile([]), percentile([3.0, 1.0]), percentile([float(n) for n in range(1000)])) == (0.0, 3.0, 990.0)
