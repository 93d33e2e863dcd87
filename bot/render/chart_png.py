"""A chart as a PNG, drawn with the standard library alone: about 20 ms, no imaging library in memory.

A palette picture on its own light ground, so it reads the same in light and dark mode. Bars are reckoned on the right
axis and lines on the left one where a chart has both.
"""

import struct
import zlib
from collections.abc import Sequence

from bot.core.message import Chart, Series
from bot.render.chart_digits import GLYPHS, HIGH, WIDE
from bot.render.text_columns import cut, last, line

WIDTH, HEIGHT = 1000, 520
LEFT, RIGHT, TOP, BOTTOM = 92, 908, 24, 470
SCALE = 3  # of the digits: readable at the width of a phone

GROUND, GRID, INK = (250, 250, 252), (222, 225, 231), (90, 96, 110)
COLOURS = ((37, 99, 235), (234, 88, 12), (22, 163, 74), (147, 51, 234), (219, 39, 119), (13, 148, 136))
SIGNS = ("🟦", "🟧", "🟩", "🟪", "🟥", "🟫")
SHADES = 8  # steps between the ground and a colour: smooth edges
STROKE = 2.2  # half the width of a line


class _Canvas:
    """Palette indices, row by row: 0 ground, 1 grid, 2 ink, then the shades of each colour."""

    def __init__(self) -> None:
        self.rows = [bytearray(WIDTH) for _ in range(HEIGHT)]

    def fill(self, left: int, top: int, right: int, bottom: int, colour: int) -> None:
        left, right = max(left, 0), min(right, WIDTH)
        if right > left:
            run = bytes([colour]) * (right - left)
            for y in range(max(top, 0), min(bottom, HEIGHT)):
                self.rows[y][left:right] = run

    def column(self, x: int, top: float, bottom: float, series: int) -> None:
        """One pixel wide, with soft ends."""
        first, end = int(top), int(bottom)
        for y in range(max(first, 0), min(end, HEIGHT - 1) + 1):
            covered = min(bottom, y + 1) - max(top, y)
            shade = 3 + series * SHADES + round(max(0.0, min(1.0, covered)) * (SHADES - 1))
            if covered > 0 and (self.rows[y][x] < 3 or self.rows[y][x] < shade or covered == 1):
                self.rows[y][x] = shade

    def text(self, x: int, y: int, text: str) -> None:
        for sign in text:
            for down, dots in enumerate(GLYPHS.get(sign, [])):
                for across, dot in enumerate(dots):
                    if dot:
                        at, top = x + across * SCALE, y + down * SCALE
                        self.fill(at, top, at + SCALE, top + SCALE, 2)
            x += (WIDE + 1) * SCALE

    def png(self) -> bytes:
        """https://www.w3.org/TR/png/: header, palette, rows each after a filter byte."""
        raw = b"".join(b"\x00" + row for row in self.rows)
        header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 3, 0, 0, 0)
        parts = (b"IHDR", header), (b"PLTE", _palette()), (b"IDAT", zlib.compress(raw, 6)), (b"IEND", b"")
        return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _palette() -> bytes:
    shades = [
        tuple(round(low + (high - low) * step / (SHADES - 1)) for low, high in zip(GROUND, colour, strict=True))
        for colour in COLOURS
        for step in range(SHADES)
    ]
    return b"".join(bytes(one) for one in (GROUND, GRID, INK, *shades))


