"""Text laid out in columns of one character width, and values drawn as text; every plain channel uses it."""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from bot.core.message import Chart, Series, Table
from storage.ledger.numbers import read_float

_BARS = "▁▂▃▄▅▆▇█"
NOTICE_SIGNS = {"ok": "✅", "info": "ℹ️", "warning": "⚠️", "error": "⛔"}
_KEPT = {"\n", "\t"}


def clean(text: str) -> str:
    """The text without control characters, text direction overrides and what cannot be encoded."""
    if text.isprintable():
        return text
    return "".join(char if char in _KEPT or not _barred(char) else "" for char in text)


_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@lru_cache(maxsize=1024)
def _barred(char: str) -> bool:
    return unicodedata.category(char) in {"Cc", "Cs"} or char in _DIRECTIONS


def line(text: str) -> str:
    """Cleaned, and on one line."""
    return " ".join(clean(text).split())


def cut(text: str, limit: int) -> str:
    """At most `limit` characters, with … where something is missing."""
    return text if len(text) <= limit else text[: max(limit - 1, 0)] + "…"[:limit]


def width(text: str) -> int:
    """Columns a terminal gives the text: wide East Asian characters and emoji take two, marks none."""
    if text.isascii():
        return len(text)
    return sum(_width(char) for char in text)


