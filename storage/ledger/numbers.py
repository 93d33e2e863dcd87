"""Numbers and days as platforms write them, read exactly."""

import re
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

_PLAIN = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,6}))?")  # nearly all amounts, read without Decimal
_GROUPED = re.compile(r"-?\d{1,3}(\.\d{3})+")
MICRO = Decimal(1_000_000)
_LARGEST = Decimal(2**63)
_MISSING = {"", "-", "–", "—", "n/a", "na", "null", "none"}
_BLANKS = str.maketrans(dict.fromkeys("\u00a0\u202f\u2009 '’") | {"\u2212": "-"})
_BROKEN = re.compile(r"\d\s*(?![eE][\d+-])[^\W\d_]+\s*\d")
_NUMBER = re.compile(r"[+-]?[\d.,]*\d[\d.,]*(?:e[+-]?\d{1,3})?", re.IGNORECASE)


def number(value: Any) -> Decimal | None:
    """A number from JSON or text (`1,234.50`, `1.234,50`, `€-0.83`, `(12.50)`, `0,00 $`); None where nothing is said.

    With both separators the last is the decimal one; a lone dot is decimal; a lone comma is decimal before one or two
    digits, else thousands. Raises ValueError for what is no number.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is no number")
    if isinstance(value, Decimal):
        return _finite(value, value)
    if isinstance(value, int | float):
        return _finite(Decimal(str(value)), value)
    text = str(value).strip()
    if text.lower() in _MISSING:
        return None
    bare = text.translate(_BLANKS)
    negative = bare.startswith("(") and bare.endswith(")")
    bare = re.sub(r"[^\d.,eE+-]|(?<![\d.,])[eE]|[eE](?![\d+-])", "", bare)
    if bare.endswith("-"):
        bare = "-" + bare[:-1]
    if not _NUMBER.fullmatch(bare) or _BROKEN.search(text):
        raise ValueError(f"{text!r} is no number")
    try:
        found = _finite(Decimal(_plain(bare)), value)
    except InvalidOperation:
        raise ValueError(f"{text!r} is no number") from None
    return -found if negative else found


def _plain(text: str) -> str:
    """The digits with at most one dot, as Decimal reads them."""
    dot, comma = text.rfind("."), text.rfind(",")
    if dot >= 0 and comma >= 0:
        thousands = "," if dot > comma else "."
        return text.replace(thousands, "").replace(",", ".")
    if comma >= 0:
        decimal = text.count(",") == 1 and re.search(r",\d{1,2}$", text)
        return text.replace(",", "." if decimal else "")
    return text.replace(".", "") if text.count(".") > 1 else text


def _finite(found: Decimal, value: Any) -> Decimal:
    if not found.is_finite():
        raise ValueError(f"{value!r} is no number")
    return found


def micro(value: Any) -> int | None:
    """An amount in whole units as micro-units, rounded half-even. Raises ValueError."""
    if isinstance(value, str) and (plain := _PLAIN.fullmatch(value)):
        units = int(plain[2] + (plain[3] or "").ljust(6, "0"))
        return -units if plain[1] else units
    found = number(value)
    return None if found is None else to_micro(found)


def to_micro(amount: Decimal) -> int:
    scaled = amount * MICRO
    if abs(scaled) >= _LARGEST:
        raise ValueError(f"{amount} is too large an amount")
    return int(scaled.to_integral_value(ROUND_HALF_EVEN))


def whole(value: Any) -> int | None:
    """A count; `1.041` is one thousand and forty-one. Raises ValueError for a fraction."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isdecimal() and len(value) < 19:
        return int(value)
    grouped = isinstance(value, str) and _GROUPED.fullmatch(value.strip())
    found = number(value.replace(".", "") if grouped else value)
    if found is None:
        return None
    if found != found.to_integral_value() or abs(found) >= _LARGEST:
        raise ValueError(f"{value!r} is no whole number")
    return int(found)


_DAYS = (
    (re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ].*)?"), "ymd"),
    (re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})(?:[T ].*)?"), "ymd"),
    (re.compile(r"(\d{4})(\d{2})(\d{2})"), "ymd"),
    (re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})(?: .*)?"), "dmy"),
    (re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})(?: .*)?"), "mdy"),
    (re.compile(r"(\d{1,2})-(\d{1,2})-(\d{4})(?: .*)?"), "dmy"),
)


@lru_cache(maxsize=5000)
def day(value: Any, order: str = "") -> date:
    """A day as written: ISO, 2026/10/01, 20261001, 01.10.2026, 10/01/2026 (month first unless `order` is dmy).

    The platform's own label is kept: a time or zone behind it changes nothing. Raises ValueError.
    """
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    text = str(value).strip()
    for pattern, usual in _DAYS:
        if match := pattern.fullmatch(text):
            parts = [int(part) for part in match.groups()]
            names = order if order and usual != "ymd" else usual
            found = dict(zip(names, parts, strict=True))
            return date(found["y"], found["m"], found["d"])
    raise ValueError(f"{text!r} is no day")
