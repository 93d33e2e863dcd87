"""Words as people type them, turned into values: quotes, keys, days, yes and no."""

import calendar
import re
from datetime import date, timedelta
from typing import Any

from storage.ledger.dates import day_order, monday_of, month_of, read_day
from storage.ledger.errors import Refused

MAX_ARGUMENT = 3000

_TYPOGRAPHY = str.maketrans({
    "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "‚": "'",
    "\u00a0": " ", "\u202f": " ", "\u2007": " ", "\u200b": None, "\ufeff": None,
})  # fmt: skip
_WORD = re.compile(
    r"""(?:(?:—|–|--)?(?P<key>[A-Za-z_][\w-]*)=)?"""
    r"""(?:"(?P<double>(?:\\.|[^"\\])*)"|'(?P<single>(?:\\.|[^'\\])*)'(?=\s|$)|(?P<bare>,(?=")|\S+))"""
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


_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def day(text: str, today: date) -> date:
    """A day as people write it: 2026-10-01, 01.10.2026, 1 oct, today, yesterday, last monday, -3d.

    Raises ValueError.
    """
    try:
        read = _day(_FILLERS.sub("", _ORDINAL.sub(r"\1", " ".join(text.lower().split()))), today)
    except (ValueError, OverflowError) as error:
        if repr(text.strip()) in str(error):
            raise
        raise ValueError(f"{text!r} is not a day: {error}") from None
    if read is None:
        raise ValueError(f"{text!r} is not a day: write 2026-10-01, yesterday or 1 oct")
    return read


def _day(word: str, today: date) -> date | None:
    if word in {"today", "now"}:
        return today
    if word in {"yesterday", "yest", "yday"}:
        return today - timedelta(days=1)
    if word == "day before yesterday":
        return today - timedelta(days=2)
    if word == "tomorrow":
        return today + timedelta(days=1)
    name = word.removeprefix("last ").removeprefix("previous ")
    if (weekday := _weekday(name)) is not None:
        latest = today if name == word else today - timedelta(days=1)
        return latest - timedelta(days=(latest.weekday() - weekday) % 7)
    if match := re.fullmatch(r"-?([0-9]{1,4})\s*d(?:ays?)?(?:\s*ago)?", word):
        return today - timedelta(days=int(match[1]))
    if match := re.fullmatch(r"([0-9]{1,2})\.([0-9]{1,2})\.", word):
        return date(today.year, int(match[2]), int(match[1]))
    if re.fullmatch(r"[0-9]+[-/.][0-9]+[-/.][0-9]+", word):
        return _written_out(word)
    if match := re.fullmatch(r"([0-9]{1,2})\s+([a-z]{3,9})\.?(?:\s+([0-9]{4}))?", word):
        return date(int(match[3] or today.year), month_of(match[2]), int(match[1]))
    if match := re.fullmatch(r"([a-z]{3,9})\.?\s+([0-9]{1,2})(?:,?\s+([0-9]{4}))?", word):
        return date(int(match[3] or today.year), month_of(match[1]), int(match[2]))
    return None


def _written_out(word: str) -> date:
    """A day in figures. Raises ValueError, also where day and month may be either."""
    order = day_order([word])
    if not order.decided:
        raise ValueError(f"{word!r} may be day first or month first: write it like 2026-10-31")
    return read_day(word, order.order)


def _weekday(name: str) -> int | None:
    """The number of a weekday from its name, whole or its first letters, three at least."""
    word = name.lower()
    return next((n for n, day_name in enumerate(_WEEKDAYS) if len(word) >= 3 and day_name.startswith(word)), None)


_QUALIFIED = re.compile(r"(this|last|current|previous)[ -]?(week|month|quarter|year)")
_TO_DATE = {"mtd": "this month", "ytd": "this year", "wtd": "this week", "qtd": "this quarter"} | {
    f"{unit} to date": f"this {unit}" for unit in ("week", "month", "quarter", "year")
}
_COUNTED = re.compile(r"(?:last |past )?(\d{1,4})\s?(d|days?|w|weeks?|mo?|months?|quarters?|years?)")
_AGO = re.compile(r"(?:(\d{1,3}) )?(week|month|quarter|year)s? ago")
_ORDINAL = re.compile(r"\b(\d{1,2})(?:st|nd|rd|th)\b(?: of)?")
_UNITS_ALONE = {"week", "month", "quarter", "year"}
_NUMBERED = {
    "quarter": re.compile(r"q(?P<number>[1-4])(?:[ -]?(?P<year>\d{4}))?|(?P<year_before>\d{4})[ -]?q(?P<after>[1-4])"),
    "half": re.compile(r"h(?P<number>[12])(?:[ -]?(?P<year>\d{4}))?"),
    "week": re.compile(
        r"(?:last )?(?:(?:calendar )?week |(?:wk|kw|cw|w) ?)(?P<number>\d{1,2})(?: (?:of )?(?P<year>\d{4}))?"
    ),
}
_FILLERS = re.compile(r"^(?:(?:in|for|during|on|over|the|of) )+(?=.)")
_NUMBER_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_UNITS = r"(?= (?:days?|weeks?|months?|quarters?|years?)\b)"
_BETWEEN = re.compile(
    r"\s*\.\.\.?\s*|\s+(?:to|till|until|through)\s+|\s+[-–—]\s+"
    r"|(?<=\d)(?:[–—](?=\d)|-(?=\d{1,2}\s+[a-z]))"
    r"|(?<=[a-z])[-–—](?=[a-z])|(?<=[a-z]{3} \d)[-–—](?=\d)|(?<=[a-z]{3} \d\d)[-–—](?=\d)"
    r"|(?<=\d\.)[-–—](?=\d)|(?<=\.\d{4})[-–—](?=\d)"
)
#: More words than any range has.
RANGE_WORDS = 9
DAY_WORDS = 3


class BackwardsRange(ValueError):
    """Both ends of a range are days, the last before the first."""


def period(text: str, today: date) -> tuple[date, date]:
    """First and last day of a range as people say it; one that is still running ends today.

    today, yesterday, mon, last monday, 1 oct, 7d, last 30 days, last three months, this week, last month, mtd, nov,
    in november, oct 2025, 2026-10, q3, last weekend, week 40, 2026-W40, since 1 oct, <from>..<to>. A day, month or
    quarter without a year is the latest that has begun. Raises ValueError.
    """
    word = _plain(text)
    if word.startswith("since "):
        first = period(word.removeprefix("since "), today)[0]
        return _forwards(first, today)
    word = _TO_DATE.get(word, word)
    for read in (_counted, _calendar, _numbered, _named_month):
        if span := read(word, today):
            return span
    ends = _BETWEEN.split(word.removeprefix("from "), maxsplit=1)
    if len(ends) == 1 and word.startswith("from "):
        return _forwards(period(ends[0], today)[0], today)
    if len(ends) == 2:
        return _between(ends[0].strip(), ends[1].strip(), today)
    single = past_day(word, today)
    return single, single


def _plain(text: str) -> str:
    """The words of a range in lower case, without those that only lead to it, numbers in figures."""
    phrase = " ".join(text.strip().lower().replace("_", " ").split()).removesuffix(" so far")
    word = _ORDINAL.sub(r"\1", _FILLERS.sub("", phrase))
    if word in _UNITS_ALONE and word != phrase:
        word = f"this {word}"
    word = word.removeprefix("a ") if word.endswith(" ago") else word
    for number, name in enumerate(_NUMBER_WORDS, 1):
        word = re.sub(rf"\b{name}{_UNITS}", str(number), word)
    return word


def is_period(text: str) -> bool:
    """Whether the words mean a range of days, whatever today is."""
    try:
        period(text, date(2024, 12, 31))
    except BackwardsRange:
        return True
    except (ValueError, OverflowError):
        return False
    return True


def is_day(text: str) -> bool:
    """Whether the words mean one day, whatever today is."""
    try:
        day(text, date(2024, 12, 31))
    except (ValueError, OverflowError):
        return False
    return True


def past_day(text: str, today: date) -> date:
    """A day that has been: `last monday`, and `1 dec` said in November is last year's. Raises ValueError."""
    read = day(text, today)
    if read > today and text != "tomorrow" and not re.search(r"\d{4}", text):
        return day(text, today.replace(year=today.year - 1, day=min(today.day, 28)))
    return read


def previous_period(text: str, first: date, last: date) -> tuple[date, date]:
    """The range to compare with: the same days of the week, month or year before, else as many days just before."""
    word = _TO_DATE.get(_plain(text), _plain(text))
    if re.fullmatch(r"\d{4}-w\d{2}", word) or _NUMBERED["week"].fullmatch(word):
        return first - timedelta(days=7), first - timedelta(days=1)
    unit = "month" if _named_month(word, last) else "quarter" if _NUMBERED["quarter"].fullmatch(word) else ""
    if match := _QUALIFIED.fullmatch(word):
        unit = match[2]
    if unit == "week" or "weekend" in word:
        return first - timedelta(days=7), last - timedelta(days=7)
    if unit in {"month", "quarter", "year"}:
        start = _months_before(first, {"month": 1, "quarter": 3, "year": 12}[unit])
        whole = (last + timedelta(days=1)).day == 1
        return start, first - timedelta(days=1) if whole else min(start + (last - first), first - timedelta(days=1))
    days = (last - first).days + 1
    return first - timedelta(days=days), first - timedelta(days=1)


def _forwards(first: date, last: date) -> tuple[date, date]:
    if last < first:
        raise BackwardsRange(f"the range ends before it starts: {last}..{first} is the other way round")
    return first, last


def _between(start: str, end: str, today: date) -> tuple[date, date]:
    """Two ends, each a day or a longer range; a month or year that only the second names holds for both."""
    bare = end.isdecimal() and len(end) < 3
    last = today if not end or bare else period(end, today)[1]
    if start.isdecimal() and len(start) < 3 and (month := re.search(r"[a-z]{3}.*", end)):
        start = f"{start} {month[0]}"
    elif bare and (month := re.match(r"([a-z]{3,9}\.?) \d", start)):
        last = period(f"{month[1]} {end}", today)[1]
    elif (year := re.search(r"\b\d{4}$", end)) and not re.search(r"\d{4}", start) and re.search(r"[a-z]", start):
        start = f"{start} {year[0]}"
    return _forwards(period(start, today)[0], last)


def _counted(word: str, today: date) -> tuple[date, date] | None:
    match = _COUNTED.fullmatch(re.sub(r"^past (?=(?:week|month|quarter|year)$)", "1 ", word))
    if match is None:
        return None
    number, unit = int(match[1]), match[2][:1]
    if number == 0:
        raise ValueError("a range has at least one day: 1d")
    if unit in _MONTHS_OF:
        return _months_before(today, number * _MONTHS_OF[unit]) + timedelta(days=1), today
    return today - timedelta(days=number * (7 if unit == "w" else 1) - 1), today


_MONTHS_OF = {"m": 1, "q": 3, "y": 12}


def _calendar(word: str, today: date) -> tuple[date, date] | None:
    """This or last week, month, quarter or year, one some time ago, a year by its number; past days where it runs."""
    if re.fullmatch(r"20\d\d", word):
        return date(int(word), 1, 1), _not_past(date(int(word), 12, 31), date(int(word), 1, 1), today)
    if match := _AGO.fullmatch(word):
        first = _start_of(match[2], today)
        last = today
        for _ in range(min(int(match[1] or 1), 100)):
            first, last = _start_of(match[2], first - timedelta(days=1)), first - timedelta(days=1)
        return first, last
    match = _QUALIFIED.fullmatch(word)
    if match is None:
        return None
    first = _start_of(match[2], today)
    if match[1] in {"this", "current"}:
        return first, today
    last = first - timedelta(days=1)
    return _start_of(match[2], last), last


def _numbered(word: str, today: date) -> tuple[date, date] | None:
    """q3, q4 2025, week 40, weekend: the latest that has begun where no year is named."""
    if match := re.fullmatch(r"(this |last |past )?weekend", word):
        saturday = today - timedelta(days=(today.weekday() - 5) % 7)
        saturday -= timedelta(days=7 if match[1] == "last " and today.weekday() >= 5 else 0)
        return saturday, _not_past(saturday + timedelta(days=1), saturday, today)
    if match := _NUMBERED["quarter"].fullmatch(word):
        month, year = int(match["number"] or match["after"]) * 3 - 2, match["year"] or match["year_before"]
        first = date(int(year) if year else today.year - (month > today.month), month, 1)
        return first, _not_past(_months_before(first, -3) - timedelta(days=1), first, today)
    if match := _NUMBERED["half"].fullmatch(word):
        month = int(match["number"]) * 6 - 5
        first = date(int(match["year"] or today.year - (month > today.month)), month, 1)
        return first, _not_past(_months_before(first, -6) - timedelta(days=1), first, today)
    if match := _NUMBERED["week"].fullmatch(word):
        number, year = int(match["number"]), match["year"]
        first = date.fromisocalendar(int(year) if year else today.isocalendar().year, number, 1)
        if not year and first > today:
            first = date.fromisocalendar(first.isocalendar().year - 1, number, 1)
        return first, _not_past(first + timedelta(days=6), first, today)
    return None


def _start_of(unit: str, day_in: date) -> date:
    if unit == "week":
        return monday_of(day_in)
    month = {"month": day_in.month, "quarter": (day_in.month - 1) // 3 * 3 + 1, "year": 1}[unit]
    return date(day_in.year, month, 1)


def _months_before(first: date, months: int) -> date:
    count = first.year * 12 + first.month - 1 - months
    year, month = divmod(count, 12)
    return date(year, month + 1, min(first.day, calendar.monthrange(year, month + 1)[1]))


def _named_month(word: str, today: date) -> tuple[date, date] | None:
    """nov, november 2025, 2026-10, 2026-W40; the running one ends today."""
    if match := re.fullmatch(r"(\d{4})-w(\d{2})", word):
        first = date.fromisocalendar(int(match[1]), int(match[2]), 1)
        return first, _not_past(first + timedelta(days=6), first, today)
    if match := re.fullmatch(r"(\d{4})-(\d{2})", word):
        year, month = int(match[1]), int(match[2])
    else:
        match = re.fullmatch(r"(?:last )?([a-z]{3,9})\.?(?: (\d{4}))?", word)
        try:
            month = month_of(match[1]) if match else 0
        except ValueError:
            month = 0
        if match is None or not month:
            return None
        year_word = match[2]
        year = int(year_word) if year_word else today.year - (month > today.month)
    first = date(year, month, 1)
    return first, _not_past(date(year, month, calendar.monthrange(year, month)[1]), first, today)


def _not_past(last: date, first: date, today: date) -> date:
    return today if first <= today < last else last


def yes(value: Any) -> bool:
    """true/false in the words people use. Raises ValueError."""
    word = str(value).strip().lower()
    if word in {"1", "true", "yes", "y", "on"}:
        return True
    if word in {"0", "false", "no", "n", "off"}:
        return False
    raise ValueError(f"{value!r} is neither yes nor no")
