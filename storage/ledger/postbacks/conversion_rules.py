"""What a set of postback requests amounts to: the conversions, whatever order the requests came in.

`derive` is a pure function of the set, so that any interleaving of registrations, deposits, repeats, reversals and late
arrivals ends in the same conversions. Storage asks it again whenever a request joins others of the same transaction
or player, and writes what differs.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from storage.ledger.facts import Event, Status
from storage.ledger.postbacks.conversion_facts import AccountRules, Derived, Request

VERY_SAME_WITHIN = timedelta(minutes=10)
MONEY = (Event.FIRST_DEPOSIT, Event.DEPOSIT)


class _Bundle:
    """Requests that report the same thing."""

    def __init__(self, key: tuple[str, str], requests: list[Request]) -> None:
        self.key = key
        self.requests = requests
        self.repeats: list[Request] = []
        self.is_ftd = False

    @property
    def txn_id(self) -> str | None:
        return min((r.txn_id for r in self.requests if r.txn_id is not None), default=None)

    @property
    def exists(self) -> bool:
        """A reversal alone waits for its original."""
        return any(r.status is not Status.REVERSED for r in self.requests)

    def has_event(self, event: Event) -> bool:
        return any(r.event is event for r in self.requests)

    @property
    def occurred_at(self) -> datetime:
        originals = [r for r in self.requests if r.status is not Status.REVERSED] or self.requests
        stated_times = [r.occurred_at for r in originals if r.time_given]
        return min(stated_times or [r.occurred_at for r in originals])

    @property
    def order(self) -> tuple[datetime, str, tuple[str, str]]:
        return self.occurred_at, self.txn_id or "", self.key

    @property
    def players(self) -> set[str]:
        return {r.player_id for r in self.requests if r.player_id is not None}

    @property
    def clicks(self) -> set[int]:
        return {r.click_id for r in self.requests if r.click_id is not None}


def alone(request: Request, account_rules: AccountRules) -> Derived | None:
    """What `derive` makes of a single request, at once; None if it waits for its original. Most requests are alone."""
    if request.event is Event.REVERSAL or request.status is Status.REVERSED:
        return None
    first = request.event is Event.FIRST_DEPOSIT
    return Derived(
        event=request.event,
        status=request.status,
        is_ftd=first or (request.event is Event.DEPOSIT and not account_rules.has_ftd_event),
        amount=request.amount,
        currency=None if request.amount is None else request.currency,
        occurred_at=request.occurred_at,
        txn_id=None if account_rules.of(request.event) == "count" else request.txn_id,
        click_id=request.click_id,
        player_id=request.player_id,
        received_at=request.received_at,
        marks=tuple(sorted(set(request.marks))) if request.marks else (),
        requests=(request.id,),
    )


def derive(requests: Iterable[Request], account_rules: AccountRules) -> list[Derived]:
    """The conversions of an account's requests. Give it all of a transaction's and of a player's, in any order."""
    ordered = sorted(requests, key=lambda r: r.id)
    if len(ordered) == 1 and ordered[0].corrects is None:
        only = alone(ordered[0], account_rules)
        return [only] if only else []
    originals = [r for r in ordered if r.event is not Event.REVERSAL and r.corrects is None]
    reversals = [r for r in ordered if r.event is Event.REVERSAL]
    corrections = [r for r in ordered if r.corrects is not None]
    bundles = [
        *_counted(_bundles(originals, (Event.REGISTRATION,), account_rules), account_rules, Event.REGISTRATION),
        *_qualified(_bundles(originals, (Event.QUALIFIED,), account_rules)),
        *_money(_bundles(originals, MONEY, account_rules), account_rules),
    ]
    derived = [_folded(bundle, reversals, account_rules) for bundle in sorted(bundles, key=lambda b: b.order)]
    return [_corrected(conversion, ordered, corrections) for conversion in derived]


