"""Rotation: rules first, weights respected, binding stable, shut offers passed over."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.clicks.plans import FastPlan
from storage.ledger.clicks.rotation import (
    Availability,
    AvailabilityOf,
    CompiledRule,
    Distribution,
    Rotation,
    Share,
    Visitor,
    chances,
    pick,
    read_rules,
    weighted,
)
from storage.ledger.clicks.rotation_rules import condition, read_share, spoken
from storage.ledger.errors import Refused
from storage.ledger.facts import Reason

shares = st.lists(st.integers(0, 50), min_size=1, max_size=8).map(
    lambda weights: tuple(Share(n + 1, weight) for n, weight in enumerate(weights))
)
rolls = st.floats(0, 1, exclude_max=True)
ANYBODY = Visitor()


@given(shares)
def test_weights_are_respected(given_shares: tuple[Share, ...]) -> None:
    total = sum(share.weight for share in given_shares) or len(given_shares)
    counts = Counter(weighted(given_shares, (n + 0.5) / (total * 10)) for n in range(total * 10))
    for share in given_shares:
        expected = share.weight if sum(share.weight for share in given_shares) else 1
        assert counts[share.offer_id] == expected * 10


@given(shares, st.sets(st.integers(1, 8)))
def test_the_part_of_an_offer_that_is_shut_is_shared_out_by_weight(
    given_shares: tuple[Share, ...], shut: set[int]
) -> None:
    availability = _shut(shut)
    likely = chances(Rotation(shares=given_shares), ANYBODY, availability=availability, bound=0)
    assert sum(likely.values()) == pytest.approx(1)
    still_open = [share for share in given_shares if share.offer_id not in shut]
    total = sum(share.weight for share in still_open)
    if any(share.weight for share in given_shares) and total:
        for share in still_open:
            assert likely.get(share.offer_id, 0) == pytest.approx(share.weight / total, abs=1e-9)


@given(shares, shares, shares, st.sets(st.integers(1, 8)), st.sampled_from([0.0, 0.1, 0.4]), st.booleans())
def test_chances_are_what_many_visitors_get(
    of_rule: tuple[Share, ...], by_hand: tuple[Share, ...], earned: tuple[Share, ...], shut: set[int], holdout: float,
    ruled: bool,
) -> None:  # fmt: skip
    rules = (CompiledRule(lambda _visitor: True, of_rule, ""),) if ruled else ()
    distribution = Distribution(shares={"": earned}, holdout=holdout) if holdout else None
    rotation = Rotation(rules=rules, shares=by_hand, alternatives={1: 2, 2: 3}, distribution=distribution)
    availability = _shut(shut)
    likely = chances(rotation, ANYBODY, availability=availability, bound=0)
    rolls = 2_000
    counts = Counter(
        pick(rotation, ANYBODY, availability=availability, bound=0, roll=(n + 0.5) / rolls).offer_id
        for n in range(rolls)
    )
    for offer_id in {*likely, *counts}:
        assert likely.get(offer_id, 0) == pytest.approx(counts[offer_id] / rolls, abs=0.03)


@pytest.mark.parametrize("holdout", [0.1, 0.4])
def test_visitors_beside_the_holdout_go_by_the_earned_weights_whatever_its_size(holdout: float) -> None:
    earned = Distribution(shares={"": (Share(1, 3), Share(2, 1))}, holdout=holdout)
    rotation = Rotation(shares=(Share(1, 1), Share(2, 1)), distribution=earned)
    picks = [
        (
            n >= 1_000 * holdout,
            pick(rotation, ANYBODY, availability=_shut(set()), bound=0, roll=(n + 0.5) / 1_000).offer_id,
        )
        for n in range(1_000)
    ]
    for beside, part in ((True, 0.75), (False, 0.5)):
        offers = [offer_id for distributed, offer_id in picks if distributed == beside]
        assert offers.count(1) / len(offers) == pytest.approx(part, abs=0.01)


def _shut(offer_ids: set[int]) -> AvailabilityOf:
    return lambda offer_id: Availability.CAPPED if offer_id in offer_ids else Availability.OPEN


@given(shares, rolls, st.sets(st.integers(1, 8)), st.integers(0, 8))
def test_a_pick_is_open_or_none_is_and_binding_holds(
    given_shares: tuple[Share, ...], roll: float, shut: set[int], bound: int
) -> None:
    rotation = Rotation(shares=given_shares, members=frozenset(share.offer_id for share in given_shares))
    result = pick(
        rotation,
        ANYBODY,
        availability=lambda item: Availability.CAPPED if item in shut else Availability.OPEN,
        bound=bound,
        roll=roll,
    )
    still_open = {share.offer_id for share in given_shares} - shut
    assert result.offer_id in (still_open or {0})
    if bound in still_open:
        assert result == type(result)(bound, Reason.BOUND)
    elif result.reason is Reason.CHOSEN:
        assert result.offer_id == weighted(given_shares, roll)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), rolls)
def test_the_quick_way_gives_the_same_offer(weights: list[int], roll: float) -> None:
    given_shares = tuple(Share(n + 1, weight) for n, weight in enumerate(weights))
    total, so_far, marks = sum(weights), 0, []
    for weight in weights:
        so_far += weight
        marks.append(so_far / total)
    quick = FastPlan(tuple(share.offer_id for share in given_shares), tuple(marks), frozenset())
    result, usual = quick.pick(roll), weighted(given_shares, roll)
    # Exactly on a mark, rounding may fall to either side.
    assert result == usual or min(abs(roll - mark) for mark in marks) < 1e-9


def test_alternatives_are_followed_and_a_circle_ends() -> None:
    rotation = Rotation(shares=(Share(1, 1), Share(9, 0)), alternatives={1: 2, 2: 3, 3: 1})
    availability = {1: Availability.CAPPED, 2: Availability.PAUSED, 3: Availability.OPEN, 9: Availability.OPEN}
    assert pick(rotation, ANYBODY, availability=availability.__getitem__, bound=0, roll=0.5).offer_id == 3
    availability[3] = Availability.CAPPED
    result = pick(rotation, ANYBODY, availability=availability.__getitem__, bound=0, roll=0.5)
    assert (result.offer_id, result.reason) == (9, Reason.CAPPED)


def test_the_first_rule_that_matches_decides_and_falls_back_to_the_offers() -> None:
    rules = (
        CompiledRule(condition({"country": ["DE"]}), (Share(1),), ""),
        CompiledRule(condition({"device": ["mobile"]}), (Share(2),), ""),
    )
    rotation = Rotation(rules=rules, shares=(Share(3),))

    def go(visitor: Visitor, shut: int = 0) -> tuple[int, Reason, int]:
        result = pick(
            rotation,
            visitor,
            availability=lambda n: Availability.PAUSED if n == shut else Availability.OPEN,
            bound=0,
            roll=0.1,
        )
        return result.offer_id, result.reason, result.rule

    assert go(Visitor(country="DE", device="mobile")) == (1, Reason.CHOSEN, 0)
    assert go(Visitor(country="FR", device="mobile")) == (2, Reason.CHOSEN, 1)
    assert go(Visitor(country="FR", device="desktop")) == (3, Reason.NO_RULE, -1)
    assert go(Visitor(country="DE"), shut=1) == (3, Reason.PAUSED, 0)


@pytest.mark.parametrize(
    ("conditions", "visitor", "holds"),
    [
        ({"country": "DE,AT"}, Visitor(country="AT"), True),
        ({"country": ["!DE"]}, Visitor(country="DE"), False),
        ({"country": ["!DE"]}, Visitor(country="FR"), True),
        ({"hours": "9-18"}, Visitor(minute=17 * 60 + 59), True),
        ({"hours": "9-18"}, Visitor(minute=18 * 60), False),
        ({"hours": "22:30-6"}, Visitor(minute=23 * 60), True),
        ({"hours": "22:30-6"}, Visitor(minute=7 * 60), False),
        ({"weekdays": "fri-mon"}, Visitor(weekday=6), True),
        ({"weekdays": ["1", "wed"]}, Visitor(weekday=1), False),
        ({"sub3": "vip"}, Visitor(subs=("", "", "vip")), True),
        ({"sub3": "vip"}, Visitor(), False),
        ({"language": "de", "device": "mobile"}, Visitor(language="de", device="tablet"), False),
        ({"browser": "Chrome"}, Visitor(browser="Chrome"), True),
    ],
)
def test_conditions(conditions: dict[str, object], visitor: Visitor, holds: bool) -> None:
    [rule] = read_rules([{"if": conditions, "offers": ["a"]}], ["a"])
    assert condition(rule["if"])(visitor) is holds


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("nonsense", "cannot be read"),
        (5, "are a list"),
        ([5], "rule 1"),
        ([{"if": {"contry": "DE"}, "offers": ["a"]}], "country"),
        ([{"if": {"country": "DEU"}, "offers": ["a"]}], "two-letter"),
        ([{"if": {"country": "DE"}}], "names no offers"),
        ([{"country": "DE", "offers": ["b"]}], "no offer 'b'"),
        ([{"country": "DE", "offers": ["a:0"]}], "every weight"),
        ([{"hours": "25-26", "offers": ["a"]}], "is not a span"),
        ([{"device": "phone", "offers": ["a"]}], "none of"),
        ([{"country": "DE", "offers": ["a:-1"]}], "weight"),
        ([{"country": "", "offers": ["a"]}], "empty value"),
    ],
)
def test_every_fault_of_a_rule_is_named(raw: object, message: str) -> None:
    with pytest.raises(Refused, match=message) as caught:
        read_rules(raw, ["a"])
    assert caught.value.field == "rules"


def test_rules_read_back_as_they_are_stored() -> None:
    rules = read_rules(
        '{"country": ["de", "at"], "hours": "9-18", "offers": [{"offer": "a", "weight": 3}, "b"]}', ["a", "b"]
    )
    assert read_rules(rules, ["a", "b"]) == rules
    assert spoken(rules[0]) == "country=DE,AT and hours=9-18 → a:3, b"
    assert read_rules("", []) == []
    assert read_share("a:7", {"a": "1"}).weight == 7
