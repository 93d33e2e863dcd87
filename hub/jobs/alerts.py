"""Alerts on time: every minute each armed rule looks; what fires, happened or is over is queued for its room."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.alerts.conditions import CONDITIONS, EVENTS
from bot.alerts.context import AlertContext, AlertEvent, AlertRun, Reading
from bot.alerts.messages import Fired, events_message, firing_message, resolved_message, storm_message
from bot.core.message import Message
from bot.render import terminal
from hub.runtime.runtime import Runtime
from storage.alerts import alert_states
from storage.alerts.alert_states import History, Watch
from storage.chat import messages
from storage.ledger.alerts.alarms import Alarm, Step, held_back, is_quiet, step
from storage.outbound import webhooks
from storage.outbound.webhooks import Announcement

log = structlog.get_logger()

NOTICES = frozenset({"ftd", "high-value ftd", "suspect"})
STORM = 4  # as many alerts of one room in one round are sent as one message
REMEMBER = timedelta(hours=1)  # how often the moment looked at is stored when nothing happens


class ObservedAlert(msgspec.Struct, frozen=True):
    """What one alert saw this round."""

    watch: Watch
    readings: list[Reading]
    events: list[AlertEvent]


async def tick(runtime: Runtime) -> int:
    """Evaluate every armed alert; returns how many messages were queued."""
    return await _round(runtime)


async def notice(runtime: Runtime) -> int:
    """Evaluate what is reported at once: first deposits, held reports."""
    return await _round(runtime, kinds=NOTICES)


async def _round(runtime: Runtime, *, kinds: frozenset[str] | None = None) -> int:
    now = runtime.clock()
    if not await runtime.database.look(lambda tx: alert_states.any_armed(tx, kinds=kinds)):
        return 0
    async with runtime.database.read() as tx:
        watches = await alert_states.armed(tx, kinds=kinds)
    together = AlertRun()
    observed = [
        watch_state for watch in watches if (watch_state := await _observe(runtime, watch, now, together)) is not None
    ]
    news = [watch_state for watch_state in observed if _is_news(watch_state, now)]
    if not news:
        return 0
    async with runtime.database.begin() as tx:
        return await _store_and_queue(tx, news, now, zone=runtime.deployment.zone)


async def _observe(runtime: Runtime, watch: Watch, now: datetime, together: AlertRun) -> ObservedAlert | None:
    """One alert's look; a failing one does not keep the others from looking."""
    try:
        async with runtime.database.read() as tx:
            ports = runtime.ports
            context = AlertContext(
                tx, watch, now, runtime.deployment, together, ports.report_in_helper, ports.held_in_helper
            )
            kind = watch.rule.kind
            readings = await CONDITIONS[kind](context) if kind in CONDITIONS else []
            events = await EVENTS[kind](context) if kind in EVENTS else []
            return ObservedAlert(watch, readings, events)
    except Exception as error:
        log.error("an alert could not be evaluated", alert=watch.id, error=type(error).__name__, exc_info=error)
        return None


def _is_news(observed: ObservedAlert, now: datetime) -> bool:
    """Whether this look changes how the alert stands: only then is anything written."""
    history = observed.watch.history
    if observed.events or observed.watch.rule.kind in EVENTS:
        fresh = any(event.key not in history.reported for event in observed.events)
        stale = history.seen is None or now - history.seen > REMEMBER
        return (fresh or stale) and not held_back(Alarm(), now, observed.watch.policy)
    if history.alarms.keys() - {reading.subject for reading in observed.readings}:
        return True
    alarms = [(history.alarms.get(reading.subject, Alarm()), reading) for reading in observed.readings]
    return any(_stepped(alarm, reading, observed.watch, now)[0] != alarm for alarm, reading in alarms)


def _stepped(alarm: Alarm, reading: Reading, watch: Watch, now: datetime) -> tuple[Alarm, Step | None]:
    return step(alarm, broken=reading.broken, recovered=reading.recovered, now=now, policy=watch.policy)


async def _store_and_queue(tx: AsyncConnection, news: list[ObservedAlert], now: datetime, *, zone: ZoneInfo) -> int:
    """Settle how each alert stands now and queue what it has to say, in one transaction."""
    fired: list[tuple[Fired, History]] = []
    queued = 0
    standing: dict[int, tuple[Watch, History]] = {}
    for observed in news:
        watch = await alert_states.again(tx, observed.watch.id)
        if watch is None:
            continue
        history = watch.history
        standing[watch.id] = watch, history
        queued += await _queue_events(tx, watch, observed.events, now)
        fired += [(fire, history) for fire in _fires(watch, observed.readings, now, zone=zone)]
        queued += await _queue_resolved(tx, watch, observed.readings, now)
    queued += await _fire_together(tx, fired, now)
    for watch, history in standing.values():
        await alert_states.store(tx, watch.id, history)
    return queued


