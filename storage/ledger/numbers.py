"""The one reader of numbers, amounts and counts, as platforms and people write them: read exactly, or refused.

Signs: hyphen, every minus and dash of Unicode, brackets, trailing minus. With both separators the last is the decimal
one; a separator that comes more than once parts thousands; a lone comma parts thousands only before exactly three
digits and after one to three that do not begin with 0; a lone dot is decimal. Blanks and apostrophes part thousands.
Full-width digits and signs are read, digits of other scripts are not. In a column of a file whose cells decide which
separator is the decimal one (`decimal_mark`), that holds for every cell of it.
"""

import re
from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

import msgspec

from storage.ledger.currencies import LEADING, TRAILING, currency_of
from storage.ledger.money import to_micro, whole_to_micro

Mark = Literal["", ".", ","]

DASHES = (
    "-\u058a\u05be\u1400\u1806\u2010\u2011\u2012\u2013\u2014\u2015\u2e17\u2e1a\u2e3a\u2e3b\u2e40\u301c\u3030\u30a0"
    "\ufe31\ufe32\ufe58\ufe63\uff0d\u2212\u207b\u208b\u02d7\u2796\u2052"
)
_BLANKS = " \t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_UNSEEN = "\u200b\u200e\u200f\u061c\ufeff\u2060\u2066\u2067\u2068\u2069\u202a\u202b\u202c\u202d\u202e"
_WIDE = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)} | {0xFFE1: "£", 0xFFE5: "¥", 0xFF04: "$"}
_PLAINLY = str.maketrans(
    _WIDE
    | {ord(mark): "-" for mark in DASHES}
    | {ord(mark): " " for mark in _BLANKS}
    | {ord(mark): "'" for mark in "’‘ʼ′`´"}
    | {ord(mark): None for mark in _UNSEEN}
)
_MISSING = frozenset({"", "-", "--", "---", "n/a", "na", "n.a.", "null", "none"})
_LONGEST = 100

_PLAIN = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,6}))?")  # nearly all numbers
_GROUPED = re.compile(
    r"(-?)([0-9]{1,3}|[1-9][0-9]{0,2}(?:,[0-9]{3})+)\.([0-9]{1,6})"
    r"|(-?)([0-9]{1,3}|[1-9][0-9]{0,2}(?:\.[0-9]{3})+),([0-9]{1,2})"
)
_COMMA = re.compile(r"(-?)([0-9]{1,12}),([0-9]{1,2})")
_BESIDE = re.compile(r"(?:([€£]|[A-Z]{3}) ?)?([0-9][0-9.,]*)(?: ?(€|[A-Z]{3}))?")  # the usual currencies, no sign
_DOTTED = re.compile(r"-?[0-9]+\.[0-9]+")
_BODY = re.compile(r"[0-9.,' ]*[0-9][0-9.,' ]*")
_EXPONENT = re.compile(r"([0-9]+(?:[.,][0-9]+)?)e([+-]?[0-9]{1,3})", re.IGNORECASE)
_NO_CENTS = re.compile(r"(?<=[0-9])[.,]-{1,2}$")
_THOUSANDS = {
    mark: re.compile(rf"[1-9][0-9]{{0,2}}(?:{re.escape(mark)}[0-9]{{{least},3}})*{re.escape(mark)}[0-9]{{3}}")
    for mark, least in ((".", 3), (",", 2), ("'", 3), (" ", 3))
}  # in groups of three, with commas also as India writes them (12,34,567)
_LONE = re.compile(r"([1-9][0-9]{0,2})[.,]([0-9]{3})")  # either separator may part thousands here


class Amount(msgspec.Struct, frozen=True):
    """An amount in whole units, and the currency written beside it; empty where none is."""

    value: Decimal
    currency: str = ""

    @property
    def micro(self) -> int:
        """Micro-units, rounded half-even. Raises ValueError for what is too large to keep."""
        return to_micro(self.value)


def is_missing(value: Any) -> bool:
    """Whether nothing is said: None, empty, a lone dash, n/a."""
    return value is None or (isinstance(value, str) and value.translate(_PLAINLY).strip().lower() in _MISSING)


def read_number(value: Any, mark: Mark = "") -> Decimal | None:
    """A number from JSON or text; None where nothing is said. Raises ValueError, also for a currency beside it."""
    amount = read_amount(value, mark)
    if amount is not None and amount.currency:
        raise _no_number(value, "a currency has no place here")
    return None if amount is None else amount.value


def read_exact(value: Any) -> Decimal:
    """A number that has to be there. Raises ValueError."""
    number = read_number(value)
    if number is None:
        raise _no_number(value)
    return number


