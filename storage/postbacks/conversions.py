"""From postback requests to conversions: every request kept with its outcome, every state of a conversion kept."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.bulk_sql import RowBatch, array
from storage.db.deferred_transaction import DeferredTransaction
from storage.ledger.clicks.click_id import Codec
from storage.ledger.facts import ClickLink, Outcome
from storage.ledger.postbacks.conversion_facts import AccountRules, Derived, Request
from storage.ledger.postbacks.conversion_rules import components
from storage.ledger.postbacks.judging import Judgement, judge
from storage.postbacks.account_versions import as_expected, raise_versions
from storage.postbacks.batch_lookup import BatchLookup, look_up
from storage.postbacks.conversion_rows import Change, reassign, reassigned, write, write_states
from storage.postbacks.matching import as_request, begin, duplicated_conversions, match, neighbours, outgoing_offers
from storage.postbacks.postback_accounts import AccountDirectory, PostbackAccount
from storage.postbacks.requests import Entry, PostbackRequest, again, store, waiting_for_players

#: Called with conversions that were made or changed, in the transaction that did it; the flag is False if their teams
#: have no active webhooks.
Forward = Callable[[AsyncConnection, Sequence[Change], bool], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class ConversionProcessor:
    """What receiving needs beside the requests: the accounts, the id codec, the report time zone, the time.

    `meanwhile` is called while PostgreSQL stores requests, which takes about as long as answering earlier ones. `size`:
    bytes of the table of requests, as far as it is known; receiving finds it out.
    """

    book: AccountDirectory
    codec: Codec
    zone: ZoneInfo
    now: datetime
    forward: Forward | None = None
    meanwhile: Callable[[], None] | None = None
    size: int = 0

    def rules_of(self, entries: Sequence[Entry]) -> dict[int, AccountRules]:
        """The rules of the accounts of requests."""
        numbers = {entry.postback_request.account.id for entry in entries}
        return {number: self.book.by_id[number].account_rules for number in numbers}


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one request. `id` is its line in the log."""

    id: int
    outcome: Outcome
    reason: str | None
    conversion_id: int | None


@dataclass(slots=True)
class _Batch:
    """One batch of requests while it is being placed."""

    entries: Sequence[Entry]
    links: dict[int, ClickLink]
    by_number: dict[int, Entry] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    joined: dict[int, Request] = field(default_factory=dict)  # stored requests whose conversion may change
    repeats: dict[int, int] = field(default_factory=dict)  # a repeat -> the request it repeats


async def receive(
    tx: AsyncConnection, arrivals: Sequence[PostbackRequest], processor: ConversionProcessor
) -> list[Received]:
    """Place a batch of requests, in the order they came; all of it happens or nothing.

    The order of batches does not matter for the conversions they end in: see storage.ledger.postbacks.conversion_rules.
    """
    if not arrivals:
        return []
    await lock_accounts(tx, _account_ids(arrivals))
    return await place(tx, begin(arrivals, processor.codec), processor)


async def place(
    tx: AsyncConnection,
    entries: Sequence[Entry],
    processor: ConversionProcessor,
    deferred: DeferredTransaction | None = None,
) -> list[Received]:
    """`receive` what is prepared; an entry can be placed once.

    In a transaction that began with `lock_of` it, or in one that is `deferred`: then new requests which change nothing
    that is stored are one statement, and StoredMeanwhile is raised if others of their accounts were placed meanwhile.
    """
    known = condition = None
    if tx.dialect.name == "postgresql":
        known = await look_up(tx, entries, processor.rules_of(entries), processor.size, alone=deferred is not None)
        processor.size, condition = known.size, as_expected(known.versions)
    batch, placed = await _placed(tx, entries, processor, known)
    waiting = await _waiting_for_players(tx, placed)
    rows = RowBatch(tx, None if known is None else known.ids, deferred=deferred, condition=condition)
    await write(tx, batch.changes, batch.links, rows, book=processor.book, zone=processor.zone, now=processor.now)
    changed = [change for change in batch.changes if change.before is None or change.differs]
    forwarded = processor.forward is not None and bool(changed) and (deferred is None or _is_forwarded(batch, known))
    requests = reassigned(batch.changes, batch.joined)
    if waiting or forwarded or requests or any(entry.postback_request.id is not None for entry in entries):
        await rows.begin()
    await _store(tx, batch, rows, processor.now)
    if processor.meanwhile is not None:
        processor.meanwhile()
    await rows.store()
    await reassign(tx, requests)
    if processor.forward is not None and forwarded:
        await processor.forward(tx, changed, known is None or known.webhooks)
    if waiting:
        await receive(tx, [again(row, processor.book.by_id[row.account_id]) for row in waiting], processor)
    return [
        Received(id=e.id or 0, outcome=e.outcome or Outcome.REJECTED, reason=e.reason, conversion_id=e.conversion_id)
        for e in entries
    ]