async def _queue_events(tx: AsyncConnection, watch: Watch, events: list[AlertEvent], now: datetime) -> int:
    fresh = [event for event in events if event.key not in watch.history.reported]
    watch.history.seen = now
    if not fresh:
        return 0
    watch.history.reported += [event.key for event in fresh]
    key = f"alert:{watch.id}:{fresh[0].key}"
    message = events_message(watch, fresh)
    await _announce(tx, watch, key, message, state="event", now=now)
    return await _queue(tx, watch, key, message, now)


def _fires(watch: Watch, readings: list[Reading], now: datetime, *, zone: ZoneInfo) -> list[Fired]:
    """Alarms moved on, and those that fire; subjects there are no more are forgotten."""
    history, fired = watch.history, []
    vanished = history.alarms.keys() - {reading.subject for reading in readings}
    for subject in vanished:
        del history.alarms[subject]
        history.message_keys.pop(subject, None)
    for reading in readings:
        alarm = history.alarms.get(reading.subject, Alarm())
        moved, step = _stepped(alarm, reading, watch, now)
        if step == "resolve":
            continue
        if moved != Alarm():
            history.alarms[reading.subject] = moved
        if step == "fire":
            fired.append(Fired(watch=watch, reading=reading, since=moved.since, now=now, zone=zone))
    return fired


async def _queue_resolved(tx: AsyncConnection, watch: Watch, readings: list[Reading], now: datetime) -> int:
    """The end of an alert is posted under the message that reported it."""
    queued = 0
    for reading in readings:
        alarm = watch.history.alarms.get(reading.subject, Alarm())
        moved, step = _stepped(alarm, reading, watch, now)
        if step != "resolve":
            continue
        watch.history.alarms[reading.subject] = moved
        message_keys = watch.history.message_keys.pop(reading.subject, None)
        key = f"alert:{watch.id}:{reading.subject}:{alarm.round}:over"
        message = resolved_message(Fired(watch=watch, reading=reading, since=alarm.since, now=now))
        await _announce(tx, watch, key, message, state="over", now=now)
        queued += await _queue(tx, watch, key, message, now, answers=message_keys)
    return queued


async def _fire_together(tx: AsyncConnection, fired: list[tuple[Fired, History]], now: datetime) -> int:
    """One message each, or one for all of a room when there are many."""
    rooms: dict[tuple[int, str], list[tuple[Fired, History]]] = {}
    for fire, history in fired:
        key = f"alert:{fire.watch.id}:{fire.reading.subject}:{history.alarms[fire.reading.subject].round}"
        await _announce(tx, fire.watch, key, firing_message(fire), state="firing", now=now)
        rooms.setdefault((fire.watch.room_id, fire.watch.thread), []).append((fire, history))
    queued = 0
    for several in rooms.values():
        first = several[0][0].watch
        if len(several) >= STORM:
            key = f"alerts:{first.room_id}:{first.thread}:{now.isoformat()}"
            queued += await _queue(tx, first, key, storm_message([fire for fire, _ in several]), now)
            for fire, history in several:
                history.message_keys[fire.reading.subject] = key
            continue
        for fire, history in several:
            subject = fire.reading.subject
            key = f"alert:{fire.watch.id}:{subject}:{history.alarms[subject].round}"
            history.message_keys[subject] = key
            queued += await _queue(tx, fire.watch, key, firing_message(fire), now)
    return queued


async def _announce(
    tx: AsyncConnection, watch: Watch, key: str, message: Message, *, state: str, now: datetime
) -> None:  # fmt: skip
    """Tell the team's webhooks. `state`: the alert is `firing`, is `over`, or an `event` that only happens."""
    listening = await webhooks.listening_to(tx, watch.team_id, "alert", watch.campaigns, now)
    if not listening:
        return
    data = {
        "alert": f"alert-{watch.id}", "kind": watch.rule.kind, "state": state, "title": message.title,
        "text": terminal.render(message), "campaigns": None if watch.campaigns is None else list(watch.campaigns),
    }  # fmt: skip
    await webhooks.notify(tx, listening, [Announcement(
        team_id=watch.team_id, event="alert", type=f"alert.{state}", key=key, data=data, campaigns=watch.campaigns
    )], now)  # fmt: skip


async def _queue(
    tx: AsyncConnection, watch: Watch, key: str, message: Message, now: datetime, *, answers: str | None = None
) -> int:
    return int(await messages.queue(
        tx, team_id=watch.team_id, room_id=watch.room_id, thread=watch.thread, key=key, message=message, now=now,
        answers=answers, silent=is_quiet(now, watch.policy),
    ))  # fmt: skip