def read_float(value: Any) -> float:
    """A number that need not be exact and has to be there: seconds, a pace. Raises ValueError."""
    return float(read_exact(value))


def number_text(number: float) -> str:
    """A number with its digits, 15 at most, and no exponent: 1234567, 0.0045. `read_float` reads it as the same."""
    text = f"{Decimal(f'{number:.15g}'):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def read_amount(value: Any, mark: Mark = "", own: str | None = "") -> Amount | None:
    """An amount with the currency beside it, in a field whose own currency is `own`; None where nothing is said.

    Where `own` is None a sign of several currencies stays as it is written. Raises ValueError saying what stood there.
    """
    if isinstance(value, str):
        return _read_text(value, mark, own)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise _no_number(value)
    number = value if isinstance(value, Decimal) else Decimal(str(value))
    if not number.is_finite():
        raise _no_number(value)
    return Amount(number)


def read_micro(value: Any, mark: Mark = "", own: str = "") -> tuple[int | None, str]:
    """`read_amount` as micro-units and currency, the quick way for many rows. Raises ValueError."""
    if isinstance(value, str):
        micro = _plain_micro(value, mark)
        if micro is not None:
            return micro, ""
        bare, negative = (value[1:-1], True) if value[:1] == "(" and value[-1:] == ")" else (value, False)
        beside = _BESIDE.fullmatch(bare)
        if beside and not (beside[1] and beside[3]) and (micro := _plain_micro(beside[2], mark)) is not None:
            written = beside[1] or beside[3]
            return -micro if negative else micro, currency_of(written, own) if written else ""
        return _text_to_micro(value, mark, own)
    if type(value) is int:
        return whole_to_micro(value), ""
    amount = read_amount(value, mark, own)
    return (None, "") if amount is None else (amount.micro, amount.currency)


def _plain_micro(text: str, mark: Mark) -> int | None:
    """Micro-units of digits with a decimal separator, in regular thousands or none; None for any other text."""
    if mark != "," and (plain := _PLAIN.fullmatch(text)):
        sign, units, fraction = plain.groups("")
    elif mark != "." and (comma := _COMMA.fullmatch(text)):
        sign, units, fraction = comma.groups("")
    elif grouped := _GROUPED.fullmatch(text):
        part = grouped.groups("")
        dotted = bool(part[1])
        sign, units, fraction = part[:3] if dotted else part[3:]
        units = units.replace("," if dotted else ".", "")
        if mark == ("," if dotted else ".") or len(units) > 12:
            return None
    else:
        return None
    micro = int(units + fraction.ljust(6, "0"))
    return -micro if sign else micro


@lru_cache(maxsize=8192)
def _text_to_micro(text: str, mark: Mark, own: str) -> tuple[int | None, str]:
    amount = _read_text(text, mark, own)
    return (None, "") if amount is None else (amount.micro, amount.currency)


def read_count(value: Any, mark: Mark = "") -> int | None:
    """A count; a lone separator before exactly three digits parts thousands. Raises ValueError for a fraction."""
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) < value < 2**63:
        return value
    if isinstance(value, str):
        if value.isascii() and value.isdigit() and len(value) < 19:
            return int(value)
        body, negative, written = _peeled(value.translate(_PLAINLY).strip())
        if not written and (lone := _LONE.fullmatch(body)):
            number = int(lone[1] + lone[2])
            return -number if negative else number
    number_read = read_number(value, mark)
    if number_read is None:
        return None
    if number_read != number_read.to_integral_value() or abs(number_read) >= 2**63:
        raise ValueError(f"{value!r} is no whole number")
    return int(number_read)


def decimal_mark(cells: Iterable[str]) -> Mark:
    """The decimal separator that the cells of a column decide, empty if none does. Raises ValueError for both.

    `1,234.50`, `12,5`, `1.234.567` and `0.125` decide; `1,234` and `1.234` do not.
    """
    decided: dict[Mark, str] = {}
    for cell in cells:
        dots, commas = cell.count("."), cell.count(",")
        is_known = (dots == 1 and not commas and "." in decided) or (commas == 1 and not dots and "," in decided)
        if (dots or commas) and not is_known:
            mark = _decides(cell)
            if mark:
                decided.setdefault(mark, cell)
    if len(decided) > 1:
        raise ValueError(
            f"{decided['.']!r} and {decided[',']!r} contradict each other: write the same of `.` and `,` "
            "before the decimals of all"
        )
    return next(iter(decided), "")


