from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.ledger.alerts.comparisons import MEASURES
from storage.ledger.alerts.thresholds import Rule, breached, describe, read_rule, recovered
from storage.ledger.errors import Refused


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("ftd < 50% of 7d avg", "ftd < 50% of 7d avg"),
        ("FTDs below 50 % of the 7-day average", "ftd < 50% of 7d avg"),
        ("ftd<50% of 30d avg in yesterday", "ftd < 50% of 30d avg in yesterday"),
        ("regs > 150% of weekday avg", "registrations > 150% of weekday avg"),
        ("clicks < 100 in 1h", "clicks < 100 in 1h"),
        ("clicks < 1,000 in the last 90m", "clicks < 1000 in 90m"),
        ("spend > 2.000,00", "spend > 2000"),
        ("spend over 12.50", "spend > 12.5"),
        ("roi < -20%", "roi < -20%"),
        ("cr < 3%  in 7d for 2h", "cr < 3% in 7d for 2h"),
        ("unique clicks < 10", "unique_clicks < 10"),
        ("no clicks for 30m", "no clicks for 30m"),
        ("no clicks", "no clicks for 30m"),
        ("sync failed", "sync failed"),
        ("sync stale", "sync stale for 36h"),
        ("postback failures > 5% in 2h", "postback failures > 5% in 2h"),
        ("postback failures", "postback failures > 10% in 1h"),
        ("discrepancy over 20%", "discrepancy > 20%"),
        ("cap at 100%", "cap at 100%"),
        ("cap", "cap at 80%"),
        ("spend without registrations > 50", "spend without registrations > 50"),
        ("high-value ftd > 500", "high-value ftd > 500"),
        ("ftd", "ftd"),
        ("every FTD", "ftd"),
        ("vanished", "vanished"),
        ("restatement", "restatement"),
        ("domain expiring in 14d", "domain expiring in 14d"),
        ("domain down", "domain down"),
        ("dead offer link", "dead offer link"),
        ("dead postback", "dead postback"),
    ],
)  # fmt: skip
def test_rules_are_read_as_people_write_them(typed: str, message: str) -> None:
    rule = read_rule(typed)
    assert describe(rule) == message
    assert read_rule(message) == rule


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("ftds < 50%", "percent of what"),
        ("ftdz < 5", "did you mean 'ftd'"),
        ("ftd < 50 of 7d avg", "write a percentage"),
        ("commission < 5 in 1h", "known by day only"),
        ("when the moon is full", "write e.g."),
        ("no clicks for 0m", "not a length"),
        ("clicks < 1.2.3", "no number"),
    ],
)
def test_a_rule_that_cannot_be_read_says_how_to_write_it(typed: str, message: str) -> None:
    with pytest.raises(Refused, match=message) as caught:
        read_rule(typed)
    assert caught.value.field == "rule"


@given(st.text(max_size=60))
def test_no_words_break_the_reader(text: str) -> None:
    with suppress(Refused):
        assert read_rule(describe(read_rule(text))).kind


@given(
    st.sampled_from(sorted(MEASURES)), st.booleans(), st.integers(-(10**6), 10**6),
    st.sampled_from(["", "7d", "weekday"]),
)  # fmt: skip
def test_a_rule_in_its_own_words_is_the_rule(measure: str, below: bool, limit: int, base: str) -> None:
    rule = Rule(kind="figure", measure=measure, below=below, limit=limit / 100, baseline=base)  # type: ignore[arg-type]
    assert read_rule(describe(rule)) == rule


def test_a_figure_must_come_back_a_tenth_beyond_the_limit() -> None:
    rule = read_rule("ftd < 50% of 7d avg")
    assert breached(rule, 9, 20.0) is True
    assert breached(rule, 10, 20.0) is False
    assert not recovered(rule, 10, 20.0)
    assert recovered(rule, 11, 20.0)
    assert breached(rule, 9, None) is None
    assert breached(read_rule("spend > 100"), 101, None) is True
    assert recovered(read_rule("profit < 0"), 0, None)
