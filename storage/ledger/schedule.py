"""Times of day, time zones and lengths of time as people write them; when a digest is due, whatever the clocks do."""

import difflib
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import msgspec

from storage.ledger.dates import monday_of
from storage.ledger.errors import Refused

Every = Literal["day", "week", "month"]
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """`at` o'clock in `timezone`: on every day (or the named weekdays), weekly, or on the first of the month.

    Weekdays count from 1 (Monday). A weekly digest comes on the first weekday named, by default on Monday.
    """

    every: Every
    at: time
    timezone: str
    weekdays: tuple[int, ...] = ()

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)


def read_time(text: str) -> time:
    """09:00, 9:00, 9, 9am, 21.30. Raises Refused at `at`."""
    match = re.fullmatch(r"(\d{1,2})(?:[:.h](\d{2}))?\s*(am|pm)?", text.strip().lower())
    if match is None:
        raise Refused(f"at: {text!r} is not a time of day: write 09:00", field="at")
    hour, minute, half = int(match[1]), int(match[2] or 0), match[3]
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0) if 1 <= hour <= 12 else 99
    if hour > 23 or minute > 59:
        raise Refused(f"at: {text!r} is not a time of day: write 09:00", field="at")
    return time(hour, minute)


def read_quiet_hours(text: str | None) -> tuple[str, str] | None:
    """22:00-07:00 as its two ends. Raises Refused at `quiet`."""
    if not text:
        return None
    first, dash, last = text.replace("–", "-").replace("..", "-").partition("-")
    try:
        start, end = read_time(first), read_time(last)
    except Refused:
        dash = ""
    if not dash or start == end:
        raise Refused(f"quiet: {text!r} are not quiet hours: write 22:00-07:00", field="quiet")
    return start.strftime("%H:%M"), end.strftime("%H:%M")


def read_zone(text: str, field: str = "timezone") -> str:
    """The name of a time zone there is. Raises Refused."""
    try:
        return ZoneInfo(text.strip()).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = difflib.get_close_matches(text.strip(), available_timezones(), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "write one such as Europe/Berlin or UTC"
        raise Refused(f"{field}: no time zone {text!r}: {hint}", field=field) from None


def read_minutes(text: str, field: str = "rule", *, most_days: int = 366) -> int:
    """30m, 2h, 1d, 3w as minutes. Raises Refused."""
    match = re.fullmatch(r"(\d{1,6})\s*(m|min|mins|minutes?|h|hours?|d|days?|w|weeks?)", text.strip().lower())
    minutes = int(match[1]) * {"m": 1, "h": 60, "d": 1440, "w": 10_080}[match[2][0]] if match else 0
    if not 0 < minutes <= most_days * 1440:
        raise Refused(f"{field}: {text!r} is not a length of time: write 30m, 2h or 1d", field=field)
    return minutes


def minutes_text(minutes: int) -> str:
    """30m, 2h, 3d."""
    if minutes % 1440 == 0:
        return f"{minutes // 1440}d"
    return f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}m"


def read_weekdays(words: Sequence[str]) -> tuple[int, ...]:
    """mon,tue or 1,2 as numbers from 1 (Monday). Raises Refused at `weekdays`."""
    days = set()
    for word in words:
        short = word.strip().lower()[:3]
        if short in WEEKDAYS:
            days.add(WEEKDAYS.index(short) + 1)
        elif short.isdecimal() and 1 <= int(short) <= 7:
            days.add(int(short))
        else:
            raise Refused(f"weekdays: {word!r} is not a weekday: write mon,tue,wed", field="weekdays")
    return tuple(sorted(days))


def due_after(schedule: Schedule, instant: datetime) -> datetime:
    """The first due moment after an instant, in UTC; one still ahead today is today's."""
    day = instant.astimezone(schedule.zone).date()
    for ahead in range(-1, 63):
        next_day = day + timedelta(days=ahead)
        if falls_on(schedule, next_day) and (due := moment(schedule, next_day)) > instant:
            return due
    raise ValueError("a schedule comes round within two months")


def latest_due(schedule: Schedule, first: datetime, now: datetime) -> tuple[datetime, int]:
    """The last due moment up to now, starting with `first`, and how many before it were missed."""
    due, missed = first, 0
    while (following := due_after(schedule, due)) <= now:
        due, missed = following, missed + 1
    return due, missed


def falls_on(schedule: Schedule, day: date) -> bool:
    """Whether a digest comes on that calendar day of its zone."""
    if schedule.every == "month":
        return day.day == 1
    if schedule.every == "week":
        return day.isoweekday() == (schedule.weekdays or (1,))[0]
    return not schedule.weekdays or day.isoweekday() in schedule.weekdays


def moment(schedule: Schedule, day: date) -> datetime:
    """The instant of that day's time. A time the clocks skip comes an hour later, a doubled one the first time."""
    return datetime.combine(day, schedule.at, schedule.zone).astimezone(UTC)


def covers(schedule: Schedule, due: datetime, report_zone: ZoneInfo) -> tuple[date, date]:
    """The days a digest due then tells about, both included: yesterday, last week or last month of the report zone."""
    today = due.astimezone(report_zone).date()
    if schedule.every == "day":
        return today - timedelta(days=1), today - timedelta(days=1)
    if schedule.every == "week":
        monday = monday_of(today)
        return monday - timedelta(days=7), monday - timedelta(days=1)
    last = today.replace(day=1) - timedelta(days=1)
    return last.replace(day=1), last