class _Axis:
    """Values to heights, with round marks."""

    def __init__(self, series: Sequence[Series]) -> None:
        values = [one for each in series for one in each.values if one is not None and _known(one)]
        low, high = min([0.0, *values]), max([0.0, *values])
        self.step = _round_step((high - low) / 4 or 1.0)
        self.low = self.step * (low // self.step)
        self.high = max(self.step * -(-high // self.step), self.low + self.step)

    def y(self, value: float) -> float:
        return BOTTOM - (value - self.low) / (self.high - self.low) * (BOTTOM - TOP)

    def marks(self) -> list[float]:
        count = round((self.high - self.low) / self.step)
        return [self.low + n * self.step for n in range(count + 1)]


def _round_step(rough: float) -> float:
    """The next of 1, 2, 5, 10 … times a power of ten."""
    power = 10.0 ** int(f"{rough:e}".partition("e")[2])
    return next(power * one for one in (1, 2, 5, 10) if power * one >= rough * 0.999)


def _known(value: float | None) -> bool:
    return value is not None and abs(value) < 1e15


def draw(chart: Chart) -> bytes:
    """The chart as a PNG of 1000 by 520; what is not known is left out, never drawn as zero."""
    shown = [(n, one) for n, one in enumerate(chart.series[: len(COLOURS)]) if any(_known(v) for v in one.values)]
    lines = [one for _, one in shown if one.kind == "line"]
    bars = [one for _, one in shown if one.kind == "bar"]
    left, right = _Axis(lines or bars), _Axis(bars)
    canvas = _Canvas()
    points = max((len(one.values) for _, one in shown), default=1)
    _frame(canvas, left, right if lines and bars else None)
    _bars(canvas, [(n, one) for n, one in shown if one.kind == "bar"], right if lines else left, points)
    for n, one in shown:
        if one.kind == "line":
            _line(canvas, one, n, left, points)
    _labels(canvas, chart.labels, points)
    return canvas.png()


def _frame(canvas: _Canvas, left: _Axis, right: _Axis | None) -> None:
    for value in left.marks():
        y = round(left.y(value))
        canvas.fill(LEFT, y, RIGHT, y + (3 if value == 0 else 1), 1)
        text = short(value)
        canvas.text(LEFT - 12 - len(text) * (WIDE + 1) * SCALE, y - HIGH * SCALE // 2, text)
    for value in right.marks() if right else []:
        canvas.text(RIGHT + 12, round(right.y(value)) - HIGH * SCALE // 2 if right else 0, short(value))


def short(value: float) -> str:
    """1.5k, 20k, 3M: a mark of at most a few signs."""
    for size, sign in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.1f}".removesuffix(".0")[:5] + sign
    return f"{value:.2f}".rstrip("0").rstrip(".")[:5] or "0"


def _x(point: float, points: int) -> float:
    """The middle of a point's slot."""
    return LEFT + (point + 0.5) * (RIGHT - LEFT) / points


def _bars(canvas: _Canvas, series: Sequence[tuple[int, Series]], axis: _Axis, points: int) -> None:
    """The bars of a point side by side; those that are not known leave their room to the others."""
    slot = (RIGHT - LEFT) / points * 0.84
    ground = round(axis.y(0))
    for point in range(points):
        known = [(n, one.values[point]) for n, one in series if point < len(one.values) and _known(one.values[point])]
        for place, (n, value) in enumerate(known):
            left = _x(point, points) - slot / 2 + slot * place / len(known)
            top, bottom = sorted((round(axis.y(value or 0.0)), ground))
            canvas.fill(round(left), top, max(round(left + slot / len(known)) - 1, round(left) + 1), bottom, _paler(n))


def _paler(n: int) -> int:
    """Bars stand behind lines: a lighter shade."""
    return 3 + n * SHADES + SHADES // 2


def _line(canvas: _Canvas, series: Series, n: int, axis: _Axis, points: int) -> None:
    """A line between known neighbours; a lone point is a dot."""
    known = [(_x(i, points), axis.y(v)) if v is not None and _known(v) else None for i, v in enumerate(series.values)]
    for here, after in zip(known, [*known[1:], None], strict=True):
        if here is not None:
            for x in range(-5, 6):
                half = (30.25 - x * x) ** 0.5
                canvas.column(round(here[0]) + x, here[1] - half, here[1] + half, n)
        if here is not None and after is not None:
            _segment(canvas, here, after, n)


def _segment(canvas: _Canvas, start: tuple[float, float], end: tuple[float, float], n: int) -> None:
    slope = (end[1] - start[1]) / (end[0] - start[0])
    half = STROKE * (1 + slope * slope) ** 0.5
    top, bottom = sorted((start[1], end[1]))
    for x in range(round(start[0]), round(end[0]) + 1):
        middle = start[1] + slope * (x - start[0])
        canvas.column(x, max(middle - half, top - STROKE), min(middle + half, bottom + STROKE), n)


def _labels(canvas: _Canvas, labels: Sequence[str], points: int) -> None:
    """Every so many labels under the axis; of words only their digits can stand here."""
    each = max(1, -(-points // 7))
    for point in range(0, min(points, len(labels)), each):
        text = day_of(labels[point])
        half = len(text) * (WIDE + 1) * SCALE // 2
        canvas.text(round(_x(point, points)) - half, BOTTOM + 16, text)


def day_of(label: str) -> str:
    """The day of a date (`2026-10-01` is `01`), else what of the label has glyphs."""
    if len(label) == 10 and label[4] == label[7] == "-":
        return f"{label[8:]}/{label[5:7]}"
    return "".join(one for one in label if one in GLYPHS)[:5]


def legend(chart: Chart) -> str:
    """What the colours mean, with the last values."""
    named = zip(SIGNS, chart.series, strict=False)
    parts = [f"{sign} {cut(line(one.name), 40)} {last(one)}" for sign, one in named]
    title = f"{line(chart.title)} ({line(chart.unit)})" if line(chart.unit) else line(chart.title)
    span = f"{line(chart.labels[0])} – {line(chart.labels[-1])}" if chart.labels else ""
    return "\n".join(part for part in (title, "  ".join(parts), span) if part)


def drawable(chart: Chart) -> bool:
    """Whether a picture shows more than the text does: three points at least."""
    return any(sum(_known(value) for value in one.values) > 2 for one in chart.series)