def _is_forwarded(batch: _Batch, known: BatchLookup | None) -> bool:
    """Whether anyone may be notified of what a batch changes: a webhook, or a traffic source of its clicks."""
    if known is None or known.webhooks:
        return True
    links = (batch.links.get(change.derived.click_id or 0) for change in batch.changes)
    return any(link is not None and link.source_id in known.notified_sources for link in links)


async def _store(tx: AsyncConnection, batch: _Batch, rows: RowBatch, now: datetime) -> None:
    """Requests with their outcome, and the new states of conversions; new ones need nothing but `rows`."""
    _name_conversions(batch)
    await store(tx, batch.entries, rows)
    await write_states(batch.changes, {n: e.id for n, e in batch.by_number.items()}, rows, now)


async def preview(
    tx: AsyncConnection, arrivals: Sequence[PostbackRequest], processor: ConversionProcessor
) -> tuple[Sequence[Entry], list[Change]]:
    """What `receive` would do with requests, without doing it."""
    batch, _ = await _placed(tx, begin(arrivals, processor.codec), processor, None)
    return batch.entries, batch.changes


async def _placed(
    tx: AsyncConnection, entries: Sequence[Entry], processor: ConversionProcessor, known: BatchLookup | None
) -> tuple[_Batch, list[Entry]]:
    """Match requests with clicks and derive the conversions they change; also those that are not decided already."""
    batch = _Batch(entries, await match(tx, entries, None if known is None else known.links))
    undecided = [entry for entry in entries if entry.outcome is None]
    batch.by_number = {entry.number: entry for entry in entries}
    if undecided:
        await _place(tx, undecided, batch, processor, known)
    return batch, undecided


async def lock_accounts(tx: AsyncConnection, ids: Collection[int]) -> None:
    """Have no other process place requests of these accounts until the transaction ends."""
    if tx.dialect.name == "postgresql":  # SQLite has one writer anyway
        await tx.exec_driver_sql(raise_versions("$1"), (sorted(ids),))


def lock_of(entries: Sequence[Entry]) -> str:
    """The statement with which a transaction on PostgreSQL begins that is to place these (`Database.run`)."""
    return raise_versions(array(_account_ids([entry.postback_request for entry in entries])))


def _account_ids(arrivals: Sequence[PostbackRequest]) -> list[int]:
    return sorted({arrival.account.id for arrival in arrivals})


async def _place(
    tx: AsyncConnection, placed: list[Entry], batch: _Batch, processor: ConversionProcessor, known: BatchLookup | None
) -> None:
    placed = await _drop_duplicates(tx, placed)
    new: dict[int, list[Request]] = {}
    for entry in placed:
        new.setdefault(entry.postback_request.account.id, []).append(as_request(entry))
    account_rules = {account: processor.book.by_id[account].account_rules for account in new}
    existing = await neighbours(tx, new, account_rules, known)
    derived_now: list[tuple[PostbackAccount, Derived, list[Request]]] = []
    for account, requests in new.items():
        for group in components([*existing[account], *requests], account_rules[account]):
            derived_now += _judged(group, processor.book.by_id[account], batch)
    await _more_links(tx, derived_now, batch)
    went_on = await _outgoing(tx, derived_now, batch)
    batch.changes = [_change(account, derived, group, went_on) for account, derived, group in derived_now]


def _is_nameless_deposit(request: PostbackRequest) -> bool:
    signal = request.signal
    if signal.txn_id is not None or signal.event != "deposit" or request.corrects is not None:
        return False
    return request.account.account_rules.of(signal.event) != "count"


