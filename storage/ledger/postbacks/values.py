"""Amounts and times as platforms write them, read exactly or not at all."""

import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from zoneinfo import ZoneInfo

MICRO = Decimal(1_000_000)
_LARGEST = 9_000_000_000_000  # whole units; as micro-units it still fits 64 bits

#: Currency codes that may stand beside a number: ISO 4217 of the markets there are, and the coins casinos pay in.
_CODES = """
AED AMD ARS AUD AZN BAM BDT BGN BHD BOB BRL BYN CAD CDF CHF CLP CNY COP CRC CZK DKK DOP DZD EGP ETB EUR GBP
GEL GHS GTQ HKD HNL HRK HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KRW KWD KZT LBP LKR MAD MDL MGA
MKD MMK MNT MUR MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR
SEK SGD THB TJS TMT TND TRY TWD TZS UAH UGX USD UYU UZS VES VND XAF XOF ZAR ZMW ZWL BTC ETH LTC USDT USDC TRX
XRP DOGE
"""
CURRENCIES = frozenset(_CODES.split())
SYMBOLS = {"€": "EUR", "£": "GBP", "₹": "INR", "₽": "RUB", "₺": "TRY", "₴": "UAH", "₦": "NGN", "₿": "BTC", "$": ""}
_CODE = re.compile(r"^([A-Za-z]{3,4})(?![A-Za-z])|(?<![A-Za-z])([A-Za-z]{3,4})$")
_GAPS = re.compile(r"(?<=\d)[\s'’_\u00a0\u202f\u2009](?=\d)")
_SIMPLE = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,6}))?")  # how nearly all of them come
#: Thousands, also as India writes them (12,34,567); a comma alone may stand before any number of digits but one or two.
_GROUPED = re.compile(r"[+-]?(?:\d{1,3}(?:\.\d{2,3})*\.\d{3}|\d{1,3}(?:,\d{2,3})*,\d{3}|\d*,\d*)")
_NUMBER = re.compile(r"[+-]?(?:[\d.,]*\d[\d.,]*)(?:[eE][+-]?\d{1,4})?")


def amount(text: str) -> tuple[int | None, str]:
    """Micro-units and the currency written beside the number, if any; None when it is no number.

    With both separators the last is the decimal one; a lone dot is decimal; a lone comma is decimal before one or two
    digits, else it parts thousands. Sign and exponent are read exactly; less than a micro-unit is rounded half-even.
    """
    simple = _SIMPLE.fullmatch(text)
    if simple:
        whole, fraction = simple.groups("")
        return int(whole + fraction.ljust(6, "0")), ""
    bare, currency = _without_currency(text.strip().replace("\u2212", "-"))
    bare = _GAPS.sub("", bare)
    if not _NUMBER.fullmatch(bare):
        return None, currency
    try:
        number = Decimal(_with_point(bare))
    except InvalidOperation:
        return None, currency
    if not number.is_finite() or (number and number.adjusted() > 13) or abs(number) > _LARGEST:
        return None, currency
    return int((number * MICRO).to_integral_value(ROUND_HALF_EVEN)), currency


def _without_currency(text: str) -> tuple[str, str]:
    currency = ""
    for symbol, code in SYMBOLS.items():
        if symbol in text:
            text, currency = text.replace(symbol, "", 1), code
            break
    sign = text[:1] if text[:1] in {"-", "+"} else ""
    rest = text.removeprefix(sign).strip()
    found = _CODE.search(rest)
    if found and found[0].upper() in CURRENCIES:
        currency = found[0].upper()
        rest = (rest[: found.start()] + rest[found.end() :]).strip()
    return sign + rest, currency


def _with_point(text: str) -> str:
    mantissa, mark, exponent = text.replace("E", "e").partition("e")
    dots, commas = mantissa.count("."), mantissa.count(",")
    if dots and commas:
        decimal, thousands = (".", ",") if mantissa.rfind(".") > mantissa.rfind(",") else (",", ".")
        mantissa = mantissa.replace(thousands, "")
        if mantissa.count(decimal) > 1:
            return "x"
        mantissa = mantissa.replace(decimal, ".")
    elif commas == 1 and re.search(r",\d{1,2}$", mantissa):
        mantissa = mantissa.replace(",", ".")
    elif commas or dots > 1:
        if not _GROUPED.fullmatch(mantissa):
            return "x"
        mantissa = mantissa.replace(",", "").replace(".", "")
    return mantissa + mark + exponent


