"""Which click or player a postback is about, and which earlier requests it must be looked at with."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from operator import itemgetter
from typing import Any, Protocol

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.clicks import imported_clicks, queries
from storage.db.bulk_sql import Lookup
from storage.ledger.clicks.click_id import Codec
from storage.ledger.facts import ClickLink, Event, Outcome, Status
from storage.ledger.postbacks.conversion_facts import AccountRules, Request
from storage.ledger.postbacks.conversion_rules import VERY_SAME_WITHIN, events_of, links
from storage.postbacks.requests import Entry, PostbackRequest
from storage.tables import outgoing, postbacks

#: Numbers of requests not stored yet, above every stored id.
_unstored = count(1 << 62)

#: What is read of stored requests that others may be tied to.
SEEN = select(
    postbacks.c.account_id, postbacks.c.id, postbacks.c.received_at, postbacks.c.event, postbacks.c.status,
    postbacks.c.click_id, postbacks.c.player_id, postbacks.c.txn_id, postbacks.c.amount, postbacks.c.currency,
    postbacks.c.occurred_at, postbacks.c.time_given, postbacks.c.digest, postbacks.c.marks,
    postbacks.c.conversion_id, postbacks.c.corrects,
).where(postbacks.c.joined)  # fmt: skip
_OF_TXN = Lookup(SEEN, postbacks.c.account_id, postbacks.c.txn_id)
_OF_CONVERSION = Lookup(SEEN, postbacks.c.conversion_id)
_OF_PLAYER = Lookup(SEEN, postbacks.c.account_id, postbacks.c.player_id, postbacks.c.event)
#: Without statistics SQLite would rather read all of an account than look up its clicks.
_OF_CLICK = Lookup(SEEN, postbacks.c.click_id, postbacks.c.event)

_DEPOSITS = Lookup(
    select(
        postbacks.c.id, postbacks.c.account_id, postbacks.c.digest, postbacks.c.received_at, postbacks.c.conversion_id
    ).where(postbacks.c.event == Event.DEPOSIT, postbacks.c.conversion_id.is_not(None)),
    postbacks.c.click_id,
    postbacks.c.digest,
)  # fmt: skip
_PLAYERS = Lookup(
    select(postbacks.c.account_id, postbacks.c.player_id, postbacks.c.click_id).where(
        postbacks.c.joined, postbacks.c.click_id.is_not(None)
    ),
    postbacks.c.account_id,
    postbacks.c.player_id,
)


def read_seen(row: Sequence[Any]) -> Sequence[Any]:
    """A row of SEEN, of its stored values."""
    return _OF_TXN.read(row)


def begin(arrivals: Iterable[PostbackRequest], codec: Codec) -> list[Entry]:
    """Requests to be placed, in their order, each as `prepare` does it."""
    return [prepare(arrival, codec) for arrival in arrivals]


def prepare(arrival: PostbackRequest, codec: Codec) -> Entry:
    """A request to be placed after those prepared before; settles what needs no look at anything stored."""
    entry = Entry(postback_request=arrival, number=arrival.id or next(_unstored))
    _decide_alone(entry, codec)
    if entry.outcome is None:
        entry.request = _request(entry)
    return entry


async def match(
    tx: AsyncConnection, entries: Sequence[Entry], kept: Mapping[int, ClickLink] | None
) -> dict[int, ClickLink]:
    """Find the click of every entry, or settle its outcome; returns the links of the clicks found.

    `kept`: links of the clicks that the entries name, but for expired ones, if these have been looked up.
    """
    ids = {e.click_id for e in entries if e.outcome is None and e.click_id is not None}
    links_of = await queries.links(tx, ids, kept)
    links_of |= await _imported(tx, entries, links_of)
    unclear = [e for e in entries if e.outcome is None and e.click_id is None]
    for entry in entries:
        if entry.outcome is not None or entry.click_id is None:
            continue
        link = links_of.get(entry.click_id)
        if link is None or link.team_id != entry.postback_request.account.team_id:
            entry.click_id = entry.click_id if link is None else None  # of another team: unknown to this one
            entry.decide(Outcome.UNMATCHED, "unknown click id")
    if unclear:
        links_of |= await _by_player(tx, unclear, entries)
    return links_of


async def _imported(
    tx: AsyncConnection, entries: Sequence[Entry], links_of: Mapping[int, ClickLink]
) -> dict[int, ClickLink]:
    """Clicks of another tracker behind the ids that are none of our clicks; what is neither is unmatched."""
    open_entries = [entry for entry in entries if entry.outcome is None and entry.postback_request.signal.click]
    strange = [entry for entry in open_entries if not _is_ours(entry, links_of)]
    if not strange:
        return {}
    words = [(e.postback_request.account.team_id, e.postback_request.signal.click or "") for e in strange]
    known = await imported_clicks.find(tx, words)
    for entry, (team_id, word) in zip(strange, words, strict=True):
        number = known.get((team_id, imported_clicks.folded(word)))
        if number is not None:
            entry.click_id = number
        elif entry.click_id is None:
            entry.decide(Outcome.UNMATCHED, "unknown click id")
    return await queries.links(tx, known.values()) if known else {}


def _is_ours(entry: Entry, links_of: Mapping[int, ClickLink]) -> bool:
    link = None if entry.click_id is None else links_of.get(entry.click_id)
    return link is not None and link.team_id == entry.postback_request.account.team_id


def _decide_alone(entry: Entry, codec: Codec) -> None:
    """What needs no look at anything stored: unreadable, unmapped, a reversal of nothing named."""
    signal = entry.postback_request.signal
    if signal.click is not None:
        entry.click_id = codec.decode(signal.click)
    if signal.outcome is not None:
        entry.decide(signal.outcome)
    elif signal.txn_id is None and _reverses(entry) and entry.postback_request.corrects is None:
        entry.decide(Outcome.UNMATCHED, "a reversal needs the transaction id of what it reverses")
    elif signal.click is None and signal.player_id is None and not _reverses(entry):
        entry.decide(Outcome.UNMATCHED, "no click id")


def _reverses(entry: Entry) -> bool:
    return (
        entry.postback_request.signal.event is Event.REVERSAL or entry.postback_request.signal.status is Status.REVERSED
    )


async def _by_player(tx: AsyncConnection, unclear: Sequence[Entry], batch: Sequence[Entry]) -> dict[int, ClickLink]:
    """Those without a click id belong to the click their player is known by."""
    account_players = {
        (e.postback_request.account.id, e.postback_request.signal.player_id)
        for e in unclear
        if e.postback_request.signal.player_id
    }
    click_ids: dict[tuple[int, str], int] = {}
    accounts, players = {account for account, _ in account_players}, {player for _, player in account_players}
    for account, player, click_id in await _PLAYERS.rows(tx, accounts, players):
        _remember(click_ids, (account, player), click_id)
    for entry in batch:
        player = entry.postback_request.signal.player_id
        if entry.outcome is None and entry.click_id is not None and player is not None:
            _remember(click_ids, (entry.postback_request.account.id, player), entry.click_id)
    for entry in unclear:
        _decide_by_player(entry, click_ids)
    return await queries.links(tx, {e.click_id for e in unclear if e.click_id is not None})


def _remember(click_ids: dict[tuple[int, str], int], key: tuple[int, str], click_id: int) -> None:
    click_ids[key] = min(click_ids.get(key, click_id), click_id)


def _decide_by_player(entry: Entry, click_ids: Mapping[tuple[int, str], int]) -> None:
    player = entry.postback_request.signal.player_id
    if player is None:
        return  # a reversal by its transaction alone
    entry.click_id = click_ids.get((entry.postback_request.account.id, player))
    if entry.click_id is None and not _reverses(entry):
        entry.decide(Outcome.UNMATCHED, "no click id, and the player is not known yet")


def as_request(entry: Entry) -> Request:
    """An entry as the rules see it."""
    request = entry.request
    return request if request is not None and request.click_id == entry.click_id else _request(entry)


def _request(entry: Entry) -> Request:
    request, signal = entry.postback_request, entry.postback_request.signal
    assert signal.event is not None  # noqa: S101 - settled before, else
    return Request(
        id=entry.number, received_at=request.received_at, event=signal.event, status=signal.status,
        click_id=entry.click_id, player_id=signal.player_id, txn_id=signal.txn_id, amount=signal.amount,
        currency=signal.currency, occurred_at=signal.occurred_at, time_given=signal.time_given, digest=request.digest,
        marks=signal.marks, corrects=request.corrects, conversion_id=request.conversion_id,
    )  # fmt: skip


def _stored(row: Sequence[Any]) -> Request:
    (
        _, number, received_at, event, status, click_id, player_id, txn_id, amount, currency, occurred_at, time_given,
        digest, marks, conversion_id, corrects,
    ) = row  # fmt: skip
    return Request(
        id=number, received_at=received_at, event=Event(event), status=Status(status), click_id=click_id,
        player_id=player_id, txn_id=txn_id, amount=amount, currency=currency, occurred_at=occurred_at,
        time_given=time_given, digest=digest, marks=tuple(marks or ()), conversion_id=conversion_id, corrects=corrects,
    )  # fmt: skip


class SeenRequests(Protocol):
    """Stored requests that have been looked up: all that have any of these ties."""

    seen: Sequence[Sequence[Any]]
    searched: frozenset[tuple[int, str, object]]


async def neighbours(
    tx: AsyncConnection, new: Mapping[int, Sequence[Request]], account_rules: Mapping[int, AccountRules],
    known: SeenRequests | None = None,
) -> dict[int, list[Request]]:  # fmt: skip
    """All stored requests (by account) that share a transaction, or what a player does once, with the new ones."""
    request_ids = {r.id for requests in new.values() for r in requests}
    requests: dict[int, dict[int, Request]] = {account: {} for account in new}
    searched: set[tuple[int, str, object]] = set()
    frontier = {
        (account, *link) for account, rs in new.items() for r in rs for link in links(r, account_rules[account])
    }
    while frontier:
        searched |= frontier
        fresh = known.seen if known and frontier <= known.searched else await _tied(tx, frontier, account_rules)
        frontier = set()
        for account, request in ((row[0], _stored(row)) for row in fresh):
            if account not in requests or request.id in requests[account] or request.id in request_ids:
                continue
            ties = {(account, *link) for link in links(request, account_rules[account])}
            if not ties.isdisjoint(searched):
                requests[account][request.id] = request
                frontier |= ties
        frontier -= searched
    return {account: list(by_id.values()) for account, by_id in requests.items()}


async def _tied(
    tx: AsyncConnection, frontier: Iterable[tuple[int, str, object]], account_rules: Mapping[int, AccountRules]
) -> list[Sequence[Any]]:
    """Stored requests that any of these links leads to; of what players do once, some others of them too."""
    values: defaultdict[str, set[Any]] = defaultdict(set)
    events: defaultdict[str, set[Event]] = defaultdict(set)
    accounts = set()
    for account, kind, value in frontier:
        accounts.add(account)
        family, _, key_name = kind.rpartition(" of ")
        values[key_name].add(value)
        if family:
            events[key_name].update(events_of(family, account_rules[account]))
    return [
        *await _OF_TXN.rows(tx, accounts, values["txn"]),
        *await _OF_CONVERSION.rows(tx, values["conversion"]),
        *await _OF_CLICK.rows(tx, values["click"], events["click"]),
        *await _OF_PLAYER.rows(tx, accounts, values["player"], events["player"]),
    ]


async def duplicated_conversions(tx: AsyncConnection, entries: Sequence[Entry]) -> dict[int, int]:
    """Existing conversions that repeated deposits without a transaction id duplicate, by the entries' numbers."""
    request_ids = {e.postback_request.id for e in entries}
    rows = await _DEPOSITS.rows(tx, {e.click_id for e in entries}, {e.postback_request.digest for e in entries})
    rows = [row for row in sorted(rows, key=itemgetter(0)) if row[0] not in request_ids]
    repeats: dict[int, int] = {}
    for entry in entries:
        candidate = entry.postback_request
        for number, account_id, digest, received_at, conversion_id in rows:
            # Of two workers' requests the one received first may be stored second.
            before = number < entry.number and abs(candidate.received_at - received_at) <= VERY_SAME_WITHIN
            if before and (account_id, digest) == (candidate.account.id, candidate.digest):
                repeats[entry.number] = conversion_id
    return repeats


async def outgoing_offers(tx: AsyncConnection, click_ids: Iterable[int]) -> dict[int, list[int]]:
    """The offers each click went on to, the latest first."""
    ids = set(click_ids)
    offers_of: dict[int, list[int]] = {}
    if ids:
        query = select(outgoing.c.click_id, outgoing.c.offer_id).where(outgoing.c.click_id.in_(ids))
        for row in await tx.execute(query.order_by(outgoing.c.id.desc())):
            offers_of.setdefault(row.click_id, []).append(row.offer_id)
    return offers_of
