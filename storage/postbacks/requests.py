"""Postback requests as they came, each kept with its outcome."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, Select, Table, and_, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.bulk_sql import BulkTable, RowBatch, as_json, nullable
from storage.db.engine import Database
from storage.ledger.facts import Event, Outcome, Status
from storage.ledger.postbacks.conversion_facts import Request
from storage.ledger.postbacks.decoding import Decoded, decode
from storage.ledger.postbacks.postback import Signal, read
from storage.postbacks.postback_accounts import PostbackAccount
from storage.tables import accounts, campaigns, click_links, clicks, postbacks
from storage.tables.types import micros

_REASON = 1000
#: Bytes of a body that the log shows; replay and matching read all of it.
SHOWN_BODY = 4_000
#: Bytes of a body that is stored as it came; a longer one is compressed, and kept for so many days.
PLAIN_BODY = 64_000
LONG_BODY_DAYS = 30


class PostbackRequest(msgspec.Struct, kw_only=True):
    """A request on its way in. `id` is set for one that is stored already and looked at again."""

    account: PostbackAccount
    received_at: datetime
    method: str
    query: bytes
    content_type: str
    body: bytes
    decoded: Decoded
    digest: str
    signal: Signal
    refusal: str = ""  # why it is never to be read
    id: int | None = None
    origin: str = "postback"
    corrects: int | None = None
    conversion_id: int | None = None  # what a stored one made before


def postback_request(
    account: PostbackAccount,
    received_at: datetime,
    *,
    query: bytes,
    method: str = "GET",
    content_type: str = "",
    body: bytes = b"",
) -> PostbackRequest:
    """A request decoded and read by its account's rules; never raises, whatever it holds."""
    decoded = decode(query, content_type, body)
    return PostbackRequest(
        account=account, received_at=received_at, method=method, query=query, content_type=content_type[:200],
        body=body, decoded=decoded, digest=decoded.digest, signal=read(decoded, account.rules, received_at),
    )  # fmt: skip


def refused(request: PostbackRequest, reason: str) -> PostbackRequest:
    """The same request, kept but never to be read: too long, from a wrong address, with a wrong signature."""
    request.refusal = reason
    request.signal = msgspec.structs.replace(request.signal, outcome=Outcome.REJECTED, notes=(reason,))
    return request


class Entry(msgspec.Struct, kw_only=True):
    """A request while it is placed: what is found out about it, then its outcome."""

    postback_request: PostbackRequest
    outcome: Outcome | None = None
    reason: str | None = None
    click_id: int | None = None
    number: int = 0  # orders requests of one batch after those stored
    joined: bool = False
    conversion_id: int | None = None
    id: int | None = None
    request: Request | None = None  # as the rules see it, if it is about the click that it seems to be about
    request_values: tuple[Any, ...] | None = None  # what is stored of the request whatever comes of it, if made ready

    def decide(self, outcome: Outcome, reason: str | None = None) -> None:
        self.outcome = outcome
        notes = self.postback_request.signal.notes
        self.reason = "; ".join((reason, *notes) if reason else notes)[:_REASON] or None


def make_ready(entries: Iterable[Entry]) -> None:
    """Do what storing new requests takes before anything is found out about them."""
    for entry in entries:
        if entry.postback_request.id is None:
            entry.request_values = _request_values(entry.postback_request)


async def store(tx: AsyncConnection, entries: Sequence[Entry], rows: RowBatch) -> None:
    """Store new requests with their outcome, and the new outcome of those stored before."""
    new = [entry for entry in entries if entry.postback_request.id is None]
    if new:
        values = ((entry.request_values or _request_values(entry.postback_request), entry) for entry in new)
        ids = await rows.insert(_ROWS, [(*request, *_outcome_values(entry)) for request, entry in values])
        for entry, number in zip(new, ids, strict=True):
            entry.id = number
    for entry in entries:
        if entry.postback_request.id is not None:
            entry.id = entry.postback_request.id
            await tx.execute(_OUTCOMES.update(entry.id, _outcome_values(entry)))


_REQUEST_COLUMNS = (
    "team_id", "account_id", "received_at", "method", "query", "content_type", "body", "packed_body", "body_size",
    "digest", "corrects",
)  # fmt: skip
_OUTCOME_COLUMNS = (
    "outcome", "reason", "event", "click", "click_id", "player_id", "txn_id", "status", "amount", "currency",
    "occurred_at", "time_given", "marks", "joined", "conversion_id",
)  # fmt: skip
_ROWS = BulkTable(
    postbacks, (*_REQUEST_COLUMNS, *_OUTCOME_COLUMNS), identity_columns=("account_id", "digest", "outcome", "method")
)
_OUTCOMES = BulkTable(postbacks, _OUTCOME_COLUMNS)


