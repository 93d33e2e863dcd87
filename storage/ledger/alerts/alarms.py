"""What an alert does with what it sees: hold, fire, stay silent, resolve; quiet hours, snooze, cool-down. Pure."""

from datetime import datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

State = Literal["idle", "holding", "firing", "acknowledged"]
Step = Literal["fire", "resolve"]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How patient an alert is. Quiet hours are wall-clock times in `timezone`; they may run over midnight."""

    lasting: timedelta = timedelta()
    cooldown: timedelta = timedelta(hours=1)
    quiet: tuple[time, time] | None = None
    timezone: str = "UTC"
    snoozed_until: datetime | None = None


class Alarm(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One subject of an alert (an account, a campaign …) as it stands.

    `round` counts how often it fired; `since` is when it was first seen broken, `ended_at` when it last resolved.
    """

    state: State = "idle"
    round: int = 0
    since: datetime | None = None
    ended_at: datetime | None = None


def step(
    alarm: Alarm, *, broken: bool | None, recovered: bool, now: datetime, policy: Policy
) -> tuple[Alarm, Step | None]:
    """The alarm after a look at its subject, and what is to be reported. `broken` is None while it cannot be said."""
    if broken is None:
        return alarm, None
    if alarm.state in {"firing", "acknowledged"}:
        return _while_reported(alarm, recovered=recovered and not broken, now=now)
    if not broken:
        return msgspec.structs.replace(alarm, state="idle", since=None), None
    since = alarm.since or now
    if now - since < policy.lasting or held_back(alarm, now, policy):
        return msgspec.structs.replace(alarm, state="holding", since=since), None
    fired = msgspec.structs.replace(alarm, state="firing", since=since, round=alarm.round + 1)
    return fired, "fire"


def _while_reported(alarm: Alarm, *, recovered: bool, now: datetime) -> tuple[Alarm, Step | None]:
    if not recovered:
        return alarm, None
    return msgspec.structs.replace(alarm, state="idle", since=None, ended_at=now), "resolve"


def held_back(alarm: Alarm, now: datetime, policy: Policy) -> bool:
    """Whether it is not the time to tell: snoozed, quiet hours, or reported just now."""
    if policy.snoozed_until is not None and now < policy.snoozed_until:
        return True
    if is_quiet(now, policy):
        return True
    return alarm.ended_at is not None and now - alarm.ended_at < policy.cooldown


def is_quiet(now: datetime, policy: Policy) -> bool:
    if policy.quiet is None:
        return False
    start, end = policy.quiet
    clock = now.astimezone(ZoneInfo(policy.timezone)).time()
    return start <= clock < end if start <= end else clock >= start or clock < end


def acknowledge(alarm: Alarm) -> Alarm:
    """A member has taken it: it is not repeated until it resolves."""
    return msgspec.structs.replace(alarm, state="acknowledged") if alarm.state == "firing" else alarm


def snooze(alarm: Alarm) -> Alarm:
    """Reported again after the snooze, if it is still broken then."""
    return msgspec.structs.replace(alarm, state="holding") if alarm.state in {"firing", "acknowledged"} else alarm


def overall(alarms: list[Alarm]) -> State:
    """The state of an alert with several subjects: the most urgent."""
    states = {alarm.state for alarm in alarms}
    if "firing" in states:
        return "firing"
    return "acknowledged" if "acknowledged" in states else "idle"
