"""Alerts on time: every minute each armed rule looks; what fires, happened or is over is queued for its room."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.alerts.conditions import CONDITIONS, EVENTS
from bot.alerts.context import AlertContext, AlertEvent, AlertRun, Reading
from bot.alerts.messages import Fired, events_message, firing_message, over_message, storm_message
from bot.core.message import Message
from hub.runtime.runtime import Runtime
from storage.alerts import alert_states
from storage.alerts.alert_states import History, Watch
from storage.chat import messages
from storage.ledger.alerts.alarms import Alarm, Step, held_back, is_quiet, step

log = structlog.get_logger()

NOTICES = frozenset({"ftd", "high-value ftd", "suspect"})
STORM = 4  # as many alerts of one room in one round are told together
REMEMBER = timedelta(hours=1)  # how often the moment looked at is stored when nothing happens


class Seen(msgspec.Struct, frozen=True):
    """What one alert saw this round."""

    watch: Watch
    readings: list[Reading]
    happenings: list[AlertEvent]


async def tick(runtime: Runtime) -> int:
    """AlertContext at every armed alert; returns how many messages were queued."""
    return await _round(runtime)


async def notice(runtime: Runtime) -> int:
    """AlertContext at what is told at once: first deposits, held reports."""
    return await _round(runtime, kinds=NOTICES)


async def _round(runtime: Runtime, *, kinds: frozenset[str] | None = None) -> int:
    now = runtime.clock()
    async with runtime.database.read() as tx:
        watches = await alert_states.armed(tx, kinds=kinds)
    together = AlertRun()
    seen = [one for watch in watches if (one := await _look(runtime, watch, now, together)) is not None]
    news = [one for one in seen if _is_news(one, now)]
    if not news:
        return 0
    async with runtime.database.begin() as tx:
        return await _tell(tx, news, now, zone=runtime.deployment.zone)


async def _look(runtime: Runtime, watch: Watch, now: datetime, together: AlertRun) -> Seen | None:
    """One alert's look; a failing one does not keep the others from looking."""
    try:
        async with runtime.database.read() as tx:
            look = AlertContext(tx, watch, now, runtime.deployment, together, runtime.ports.report_apart)
            kind = watch.rule.kind
            readings = await CONDITIONS[kind](look) if kind in CONDITIONS else []
            happenings = await EVENTS[kind](look) if kind in EVENTS else []
            return Seen(watch, readings, happenings)
    except Exception as error:
        log.error("alert failed to look", alert=watch.id, error=type(error).__name__, exc_info=error)
        return None


def _is_news(seen: Seen, now: datetime) -> bool:
    """Whether this look changes how the alert stands: only then is anything written."""
    history = seen.watch.history
    if seen.happenings or seen.watch.rule.kind in EVENTS:
        fresh = any(one.key not in history.reported for one in seen.happenings)
        stale = history.seen is None or now - history.seen > REMEMBER
        return (fresh or stale) and not held_back(Alarm(), now, seen.watch.policy)
    if history.alarms.keys() - {one.subject for one in seen.readings}:
        return True
    alarms = [(history.alarms.get(one.subject, Alarm()), one) for one in seen.readings]
    return any(_stepped(alarm, one, seen.watch, now)[0] != alarm for alarm, one in alarms)


def _stepped(alarm: Alarm, reading: Reading, watch: Watch, now: datetime) -> tuple[Alarm, Step | None]:
    return step(alarm, broken=reading.broken, recovered=reading.recovered, now=now, policy=watch.policy)


async def _tell(tx: AsyncConnection, news: list[Seen], now: datetime, *, zone: ZoneInfo) -> int:
    """Settle how each alert stands now and queue what it has to say, in one transaction."""
    fired: list[tuple[Fired, History]] = []
    queued = 0
    standing: dict[int, tuple[Watch, History]] = {}
    for seen in news:
        watch = await alert_states.again(tx, seen.watch.id)
        if watch is None:
            continue
        history = watch.history
        standing[watch.id] = watch, history
        queued += await _happenings(tx, watch, seen.happenings, now)
        fired += [(one, history) for one in _fires(watch, seen.readings, now, zone=zone)]
        queued += await _overs(tx, watch, seen.readings, now)
    queued += await _fire_together(tx, fired, now)
    for watch, history in standing.values():
        await alert_states.store(tx, watch.id, history)
    return queued


async def _happenings(tx: AsyncConnection, watch: Watch, happenings: list[AlertEvent], now: datetime) -> int:
    fresh = [one for one in happenings if one.key not in watch.history.reported]
    watch.history.seen = now
    if not fresh:
        return 0
    watch.history.reported += [one.key for one in fresh]
    key = f"alert:{watch.id}:{fresh[0].key}"
    return await _queue(tx, watch, key, events_message(watch, fresh), now)


def _fires(watch: Watch, readings: list[Reading], now: datetime, *, zone: ZoneInfo) -> list[Fired]:
    """Alarms moved on, and those that fire; subjects there are no more are forgotten."""
    history, found = watch.history, []
    gone = history.alarms.keys() - {one.subject for one in readings}
    for subject in gone:
        del history.alarms[subject]
        history.message_keys.pop(subject, None)
    for one in readings:
        alarm = history.alarms.get(one.subject, Alarm())
        moved, said = _stepped(alarm, one, watch, now)
        if said == "resolve":
            continue
        if moved != Alarm():
            history.alarms[one.subject] = moved
        if said == "fire":
            found.append(Fired(watch=watch, reading=one, since=moved.since, now=now, zone=zone))
    return found


async def _overs(tx: AsyncConnection, watch: Watch, readings: list[Reading], now: datetime) -> int:
    """What is over is told under the message that told it."""
    queued = 0
    for one in readings:
        alarm = watch.history.alarms.get(one.subject, Alarm())
        moved, said = _stepped(alarm, one, watch, now)
        if said != "resolve":
            continue
        watch.history.alarms[one.subject] = moved
        message_keys = watch.history.message_keys.pop(one.subject, None)
        key = f"alert:{watch.id}:{one.subject}:{alarm.round}:over"
        message = over_message(Fired(watch=watch, reading=one, since=alarm.since, now=now))
        queued += await _queue(tx, watch, key, message, now, answers=message_keys)
    return queued


async def _fire_together(tx: AsyncConnection, fired: list[tuple[Fired, History]], now: datetime) -> int:
    """One message each, or one for all of a room when there are many."""
    rooms: dict[tuple[int, str], list[tuple[Fired, History]]] = {}
    for one, history in fired:
        rooms.setdefault((one.watch.room_id, one.watch.thread), []).append((one, history))
    queued = 0
    for several in rooms.values():
        first = several[0][0].watch
        if len(several) >= STORM:
            key = f"alerts:{first.room_id}:{first.thread}:{now.isoformat()}"
            queued += await _queue(tx, first, key, storm_message([one for one, _ in several]), now)
            for one, history in several:
                history.message_keys[one.reading.subject] = key
            continue
        for one, history in several:
            subject = one.reading.subject
            key = f"alert:{one.watch.id}:{subject}:{history.alarms[subject].round}"
            history.message_keys[subject] = key
            queued += await _queue(tx, one.watch, key, firing_message(one), now)
    return queued


async def _queue(
    tx: AsyncConnection, watch: Watch, key: str, message: Message, now: datetime, *, answers: str | None = None
) -> int:
    return int(await messages.queue(
        tx, team_id=watch.team_id, room_id=watch.room_id, thread=watch.thread, key=key, message=message, now=now,
        answers=answers, silent=is_quiet(now, watch.policy),
    ))  # fmt: skip
