"""The same requests end in the same conversions, whatever order they came in."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.ledger.facts import Event, Status
from storage.ledger.postbacks.conversion_facts import AccountRules, Derived, Request
from storage.ledger.postbacks.conversion_rules import alone, derive
from storage.ledger.postbacks.judging import judge
from tests.generated import examples

NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)


def request(number: int, event: str, **values: Any) -> Request:
    """A request; `at` is the minute it says it happened, `came` the minute it came."""
    minute, came = values.pop("at", None), values.pop("came", number)
    received = NOON + timedelta(minutes=came)
    fields = {
        "click_id": 1, "player_id": None, "txn_id": None, "amount": None, "currency": None, "status": Status.APPROVED,
        "digest": str(number), **values,
    }  # fmt: skip
    return Request(
        id=number, received_at=received, event=Event(event), time_given=minute is not None,
        occurred_at=received if minute is None else NOON + timedelta(minutes=minute), **fields,
    )  # fmt: skip


def shown(conversions: list[Derived]) -> list[tuple[Any, ...]]:
    """What a report can see of conversions."""
    return sorted(
        ((d.event.value, d.status.value, d.is_ftd, d.amount, d.occurred_at, d.click_id) for d in conversions),
        key=lambda row: tuple(map(str, row)),
    )


@st.composite
def stories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """What happened to a few players: each request says when it happened, and at most one amount per moment."""
    messages = []
    for n in range(draw(st.integers(1, 10))):
        event = draw(st.sampled_from(["registration", "first_deposit", "deposit", "deposit", "qualified", "reversal"]))
        status = draw(st.sampled_from([Status.PENDING, Status.APPROVED, Status.APPROVED, Status.REVERSED]))
        txn = draw(st.sampled_from(["1", "2", "3", None]))
        if event == "reversal" or status is Status.REVERSED or event == "deposit":
            txn = txn or "3"
        click = draw(st.integers(1, 2))
        messages.append({
            "event": event, "status": status, "txn_id": f"{click}-{txn}" if txn else None, "click_id": click,
            "at": draw(st.integers(0, 5)) * 100 + n, "amount": draw(st.sampled_from([None, 10, 20, 30])),
            "player_id": draw(st.sampled_from([None, f"P{click}"])), "digest": str(n),
        })  # fmt: skip
    return messages + [dict(item) for item in draw(st.lists(st.sampled_from(messages), max_size=3))]


@settings(max_examples=examples(400))
@given(stories(), st.randoms(use_true_random=False), st.booleans())
def test_any_order_of_requests_makes_the_same_conversions(
    answer: list[dict[str, Any]], chance: Any, has_ftd_event: bool
) -> None:
    account_rules = AccountRules(has_ftd_event=has_ftd_event)

    def after(order: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        existing: list[Request] = []
        results: list[Derived] = []
        for n, item in enumerate(order, 1):
            _, results, existing = judge(existing, [request(n, **item)], account_rules)
        return shown(results)

    shuffled = list(answer)
    chance.shuffle(shuffled)
    assert after(shuffled) == after(answer)


@settings(max_examples=examples(200))
@given(stories())
def test_judging_one_by_one_is_judging_all_at_once(answer: list[dict[str, Any]]) -> None:
    requests = [request(n, **item) for n, item in enumerate(answer, 1)]
    _, together, _ = judge([], requests, AccountRules())
    existing: list[Request] = []
    for item in requests:
        _, result, existing = judge(existing, [item], AccountRules())
    assert shown(result) == shown(together)


@settings(max_examples=examples(200))
@given(stories(), st.booleans(), st.sampled_from(["ignore", "update", "count"]))
def test_a_request_alone_is_read_the_same_the_short_way(
    answer: list[dict[str, Any]], has_ftd_event: bool, habit: str
) -> None:
    account_rules = AccountRules(has_ftd_event=has_ftd_event, repeats={item["event"]: habit for item in answer})
    for n, item in enumerate(answer, 1):
        result = alone(request(n, **item), account_rules)
        assert ([result] if result else []) == derive([request(n, **item)], account_rules)


@settings(max_examples=examples(200))
@given(stories(), st.booleans())
def test_a_player_has_one_first_deposit_at_most(answer: list[dict[str, Any]], has_ftd_event: bool) -> None:
    result = derive([request(n, **item) for n, item in enumerate(answer, 1)], AccountRules(has_ftd_event=has_ftd_event))
    for click in (1, 2):
        assert sum(d.is_ftd for d in result if d.click_id == click) <= 1


def test_the_amount_is_of_the_highest_rank_then_the_latest_then_the_last() -> None:
    base = {"txn_id": "T", "at": 0}
    result = derive([
        request(1, "deposit", amount=10, status=Status.PENDING, txn_id="T", at=50),
        request(2, "deposit", amount=20, **base),
        request(3, "deposit", amount=30, **base),
    ], AccountRules())  # fmt: skip
    assert [(d.amount, d.occurred_at) for d in result] == [(30, NOON)]


@pytest.mark.parametrize(("habit", "amounts"), [("update", [20]), ("ignore", [10]), ("count", [10, 20])])
def test_what_a_repeat_means_can_be_set_per_event(habit: str, amounts: list[int]) -> None:
    requests = [request(1, "deposit", amount=10, txn_id="T"), request(2, "deposit", amount=20, txn_id="T")]
    result = derive(requests, AccountRules(repeats={"deposit": habit}))
    assert sorted(d.amount or 0 for d in result) == amounts


def test_a_correction_by_hand_stands() -> None:
    first = request(1, "deposit", amount=10, txn_id="T", conversion_id=5)
    wrong = request(3, "deposit", amount=30, txn_id="T", conversion_id=5)
    right = request(2, "deposit", amount=11, status=Status.REVERSED, corrects=5, conversion_id=5)
    result = derive([first, right, wrong], AccountRules())
    assert [(d.amount, d.status) for d in result] == [(11, Status.REVERSED)]
