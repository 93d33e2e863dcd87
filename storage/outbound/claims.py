"""What waits in the outbox to traffic sources: claimed by one process, sent, its tries kept."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Row, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.outbound.queue import OutboundRequest
from storage.tables import automations, outbound, outbound_attempts, sources, webhooks

CLAIM = timedelta(minutes=2)
_ANSWER = 500


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A message taken for sending, by this process alone for two minutes."""

    id: int
    team_id: int
    source_id: int
    host: str
    key: str
    payload: OutboundRequest
    attempts: int
    credentials_secret: str | None
    options: Mapping[str, Any]


async def due_hosts(tx: AsyncConnection, now: datetime) -> list[str]:
    """Hosts with something due. From one host to the next by the index, however long the outbox is."""
    dead_sources: list[str] = []
    last = ""
    while True:
        waiting = select(outbound.c.host).where(outbound.c.state == "queued", outbound.c.host > last)
        name = (await tx.execute(waiting.order_by(outbound.c.host).limit(1))).scalar()
        if name is None:
            return dead_sources
        due = select(outbound.c.id).where(*_due(now), outbound.c.host == name)
        if (await tx.execute(due.order_by(outbound.c.next_at).limit(1))).first() is not None:
            dead_sources.append(name)
        last = name


def _due(now: datetime) -> tuple[Any, ...]:
    free = or_(outbound.c.claimed_until.is_(None), outbound.c.claimed_until < now)
    return outbound.c.state == "queued", outbound.c.next_at <= now, free


async def claim(tx: AsyncConnection, now: datetime, *, by_host: Mapping[str, int]) -> list[Claimed]:
    """Take up to so many messages per host; other processes leave them alone until the claim lapses."""
    ids: list[int] = []
    for name, limit in by_host.items():
        free = select(outbound.c.id).where(*_due(now), outbound.c.host == name).order_by(outbound.c.next_at)
        ids += (await tx.execute(free.limit(limit).with_for_update(skip_locked=True))).scalars()
    if not ids:
        return []
    await tx.execute(update(outbound).where(outbound.c.id.in_(ids)).values(claimed_until=now + CLAIM))
    secrets = sources.c.credentials_secret, automations.c.webhook_secret, webhooks.c.secret
    secret = func.coalesce(*secrets).label("credentials_secret")
    query = (
        select(outbound, secret, sources.c.options, webhooks.c.url.label("webhook_url"))
        .outerjoin(sources, sources.c.id == outbound.c.source_id)
        .outerjoin(automations, automations.c.id == outbound.c.automation_id)
        .outerjoin(webhooks, webhooks.c.id == outbound.c.webhook_id)
    )
    return [_claimed(row) for row in await tx.execute(query.where(outbound.c.id.in_(ids)).order_by(outbound.c.id))]


async def release(tx: AsyncConnection, ids: Sequence[int]) -> None:
    """Messages that were claimed but not begun: anybody may take them at once."""
    await tx.execute(update(outbound).where(outbound.c.id.in_(ids)).values(claimed_until=None))


def _claimed(row: Row[Any]) -> Claimed:
    payload = msgspec.convert(row.request, OutboundRequest)
    if payload.webhook is not None and row.webhook_url:  # where it is now, though it was queued for elsewhere
        call = msgspec.structs.replace(payload.webhook, url=row.webhook_url)
        payload = msgspec.structs.replace(payload, webhook=call)
    return Claimed(
        id=row.id, team_id=row.team_id, source_id=row.source_id or 0, host=row.host, key=row.idempotency_key,
        payload=payload, attempts=row.attempts,
        credentials_secret=row.credentials_secret,
        options=row.options or {},
    )  # fmt: skip


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What one try got. `next_at` is when to try again; None with an error means it is given up."""

    outbound_id: int
    at: datetime
    status: int | None = None
    answer: str = ""
    error: str | None = None
    next_at: datetime | None = None


async def record(tx: AsyncConnection, attempts: Sequence[Attempt]) -> None:
    """Keep what tries got, and move their messages on: sent, queued again, dead."""
    if not attempts:
        return
    await tx.execute(insert(outbound_attempts), [
        {"outbound_id": attempt.outbound_id, "at": attempt.at, "status": attempt.status,
         "answer": _printable(attempt.answer), "error": attempt.error} for attempt in attempts
    ])  # fmt: skip
    for state in ("sent", "queued", "dead"):
        ids = [attempt.outbound_id for attempt in attempts if _state(attempt) == state]
        if ids and state != "queued":
            moved = update(outbound).where(outbound.c.id.in_(ids))
            await tx.execute(moved.values(state=state, attempts=outbound.c.attempts + 1, claimed_until=None))
    for attempt in attempts:
        if _state(attempt) == "queued":
            moved = update(outbound).where(outbound.c.id == attempt.outbound_id)
            waits = {"next_at": attempt.next_at, "attempts": outbound.c.attempts + 1, "claimed_until": None}
            await tx.execute(moved.values(**waits))


def _state(attempt: Attempt) -> str:
    if attempt.error is None:
        return "sent"
    return "queued" if attempt.next_at is not None else "dead"


def _printable(text: str) -> str:
    return text[:_ANSWER].replace("\x00", "\ufffd")