_NUMBERED = re.compile(r"\d{9,19}(?:\.\d+)?")
_ISO = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)(?:[T ]+(\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9}))?)?)?"
    r"\s*(Z|UTC|GMT|[+-]\d\d:?\d{0,2})?",
    re.IGNORECASE,
)
_LOCAL = re.compile(
    r"(\d{1,4})([/.\-])(\d{1,2})\2(\d{1,4})(?:[T ,]+(\d{1,2}):(\d\d)(?::(\d\d)(?:\.\d+)?)?\s*([AaPp][Mm])?)?"
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WORDS = re.compile(
    rf"({'|'.join(_MONTHS)})[a-z]*\.? +(\d{{1,2}}),? +(\d{{4}})(?:,? +(\d{{1,2}}):(\d\d)(?::(\d\d))?\s*([AaPp][Mm])?)?",
    re.IGNORECASE,
)
_LOST_PLUS = re.compile(r"(\d) (\d\d:?\d\d)$")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = datetime(2005, 1, 1, tzinfo=UTC)


def moment(text: str, zone: ZoneInfo) -> datetime | None:
    """An instant in any usual format; local ones are of `zone`. None when it cannot be read.

    Seconds, milliseconds, micro- and nanoseconds since 1970; ISO 8601; 14.10.2026 22:20 and 14-10-2026; 10/14/2026
    11:59:59 PM (month first unless that cannot be); Oct 14, 2026; 20261014222000; RFC 2822.
    """
    word = text.strip()
    try:
        found = (
            _in_a_row(word, zone) or _since_1970(word) or _iso(word, zone) or _local(word, zone)
            or _in_words(word, zone) or _mail(word, zone)
        )  # fmt: skip
    except (ValueError, OverflowError, TypeError):
        return None
    return found if found is not None and found >= _EARLIEST else None


def _since_1970(word: str) -> datetime | None:
    if not _NUMBERED.fullmatch(word):
        return None
    whole = len(word.partition(".")[0])
    divisor = 1 if whole <= 11 else 1_000 if whole <= 14 else 1_000_000 if whole <= 17 else 1_000_000_000
    return _EPOCH + timedelta(microseconds=int(Decimal(word) * 1_000_000 / divisor))


def _iso(word: str, zone: ZoneInfo) -> datetime | None:
    found = _ISO.fullmatch(word)
    if found is None:
        lost = _LOST_PLUS.search(word)  # `+02:00` in a query that was not encoded arrives as a space
        found = _ISO.fullmatch(_LOST_PLUS.sub(r"\1+\2", word)) if lost else None
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = found.groups()
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


def _local(word: str, zone: ZoneInfo) -> datetime | None:
    found = _LOCAL.fullmatch(word)
    if found is None:
        return None
    year, month, day = _date_parts(int(found[1]), found[2], int(found[3]), int(found[4]))
    hour = int(found[5] or 0)
    if found[8]:
        hour = hour % 12 + (12 if found[8].lower() == "pm" else 0)
    local = datetime(year, month, day, hour, int(found[6] or 0), int(found[7] or 0), tzinfo=zone)
    return local.astimezone(UTC)


def _date_parts(one: int, separator: str, two: int, three: int) -> tuple[int, int, int]:
    if one > 31:
        return one, two, three
    day_first = one > 12 or (separator in ".-" and two <= 12)
    return (three, two, one) if day_first else (three, one, two)


def _in_a_row(word: str, zone: ZoneInfo) -> datetime | None:
    """20261122100000: as milliseconds it would be centuries ahead."""
    if len(word) != 14 or not word.startswith("20") or not word.isdecimal():
        return None
    try:
        return datetime.strptime(word, "%Y%m%d%H%M%S").replace(tzinfo=zone).astimezone(UTC)
    except ValueError:
        return None


def _in_words(word: str, zone: ZoneInfo) -> datetime | None:
    """Nov 22, 2026 10:00 PM"""
    found = _WORDS.fullmatch(word)
    if found is None:
        return None
    month = _MONTHS.index(found[1].lower()[:3]) + 1
    hour = int(found[4] or 0)
    if found[7]:
        hour = hour % 12 + (12 if found[7].lower() == "pm" else 0)
    local = datetime(int(found[3]), month, int(found[2]), hour, int(found[5] or 0), int(found[6] or 0), tzinfo=zone)
    return local.astimezone(UTC)


def _mail(word: str, zone: ZoneInfo) -> datetime | None:
    found = parsedate_to_datetime(word)
    return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
