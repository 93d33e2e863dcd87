"""Instants as platforms and trackers write them, read exactly or not at all."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from email.utils import parsedate_to_datetime

from storage.ledger.dates import month_of

_NUMBERED = re.compile(r"\d{9,19}(?:\.\d+)?")
_ISO = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)(?:[T ]+(\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9}))?)?)?"
    r"\s*(Z|UTC|GMT|[+-]\d\d:?\d{0,2})?",
    re.IGNORECASE,
)
_LOCAL = re.compile(
    r"(\d{1,4})([/.\-])(\d{1,2})\2(\d{1,4})(?:[T ,]+(\d{1,2}):(\d\d)(?::(\d\d)(?:\.\d+)?)?\s*([AaPp][Mm])?)?"
)
_WORDS = re.compile(
    r"([a-z]{3,9})\.? +(\d{1,2}),? +(\d{4})(?:,? +(\d{1,2}):(\d\d)(?::(\d\d))?\s*([AaPp][Mm])?)?",
    re.IGNORECASE,
)
_LOST_PLUS = re.compile(r"(\d) (\d\d:?\d\d)$")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = datetime(2005, 1, 1, tzinfo=UTC)


def read_instant(text: str, zone: tzinfo) -> datetime | None:
    """An instant in any usual format; local ones are of `zone`. None when it cannot be read.

    Seconds, milliseconds, micro- and nanoseconds since 1970; ISO 8601; 14.10.2026 22:20 and 14-10-2026; 10/14/2026
    11:59:59 PM (month first unless that cannot be); Oct 14, 2026; 20261014222000; RFC 2822.
    """
    word = text.strip()
    try:
        instant = (
            _in_a_row(word, zone) or _since_1970(word) or _iso(word, zone) or _local(word, zone)
            or _in_words(word, zone) or _mail(word, zone)
        )  # fmt: skip
    except (ValueError, OverflowError, TypeError):
        return None
    return instant if instant is not None and instant >= _EARLIEST else None


def _since_1970(word: str) -> datetime | None:
    if not _NUMBERED.fullmatch(word):
        return None
    whole = len(word.partition(".")[0])
    divisor = 1 if whole <= 11 else 1_000 if whole <= 14 else 1_000_000 if whole <= 17 else 1_000_000_000
    seconds, _, fraction = word.partition(".")
    micros = int(seconds) * 1_000_000 + int(fraction[:6].ljust(6, "0"))
    return _EPOCH + timedelta(microseconds=micros // divisor)


def _iso(word: str, zone: tzinfo) -> datetime | None:
    match = _ISO.fullmatch(word)
    if match is None:
        lost = _LOST_PLUS.search(word)  # `+02:00` in a query that was not encoded arrives as a space
        match = _ISO.fullmatch(_LOST_PLUS.sub(r"\1+\2", word)) if lost else None
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    local = datetime(
        int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0),
        int((fraction or "0")[:6].ljust(6, "0")), tzinfo=zone if offset is None else UTC,
    )  # fmt: skip
    return local.astimezone(UTC) if offset is None else local - _offset(offset)


def _offset(text: str) -> timedelta:
    if text.upper() in {"Z", "UTC", "GMT"}:
        return timedelta(0)
    digits = text[1:].replace(":", "").ljust(4, "0")
    shift = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return -shift if text[0] == "-" else shift


def _local(word: str, zone: tzinfo) -> datetime | None:
    match = _LOCAL.fullmatch(word)
    if match is None:
        return None
    year, month, day = _date_parts(int(match[1]), match[2], int(match[3]), int(match[4]))
    hour = int(match[5] or 0)
    if match[8]:
        hour = hour % 12 + (12 if match[8].lower() == "pm" else 0)
    local = datetime(year, month, day, hour, int(match[6] or 0), int(match[7] or 0), tzinfo=zone)
    return local.astimezone(UTC)


def assumed_order(text: str) -> str:
    """What a day that may be day first or month first is read as, `day` or `month`; empty where it decides."""
    match = _LOCAL.fullmatch(text.strip())
    if match is None or match[2] == "." or match[1] == match[3] or max(int(match[1]), int(match[3])) > 12:
        return ""
    return "month" if match[2] == "/" else "day"


def _date_parts(first: int, separator: str, second: int, third: int) -> tuple[int, int, int]:
    if first > 31:
        return first, second, third
    day_first = first > 12 or (separator in ".-" and second <= 12)
    return (third, second, first) if day_first else (third, first, second)


def _in_a_row(word: str, zone: tzinfo) -> datetime | None:
    """20261122100000: as milliseconds it would be centuries ahead."""
    if len(word) != 14 or not word.startswith("20") or not word.isdecimal():
        return None
    try:
        return datetime.strptime(word, "%Y%m%d%H%M%S").replace(tzinfo=zone).astimezone(UTC)
    except ValueError:
        return None


def _in_words(word: str, zone: tzinfo) -> datetime | None:
    """Nov 22, 2026 10:00 PM"""
    match = _WORDS.fullmatch(word)
    if match is None:
        return None
    month = month_of(match[1])
    hour = int(match[4] or 0)
    if match[7]:
        hour = hour % 12 + (12 if match[7].lower() == "pm" else 0)
    local = datetime(int(match[3]), month, int(match[2]), hour, int(match[5] or 0), int(match[6] or 0), tzinfo=zone)
    return local.astimezone(UTC)


def _mail(word: str, zone: tzinfo) -> datetime | None:
    instant = parsedate_to_datetime(word)
    return (instant if instant.tzinfo else instant.replace(tzinfo=zone)).astimezone(UTC)
