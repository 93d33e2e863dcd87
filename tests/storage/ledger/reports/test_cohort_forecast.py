"""The forecast of what players are worth: 8 of 10 outcomes lie in its range, and it leans to neither side."""

import pytest

from tests.storage.ledger.reports.cohort_worlds import PROCESSES, SIZES, Tally, tallies


def pooled(made: dict[tuple[str, int], Tally], group: str) -> Tally:
    """All horizons of a group of players together."""
    whole = Tally()
    for (of, _), tally in made.items():
        if of == group:
            whole.forecasts += tally.forecasts
            whole.inside += tally.inside
            whole.estimated += tally.estimated
            whole.outcome += tally.outcome
    return whole


@pytest.mark.parametrize("process", PROCESSES)
def test_ranges_hold_what_players_of_a_week_then_bring(process: str) -> None:
    week = pooled(tallies(process, 20, range(12)), "week")
    assert week.forecasts > 300
    assert 75 <= week.cover <= 95
    assert abs(week.bias) <= 10


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("process", PROCESSES)
def test_ranges_hold_what_players_then_bring_at_each_horizon(process: str, size: int) -> None:
    """`docs/cohorts.md` has the figures of 200 worlds. 60 worlds tell a campaign's cover to within 15 points."""
    made = tallies(process, size, range(60))
    for (group, horizon), tally in made.items():
        assert 75 <= tally.cover <= 95 if group == "week" else 65 <= tally.cover <= 95, (group, horizon, str(tally))
        assert abs(tally.bias) <= (10 if horizon == 30 else 4), (group, horizon, str(tally))
    campaign = pooled(made, "campaign")
    assert 70 <= campaign.cover <= 90
