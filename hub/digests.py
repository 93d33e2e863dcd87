"""Digests on time: each due subscription gets its message queued once, in the transaction that moves it on."""

from datetime import datetime, timedelta
from typing import Any

import structlog

from bot import digest_loading
from bot.digest_facts import Wanted
from bot.message import Message
from hub.runtime import Runtime
from storage import messages, subscriptions
from storage.ledger.schedule import covers, due_after, latest_due
from storage.subscriptions import Due

log = structlog.get_logger()


BATCH = 25  # a batch holds the write lock for a few milliseconds
LATE = timedelta(seconds=15)  # a restart takes longer


async def tick(runtime: Runtime) -> int:
    """Queue the digests that are due; returns how many. One missed while down comes once, late, with a note."""
    now = runtime.clock()
    queued = 0
    shared = digest_loading.Shared()
    while True:
        async with runtime.database.read() as tx:
            waiting = await subscriptions.due(tx, now, limit=BATCH)
        if not waiting:
            return queued
        sent = await _send(runtime, waiting, shared, now)
        queued += sent
        if not sent:
            return queued


async def _send(runtime: Runtime, waiting: list[Due], shared: digest_loading.Shared, now: datetime) -> int:
    """Messages are built on a read transaction: only claiming and queueing hold the write lock."""
    ready = []
    for one in waiting:
        due, missed = latest_due(one.schedule, one.next_at, now)
        wanted = _wanted(runtime, one, due, now=now, note=_note(one, due, missed, now))
        try:
            async with runtime.database.read() as tx:
                ready.append((one, due, await digest_loading.build(tx, wanted, shared)))
        except Exception as error:  # the others get theirs; this one is tried again at the next tick
            log.error("digest failed", subscription=one.id, error=type(error).__name__, exc_info=error)
    async with runtime.database.begin() as tx:
        return sum([await _queue(tx, one, due, message, now) for one, due, message in ready])


def _wanted(runtime: Runtime, one: Due, due: datetime, *, now: datetime, note: str) -> Wanted:
    deployment = runtime.deployment
    first, last = covers(one.schedule, due, deployment.zone)
    return Wanted(
        team_id=one.team_id, first=first, last=last, every=one.schedule.every, campaigns=one.campaigns,
        told_until=one.told_until, now=now, deployment=deployment, late=note,
    )  # fmt: skip


def _note(one: Due, due: datetime, missed: int, now: datetime) -> str:
    if now - due < LATE and not missed:
        return ""
    at = due.astimezone(one.schedule.zone)
    late = f"This digest was due {at:%a %d %b %H:%M} ({one.schedule.timezone}) and comes late."
    return late + (f" {missed} earlier one{'s' if missed > 1 else ''} left out." if missed else "")


async def _queue(tx: Any, one: Due, due: datetime, message: Message, now: datetime) -> bool:
    """Claim and queue in one go; somebody else's claim leaves nothing to do."""
    following = due_after(one.schedule, max(due, now))
    if not await subscriptions.advance(tx, one, next_at=following, told_until=now):
        return False
    period = due.astimezone(one.schedule.zone).date()
    return await messages.queue(
        tx, team_id=one.team_id, room_id=one.room_id, thread=one.thread, key=f"digest:{one.id}:{period}",
        message=message, now=now, subscription_id=one.id,
    )  # fmt: skip