def _bundles(requests: list[Request], events: tuple[Event, ...], account_rules: AccountRules) -> list[_Bundle]:
    """Requests of a transaction together; without one, those of a player, or identical ones within ten minutes."""
    by_key: dict[tuple[str, str], list[Request]] = {}
    for request in requests:
        if request.event in events:
            by_key.setdefault(_key(request, requests, account_rules), []).append(request)
    return [bundle for bundle in (_Bundle(key, ones) for key, ones in by_key.items()) if bundle.exists]


def _key(request: Request, requests: list[Request], account_rules: AccountRules) -> tuple[str, str]:
    if account_rules.of(request.event) == "count":
        return "request", str(request.id)
    if request.txn_id is not None:
        return "txn", request.txn_id
    if request.event is not Event.DEPOSIT:
        return "player", request.player_id or f"click {request.click_id}"
    return "same", str(_first_of_same(request, requests))


def _first_of_same(request: Request, requests: list[Request]) -> int:
    """The id of the first of a run of identical requests, each within ten minutes of the one before."""
    first = last = request
    for other in reversed([r for r in requests if r.digest == request.digest and r.event is request.event]):
        if other.id < last.id and last.received_at - other.received_at <= VERY_SAME_WITHIN:
            first = last = other
    return first.id


def _groups(bundles: list[_Bundle]) -> list[list[_Bundle]]:
    """Bundles of the same player together: by player id; those without one join a player seen on their click."""
    named = sorted((b for b in bundles if b.players), key=lambda b: b.order)
    groups: list[list[_Bundle]] = []
    for bundle in named:
        same_player = [group for group in groups if any(b.players & bundle.players for b in group)]
        merged = [b for group in same_player for b in group] + [bundle]
        groups = [group for group in groups if group not in same_player] + [merged]
    by_click: dict[int, list[_Bundle]] = {}
    for bundle in sorted((b for b in bundles if not b.players), key=lambda b: b.order):
        click = min(bundle.clicks, default=0)
        home = next((group for group in groups if any(click in b.clicks for b in group)), None)
        if home is None:
            home = by_click.setdefault(click, [])
        home.append(bundle)
    return groups + list(by_click.values())


def _first(bundles: list[_Bundle]) -> _Bundle:
    """The one that counts: the earliest with a transaction id, taking in those without one."""
    named = [b for b in bundles if b.txn_id is not None]
    first = min(named or bundles, key=lambda b: b.order)
    for bundle in bundles:
        if bundle is not first and bundle.txn_id is None:
            first.requests = first.requests + bundle.requests
    return first


def _counted(bundles: list[_Bundle], account_rules: AccountRules, event: Event) -> list[_Bundle]:
    """One per player; the others are its repeats."""
    if account_rules.of(event) == "count":
        return bundles
    distinct = []
    for group in _groups(bundles):
        first = _first(group)
        others = [r for b in group if b is not first and b.txn_id is not None for r in b.requests]
        first.repeats = [r for r in others if r.event is event]
        distinct.append(first)
    return distinct


def _qualified(bundles: list[_Bundle]) -> list[_Bundle]:
    """One per transaction; one without belongs to the player's earliest."""
    counted = []
    for group in _groups(bundles):
        first = _first(group)
        counted += [first, *(b for b in group if b is not first and b.txn_id is not None)]
    return counted


def _money(bundles: list[_Bundle], account_rules: AccountRules) -> list[_Bundle]:
    """Deposits, one per player marked as the first: the one said to be, else (no such event) the earliest."""
    candidates = [b for b in bundles if b.has_event(Event.FIRST_DEPOSIT)]
    firsts = _counted(candidates, account_rules, Event.FIRST_DEPOSIT)
    for first in firsts:
        first.is_ftd = True
    taken = {id(b) for b in candidates}
    deposits = [b for b in bundles if id(b) not in taken]
    freed = [
        _as_deposit(b) for b in candidates if b not in firsts and b.txn_id is not None and b.has_event(Event.DEPOSIT)
    ]
    deposits += [bundle for bundle in freed if bundle.exists]
    if not account_rules.has_ftd_event:
        _promote(firsts, deposits)
    return firsts + deposits


