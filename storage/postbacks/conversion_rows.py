"""Conversions as rows: made, changed, and every state kept; the days they move are touched."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.clicks import caps
from storage.db.bulk_sql import NO_NUMBER, BulkTable, RowBatch, as_json, nullable
from storage.ledger.clicks.click_id import instant_of
from storage.ledger.facts import SUBS, ClickLink, Event, Outcome, Status
from storage.ledger.postbacks.conversion_facts import Derived, Request
from storage.postbacks.postback_accounts import AccountDirectory, PostbackAccount
from storage.tables import conversion_states, conversions, postbacks, touched
from storage.tables.types import days, micros

_COMPARED = ("event", "txn_id", "status", "is_ftd", "amount", "currency", "occurred_at", "day", "marks", "player_id")
_NO_SUBS = (None,) * len(SUBS)
FEW_SUBS = 2  # more than most clicks have


class Change(msgspec.Struct, kw_only=True):
    """A conversion to be made, or compared with its row."""

    account: PostbackAccount
    derived: Derived
    candidates: tuple[int, ...] = ()  # rows its requests made before
    strong: int = 0  # how many of them are its own, not its repeats'
    outgoing: tuple[int, ...] = ()  # offers its click went on to, latest first
    id: int = 0
    before: Row[Any] | None = None
    row: dict[str, Any] | None = None

    @property
    def differs(self) -> bool:
        if self.before is None or self.row is None:
            return True
        return any(getattr(self.before, name) != self.row[name] for name in _COMPARED)


async def write(
    tx: AsyncConnection, changes: Sequence[Change], links: Mapping[int, ClickLink], rows: RowBatch, *,
    book: AccountDirectory,
    zone: ZoneInfo,
    now: datetime,
) -> None:  # fmt: skip
    """Make and change rows; afterwards every change has its `id`, and new rows are among `rows`."""
    await _claim(tx, changes)
    for change in changes:
        change.row = _row(change, links.get(change.derived.click_id or 0), zone)
    created = [change for change in changes if change.before is None]
    changed = [change for change in changes if change.before is not None and change.differs]
    unused = _unused(changes)
    if changed or unused or _counts_in_cap(changes, book):
        await rows.begin()
    for number in unused:  # left without requests: two players turned out to be one
        await end(tx, number, "merged", book=book, now=now)
    await _free_transactions(tx, changed)
    for change in changed:
        values = {name: change.row[name] for name in _COMPARED} if change.row else {}
        await tx.execute(update(conversions).where(conversions.c.id == change.id).values(**values))
    if created:
        ids = await rows.insert(*_bulk_rows([change.row or {} for change in created]))
        for change, number in zip(created, ids, strict=True):
            change.id = number
    if marks := _touch_marks(_days([*created, *changed])):
        await rows.append(_TOUCHED, marks)
    await _count_caps(tx, [*created, *changed], book)


async def _free_transactions(tx: AsyncConnection, changed: Sequence[Change]) -> None:
    """Two conversions may swap transactions: each lets go of its own first, for they are unique."""
    moved = [
        change.id
        for change in changed
        if change.before is not None
        and change.row is not None
        and change.before.txn_id is not None
        and (change.before.event, change.before.txn_id) != (change.row["event"], change.row["txn_id"])
    ]
    if moved:
        await tx.execute(update(conversions).where(conversions.c.id.in_(moved)).values(txn_id=None))


async def _claim(tx: AsyncConnection, changes: Sequence[Change]) -> None:
    """Which row each conversion already has: the one its own requests made, else one its repeats made."""
    ids = {number for change in changes for number in change.candidates}
    if not ids:
        return
    query = select(conversions).where(conversions.c.id.in_(ids))
    rows = {row.id: row for row in await tx.execute(query)}
    taken: set[int] = set()
    for own in (True, False):
        for change in changes:
            numbers = change.candidates[: change.strong] if own else change.candidates[change.strong :]
            free = [number for number in numbers if number in rows and number not in taken]
            if change.before is None and free:
                change.id, change.before = free[0], rows[free[0]]
                taken.add(free[0])


def _row(change: Change, link: ClickLink | None, zone: ZoneInfo) -> dict[str, Any]:
    derived = change.derived
    day = derived.occurred_at.astimezone(zone).date()
    return {
        "team_id": change.account.team_id,
        "account_id": change.account.id,
        "campaign_id": link.campaign_id if link else 0,
        "site_id": link.site_id if link else 0,
        "offer_id": _offer(change, link),
        "source_id": link.source_id if link else 0,
        "country": link.country or None if link else None,
        "device": link.device or None if link else None,
        "subs": (link.subs if link else ()) or _NO_SUBS,
        "click_id": derived.click_id,
        "player_id": derived.player_id,
        "event": derived.event,
        "txn_id": derived.txn_id,
        "status": derived.status,
        "is_ftd": derived.is_ftd,
        "amount": derived.amount,
        "currency": derived.currency or change.account.rules.currency,
        "occurred_at": derived.occurred_at,
        "received_at": derived.received_at,
        "day": day,
        "visit_day": link.day if link else None,
        "marks": _marks(derived, link, day, zone),
        "origin": "manual" if "manual" in derived.marks else "postback",
    }


_ROWS, _SHORT_ROWS = (
    BulkTable(
        conversions,
        (
            "team_id", "account_id", "campaign_id", "site_id", "offer_id", "source_id", "country", "device", *subs,
            "click_id", "player_id", "event", "txn_id", "status", "is_ftd", "amount", "currency", "occurred_at",
            "received_at", "day", "visit_day", "marks", "origin",
        ),
        identity_columns=(
            "account_id", "event", "txn_id", "click_id", "player_id", "occurred_at", "amount", "status"
        ),
    )
    for subs in (SUBS, SUBS[:FEW_SUBS])
)  # fmt: skip
_STATES = BulkTable(
    conversion_states,
    (
        "team_id", "conversion_id", "recorded_at", "postback_id", "status", "is_ftd", "amount", "currency",
        "occurred_at", "day",
    ),
    identity_columns=("conversion_id",),
)  # fmt: skip
_TOUCHED = BulkTable(touched, ("team_id", "day"))


def _bulk_rows(rows: Sequence[Mapping[str, Any]]) -> tuple[BulkTable, list[tuple[Any, ...]]]:
    """Conversions as they are stored; short if none of them has many sub values: the others stay null."""
    if any(any(row["subs"][FEW_SUBS:]) for row in rows):
        return _ROWS, [_bulk_row(row, row["subs"]) for row in rows]
    return _SHORT_ROWS, [_bulk_row(row, row["subs"][:FEW_SUBS]) for row in rows]


def _bulk_row(row: Mapping[str, Any], subs: Iterable[str | None]) -> tuple[Any, ...]:
    occurred_at, received_at = row["occurred_at"], row["received_at"]
    occurred = micros(occurred_at)
    received = occurred if received_at is occurred_at else micros(received_at)  # no time given: most are so
    return (
        row["team_id"], row["account_id"], row["campaign_id"], row["site_id"], row["offer_id"], row["source_id"],
        row["country"] or "", row["device"] or "", *[sub or "" for sub in subs], nullable(row["click_id"]),
        row["player_id"] or "", str(row["event"]), row["txn_id"] or "", str(row["status"]), int(row["is_ftd"]),
        nullable(row["amount"]), row["currency"] or "", occurred, received, days(row["day"]),
        NO_NUMBER if row["visit_day"] is None else days(row["visit_day"]),
        as_json(row["marks"]), row["origin"],
    )  # fmt: skip


async def add(tx: AsyncConnection, rows: Sequence[Mapping[str, Any]], now: datetime) -> list[int]:
    """Conversions without a click, each with its first state; their ids, in order."""
    table, stored = _bulk_rows(rows)
    ids = await table.insert(tx, stored)
    await _STATES.append(tx, [_state_row(row, number, micros(now)) for row, number in zip(rows, ids, strict=True)])
    await touch(tx, {(row["team_id"], row["day"]) for row in rows})
    return ids


def _state_row(row: Mapping[str, Any], number: int, recorded: int, posted: int = NO_NUMBER) -> tuple[Any, ...]:
    return (
        row["team_id"], number, recorded, posted, str(row["status"]), int(row["is_ftd"]), nullable(row["amount"]),
        row["currency"] or "", micros(row["occurred_at"]), days(row["day"]),
    )  # fmt: skip


def _marks(derived: Derived, link: ClickLink | None, day: date, zone: ZoneInfo) -> list[str]:
    """`late`: heard of after its day had ended. `before_click`: said to have happened before the click."""
    if derived.received_at is derived.occurred_at and not derived.marks:  # no time given: most are so
        return []
    marks = set(derived.marks)
    if derived.received_at.astimezone(zone).date() > day:
        marks.add("late")
    if link is not None and derived.occurred_at < instant_of(link.click_id).replace(microsecond=0):
        marks.add("before_click")
    return sorted(marks)


def _offer(change: Change, link: ClickLink | None) -> int:
    """The click's offer if the account has it; else the latest it went on to; else the account's only one."""
    mine = change.account.offer_ids
    if link is not None and link.offer_id in mine:
        return link.offer_id
    went_on = next((offer for offer in change.outgoing if offer in mine), None)
    if went_on is not None:
        return went_on
    if len(mine) == 1:
        return next(iter(mine))
    return link.offer_id if link else 0


def _unused(changes: Sequence[Change]) -> list[int]:
    """Rows that none of the conversions has any more."""
    return sorted({number for change in changes for number in change.candidates} - {change.id for change in changes})


async def end(tx: AsyncConnection, number: int, mark: str, *, book: AccountDirectory, now: datetime) -> Row[Any]:
    """A row left without requests stays, reversed, and says why; returns what it was."""
    row = (await tx.execute(select(conversions).where(conversions.c.id == number))).one()
    values = {"status": Status.REVERSED, "txn_id": None, "marks": sorted({*row.marks, mark})}
    await tx.execute(update(conversions).where(conversions.c.id == number).values(**values))
    await _STATES.insert(tx, [(
        row.team_id, number, micros(now), NO_NUMBER, str(Status.REVERSED), int(row.is_ftd), nullable(row.amount),
        row.currency or "", micros(row.occurred_at), days(row.day),
    )])  # fmt: skip
    await touch(tx, _days_of(row.team_id, row.day, row.visit_day))
    event = book.capped.get(row.offer_id)
    if event is not None and _in_cap(event, row.event, is_ftd=row.is_ftd, status=row.status):
        await caps.count(tx, row.offer_id, event, row.occurred_at, -1)
    return row


async def write_states(
    changes: Sequence[Change], posted: Mapping[int, int | None], rows: RowBatch, now: datetime
) -> None:
    """Every new state of a conversion: its history, and what a report of an earlier moment is made of."""
    states = []
    recorded = micros(now)
    for change in changes:
        if change.row is None or not change.differs:
            continue
        numbers = [n for n in (*change.derived.requests, *change.derived.repeats) if n in posted]
        states.append(_state_row(change.row, change.id, recorded, nullable(posted[max(numbers)] if numbers else None)))
    if states:
        await rows.append(_STATES, states)


def reassigned(changes: Sequence[Change], stored: Mapping[int, Request]) -> dict[int, dict[str, Any]]:
    """Stored requests that now belong to another conversion, or found the one they waited for: what they become."""
    values: dict[int, dict[str, Any]] = {}
    for change in changes if stored else ():
        for number in (*change.derived.requests, *change.derived.repeats):
            row = stored.get(number)
            if row is None or row.conversion_id == change.id:
                continue
            values[number] = {"conversion_id": change.id}
            if row.conversion_id is None:
                values[number] |= {"outcome": Outcome.UPDATED, "reason": None}
    return values


async def reassign(tx: AsyncConnection, requests: Mapping[int, dict[str, Any]]) -> None:
    """Have stored requests become that."""
    for number, values in requests.items():
        await tx.execute(update(postbacks).where(postbacks.c.id == number).values(**values))


def _days(changes: Iterable[Change]) -> set[tuple[int, date]]:
    moved: set[tuple[int, date]] = set()
    for change in changes:
        if change.row is not None:
            moved |= _days_of(change.account.team_id, change.row["day"], change.row["visit_day"])
        if change.before is not None:
            moved |= _days_of(change.account.team_id, change.before.day, change.before.visit_day)
    return moved


def _days_of(team_id: int, day: date, visit_day: date | None) -> set[tuple[int, date]]:
    return {(team_id, day)} | ({(team_id, visit_day)} if visit_day else set())


async def touch(tx: AsyncConnection, moved: Iterable[tuple[int, date]]) -> None:
    """Mark report days as moved, for storage.reports.settle."""
    if marks := _touch_marks(moved):
        await _TOUCHED.append(tx, marks)


def _touch_marks(moved: Iterable[tuple[int, date]]) -> list[tuple[int, int]]:
    return [(team_id, days(day)) for team_id, day in sorted(moved)]


def _counts_in_cap(changes: Iterable[Change], book: AccountDirectory) -> bool:
    """Whether an offer of them has a cap that counts conversions."""
    return bool(book.capped) and any(change.row and change.row["offer_id"] in book.capped for change in changes)


async def _count_caps(tx: AsyncConnection, changes: Iterable[Change], book: AccountDirectory) -> None:
    """Caps count registrations and first deposits that are not reversed, whenever that changes."""
    if not book.capped:
        return
    for change in changes:
        row = change.row
        event = book.capped.get(row["offer_id"]) if row else None
        if row is None or event is None:
            continue
        now = _in_cap(event, row["event"], is_ftd=row["is_ftd"], status=row["status"])
        old = change.before
        was = old is not None and _in_cap(event, old.event, is_ftd=old.is_ftd, status=old.status)
        if old is not None and was and not (now and old.occurred_at == row["occurred_at"]):
            await caps.count(tx, row["offer_id"], event, old.occurred_at, -1)
        if now and not (old is not None and was and old.occurred_at == row["occurred_at"]):
            await caps.count(tx, row["offer_id"], event, row["occurred_at"], 1)


def _in_cap(capped: str, event: str, *, is_ftd: bool, status: str) -> bool:
    counted = is_ftd if capped == Event.FIRST_DEPOSIT else event == capped
    return counted and status != Status.REVERSED
