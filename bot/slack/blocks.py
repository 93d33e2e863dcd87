"""Message to Slack's Block Kit, within its limits: https://docs.slack.dev/reference/block-kit/blocks.

Names and other text come as plain text wherever Block Kit has it, so markup shows as typed; where mrkdwn is needed
(bold labels, code, links) &, < and > are escaped, which is all that Slack reads mentions from.
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from bot.core.message import Block, Button, Buttons, Chart, Fields, File, Message, Notice, Table, Text
from bot.render.chart_spec import drawable, is_known
from bot.render.text_columns import NOTICE_SIGNS, aligned, cells, chart_lines, clean, cut, first_rows, left_out, line

BLOCKS, SECTION, HEADER, FIELDS, ACTIONS = 50, 3000, 150, 10, 25
LABEL, VALUE, URL = 75, 2000, 3000
TABLE_ROWS, TABLE_COLUMNS, TABLE_CHARACTERS = 100, 20, 9000
POINTS, SERIES = 20, 6
CODE_SECTIONS = 3

_MENTION = re.compile(r"<(?=[!@#])")
_LINK = re.compile(r"https?://\S+")

Json = dict[str, Any]


def render(message: Message) -> Json:
    """`text` (notification and fallback) and `blocks` of chat.postMessage; never raises."""
    blocks = _title(message)
    state = _Remaining()
    for block in message.blocks:
        blocks += state.blocks(block)
    if len(blocks) > BLOCKS:
        rest = len(blocks) - BLOCKS + 1
        blocks = [*blocks[: BLOCKS - 1], _context(f"… {rest} more parts are left out")]
    return {"text": cut(escape(message.title), SECTION) or "CasinoFlux", "blocks": blocks}


def fallback(message: Message) -> Json:
    """The same in sections only, for when Slack refuses a newer kind of block."""
    blocks = _title(message)
    state = _Remaining(native=False)
    for block in message.blocks:
        blocks += state.blocks(block)
    return {"text": cut(escape(message.title), SECTION) or "CasinoFlux", "blocks": blocks[:BLOCKS]}


def files(message: Message) -> list[File]:
    """What is uploaded beside the message."""
    return [block for block in message.blocks if isinstance(block, File)]


def pictures(message: Message) -> list[Chart]:
    """Charts that Slack's own cannot show (too many points, gaps): they are uploaded as pictures."""
    charts = [block for block in message.blocks if isinstance(block, Chart)]
    return [chart for chart in charts if _native_chart(chart) is None and drawable(chart)]


def escape(text: str) -> str:
    """Text inside mrkdwn: https://docs.slack.dev/messaging/formatting-message-text#escaping."""
    return clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def plain(text: str, limit: int) -> Json:
    """A plain_text object; a mention typed in a name is broken by an invisible joiner, in case a client reads one."""
    shown = _MENTION.sub("<\u2060", clean(text))
    return {"type": "plain_text", "text": cut(shown, limit) if shown.strip() else "–", "emoji": False}


def mrkdwn(text: str, limit: int = SECTION) -> Json:
    """A mrkdwn object of text that is escaped already; an entity is never cut in half."""
    if len(text) > limit:
        text = re.sub(r"&[a-z]{0,3}$", "", text[: limit - 1]) + "…"
    return {"type": "mrkdwn", "text": text or "–"}


def section(text: Json) -> Json:
    return {"type": "section", "text": text}


def _context(text: str) -> Json:
    return {"type": "context", "elements": [plain(text, SECTION)]}


def _title(message: Message) -> list[Json]:
    title = line(message.title)
    if not title:
        return []
    if message.blocks and len(title) <= HEADER:
        return [{"type": "header", "text": plain(title, HEADER)}]
    return [section(plain(part, SECTION)) for part in pieces(clean(message.title), SECTION)[:10]]


class _Remaining:
    """What a message may still hold: one native table, two charts; and the number of its next action id."""

    def __init__(self, *, native: bool = True) -> None:
        self.tables = 1 if native else 0
        self.charts = 2 if native else 0
        self.actions = 0

    def blocks(self, block: Block) -> list[Json]:
        match block:
            case Text():
                return _text(block)
            case Fields():
                return _fields(block)
            case Table():
                return self._table(block)
            case Chart():
                return self._chart(block)
            case Buttons():
                return self._buttons(block)
            case Notice():
                return [section(plain(f"{NOTICE_SIGNS[block.level]} {block.text}", SECTION))]
            case File():
                return [_context(f"📎 {line(block.name)}")]

    def _table(self, table: Table) -> list[Json]:
        """The rows that find room, the total among them, and one note on the rest."""
        columns = len(table.columns)
        if not self.tables or not 0 < columns <= TABLE_COLUMNS:
            return _table_lines(table)
        self.tables -= 1
        fitting = _fitting(table, lambda part: _characters(cells(part)) <= TABLE_CHARACTERS, TABLE_ROWS - 1)
        head, *body = cells(fitting)
        rows = [[_bold_cell(cut(cell, 200)) for cell in head]]
        for n, row in enumerate(body):
            is_total = table.total and n == len(body) - 1
            rows.append([_bold_cell(cut(cell, 200)) if is_total else _cell(cut(cell, 500)) for cell in row])
        aligns = [{"align": "right" if n in table.numeric else "left"} for n in range(columns)]
        rest = left_out(table, len(body))
        native = {"type": "table", "rows": rows, "column_settings": aligns}
        return [native, *_notes(rest, table.legend)]

    def _chart(self, chart: Chart) -> list[Json]:
        native = _native_chart(chart) if self.charts else None
        if native is None:
            return _code_lines(chart_lines(chart))
        self.charts -= 1
        return [native]

    def _buttons(self, block: Buttons) -> list[Json]:
        made = [self._button(button) for button in block.buttons if button.url or 0 < len(button.command) <= VALUE]
        rows = [made[n : n + ACTIONS] for n in range(0, len(made), ACTIONS)]
        return [{"type": "actions", "elements": row} for row in rows]

    def _button(self, button: Button) -> Json:
        self.actions += 1
        element: Json = {"type": "button", "text": plain(line(button.label), LABEL)}
        if button.url:
            element |= {"action_id": f"link-{self.actions}", "url": button.url[:URL]}
        else:
            element |= {"action_id": f"run-{self.actions}", "value": button.command}
        return element | ({} if button.style == "normal" else {"style": button.style})


