"""What comes of each request as it joins those before it, and the conversions they all make in the end."""

from collections.abc import Sequence

import msgspec

from storage.ledger.facts import Event, Outcome
from storage.ledger.postbacks.conversion_facts import AccountRules, Derived, Request
from storage.ledger.postbacks.conversion_rules import VERY_SAME_WITHIN, alone, derive


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one request. One that is not `joined` takes no part in what conversions are made of."""

    request: Request
    outcome: Outcome
    reason: str | None = None
    joined: bool = True
    like: int | None = None  # the earlier request it repeats exactly


def judge(
    existing: Sequence[Request], new: Sequence[Request], account_rules: AccountRules
) -> tuple[list[Judgement], list[Derived], list[Request]]:
    """Judge new requests in the order they came; also all conversions, and the requests they are made of."""
    if not existing and len(new) == 1 and new[0].corrects is None:
        only = alone(new[0], account_rules)
        if only is None:
            return [_compared(new[0], (), ())], [], list(new)
        return [Judgement(request=new[0], outcome=Outcome.ACCEPTED)], [only], list(new)
    joined = list(existing)
    before = derive(joined, account_rules) if existing else []
    judged = []
    for request in new:
        judgement = _at_once(request, joined, before, account_rules)
        if judgement is None:
            joined.append(request)
            after = derive(joined, account_rules)
            judgement = _compared(request, before, after)
            before = after
        judged.append(judgement)
    return judged, before, joined


def _at_once(
    request: Request, joined: Sequence[Request], before: Sequence[Derived], account_rules: AccountRules
) -> Judgement | None:
    """A transaction of another click, or exactly what the last request said."""
    if request.corrects is not None or account_rules.of(request.event) == "count":
        return None
    family = [r for r in joined if r.txn_id == request.txn_id and _family(r.event) == _family(request.event)]
    if request.txn_id is not None and any(_another(request, r) for r in family):
        reason = f"transaction {request.txn_id} belongs to another click"
        return Judgement(request=request, outcome=Outcome.DUPLICATE, reason=reason, joined=False)
    last = max((r for r in family if r.event is request.event), key=lambda r: r.id, default=None)
    if last is None or last.digest != request.digest or last.corrects is not None:
        return None
    if (
        request.txn_id is None
        and request.event is Event.DEPOSIT
        and request.received_at - last.received_at > VERY_SAME_WITHIN
    ):
        return None
    waits = not any(last.id in (*d.requests, *d.repeats) for d in before)
    outcome = Outcome.UNMATCHED if waits else Outcome.DUPLICATE
    return Judgement(
        request=request, outcome=outcome, reason="an identical request came before", joined=False, like=last.id
    )


def _family(event: Event) -> str:
    return "deposit" if event is Event.FIRST_DEPOSIT else event.value


def _another(request: Request, other: Request) -> bool:
    if request.player_id is not None and request.player_id == other.player_id:
        return False
    return request.click_id is not None and other.click_id is not None and request.click_id != other.click_id


def _compared(request: Request, before: Sequence[Derived], after: Sequence[Derived]) -> Judgement:
    with_request = [d for d in after if request.id in d.requests]
    if not with_request:
        if any(request.id in d.repeats for d in after):
            reason = f"the player's {request.event} is known already"
            return Judgement(request=request, outcome=Outcome.DUPLICATE, reason=reason)
        return Judgement(request=request, outcome=Outcome.UNMATCHED, reason="waits for the transaction it reverses")
    pairs = [(d, p) for d in with_request for p in before if set(p.requests) & set(d.requests)]
    if not pairs:
        return Judgement(request=request, outcome=Outcome.ACCEPTED)
    changed = any(_says(d) != _says(p) and not _renamed(request, p) for d, p in pairs)
    return Judgement(request=request, outcome=Outcome.UPDATED if changed else Outcome.DUPLICATE)


def _says(derived: Derived) -> tuple[object, ...]:
    return derived.event, derived.status, derived.amount, derived.currency


def _renamed(request: Request, before: Derived) -> bool:
    """Another transaction of what a player does once: it may count in place of the first, but stays a duplicate."""
    return (
        request.event is not Event.REVERSAL
        and None not in {request.txn_id, before.txn_id}
        and request.txn_id != before.txn_id
    )
