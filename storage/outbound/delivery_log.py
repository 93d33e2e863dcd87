"""What went to traffic sources and what became of it; dead ones are sent again on demand."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.errors import Missing
from storage.tables import (
    conversions,
    outbound,
    outbound_attempts,
    sources,
)

NO_CLICK_ID = "no click id of the source came with the click, so it could not match the postback to a visitor"


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the delivery history, with what the latest try got."""

    id: int
    source: str
    conversion_id: int
    event: str
    state: str
    attempts: int
    created_at: datetime
    next_at: datetime | None
    host: str
    status: int | None
    answer: str
    error: str | None
    reason: str | None = None  # why it is skipped


async def history(
    tx: AsyncConnection, team_id: int, *, state: str | None = None, source_id: int | None = None,
    conversion_ids: Iterable[int] = (), limit: int = 50, after: int | None = None,
    campaigns: Select[Any] | None = None,
) -> list[Sent]:  # fmt: skip
    """Latest first; `after` is the id of the last one seen. `campaigns`: ids of the only ones it may be about."""
    query = _with_latest_try(team_id, sources.c.code).join(sources, sources.c.id == outbound.c.source_id)
    if state is not None:
        query = query.where(outbound.c.state == state)
    if source_id is not None:
        query = query.where(outbound.c.source_id == source_id)
    if conversion_ids:
        query = query.where(outbound.c.conversion_id.in_(list(conversion_ids)))
    if campaigns is not None:
        query = query.where(_about(campaigns))
    if after is not None:
        query = query.where(outbound.c.id < after)
    return [_sent(row) for row in await tx.execute(query.order_by(outbound.c.id.desc()).limit(limit))]


def _with_latest_try(team_id: int, *columns: Any) -> Select[Any]:
    """The team's outgoing messages, each with what its latest try got."""
    latest = (
        select(outbound_attempts.c.outbound_id, func.max(outbound_attempts.c.id).label("attempt"))
        .group_by(outbound_attempts.c.outbound_id)
        .subquery()
    )
    tried = outbound_attempts.c.status, outbound_attempts.c.answer, outbound_attempts.c.error
    return (
        select(outbound, *columns, *tried)
        .outerjoin(latest, latest.c.outbound_id == outbound.c.id)
        .outerjoin(outbound_attempts, outbound_attempts.c.id == latest.c.attempt)
        .where(outbound.c.team_id == team_id)
    )


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a webhook, with what the latest try got. `key` is the id that the receiver sees."""

    id: int
    webhook: str
    event: str
    key: str
    state: str  # queued | sent | dead | skipped
    attempts: int
    created_at: datetime
    next_at: datetime | None
    status: int | None
    answer: str
    error: str | None


async def calls(
    tx: AsyncConnection, team_id: int, webhook_ids: Collection[int], *, state: str | None, limit: int, after: int | None
) -> list[Call]:
    """Calls of these webhooks, latest first; `after` is the id of the last one seen."""
    query = _with_latest_try(team_id).where(outbound.c.webhook_id.in_(webhook_ids))
    if state is not None:
        query = query.where(outbound.c.state == state)
    if after is not None:
        query = query.where(outbound.c.id < after)
    return [
        Call(
            id=row.id, webhook=f"webhook-{row.webhook_id}", event=row.event, key=row.idempotency_key, state=row.state,
            attempts=row.attempts, created_at=row.created_at, next_at=row.next_at if row.state == "queued" else None,
            status=row.status, answer=row.answer or "", error=row.error,
        )
        for row in await tx.execute(query.order_by(outbound.c.id.desc()).limit(limit))
    ]  # fmt: skip


def _about(campaigns: Select[Any]) -> ColumnElement[bool]:
    return outbound.c.conversion_id.in_(select(conversions.c.id).where(conversions.c.campaign_id.in_(campaigns)))


def _sent(row: Row[Any]) -> Sent:
    return Sent(
        id=row.id, source=row.code, conversion_id=row.conversion_id, event=row.event, state=row.state,
        attempts=row.attempts, created_at=row.created_at, next_at=row.next_at if row.state == "queued" else None,
        host=row.host, status=row.status, answer=row.answer or "", error=row.error,
        reason=NO_CLICK_ID if row.state == "skipped" else None,
    )  # fmt: skip


async def resend(
    tx: AsyncConnection, team_id: int, *, now: datetime, number: int | None = None, campaigns: Select[Any] | None = None
) -> int:
    """Queue a dead or sent message again, or all dead ones; the key stays the same. Raises Missing.

    `campaigns`: ids of the only ones it may be about.
    """
    conditions = [outbound.c.team_id == team_id, outbound.c.webhook_id.is_(None)]
    conditions.append(outbound.c.id == number if number is not None else outbound.c.state == "dead")
    conditions += [] if campaigns is None else [_about(campaigns)]
    again = update(outbound).where(*conditions).values(state="queued", next_at=now, attempts=0, claimed_until=None)
    done = (await tx.execute(again)).rowcount
    if number is not None and not done:
        raise Missing(f"no outgoing postback {number}: 'postback sent' lists them", field="id")
    return int(done)
