"""Digests on time: each due subscription gets its message queued once, in the transaction that moves it on."""

import asyncio
from datetime import datetime, timedelta
from time import monotonic
from typing import NamedTuple

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.core.message import Message
from bot.digests import loading
from bot.digests.message import DigestRequest
from hub.runtime.runtime import Runtime
from storage.chat import messages, subscriptions
from storage.chat.subscriptions import Due
from storage.ledger.schedule import covers, due_after, latest_due

log = structlog.get_logger()


BATCH = 2  # a batch holds the write lock and the event loop for a millisecond or two
PAUSE = 0.15  # seconds after each batch: as fast as they can be sent, and slow enough for clicks
LONGEST = 10.0  # seconds of one tick, less than its lease; the next one goes on
MOMENT = timedelta(minutes=1)  # as long, what several digests have in common is not queried again
LATE = timedelta(seconds=15)  # a restart takes longer


class Built(NamedTuple):
    """A digest to queue."""

    subscription: Due
    due: datetime
    message: Message


async def tick(runtime: Runtime) -> int:
    """Queue the digests that are due; returns how many. One missed while down comes once, late, with a note."""
    now = runtime.clock()
    async with runtime.database.read() as tx:
        if not await subscriptions.due(tx, now, limit=1):
            runtime.state.pop("digests", None)
            return 0
    return await _queue_all(runtime, now)


async def _queue_all(runtime: Runtime, now: datetime) -> int:
    queued, shared, end = 0, _shared(runtime, now), monotonic() + LONGEST
    seen: set[int] = set()
    while monotonic() < end:
        async with runtime.database.read() as tx:
            waiting = await subscriptions.due(tx, now, limit=BATCH, but=seen)
        if not waiting:
            break
        seen |= {one.id for one in waiting}
        ready = [built for one in waiting if (built := await _built(runtime, one, shared, now)) is not None]
        queued += await runtime.database.run(lambda tx, ready=ready: _queue(tx, ready, now))  # type: ignore[misc]
        await asyncio.sleep(PAUSE)
    return queued


def _shared(runtime: Runtime, now: datetime) -> loading.Shared:
    """What is the same for digests of one moment, kept while they go out tick by tick."""
    kept: tuple[datetime, loading.Shared] | None = runtime.state.get("digests")
    if kept is None or now - kept[0] >= MOMENT:
        kept = now, loading.Shared()
    runtime.state["digests"] = kept
    return kept[1]


async def _built(runtime: Runtime, one: Due, shared: loading.Shared, now: datetime) -> Built | None:
    """Messages are built on a read transaction: only claiming and queueing hold the write lock."""
    try:
        due, missed = latest_due(one.schedule, one.next_at, now)
        wanted = _wanted(runtime, one, due, now=now, note=_note(one, due, missed, now))
        if (known := loading.cached_message(wanted, shared)) is not None:
            return Built(one, due, known)
        async with runtime.database.read() as tx:
            message = await loading.build(tx, wanted, shared, apart=runtime.ports.report_apart)
    except Exception as error:  # the others get theirs; this one is tried again at the next tick
        log.error("digest failed", subscription=one.id, error=type(error).__name__, exc_info=error)
        return None
    return Built(one, due, message)


def _wanted(runtime: Runtime, one: Due, due: datetime, *, now: datetime, note: str) -> DigestRequest:
    deployment = runtime.deployment
    first, last = covers(one.schedule, due, deployment.zone)
    return DigestRequest(
        team_id=one.team_id, first=first, last=last, every=one.schedule.every, campaigns=one.campaigns,
        told_until=one.told_until, now=now, deployment=deployment, late=note,
    )  # fmt: skip


def _note(one: Due, due: datetime, missed: int, now: datetime) -> str:
    if now - due < LATE and not missed:
        return ""
    at = due.astimezone(one.schedule.zone)
    late = f"This digest was due {at:%a %d %b %H:%M} ({one.schedule.timezone}) and comes late."
    return late + (f" {missed} earlier one{'s' if missed > 1 else ''} left out." if missed else "")


async def _queue(tx: AsyncConnection, ready: list[Built], now: datetime) -> int:
    """Claim and queue in one go; another process's claim leaves nothing to do."""
    return sum([await _queued(tx, built, now) for built in ready])


async def _queued(tx: AsyncConnection, built: Built, now: datetime) -> bool:
    one, due = built.subscription, built.due
    following = due_after(one.schedule, max(due, now))
    if not await subscriptions.advance(tx, one, next_at=following, told_until=now):
        return False
    period = due.astimezone(one.schedule.zone).date()
    return await messages.queue(
        tx, team_id=one.team_id, room_id=one.room_id, thread=one.thread, key=f"digest:{one.id}:{period}",
        message=built.message, now=now, subscription_id=one.id,
    )  # fmt: skip
