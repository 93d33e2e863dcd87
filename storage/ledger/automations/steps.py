"""When an automation acts on a subject: once while its condition holds, then after its cooldown. Pure."""

from datetime import datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from storage.ledger.alerts.alarms import Policy, is_quiet
from storage.ledger.automations.conditions import Verdict
from storage.ledger.errors import Refused
from storage.ledger.schedule import WEEKDAYS, read_time, read_weekdays

LOOP = 3
"""Acts and counter-acts of automations on one subject within a day, after which those automations are stopped."""
LOOP_SPAN = timedelta(days=1)


class Terms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was agreed beside the rule.

    `cooldown` is in minutes, between two acts on one subject; `most` acts a day; `quiet` HH:MM hours without acts;
    `schedule` the hours of a week with acts; `repeat`: acts again after the cooldown while the condition still holds.
    """

    rule: str
    dry: bool = False
    cooldown: int = 1440
    most: int = 10
    quiet: tuple[str, str] | None = None
    schedule: str = ""
    timezone: str = "UTC"
    repeat: bool = False
    url: str = ""  # of a webhook


class SubjectState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an automation stands towards one subject. `episode` counts its acts on it."""

    fired: bool = False  # acted, and the condition has held ever since
    episode: int = 0
    acted_at: datetime | None = None


Step = Literal["act", "cooldown", "most"]


def step(
    state: SubjectState, verdict: Verdict, *, applies: bool, acts_today: int, terms: Terms, now: datetime
) -> tuple[SubjectState, Step | None]:
    """The state after an evaluation of the subject, and the next step. `applies`: the act would change something.

    A condition that cannot be judged changes nothing. Times are compared by their distance, so that a clock that was
    set back neither repeats an act nor ends a cooldown early.
    """
    if verdict.met is None:
        return state, None
    if not verdict.met:
        return (msgspec.structs.replace(state, fired=False) if state.fired else state), None
    cooling = state.acted_at is not None and abs(now - state.acted_at) < timedelta(minutes=terms.cooldown)
    if state.fired and (cooling or not terms.repeat):
        return state, None
    if not applies:
        return state, None
    if cooling:
        return state, "cooldown"
    if acts_today >= terms.most:
        return state, "most"
    return SubjectState(fired=True, episode=state.episode + 1, acted_at=now), "act"


def may_act(terms: Terms, now: datetime) -> bool:
    """Whether it is an hour in which the automation acts."""
    quiet = (time.fromisoformat(terms.quiet[0]), time.fromisoformat(terms.quiet[1])) if terms.quiet else None
    if is_quiet(now, Policy(quiet=quiet, timezone=terms.timezone)):
        return False
    return not terms.schedule or in_schedule(terms.schedule, now.astimezone(ZoneInfo(terms.timezone)))


def read_schedule(text: str) -> str:
    """`mon-fri 09:00-18:00; sat 10:00-14:00` in its plainest form. Raises Refused at `schedule`."""
    parts = []
    for part in text.replace("–", "-").split(";"):
        words = part.strip().lower().split()
        try:
            days = _days(words[0]) if words and words[0][0].isalpha() else tuple(range(1, 8))
            hours = words[1:] if words and words[0][0].isalpha() else words
            first, last = _hours(hours[0]) if hours else ("00:00", "00:00")
            if not words or len(hours) > 1 or (hours and first == last):
                raise Refused("", field="schedule")
        except (Refused, IndexError, ValueError):
            raise Refused(
                f"schedule: {part.strip()!r} are no hours: write mon-fri 09:00-18:00", field="schedule"
            ) from None
        parts.append(f"{','.join(WEEKDAYS[day - 1] for day in days)} {first}-{last}")
    return "; ".join(parts)


def _days(word: str) -> tuple[int, ...]:
    if word in {"daily", "every", "weekdays", "weekends"}:
        return {"weekdays": tuple(range(1, 6)), "weekends": (6, 7)}.get(word, tuple(range(1, 8)))
    days: list[int] = []
    for part in word.split(","):
        first, dash, last = part.partition("-")
        begin = read_weekdays([first])[0]
        end = read_weekdays([last])[0] if dash else begin
        days += [(begin - 1 + n) % 7 + 1 for n in range((end - begin) % 7 + 1)]
    return tuple(dict.fromkeys(days))


def _hours(word: str) -> tuple[str, str]:
    first, _, last = word.partition("-")
    return read_time(first).strftime("%H:%M"), "00:00" if last == "24:00" else read_time(last).strftime("%H:%M")


def in_schedule(schedule: str, local: datetime) -> bool:
    """Whether a local time is within a schedule; hours over midnight belong to the day they begin on."""
    clock = local.strftime("%H:%M")
    today, before = WEEKDAYS[local.weekday()], WEEKDAYS[local.weekday() - 1]
    for part in schedule.split("; "):
        days, _, hours = part.partition(" ")
        first, _, last = hours.partition("-")
        over_midnight = last <= first
        if today in days.split(",") and clock >= first and (over_midnight or clock < last):
            return True
        if over_midnight and before in days.split(",") and clock < last:
            return True
    return False


def lift_at(until: str, now: datetime, zone: ZoneInfo) -> datetime | None:
    """When a pause ends by itself; None for one that does not."""
    if not until:
        return None
    local = now.astimezone(zone)
    if until == "midnight" or ":" in until:
        at = time() if until == "midnight" else time.fromisoformat(until)
        day = local.date() if local.time() < at else local.date() + timedelta(days=1)
        return datetime.combine(day, at, zone).astimezone(now.tzinfo)
    minutes = int(until[:-1]) * (60 if until.endswith("h") else 1)
    return now + timedelta(minutes=minutes)
