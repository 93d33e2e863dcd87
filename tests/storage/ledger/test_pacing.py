"""A budget spread over the hours of a day."""

from hypothesis import given
from hypothesis import strategies as st

from storage.ledger.pacing import expected, released


@given(st.integers(1, 10**12), st.lists(st.integers(0, 10**6), min_size=24, max_size=24) | st.just([]))
def test_no_quarter_takes_back_and_the_last_releases_all(budget: int, hours: list[int]) -> None:
    parts = released(budget, hours)
    assert len(parts) == 24 * 4
    assert list(parts) == sorted(parts)
    assert parts[-1] == budget
    moments = [expected(budget, hours, minute) for minute in range(0, 1440, 7)]
    assert moments == sorted(moments)
    assert moments[0] == 0


def test_hours_without_clicks_release_nothing_and_even_hours_the_same() -> None:
    evening = [0] * 18 + [1] * 6
    assert released(240, evening)[71] == 0
    assert released(240, evening)[72 + 3] == 40
    assert released(9600, ())[:4] == (100, 200, 300, 400)
    assert expected(9600, (), 30) == 200
