"""Which requests can touch each other: by click, player or transaction. Others are judged apart."""

from collections import defaultdict
from collections.abc import Iterable

from storage.ledger.facts import Event
from storage.ledger.postbacks.conversion_facts import AccountRules, Request


def links(request: Request, account_rules: AccountRules) -> list[tuple[str, object]]:
    """What ties a request to others: its transaction; for what a player does once, the player and the click."""
    keys: list[tuple[str, object]] = []
    if request.txn_id is not None:
        keys.append(("txn", request.txn_id))
    elif request.event is Event.DEPOSIT:
        keys.append(("same", request.digest))
    family = single(request.event, account_rules)
    if family and request.click_id is not None:
        keys.append((f"{family} of click", request.click_id))
    if family and request.player_id is not None:
        keys.append((f"{family} of player", request.player_id))
    if request.corrects or request.conversion_id:
        keys.append(("conversion", request.corrects or request.conversion_id))
    return keys


def single(event: Event, account_rules: AccountRules) -> str | None:
    """The name of what a player does once, if this event is about that."""
    if event is Event.FIRST_DEPOSIT or (event is Event.DEPOSIT and not account_rules.has_ftd_event):
        return "first deposit"
    return None if event in {Event.DEPOSIT, Event.REVERSAL} else event.value


def components(requests: Iterable[Request], account_rules: AccountRules) -> list[list[Request]]:
    """Requests that must be looked at together, by what ties them."""
    ordered = list(requests)
    parent = list(range(len(ordered)))

    def root(n: int) -> int:
        while parent[n] != n:
            parent[n] = parent[parent[n]]
            n = parent[n]
        return n

    first_by_key: dict[tuple[str, object], int] = {}
    for n, request in enumerate(ordered):
        for link in links(request, account_rules):
            parent[root(n)] = root(first_by_key.setdefault(link, n))
    groups: defaultdict[int, list[Request]] = defaultdict(list)
    for n, request in enumerate(ordered):
        groups[root(n)].append(request)
    return list(groups.values())
