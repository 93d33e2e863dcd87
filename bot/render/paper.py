"""Invoices and statements as PDF pages: text at places, drawn by the renderer of charts, whose fonts come with it.

Only the helper process draws (see bot.render.chart_image). Latin, Greek and Cyrillic letters are in its font; Arabic
and Hebrew ones come from the fonts of the machine. Nothing is cut: what is too long is wrapped, what is too much goes
on on the next page.
"""

import io
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import msgspec

from bot.render.text_columns import line as one_line
from bot.render.text_columns import width

SHORT, LONG = 595, 842  # A4, in points
MARGIN, LINE = 48, 14
_FONT = "Roboto, DejaVu Sans, sans-serif"
_LETTER = 0.62  # width of a letter, of its size: no line is wider in the fonts above but one of capitals
_BOLD = 0.7
_WORDS = 50  # points that a column of words has at least


class PaperTable(msgspec.Struct, frozen=True, kw_only=True):
    """A table under its title; `texts`: how many columns, from the left, hold words. The others hold figures."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    total: tuple[str, ...] = ()
    texts: int = 1


class Paper(msgspec.Struct, frozen=True, kw_only=True):
    """Pages: who sends it and who gets it, what it is, fields, tables, and what is below. `wide`: in landscape."""

    title: str
    sender: tuple[str, ...]
    recipient: tuple[str, ...]
    fields: tuple[tuple[str, str], ...]
    tables: tuple[PaperTable, ...]
    notes: tuple[str, ...] = ()
    wide: bool = False


class _Columns(msgspec.Struct, frozen=True):
    """Where the columns of a table begin and end, how many hold words, and the size of their letters."""

    edges: tuple[int, ...]
    texts: int
    size: int


class _Page:
    """Text marks and rules of a page."""

    def __init__(self) -> None:
        self.marks: list[dict[str, Any]] = []
        self.rules: list[dict[str, int]] = []


class _Pages:
    """Pages as they are filled from the top downwards; `y` is where the next line goes."""

    def __init__(self, *, wide: bool) -> None:
        self.width, self.height = (LONG, SHORT) if wide else (SHORT, LONG)
        self.left, self.right = MARGIN, self.width - MARGIN
        self.pages = [_Page()]
        self.y = 60

    def text(
        self, text: str, x: int, *, size: int = 10, bold: bool = False, align: str = "left", y: int | None = None
    ) -> None:
        at = self.y if y is None else y
        mark = {"x": x, "y": at, "t": text, "s": size, "w": "bold" if bold else "normal", "a": align}
        self.pages[-1].marks.append(mark)

    def lines(self, lines: Sequence[str], *, align: str = "left", size: int = 10, bold: bool = False) -> None:
        """Lines at the left or right edge, long ones wrapped; at the right they take half of the page."""
        room = (self.right - self.left) * (1.0 if align == "left" else 0.6)
        for line in lines:
            for part in wrapped(line, room, size=size, bold=bold):
                self.room_for(1)
                self.text(part, self.left if align == "left" else self.right, align=align, size=size, bold=bold)
                self.y += round(LINE * size / 10)

    def room_for(self, lines: int) -> bool:
        """Begin a page where so many lines have no room; whether one was begun."""
        if self.y + lines * (LINE + 2) <= self.height - MARGIN - LINE:
            return False
        self.pages.append(_Page())
        self.y = 60
        return True

    def rule(self) -> None:
        self.pages[-1].rules.append({"y": self.y - 10})

    def row(self, cells: Sequence[str], columns: "_Columns", *, bold: bool = False) -> None:
        """Cells of a table between the edges of its columns: words at the left, wrapped, figures at the right."""
        edges, texts, size, parts = columns.edges, columns.texts, columns.size, []
        for number, (cell, (left, right)) in enumerate(zip(cells, pairwise(edges), strict=True)):
            parts.append(wrapped(cell, right - left - 6, size=size, bold=bold) if number < texts else [one_line(cell)])
        self.room_for(max(map(len, parts)))
        for number, (lines, (left, right)) in enumerate(zip(parts, pairwise(edges), strict=True)):
            x, align = (left, "left") if number < texts else (right, "right")
            for down, line in enumerate(lines):
                self.text(line, x, size=size, bold=bold, align=align, y=self.y + down * LINE)
        self.y += (max(map(len, parts)) - 1) * LINE + LINE + 2

    def table(self, table: PaperTable) -> None:
        self.room_for(5)
        if table.title:
            self.lines([table.title], bold=True)
            self.y += 4
        columns = self._columns(table)
        self._head(table, columns)
        for row in table.rows:
            if self.room_for(1):
                self._head(table, columns)
            self.row(row, columns)
        if table.total:
            if self.room_for(1):
                self._head(table, columns)
            self.rule()
            self.row(table.total, columns, bold=True)
        self.y += LINE

    def _head(self, table: PaperTable, columns: "_Columns") -> None:
        self.row(table.columns, columns, bold=True)
        self.rule()
        self.y += 2

    def _columns(self, table: PaperTable) -> "_Columns":
        """Columns as wide as what is in them; words give way to figures, and letters are smaller where these lack
        room."""
        lines = [table.columns, *table.rows, *([table.total] if table.total else [])]
        letters = [max(width(one_line(line[at])) for line in lines) for at in range(len(table.columns))]
        room, size = self.right - self.left, 9
        needs = [count * size * _BOLD + 6 for count in letters]
        while sum(needs[table.texts :]) > room - _WORDS * table.texts and size > 5:
            size -= 1
            needs = [count * size * _BOLD + 6 for count in letters]
        spare = room - sum(needs)
        if spare < 0:
            words = sum(needs[: table.texts])
            needs = [need + spare * need / words if at < table.texts else need for at, need in enumerate(needs)]
        edges = list(accumulate((need + max(spare, 0) / len(needs) for need in needs), initial=1.0 * self.left))
        return _Columns(tuple(map(round, edges)), table.texts, size)


def wrapped(text: str, room: float, *, size: int = 10, bold: bool = False) -> list[str]:
    """The text in lines that fit into so many points, broken between words, and in them where one is too long."""
    most = max(8, int(room / (size * (_BOLD if bold else _LETTER))))
    lines = [""]
    for word in one_line(text).split(" "):
        rest = word
        while rest:
            joined = f"{lines[-1]} {rest}".strip()
            if width(joined) <= most:
                lines[-1], rest = joined, ""
            elif lines[-1]:
                lines.append("")
            else:
                taken = most // 2 if width(rest) > len(rest) else most
                lines[-1], rest = rest[:taken], rest[taken:]
                lines.append("")
    return [line for line in lines if line] or [""]


def specifications(paper: Paper) -> list[dict[str, Any]]:
    """The pages in Vega. https://vega.github.io/vega/docs/marks/text/"""
    pages = _Pages(wide=paper.wide)
    pages.lines(paper.sender, align="right")
    pages.y = max(pages.y, 60 + (2 if paper.wide else 6) * LINE)
    pages.lines(paper.recipient)
    pages.y += 2 * LINE
    pages.lines([paper.title], size=16, bold=True)
    pages.y += LINE
    for name, value in paper.fields:
        pages.text(name, pages.left)
        pages.text(value, pages.left + 110)
        pages.y += LINE
    pages.y += LINE
    for table in paper.tables:
        pages.table(table)
    pages.lines(paper.notes)
    if len(pages.pages) > 1:
        for number, page in enumerate(pages.pages, 1):
            footer = f"{one_line(paper.title)[:80]} · {number} / {len(pages.pages)}"
            page.marks.append(
                {"x": pages.right, "y": pages.height - 30, "t": footer, "s": 8, "w": "normal", "a": "right"}
            )
    return [_specification(page, pages) for page in pages.pages]