def _request_values(request: PostbackRequest) -> tuple[Any, ...]:
    return (
        request.account.team_id, request.account.id, micros(request.received_at), request.method, request.query,
        request.content_type, *_stored_body(request.body), request.digest, nullable(request.corrects),
    )  # fmt: skip


def _stored_body(body: bytes) -> tuple[bytes, Any, Any]:
    """A body as it is stored: itself, or its beginning, all of it compressed, and its size."""
    if len(body) <= PLAIN_BODY:
        return body, nullable(None), nullable(None)
    return body[:SHOWN_BODY], zlib.compress(body, 1), len(body)


def is_forgotten(row: Row[Any]) -> bool:
    """Whether the body was long and is not kept any more: the request cannot be read again."""
    return row.body_size is not None and row.packed_body is None


async def forget_long_bodies(database: Database, now: datetime) -> None:
    """Let long bodies go after LONG_BODY_DAYS; what was read of them stays."""
    p = postbacks.c
    old = p.received_at < now - timedelta(days=LONG_BODY_DAYS), p.packed_body.is_not(None)
    async with database.begin() as tx:
        await tx.execute(update(postbacks).where(*old).values(packed_body=None))


def _outcome_values(entry: Entry) -> tuple[Any, ...]:
    signal = entry.postback_request.signal
    return (
        str(entry.outcome or Outcome.REJECTED), entry.reason or "", str(signal.event or ""), signal.click or "",
        nullable(entry.click_id), signal.player_id or "", signal.txn_id or "", str(signal.status),
        nullable(signal.amount), signal.currency or "", micros(signal.occurred_at), int(signal.time_given),
        as_json(signal.marks), int(entry.joined), nullable(entry.conversion_id),
    )  # fmt: skip


def again(row: Row[Any], account: PostbackAccount) -> PostbackRequest:
    """A stored request, read again by the account's rules of today, as far as its body is still there."""
    if row.method == "MANUAL":
        return as_stored(row, account, origin="manual")
    if is_forgotten(row):
        return as_stored(row, account)
    body = row.body if row.packed_body is None else zlib.decompress(row.packed_body)
    request = postback_request(
        account, row.received_at, query=row.query, method=row.method, content_type=row.content_type, body=body
    )
    request.id, request.conversion_id = row.id, row.conversion_id if row.joined else None
    return request


def as_stored(row: Row[Any], account: PostbackAccount, *, origin: str = "postback") -> PostbackRequest:
    """A stored request as it was read when it was placed."""
    signal = Signal(
        event=Event(row.event), status=Status(row.status), click=row.click, player_id=row.player_id, txn_id=row.txn_id,
        amount=row.amount, currency=row.currency, occurred_at=row.occurred_at, time_given=row.time_given,
        marks=tuple(row.marks or ()),
    )  # fmt: skip
    return PostbackRequest(
        account=account, received_at=row.received_at, method=row.method, query=row.query, content_type="",
        body=row.body, decoded=Decoded(pairs=()), digest=row.digest, signal=signal, id=row.id, origin=origin,
        corrects=row.corrects, conversion_id=row.conversion_id if row.joined else None,
    )  # fmt: skip


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the postback log. `click_id` is as it came, `raw` the query and the beginning of the body."""

    id: int
    received_at: datetime
    account: str
    outcome: Outcome
    reason: str | None
    event: str | None
    click_id: str | None
    txn_id: str | None
    player_id: str | None
    status: str | None
    amount: int | None
    currency: str | None
    conversion_id: int | None
    method: str
    raw: str


class RequestFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which requests: all conditions given must hold. `click` is the id as it came, `click_id` what it stands for."""

    outcome: str | None = None
    account_id: int | None = None
    click: str | None = None
    click_id: int | None = None
    ids: tuple[int, ...] = ()
    campaigns: tuple[str, ...] | None = None  # codes; then only what is about their clicks


