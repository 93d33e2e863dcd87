"""Invoices and statements as a PDF page: text at places, drawn by the renderer of charts, whose fonts come with it.

Only the helper process draws (see bot.render.chart_image). Latin, Greek and Cyrillic letters are in its font.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from bot.render.text_columns import clean, cut

WIDTH, HEIGHT = 595, 842  # A4, in points
LEFT, RIGHT, LINE = 48, 547, 14
MOST_LINES = 40  # of a table
_FONT = "Roboto, DejaVu Sans, sans-serif"


class Paper(msgspec.Struct, frozen=True, kw_only=True):
    """One page: who sends it and who gets it, what it is, fields, a table with its total, and what stands below."""

    title: str
    sender: tuple[str, ...]
    recipient: tuple[str, ...]
    fields: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    total: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class _Page:
    """Text marks, gathered from the top downwards."""

    def __init__(self) -> None:
        self.marks: list[dict[str, Any]] = []
        self.rules: list[dict[str, int]] = []
        self.y = 60

    def text(self, text: str, x: int, *, size: int = 10, bold: bool = False, align: str = "left") -> None:
        shown = cut(" ".join(clean(text).split()), 110)
        self.marks.append({"x": x, "y": self.y, "t": shown, "s": size, "w": "bold" if bold else "normal", "a": align})

    def lines(self, lines: Sequence[str], x: int, *, align: Literal["left", "right"] = "left") -> None:
        for line in lines:
            self.text(line, x, align=align)
            self.y += LINE

    def rule(self) -> None:
        self.rules.append({"y": self.y - 10})

    def row(self, cells: Sequence[str], *, bold: bool = False) -> None:
        """Cells of a table: the first at the left, the others to the right of their columns."""
        width = (RIGHT - LEFT) / max(len(cells), 1)
        for number, cell in enumerate(cells):
            at_left = number == 0
            place = LEFT if at_left else round(LEFT + width * (number + 1))
            self.text(cut(cell, 30), place, bold=bold, align="left" if at_left else "right")
        self.y += LINE + 2


def specification(paper: Paper) -> dict[str, Any]:
    """The page in Vega. https://vega.github.io/vega/docs/marks/text/"""
    page = _Page()
    page.lines(paper.sender[:8], RIGHT, align="right")
    page.y = max(page.y, 60 + 6 * LINE)
    page.lines(paper.recipient[:8], LEFT)
    page.y += 2 * LINE
    page.text(paper.title, LEFT, size=18, bold=True)
    page.y += 2 * LINE
    for name, value in paper.fields:
        page.text(name, LEFT)
        page.text(value, LEFT + 110)
        page.y += LINE
    page.y += LINE
    page.row(paper.columns, bold=True)
    page.rule()
    for row in paper.rows[:MOST_LINES]:
        page.row(row)
    if paper.total:
        page.rule()
        page.row(paper.total, bold=True)
    page.y += LINE
    page.lines(paper.notes[:10], LEFT)
    field = {name: {"field": key} for name, key in (("x", "x"), ("y", "y"), ("text", "t"), ("fontSize", "s"),
                                                    ("fontWeight", "w"), ("align", "a"))}  # fmt: skip
    fixed = {"font": {"value": _FONT}, "fill": {"value": "#111827"}}
    rule = {"x": {"value": LEFT}, "x2": {"value": RIGHT}, "y": {"field": "y"}, "stroke": {"value": "#9ca3af"}}
    return {
        "$schema": "https://vega.github.io/schema/vega/v5.json",
        "width": WIDTH, "height": HEIGHT, "padding": 0, "background": "#ffffff",
        "data": [{"name": "text", "values": page.marks}, {"name": "rules", "values": page.rules}],
        "marks": [
            {"type": "text", "from": {"data": "text"}, "encode": {"enter": {**field, **fixed}}},
            {"type": "rule", "from": {"data": "rules"}, "encode": {"enter": rule}},
        ],
    }  # fmt: skip


def draw_pdf(paper: Paper) -> bytes:
    """The page as a PDF."""
    import vl_convert

    spec = msgspec.json.encode(specification(paper)).decode()
    return bytes(vl_convert.vega_to_pdf(spec, allowed_base_urls=[]))