@lru_cache(maxsize=1024)
def _width(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def cells(table: Table, *, rows: int | None = None) -> list[list[str]]:
    """Header and rows as clean cells, every row as long as the header, nothing empty."""
    count = len(table.columns)
    body = table.rows if rows is None else first_rows(table, rows)
    padded = ([*row[:count], *[""] * (count - len(row))] for row in (table.columns, *body))
    return [[line(cell) or "–" for cell in row] for row in padded]


def first_rows(table: Table, most: int) -> tuple[tuple[str, ...], ...]:
    """So many rows of the table, its total among them."""
    if len(table.rows) <= most:
        return table.rows
    return (*table.rows[: most - 1], table.rows[-1]) if table.total else table.rows[:most]


def aligned(table: Table, *, rows: int | None = None, widest: int = 40, gap: int = 2) -> list[str]:
    """The table as lines: a header, a rule, the rows; numeric columns to the right, long texts cut, numbers never."""
    if not table.columns:
        return []
    grid = cells(table, rows=rows)
    for n in range(len(table.columns)):
        if n not in table.numeric:
            for row, text in zip(grid, _cut_apart([row[n] for row in grid], widest), strict=True):
                row[n] = text
    widths = [max(width(row[n]) for row in grid) for n in range(len(table.columns))]
    rule = (" " * gap).join("─" * size for size in widths)
    lines = []
    for row in grid:
        shown = [_padded(row[n], size, n in table.numeric) for n, size in enumerate(widths)]
        mark = _direction_mark(row)
        lines.append(mark + (mark + " " * gap).join(shown))
    lines.insert(1, rule)
    return [line.rstrip() for line in lines]


def _cut_apart(texts: Sequence[str], limit: int) -> list[str]:
    """Texts cut to so many columns; names that would look alike are cut in the middle, since their ends differ."""
    shown = [_cut_to_width(text, limit) for text in texts]
    if len(set(shown)) == len(set(texts)):
        return shown
    return [text if width(text) <= limit else _cut_in_the_middle(text, limit) for text in texts]


def _cut_to_width(text: str, limit: int) -> str:
    return text if width(text) <= limit else _beginning(text, limit - 1).rstrip() + "…"


def _cut_in_the_middle(text: str, limit: int) -> str:
    tail = limit // 3
    return _cut_to_width(text, limit - tail) + _beginning(text[::-1], tail)[::-1].lstrip()


def _beginning(text: str, limit: int) -> str:
    """As many of the first characters as fit into so many columns."""
    used = 0
    for place, character in enumerate(text):
        used += width(character)
        if used > limit:
            return text[:place]
    return text


_LEFT_TO_RIGHT = "\u200e"


def _direction_mark(row: Sequence[str]) -> str:
    """What keeps the columns of a row in their order although a name is written from right to left."""
    written = "".join(row)
    right_to_left = not written.isascii() and any(unicodedata.bidirectional(char) in {"R", "AL"} for char in written)
    return _LEFT_TO_RIGHT if right_to_left else ""


_NUMBER = re.compile(r"([^\d(]*)(\d+(?:,\d{3})*)(\.\d+)?(%?)(?: \([\d,]+\))?")
_THOUSANDS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


def shortened(text: str) -> str:
    """A number in at most three or four digits, as `€12.3k`; the figure in brackets beside it is left out."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return text
    head, whole, part, tail = match[1], match[2].replace(",", ""), match[3] or "", match[4]
    value = read_float(whole + part)
    for size, letter in _THOUSANDS:
        if value >= size and value >= 9_999.5:
            return f"{head}{_three_digits(value / size)}{letter}{tail}"
    if part and value >= 10 and not tail:
        return f"{head}{round(value):,}"
    return f"{head}{int(whole):,}{part}{tail}"


def _three_digits(value: float) -> str:
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f}"


_SHORTEST = 12  # columns that a name keeps
_WIDEST = (24, 18, 14, _SHORTEST)
_UNCUT = (1_001, 1_000)  # columns: more than fit, so nothing is cut


def fitted(table: Table, size: int) -> list[str]:
    """The table as lines of at most so many columns: long texts cut, then numbers shortened, then (where the table
    says which columns matter) the last ones left out. A table of texts alone is never cut: it may hold codes to type.
    Empty where there is no way."""
    widths = _UNCUT if not table.numeric else _WIDEST if table.phone else _WIDEST[:2]
    attempts = [(table, widest) for widest in widths]
    if table.numeric:
        short = msgspec.structs.replace(table, rows=tuple(_short_row(row, table.numeric) for row in table.rows))
        attempts += [(short, widest) for widest in widths]
        while table.phone and len(short.columns) > 1:
            short = _without_last_column(short)
            attempts += [(short, widest) for widest in widths]
    for attempt, widest in attempts:
        lines = aligned(attempt, widest=widest, gap=2 if widest == widths[0] else 1)
        if lines and max(width(line) for line in lines) <= size:
            return lines
    return []


def _short_row(row: tuple[str, ...], numeric: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(shortened(cell) if n in numeric else cell for n, cell in enumerate(row))


def _without_last_column(table: Table) -> Table:
    last_column = len(table.columns) - 1
    return msgspec.structs.replace(
        table, columns=table.columns[:-1], rows=tuple(row[:last_column] for row in table.rows),
        numeric=tuple(n for n in table.numeric if n < last_column),
    )  # fmt: skip


def _padded(text: str, size: int, right: bool) -> str:
    blank = " " * (size - width(text))
    return blank + text if right else text + blank


def left_out(table: Table, shown: int) -> str:
    """What to say of rows that found no room, and where they are; empty if all are shown."""
    missing = len(table.rows) - shown + table.more
    if missing <= 0:
        return ""
    text = f"… and {missing:,} more {'row' if missing == 1 else 'rows'}"
    return f"{text}: {table.rest}" if table.rest else text


def sparkline(values: Sequence[float | None]) -> str:
    """Values as a row of small bars; a gap stays a gap."""
    points = [value for value in values if value is not None and value == value]
    if not points:
        return ""
    low, high = min(0.0, *points), max(0.0, *points)
    span = (high - low) or 1.0
    return "".join(_bar(value, low, span) for value in values)


def _bar(value: float | None, low: float, span: float) -> str:
    if value is None or value != value:
        return " "
    share = (value - low) / span
    return _BARS[min(len(_BARS) - 1, max(0, int(share * len(_BARS))))] if share == share else " "


def chart_lines(chart: Chart, *, points: int = 31) -> list[str]:
    """A chart as text: a line of bars and the last value per series; a ranking as names with their values."""
    lines = [line(chart.title)] if chart.title else []
    if chart.ranked:
        values = chart.series[0].values if chart.series else ()
        rows = tuple((label, last(Series("", (value,)))) for label, value in zip(chart.labels, values, strict=False))
        return [*lines, *aligned(Table(("", chart.unit), rows, numeric=(1,)), widest=20)[2:]]
    names = max((width(line(series.name)) for series in chart.series), default=0)
    for series in chart.series:
        label = line(series.name) + " " * (names - width(line(series.name)))
        amount = f"{last(series)} {line(chart.unit_of(series))}".rstrip()
        lines.append(f"{label}  {sparkline(series.values[-points:])}  {amount}")
    if chart.labels and chart.series:
        lines.append(f"{line(chart.labels[-points:][0])} – {line(chart.labels[-1])}")
    return lines


def last(series: Series) -> str:
    """The last known value as people write it."""
    points = [value for value in series.values if value is not None]
    if not points:
        return "–"
    value = points[-1]
    return f"{value:,.0f}" if value % 1 == 0 else f"{value:,.2f}"