@lru_cache(maxsize=4096)
def _decides(cell: str) -> Mark:
    """Which separator is the decimal one by this cell alone; empty if it may be either, or is no number."""
    if _DOTTED.fullmatch(cell):
        return "" if _LONE.fullmatch(cell.lstrip("-")) else "."
    body = _peeled(cell.translate(_PLAINLY).strip())[0]
    dots, commas = body.count("."), body.count(",")
    if dots and commas:
        return "." if body.rfind(".") > body.rfind(",") else ","
    if dots + commas > 1:
        return "," if dots else "."
    if not dots + commas or _LONE.fullmatch(body.replace(" ", "").replace("'", "")) or not _BODY.fullmatch(body):
        return ""
    return "." if dots else ","


def _read_text(text: str, mark: Mark, own: str | None) -> Amount | None:
    if mark != "," and _PLAIN.fullmatch(text):
        return Amount(Decimal(text))
    if not mark and (grouped := _GROUPED.fullmatch(text)):
        sign, units, fraction, sign_too, units_too, fraction_too = grouped.groups("")
        if units:
            return Amount(Decimal(f"{sign}{units.replace(',', '')}.{fraction}"))
        return Amount(Decimal(f"{sign_too}{units_too.replace('.', '')}.{fraction_too}"))
    bare = text.translate(_PLAINLY).strip()
    if bare.lower() in _MISSING:
        return None
    if len(bare) > _LONGEST:
        raise _no_number(text[:40] + "…")
    body, negative, written = _peeled(bare)
    if len(written) > 2 or not body[:1].strip("?"):
        raise _no_number(text)
    currencies = {currency_of(word, own) for word in written}
    if len(currencies) > 1:
        currencies = _agreed(written) or currencies
    if len(currencies) > 1:
        raise _no_number(text, f"it is in {' and in '.join(sorted(currencies))}")
    number = _number(body, mark)
    if number is None:
        raise _no_number(text)
    return Amount(-number if negative else number, next(iter(currencies), ""))


def _agreed(written: list[str]) -> set[str]:
    """`$12 CAD`: the code says which of the sign's currencies is meant."""
    for first, other in (written, written[::-1]):
        code = currency_of(first)
        if code == first.upper() and currency_of(other, code) == code:
            return {code}
    return set()


def _no_number(value: Any, why: str = "write it like 1234.50") -> ValueError:
    return ValueError(f"{value!r} is no number: {why}")


def _peeled(text: str) -> tuple[str, bool, list[str]]:
    """Digits with their separators, whether they are negative, and the currencies around them; `?` for no number."""
    signs, opened, written = "", False, []
    while text and not text[0].isdigit() and text[0] not in ".,":
        if text[0] in "+-":
            signs += text[0]
            text = text[1:].lstrip()
        elif text[0] == "(" and not opened:
            opened, text = True, text[1:].lstrip()
        elif beside := LEADING.match(text):
            written.append(beside[0])
            text = text[beside.end() :].lstrip()
        else:
            return "?", False, written
    closed = False
    while text and not text[-1].isdigit():
        if no_cents := _NO_CENTS.search(text):
            text = f"{text[: no_cents.start() + 1]}0"
        elif text[-1] == "-":
            signs += "-"
            text = text[:-1].rstrip()
        elif text[-1] == ")" and opened and not closed:
            closed, text = True, text[:-1].rstrip()
        elif beside := TRAILING.search(text):
            written.append(beside[0])
            text = text[: beside.start()].rstrip()
        else:
            return "?", False, written
    if opened != closed or len(signs) > 1 or (opened and signs):
        return "?", False, written
    return text, opened or signs == "-", written


def _number(body: str, mark: Mark) -> Decimal | None:
    """The number that digits and separators make; None if they make none."""
    if exponent := _EXPONENT.fullmatch(body):
        return Decimal(f"{exponent[1].replace(',', '.')}e{exponent[2]}")
    if not _BODY.fullmatch(body):
        return None
    decimal = mark or _decimal_of(body)
    units, point, fraction = body.rpartition(decimal) if decimal and decimal in body else (body, "", "")
    if point and not (fraction.isdigit() and fraction.isascii()):
        return None
    if units and not units.isdigit():
        parts = {letter for letter in units if not letter.isdigit()}
        if len(parts) > 1 or decimal in parts or not _THOUSANDS[parts.pop()].fullmatch(units):
            return None
        units = re.sub(r"[^0-9]", "", units)
    return Decimal(f"{units or '0'}.{fraction or '0'}")


def _decimal_of(body: str) -> Mark:
    """The decimal separator of a number that stands alone."""
    dots, commas = body.count("."), body.count(",")
    if dots and commas:
        return "." if body.rfind(".") > body.rfind(",") else ","
    if dots == 1:
        return "."
    if commas == 1 and not _LONE.fullmatch(body):
        return ","
    return ""