def _specification(page: _Page, pages: _Pages) -> dict[str, Any]:
    field = {name: {"field": key} for name, key in (("x", "x"), ("y", "y"), ("text", "t"), ("fontSize", "s"),
                                                    ("fontWeight", "w"), ("align", "a"))}  # fmt: skip
    fixed = {"font": {"value": _FONT}, "fill": {"value": "#111827"}}
    rule = {"x": {"value": pages.left}, "x2": {"value": pages.right}, "y": {"field": "y"},
            "stroke": {"value": "#9ca3af"}}  # fmt: skip
    return {
        "$schema": "https://vega.github.io/schema/vega/v5.json",
        "width": pages.width, "height": pages.height, "padding": 0, "background": "#ffffff", "autosize": "none",
        "data": [{"name": "text", "values": page.marks}, {"name": "rules", "values": page.rules}],
        "marks": [
            {"type": "text", "from": {"data": "text"}, "encode": {"enter": {**field, **fixed}}},
            {"type": "rule", "from": {"data": "rules"}, "encode": {"enter": rule}},
        ],
    }  # fmt: skip


def draw_pdf(paper: Paper) -> bytes:
    """The pages as one PDF."""
    import vl_convert

    drawn = [
        bytes(vl_convert.vega_to_pdf(msgspec.json.encode(page).decode(), allowed_base_urls=[]))
        for page in specifications(paper)
    ]
    if len(drawn) == 1:
        return drawn[0]
    from pypdf import PdfWriter

    writer, out = PdfWriter(), io.BytesIO()
    for page in drawn:
        writer.append(io.BytesIO(page))
    writer.write(out)
    return out.getvalue()
