"""Text laid out in columns of one character width, and values drawn as text; every plain channel uses it."""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from bot.core.message import Chart, Series, Table

_BARS = "▁▂▃▄▅▆▇█"
_KEPT = {"\n", "\t"}


def clean(text: str) -> str:
    """Without characters that steer a screen (escape, backspace, text direction overrides) or cannot be sent."""
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
    """The table as lines: a header, a rule, the rows; numeric columns to the right, long cells cut."""
    if not table.columns:
        return []
    grid = [[cut(cell, widest) for cell in row] for row in cells(table, rows=rows)]
    widths = [max(width(row[n]) for row in grid) for n in range(len(table.columns))]
    between = " " * gap
    lines = [between.join(_padded(row[n], size, n in table.numeric) for n, size in enumerate(widths)) for row in grid]
    lines.insert(1, between.join("─" * size for size in widths))
    return [line.rstrip() for line in lines]


def _padded(text: str, size: int, right: bool) -> str:
    blank = " " * (size - width(text))
    return blank + text if right else text + blank


def left_out(table: Table, shown: int) -> str:
    """What to say of rows that found no room; empty if all did."""
    missing = len(table.rows) - shown
    return f"… and {missing:,} more {'row' if missing == 1 else 'rows'}" if missing > 0 else ""


def sparkline(values: Sequence[float | None]) -> str:
    """Values as a row of small bars; a gap stays a gap."""
    known = [value for value in values if value is not None and value == value]
    if not known:
        return ""
    low, high = min(0.0, *known), max(0.0, *known)
    span = (high - low) or 1.0
    return "".join(_bar(value, low, span) for value in values)


def _bar(value: float | None, low: float, span: float) -> str:
    if value is None or value != value:
        return " "
    share = (value - low) / span
    return _BARS[min(len(_BARS) - 1, max(0, int(share * len(_BARS))))] if share == share else " "


def chart_lines(chart: Chart, *, points: int = 31) -> list[str]:
    """A chart as text: a line of bars and the last value per series."""
    lines = [line(chart.title)] if chart.title else []
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
    known = [value for value in series.values if value is not None]
    if not known:
        return "–"
    value = known[-1]
    return f"{value:,.0f}" if value % 1 == 0 else f"{value:,.2f}"
