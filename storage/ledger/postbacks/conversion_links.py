"""Which requests can touch each other: by click, player or transaction. Others are judged apart."""

from collections import defaultdict
from collections.abc import Iterable

from storage.ledger.facts import Event
from storage.ledger.postbacks.conversion_facts import AccountRules, Request


def links(request: Request, account_rules: AccountRules) -> list[tuple[str, object]]:
    """What ties a request to others: its transaction; for what a player does once, the player and the click."""
    found: list[tuple[str, object]] = []
    if request.txn_id is not None:
        found.append(("txn", request.txn_id))
    elif request.event is Event.DEPOSIT:
        found.append(("same", request.digest))
    family = single(request.event, account_rules)
    if family and request.click_id is not None:
        found.append((f"{family} of click", request.click_id))
    if family and request.player_id is not None:
        found.append((f"{family} of player", request.player_id))
    if request.corrects or request.conversion_id:
        found.append(("conversion", request.corrects or request.conversion_id))
    return found


def single(event: Event, account_rules: AccountRules) -> str | None:
    """The name of what a player does once, if this event is about that."""
    if event is Event.FIRST_DEPOSIT or (event is Event.DEPOSIT and not account_rules.has_ftd_event):
        return "first deposit"
    return None if event in {Event.DEPOSIT, Event.REVERSAL} else event.value


def components(requests: Iterable[Request], account_rules: AccountRules) -> list[list[Request]]:
    """Requests that must be looked at together, by what ties them."""
    known = list(requests)
    parent = list(range(len(known)))

    def root(n: int) -> int:
        while parent[n] != n:
            parent[n] = parent[parent[n]]
            n = parent[n]
        return n

    seen: dict[tuple[str, object], int] = {}
    for n, request in enumerate(known):
        for link in links(request, account_rules):
            parent[root(n)] = root(seen.setdefault(link, n))
    found: defaultdict[int, list[Request]] = defaultdict(list)
    for n, request in enumerate(known):
        found[root(n)].append(request)
    return list(found.values())
