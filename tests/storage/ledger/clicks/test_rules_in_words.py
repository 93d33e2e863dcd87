"""Rules written in words are the rules; rules read are the words again."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.ledger.clicks.rotation_rules import DEVICES, WEEKDAYS, read_rules
from storage.ledger.clicks.rules_in_words import in_words
from storage.ledger.errors import Refused

OFFERS = {"lucky-star": "lucky-star", "lucky star": "lucky-star", "wild": "wild", "gold": "gold"}
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=12).filter(
    lambda text: text.strip().removeprefix("!").strip() != ""
)
CONDITIONS = st.fixed_dictionaries(
    {},
    optional={
        "country": st.lists(st.sampled_from(["DE", "at", "!BR"]), min_size=1, max_size=3),
        "device": st.lists(st.sampled_from(DEVICES), min_size=1, max_size=2),
        "weekdays": st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=2),
        "hours": st.just(["22:30-6"]),
        "sub1": st.lists(TEXT, min_size=1, max_size=3),
        "language": st.just(["de"]),
    },
)
SHARES = st.lists(st.tuples(st.sampled_from(["lucky-star", "wild", "gold"]), st.integers(1, 9)), min_size=1, max_size=3)
RULES = st.lists(
    st.builds(lambda request, to: {"if": request, "offers": [f"{code}:{n}" for code, n in to]}, CONDITIONS, SHARES),
    max_size=4,
)


@given(RULES)
def test_stored_rules_survive_their_words(raw: list[Any]) -> None:
    rules = read_rules(raw, OFFERS)
    assert read_rules(in_words(rules), OFFERS) == rules


def test_rules_as_people_write_them() -> None:
    text = 'country=DE,AT -> lucky-star; device=mobile and os=iOS, sub1="a b" → wild:2, gold:1; else => "Lucky Star"'
    first, second, last = read_rules(text, OFFERS)
    assert first == {"if": {"country": ["DE", "AT"]}, "offers": [{"offer": "lucky-star", "weight": 1}]}
    assert list(second["if"]) == ["device", "os", "sub1"]
    assert [share["weight"] for share in second["offers"]] == [2, 1]
    assert last == {"if": {}, "offers": [{"offer": "lucky-star", "weight": 1}]}


@pytest.mark.parametrize(
    "text", ["country=DE", "country -> wild", "country=DE country=AT -> wild", '"open -> wild', "-> "]
)
def test_what_is_no_rule_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(Refused, match="rule"):
        read_rules(text, OFFERS)