def _conditions(team_id: int, request_filter: RequestFilter) -> list[ColumnElement[bool]]:
    conditions = [postbacks.c.team_id == team_id]
    if request_filter.outcome is not None:
        conditions.append(postbacks.c.outcome == request_filter.outcome)
    if request_filter.account_id is not None:
        conditions.append(postbacks.c.account_id == request_filter.account_id)
    if request_filter.click is not None:
        same = [postbacks.c.click == request_filter.click]
        if request_filter.click_id is not None:
            same.append(postbacks.c.click_id == request_filter.click_id)
        conditions.append(or_(*same))
    if request_filter.ids:
        conditions.append(postbacks.c.id.in_(request_filter.ids))
    if request_filter.campaigns is not None:
        mine = select(campaigns.c.id).where(
            campaigns.c.team_id == team_id, campaigns.c.code.in_(request_filter.campaigns)
        )
        conditions.append(or_(*(_about(table, mine) for table in (clicks, click_links))))
    return conditions


def _about(table: Table, campaign_ids: Select[Any]) -> ColumnElement[bool]:
    """Whether a request's click is of these campaigns; a click whose detail has expired is a row of click_links."""
    return exists().where(table.c.id == postbacks.c.click_id, table.c.campaign_id.in_(campaign_ids))


async def log(
    tx: AsyncConnection, team_id: int, request_filter: RequestFilter, *, limit: int = 50, after: int | None = None
) -> list[Logged]:
    """Latest first; `after` is the id of the last one seen. Of a long body only the beginning is read."""
    body = postbacks.c.body
    columns = [column for column in postbacks.c if column.name not in {"body", "packed_body", "body_size"}]
    beginning = func.substr(body, 1, SHOWN_BODY, type_=body.type).label("body")
    size = func.coalesce(postbacks.c.body_size, func.length(body)).label("body_size")
    query: Select[Any] = (
        select(*columns, beginning, size, accounts.c.code)
        .join_from(postbacks, accounts)
        .where(*_conditions(team_id, request_filter))
    )
    if after is not None:
        query = query.where(postbacks.c.id < after)
    return [_logged(row) for row in await tx.execute(query.order_by(postbacks.c.id.desc()).limit(limit))]


def _logged(row: Row[Any]) -> Logged:
    return Logged(
        id=row.id, received_at=row.received_at, account=row.code, outcome=Outcome(row.outcome), reason=row.reason,
        event=row.event, click_id=row.click, txn_id=row.txn_id, player_id=row.player_id, status=row.status,
        amount=row.amount, currency=row.currency, conversion_id=row.conversion_id, method=row.method,
        raw=_raw(row.query, row.body or b"", row.body_size),
    )  # fmt: skip


def _raw(query: bytes, body: bytes, size: int) -> str:
    """A request as it came, readable: the query, then the body, or its beginning and how long it is."""
    parts = [part.decode("utf-8", errors="backslashreplace") for part in (query, body) if part]
    rest = f"… ({size:,} bytes)" if size > len(body) else ""
    return "\n".join(parts).replace("\x00", "\\x00") + rest


async def stored(
    tx: AsyncConnection, team_id: int, request_filter: RequestFilter, *, limit: int, after: int = 0
) -> Sequence[Row[Any]]:
    """Stored requests in the order they came, to be looked at again."""
    query = select(postbacks).where(*_conditions(team_id, request_filter), postbacks.c.id > after)
    return (await tx.execute(query.order_by(postbacks.c.id).limit(limit))).all()


async def waiting_for_clicks(tx: AsyncConnection, since: datetime, *, limit: int) -> Sequence[Row[Any]]:
    """Unmatched requests whose click was not stored yet when they came: it may be by now."""
    query = select(postbacks).where(
        postbacks.c.outcome == Outcome.UNMATCHED,
        postbacks.c.click_id.is_not(None),
        postbacks.c.joined.is_(False),
        postbacks.c.received_at >= since,
    )
    return (await tx.execute(query.order_by(postbacks.c.id).limit(limit))).all()


async def waiting_for_players(tx: AsyncConnection, players: Mapping[int, Iterable[str]]) -> Sequence[Row[Any]]:
    """Unmatched requests of players (account -> player ids) that have become known."""
    if not players:
        return []
    ors = [
        and_(postbacks.c.account_id == account, postbacks.c.player_id.in_(list(ids)))
        for account, ids in players.items()
    ]
    query = select(postbacks).where(
        or_(*ors), postbacks.c.outcome == Outcome.UNMATCHED, postbacks.c.joined.is_(False), postbacks.c.click.is_(None)
    )
    return (await tx.execute(query.order_by(postbacks.c.id))).all()
