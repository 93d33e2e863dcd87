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
from bot.render import terminal
from hub.runtime.runtime import Runtime
from storage.chat import messages, subscriptions
from storage.chat.subscriptions import Due
from storage.ledger.schedule import covers, due_after, latest_due
from storage.outbound import webhooks
from storage.outbound.webhooks import Announcement

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
    if not await runtime.database.look(lambda tx: subscriptions.due(tx, now, limit=1)):
        runtime.state.pop("digests", None)
        return 0
    return await _queue_all(runtime, now)


async def _queue_all(runtime: Runtime, now: datetime) -> int:
    queued, shared, end = 0, _shared(runtime, now), monotonic() + LONGEST
    handled: set[int] = set()
    while monotonic() < end:
        async with runtime.database.read() as tx:
            waiting = await subscriptions.due(tx, now, limit=BATCH, but=handled)
        if not waiting:
            break
        handled |= {subscription.id for subscription in waiting}
        attempts = [await _built(runtime, subscription, shared, now) for subscription in waiting]
        ready = [built for built in attempts if built is not None]
        queued += await runtime.database.run(lambda tx, ready=ready: _queue(tx, ready, now))  # type: ignore[misc]
        await asyncio.sleep(PAUSE)
    return queued


def _shared(runtime: Runtime, now: datetime) -> loading.Shared:
    """What is the same for digests of one moment, kept while they go out tick by tick."""
    latest: tuple[datetime, loading.Shared] | None = runtime.state.get("digests")
    if latest is None or now - latest[0] >= MOMENT:
        latest = now, loading.Shared()
    runtime.state["digests"] = latest
    return latest[1]


async def _built(runtime: Runtime, subscription: Due, shared: loading.Shared, now: datetime) -> Built | None:
    """Messages are built on a read transaction: only claiming and queueing hold the write lock."""
    try:
        due, missed = latest_due(subscription.schedule, subscription.next_at, now)
        request = _request(runtime, subscription, due, now=now, note=_note(subscription, due, missed, now))
        if (shared_message := loading.cached_message(request, shared)) is not None:
            return Built(subscription, due, shared_message)
        async with runtime.database.read() as tx:
            message = await loading.build(tx, request, shared, in_helper=runtime.ports.report_in_helper)
    except Exception as error:  # the others get theirs; this one is tried again at the next tick
        log.error("digest failed", subscription=subscription.id, error=type(error).__name__, exc_info=error)
        return None
    return Built(subscription, due, message)


def _request(runtime: Runtime, subscription: Due, due: datetime, *, now: datetime, note: str) -> DigestRequest:
    deployment = runtime.deployment
    first, last = covers(subscription.schedule, due, deployment.zone)
    return DigestRequest(
        team_id=subscription.team_id, first=first, last=last, every=subscription.schedule.every,
        campaigns=subscription.campaigns, told_until=subscription.told_until, now=now, deployment=deployment,
        late=note,
    )  # fmt: skip


def _note(subscription: Due, due: datetime, missed: int, now: datetime) -> str:
    if now - due < LATE and not missed:
        return ""
    at = due.astimezone(subscription.schedule.zone)
    late = f"This digest was due {at:%a %d %b %H:%M} ({subscription.schedule.timezone}) and comes late."
    return late + (f" {missed} earlier one{'s' if missed > 1 else ''} left out." if missed else "")


async def _queue(tx: AsyncConnection, ready: list[Built], now: datetime) -> int:
    """Claim and queue in one go; another process's claim leaves nothing to do."""
    return sum([await _queued(tx, built, now) for built in ready])


async def _queued(tx: AsyncConnection, built: Built, now: datetime) -> bool:
    subscription, due = built.subscription, built.due
    following = due_after(subscription.schedule, max(due, now))
    if not await subscriptions.advance(tx, subscription, next_at=following, told_until=now):
        return False
    key = f"digest:{subscription.id}:{due.astimezone(subscription.schedule.zone).date()}"
    await _announce(tx, built, key, now)
    return await messages.queue(
        tx, team_id=subscription.team_id, room_id=subscription.room_id, thread=subscription.thread,
        key=key, message=built.message, now=now, subscription_id=subscription.id,
    )  # fmt: skip


async def _announce(tx: AsyncConnection, built: Built, key: str, now: datetime) -> None:
    """Tell the team's webhooks."""
    subscription, message = built.subscription, built.message
    campaigns = subscription.campaigns
    listening = await webhooks.listening_to(tx, subscription.team_id, "digest", campaigns, now)
    if not listening:
        return
    data = {
        "digest": f"digest-{subscription.id}", "every": subscription.schedule.every, "due": built.due.isoformat(),
        "title": message.title, "text": terminal.render(message),
        "campaigns": None if campaigns is None else list(campaigns),
    }  # fmt: skip
    await webhooks.notify(tx, listening, [Announcement(
        team_id=subscription.team_id, event="digest", type="digest", key=key, data=data, campaigns=campaigns
    )], now)  # fmt: skip
