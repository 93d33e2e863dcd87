"""Words as people type them, turned into values: quotes, keys, days, yes and no."""

import calendar
import re
from datetime import date, timedelta
from typing import Any

from storage.ledger.errors import Refused

MAX_ARGUMENT = 3000

_TYPOGRAPHY = str.maketrans({
    "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "‚": "'",
    "\u00a0": " ", "\u202f": " ", "\u2007": " ", "\u200b": None, "\ufeff": None,
})  # fmt: skip
_WORD = re.compile(
    r"""(?:(?:—|–|--)?(?P<key>[A-Za-z_][\w-]*)=)?"""
    r"""(?:"(?P<double>(?:\\.|[^"\\])*)"|'(?P<single>(?:\\.|[^'\\])*)'(?=\s|$)|(?P<bare>\S+))"""
)
_DASH = re.compile(r"^(?:—|–|--)(?=[A-Za-z])")


def split(text: str) -> list[tuple[str | None, str]]:
    """Words of a command line as (key or None, value). Raises Refused for an open quote or an over-long value."""
    words: list[tuple[str | None, str]] = []
    text = text.translate(_TYPOGRAPHY).strip()
    for match in _WORD.finditer(text):
        key, bare = match["key"], match["bare"]
        quoted = match["double"] if match["double"] is not None else match["single"]
        value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare
        if bare is not None and bare.startswith('"'):
            raise Refused('a quote is never closed: put " at the end of the value', field=key)
        if quoted is None and not key:
            value = _DASH.sub("", value)
        if len(value) > MAX_ARGUMENT:
            raise Refused(f"a value may have {MAX_ARGUMENT:,} characters at most", field=key or "text")
        words.append((key.lower().replace("-", "_") if key else None, value))
    return words


_MONTHS = {name.lower(): n for n, name in enumerate(calendar.month_abbr) if name}
_WEEKDAYS = {name.lower(): n for n, name in enumerate(calendar.day_abbr)}


def day(text: str, today: date) -> date:
    """A day as people write it: 2026-10-01, 01.10.2026, 1 oct, today, yesterday, monday, -3d. Raises ValueError."""
    word = text.strip().lower()
    if word in {"today", "now"}:
        return today
    if word == "yesterday":
        return today - timedelta(days=1)
    if word == "tomorrow":
        return today + timedelta(days=1)
    if word[:3] in _WEEKDAYS and word.isalpha():
        return today - timedelta(days=(today.weekday() - _WEEKDAYS[word[:3]]) % 7)
    if match := re.fullmatch(r"-?(\d{1,4})\s*d(?:ays?)?(?:\s*ago)?", word):
        return today - timedelta(days=int(match[1]))
    if match := re.fullmatch(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})", word):
        return date(int(match[1]), int(match[2]), int(match[3]))
    if match := re.fullmatch(r"(\d{1,2})\.(\d{1,2})\.(\d{4})?", word):
        return date(int(match[3] or today.year), int(match[2]), int(match[1]))
    if match := re.fullmatch(r"(\d{1,2})\s+([a-z]{3})[a-z]*\.?(?:\s+(\d{4}))?", word):
        return date(int(match[3] or today.year), _month(match[2]), int(match[1]))
    if match := re.fullmatch(r"([a-z]{3})[a-z]*\.?\s+(\d{1,2})(?:,?\s+(\d{4}))?", word):
        return date(int(match[3] or today.year), _month(match[1]), int(match[2]))
    raise ValueError(f"{text!r} is not a day: write 2026-10-01, yesterday or 1 oct")


def _month(name: str) -> int:
    if name not in _MONTHS:
        raise ValueError(f"{name!r} is not a month")
    return _MONTHS[name]


def period(text: str, today: date) -> tuple[date, date]:
    """First and last day of today, yesterday, 7d, 30d, mtd, last-month, a day, or <from>..<to>. Raises ValueError."""
    word = text.strip().lower()
    if match := re.fullmatch(r"(\d{1,3})d", word):
        if match[1].strip("0") == "":
            raise ValueError("a range has at least one day: 1d")
        return today - timedelta(days=int(match[1]) - 1), today
    if word == "mtd":
        return today.replace(day=1), today
    if word in {"last-month", "lastmonth"}:
        last = today.replace(day=1) - timedelta(days=1)
        return last.replace(day=1), last
    if ".." in word:
        first, _, last_word = word.partition("..")
        start, end = day(first, today), day(last_word, today) if last_word else today
        if end < start:
            raise ValueError(f"the range ends before it starts: {end}..{start} is the other way round")
        return start, end
    one = day(word, today)
    return one, one


def yes(value: Any) -> bool:
    """true/false in the words people use. Raises ValueError."""
    word = str(value).strip().lower()
    if word in {"1", "true", "yes", "y", "on"}:
        return True
    if word in {"0", "false", "no", "n", "off"}:
        return False
    raise ValueError(f"{value!r} is neither yes nor no")