def _text(block: Text) -> list[Json]:
    if block.code:
        return _code_lines(clean(block.text).splitlines() or [""])
    if block.strong and not re.search(r"[*\n]", block.text) and block.text.strip():
        return [section(mrkdwn(f"*{cut(escape(block.text.strip()), SECTION - 2)}*"))]
    return [section(_value(part, SECTION)) for part in pieces(clean(block.text), SECTION)]


def _value(text: str, limit: int) -> Json:
    """Plain text, or mrkdwn where a link should be one."""
    if _LINK.fullmatch(text.strip()) and len(escape(text)) <= limit:
        return mrkdwn(escape(text.strip()), limit)
    return plain(text, limit)


def _fields(block: Fields) -> list[Json]:
    """Labels left, values right: Slack sets the texts of a section's fields in two columns."""
    texts = []
    for label, value in block.fields:
        texts += [mrkdwn(f"*{cut(escape(line(label)), 1990).replace('*', '∗') or '–'}*", 2000), _value(value, 2000)]
    return [{"type": "section", "fields": texts[n : n + FIELDS]} for n in range(0, len(texts), FIELDS)]


def _table_lines(table: Table) -> list[Json]:
    """A table as lines of fixed width."""
    fitting = _fitting(table, lambda part: len(pieces(_fixed(aligned(part)), SECTION - 8)) <= CODE_SECTIONS, 200)
    rest = left_out(table, len(fitting.rows))
    return [*_code_lines(aligned(fitting)), *_notes(rest, table.legend)]


def _notes(*texts: str) -> list[Json]:
    return [_context(text) for text in texts if text]


def _fitting(table: Table, fits: Callable[[Table], bool], most: int) -> Table:
    """The table with so many of its first rows, and its total, that it finds room; its header in any case."""
    low, high = 1, max(min(len(table.rows), most), 1)
    while low < high:
        middle = (low + high + 1) // 2
        if fits(msgspec.structs.replace(table, rows=first_rows(table, middle))):
            low = middle
        else:
            high = middle - 1
    return msgspec.structs.replace(table, rows=first_rows(table, low))


def _characters(rows: list[list[str]]) -> int:
    return sum(min(len(cell), 500) for row in rows for cell in row)


def _fixed(lines: list[str]) -> str:
    return escape("\n".join(lines).replace("```", "ˋˋˋ"))


def _code_lines(lines: list[str]) -> list[Json]:
    """Lines of fixed width, in as many sections as they need (three at most)."""
    parts = pieces(_fixed(lines), SECTION - 8)
    shown = [section(mrkdwn(f"```\n{part}\n```")) for part in parts[:CODE_SECTIONS] if part.strip()]
    return shown + ([_context("… the rest is left out")] if len(parts) > CODE_SECTIONS else [])


def pieces(text: str, limit: int) -> list[str]:
    """The text in parts of at most `limit` characters, broken at lines where there are any; entities stay whole."""
    parts = []
    while len(text) > limit:
        at = text.rfind("\n", 1, limit)
        if at <= 0:
            half = re.search(r"&[a-z]{0,3}$", text[:limit])
            at = half.start() if half and half.start() > 0 else limit
        parts.append(text[:at])
        text = text[at:].removeprefix("\n")
    return [*parts, text] if text or not parts else parts


def _cell(text: str) -> Json:
    return {"type": "raw_text", "text": _MENTION.sub("<\u2060", text)}


def _bold_cell(text: str) -> Json:
    bold = {"type": "text", "text": _MENTION.sub("<\u2060", text), "style": {"bold": True}}
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [bold]}]}


def _native_chart(chart: Chart) -> Json | None:
    """Slack's own chart where it can show this one: few points, no gaps (a gap must not become a zero)."""
    if chart.heat:
        return None
    labels = [cut(line(label), 20) for label in chart.labels]
    names = [cut(line(series.name), 20) for series in chart.series]
    complete = all(len(s.values) == len(labels) and all(is_known(v) for v in s.values) for s in chart.series)
    distinct = len(set(labels)) == len(labels) and len(set(names)) == len(names) and all([*labels, *names])
    if not (1 < len(labels) <= POINTS and 0 < len(names) <= SERIES and complete and distinct):
        return None
    series = [
        {"name": name, "data": [{"label": x, "value": y} for x, y in zip(labels, series.values, strict=True)]}
        for name, series in zip(names, chart.series, strict=True)
    ]
    kind = "bar" if all(series.kind == "bar" for series in chart.series) else "line"
    axis = {"categories": labels} | ({"y_label": cut(line(chart.unit), 20)} if line(chart.unit) else {})
    drawn = {"type": kind, "series": series, "axis_config": axis}
    return {"type": "data_visualization", "title": cut(line(chart.title), 50) or "–", "chart": drawn}
