"""Report days: the instants they span, and days as files and platforms write them."""

import re
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

Order = Literal["", "dmy", "mdy"]

_EARLIEST = 1990  # a year before it is a slip: 0026
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
#: A time and zone behind a day change nothing: the platform's own label counts. A second day makes a range, no day.
_TIME = (
    r"(?:(?:[T ]|, ?)[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?(?: ?[AP]M)?"
    r"(?: ?(?:Z|[A-Z]{3,4}|[+-][0-9]{2}:?[0-9]{2}))*)?"
)
_YEAR_FIRST = re.compile(rf"([0-9]{{4}})([-/.])([0-9]{{1,2}})\2([0-9]{{1,2}}){_TIME}", re.IGNORECASE)
_IN_A_ROW = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})")
_YEAR_LAST = re.compile(rf"([0-9]{{1,2}})([-/.])([0-9]{{1,2}})\2([0-9]{{4}}){_TIME}", re.IGNORECASE)
_DAY_MONTH = re.compile(rf"([0-9]{{1,2}})[ -]([a-z]{{3,9}})\.?[ -]([0-9]{{4}}){_TIME}", re.IGNORECASE)
_MONTH_DAY = re.compile(rf"([a-z]{{3,9}})\.? ([0-9]{{1,2}}),? ([0-9]{{4}}){_TIME}", re.IGNORECASE)


def day_bounds(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The first instant of a day in a zone, and the first of the next day."""
    return datetime.combine(day, time(), zone), datetime.combine(day + timedelta(days=1), time(), zone)


def days_between(first: date, last: date) -> list[date]:
    """Every day from the first to the last, both included."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def monday_of(day: date) -> date:
    """The first day of its week."""
    return day - timedelta(days=day.weekday())


class DayOrder(msgspec.Struct, frozen=True):
    """How `01/02/2026` is meant in a column; `decided` if its cells say so, else by the setting."""

    order: Order
    decided: bool


def day_order(cells: Iterable[Any], setting: Order = "") -> DayOrder:
    """The order of day and month in a column of days: one value above 12 decides; dots alone mean day first.

    Where nothing decides it is the `setting`, else month first with slashes and day first with hyphens. Raises
    ValueError when two cells contradict each other.
    """
    decided: dict[Order, str] = {}
    separators: dict[str, str] = {}
    for cell in dict.fromkeys(str(cell).strip() for cell in cells):
        match = _YEAR_LAST.fullmatch(cell)
        if match is None:
            continue
        first, separator, second = match[1], match[2], match[3]
        separators[separator] = cell
        if int(first) > 12:
            decided.setdefault("dmy", cell)
        elif int(second) > 12:
            decided.setdefault("mdy", cell)
    if len(decided) > 1:
        raise ValueError(f"{decided['dmy']!r} has the day first and {decided['mdy']!r} the month: write 2026-10-31")
    if decided:
        return DayOrder(next(iter(decided)), decided=True)
    if not separators or set(separators) == {"."}:
        return DayOrder("dmy" if separators else setting, decided=True)
    return DayOrder(setting or ("mdy" if "/" in separators else "dmy"), decided=False)


def read_day(value: Any, order: Order = "") -> date:
    """A day: ISO, 2026/10/01, 20261001, 01.10.2026, 10/01/2026, 1 Oct 2026. `order` is that of its column.

    Without one, dots and hyphens mean day first, slashes month first. Raises ValueError.
    """
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else _read_text(str(value), order)


@lru_cache(maxsize=5000)
def _read_text(value: str, order: Order) -> date:
    text = value.strip()
    if match := _YEAR_FIRST.fullmatch(text):
        return _date(text, match[1], match[3], match[4])
    if match := _YEAR_LAST.fullmatch(text):
        month_first = (order or ("mdy" if match[2] == "/" else "dmy")) == "mdy"
        month, day = (match[1], match[3]) if month_first else (match[3], match[1])
        return _date(text, match[4], month, day)
    if match := _IN_A_ROW.fullmatch(text):
        return _date(text, match[1], match[2], match[3])
    if match := _DAY_MONTH.fullmatch(text):
        return _date(text, match[3], match[2], match[1])
    if match := _MONTH_DAY.fullmatch(text):
        return _date(text, match[3], match[1], match[2])
    raise ValueError(f"{text[:40]!r} is no day: write it like 2026-10-01")


def month_of(name: str) -> int:
    """The number of a month from its English name, whole or its first letters, three at least. Raises ValueError.

    Names of other languages are refused: Finnish `marraskuu` is November.
    """
    beginning = name.lower()
    for number, month in enumerate(_MONTHS, 1):
        if len(beginning) >= 3 and month.startswith(beginning):
            return number
    raise ValueError(f"{name!r} is no English month")


def _date(text: str, year: str, month: str, day: str) -> date:
    try:
        if int(year) < _EARLIEST:
            raise ValueError(f"the year {year} is before {_EARLIEST}")
        return date(int(year), int(month) if month.isdigit() else month_of(month), int(day))
    except ValueError as error:
        raise ValueError(f"{text[:40]!r} is no day: {error}") from None