def _as_deposit(bundle: _Bundle) -> _Bundle:
    """A repeated first deposit whose transaction also came as a deposit is that deposit."""
    return _Bundle(bundle.key, [r for r in bundle.requests if r.event is Event.DEPOSIT])


def _promote(firsts: list[_Bundle], deposits: list[_Bundle]) -> None:
    marked = {id(b) for b in firsts}
    for group in _groups(firsts + deposits):
        if not any(id(b) in marked for b in group):
            min(group, key=lambda b: b.order).is_ftd = True


def _folded(bundle: _Bundle, reversals: list[Request], account_rules: AccountRules) -> Derived:
    requests = bundle.requests
    event = Event.FIRST_DEPOSIT if bundle.has_event(Event.FIRST_DEPOSIT) else requests[0].event
    telling = [min(requests, key=lambda r: r.id)] if account_rules.of(event) == "ignore" else requests
    against = [r for r in reversals if _reverses(r, bundle)]
    status = max((r.status for r in (*telling, *against)), key=lambda s: s.rank)
    priced = [r for r in telling if r.amount is not None]
    best = max(priced, key=lambda r: (r.status.rank, r.occurred_at, r.id), default=None)
    return Derived(
        event=event,
        status=Status.REVERSED if against else status,
        is_ftd=bundle.is_ftd,
        amount=best.amount if best else None,
        currency=best.currency if best else None,
        occurred_at=bundle.occurred_at,
        txn_id=None if bundle.key[0] == "request" and account_rules.of(event) == "count" else bundle.txn_id,
        click_id=min(bundle.clicks, default=None),
        player_id=min(bundle.players, default=None),
        received_at=min(r.received_at for r in requests),
        marks=_marks(telling, best is not None),
        requests=tuple(sorted(r.id for r in (*requests, *against))),
        repeats=tuple(sorted(r.id for r in bundle.repeats)),
    )


def _marks(requests: list[Request], priced: bool) -> tuple[str, ...]:
    """What is odd about a conversion: a mark stands until another request gives what was missing."""
    marks = {mark for r in requests for mark in r.marks}
    if priced:
        marks.discard("no_amount")
    if any(r.time_given for r in requests):
        marks.discard("no_time")
    return tuple(sorted(marks))


def _reverses(reversal: Request, bundle: _Bundle) -> bool:
    return reversal.txn_id is not None and any(
        r.txn_id == reversal.txn_id
        and (reversal.click_id is None or r.click_id is None or reversal.click_id == r.click_id)
        for r in bundle.requests
    )


def _corrected(derived: Derived, requests: list[Request], corrections: list[Request]) -> Derived:
    """What a person put right stands over what the requests say; the last correction counts."""
    if not corrections:
        return derived
    conversion_ids = {r.conversion_id for r in requests if r.id in derived.requests}
    for correction in corrections:
        if correction.corrects in conversion_ids:
            derived = msgspec.structs.replace(
                derived,
                status=correction.status,
                amount=derived.amount if correction.amount is None else correction.amount,
                currency=derived.currency if correction.amount is None else correction.currency,
                marks=tuple(sorted({*derived.marks, "corrected"})),
                requests=(*derived.requests, correction.id),
            )
    return derived


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
    return _SINGLE[account_rules.has_ftd_event].get(event)


#: By whether the platform tells first deposits apart.
_SINGLE = {
    told: {event: event.value for event in Event if event not in {Event.DEPOSIT, Event.REVERSAL}}
    | {Event.FIRST_DEPOSIT: "first deposit"}
    | ({} if told else {Event.DEPOSIT: "first deposit"})
    for told in (True, False)
}
_EVENTS = {
    told: {family: tuple(event for event in names if names[event] == family) for family in names.values()}
    for told, names in _SINGLE.items()
}


def events_of(family: str, account_rules: AccountRules) -> tuple[Event, ...]:
    """The events that are about what a player does once, by its name."""
    return _EVENTS[account_rules.has_ftd_event].get(family, ())


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