async def _drop_duplicates(tx: AsyncConnection, placed: list[Entry]) -> list[Entry]:
    """A deposit without a transaction id is a duplicate if an identical request came within ten minutes."""
    nameless = [entry for entry in placed if _is_nameless_deposit(entry.postback_request)]
    if not nameless:
        return placed
    earlier = await duplicated_conversions(tx, nameless)
    fresh = []
    for entry in placed:
        like = earlier.get(entry.number)
        if like is None:
            fresh.append(entry)
            continue
        entry.conversion_id = like
        entry.decide(Outcome.DUPLICATE, "an identical request came within ten minutes")
    return fresh


def _judged(
    group: list[Request], account: PostbackAccount, batch: _Batch
) -> list[tuple[PostbackAccount, Derived, list[Request]]]:
    new = [r for r in group if r.id in batch.by_number]
    if not new:
        return []
    existing: list[Request] = []
    if len(new) < len(group):
        existing = [r for r in group if r.id not in batch.by_number]
        batch.joined |= {r.id: r for r in existing}
    if len(new) > 1:
        new.sort(key=_by_arrival)
    judged, derived, joined = judge(existing, new, account.account_rules)
    for judgement in judged:
        _decide(judgement, batch)
    return [(account, derived_, joined) for derived_ in derived]


def _by_arrival(request: Request) -> int:
    return request.id


def _decide(judgement: Judgement, batch: _Batch) -> None:
    entry = batch.by_number[judgement.request.id]
    entry.joined = judgement.joined
    entry.decide(judgement.outcome, judgement.reason)
    if judgement.like is not None:
        batch.repeats[entry.number] = judgement.like


def _change(account: PostbackAccount, derived: Derived, group: list[Request], went_on: dict[int, list[int]]) -> Change:
    offers = tuple(went_on.get(derived.click_id or 0, ())) if went_on else ()
    if len(group) == 1 and group[0].conversion_id is None:
        return Change(account=account, derived=derived, outgoing=offers)
    by_id = {r.id: r for r in group}
    core = [by_id[n].conversion_id for n in derived.requests if by_id[n].conversion_id]
    beside = [by_id[n].conversion_id for n in derived.repeats if by_id[n].conversion_id]
    return Change(
        account=account,
        derived=derived,
        candidates=tuple(
            dict.fromkeys(number for number in (*sorted(filter(None, core)), *beside) if number is not None)
        ),
        strong=len(set(core)),
        outgoing=offers,
    )


async def _more_links(
    tx: AsyncConnection, derived_now: Sequence[tuple[PostbackAccount, Derived, list[Request]]], batch: _Batch
) -> None:
    """A conversion may come of a stored request alone, whose click this batch has not looked up."""
    from storage.clicks import queries

    lacking = {d.click_id for _, d, _ in derived_now if d.click_id is not None and d.click_id not in batch.links}
    if lacking:
        batch.links |= await queries.links(tx, lacking)


async def _outgoing(
    tx: AsyncConnection, derived_now: Sequence[tuple[PostbackAccount, Derived, list[Request]]], batch: _Batch
) -> dict[int, list[int]]:
    unclear = set()
    for account, derived, _ in derived_now:
        link = batch.links.get(derived.click_id or 0)
        if link is not None and link.offer_id not in account.offer_ids:
            unclear.add(link.click_id)
    return await outgoing_offers(tx, unclear)


def _name_conversions(batch: _Batch) -> None:
    """Every request of the batch gets the conversion it belongs to, a repeat that of what it repeats."""
    named = {
        number: change.id for change in batch.changes for number in (*change.derived.requests, *change.derived.repeats)
    }
    for number, entry in batch.by_number.items():
        conversion_id = named.get(batch.repeats.get(number, number))
        if conversion_id is not None:
            entry.conversion_id = conversion_id


async def _waiting_for_players(tx: AsyncConnection, placed: Sequence[Entry]) -> Sequence[Row[Any]]:
    """Stored requests that named only a player, and waited until another one names the player's click."""
    named: dict[int, set[str]] = {}
    for entry in placed:
        signal = entry.postback_request.signal
        if entry.joined and signal.player_id is not None and signal.click is not None:
            named.setdefault(entry.postback_request.account.id, set()).add(signal.player_id)
    return await waiting_for_players(tx, named)
