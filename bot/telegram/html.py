"""Message to Telegram's HTML, within its limits: https://core.telegram.org/bots/api#html-style.

Only &, < and > mean anything in HTML mode, so escaping them shows every name as typed.
"""

import html
from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec

from bot.core.message import Block, Button, Buttons, Chart, Fields, File, Message, Notice, Table, Text
from bot.render.chart_spec import drawable, legend
from bot.render.terminal import render as as_text
from bot.render.text_columns import (
    NOTICE_SIGNS,
    cells,
    chart_lines,
    clean,
    cut,
    first_rows,
    fitted,
    left_out,
    line,
    width,
)
from storage.chat.dialogues import press_id

TEXT, CAPTION, DATA, LABEL, KEYS = 4096, 1024, 64, 64, 100
MOST_PARTS = 4  # a longer answer comes as a file
PHONE = 44  # of a row of buttons
SCREEN, COLUMNS = 34, 5  # characters of fixed width, and columns, that a phone shows without breaking the line
MOST_ROWS = 200


class Key(msgspec.Struct, frozen=True):
    """A button of an inline keyboard: `data` comes back when it is pressed, `url` opens."""

    label: str
    data: str = ""
    url: str = ""


class Part(msgspec.Struct, frozen=True):
    """One thing to send: HTML with buttons beneath, a file, or a chart (its picture, with HTML as the caption)."""

    html: str = ""
    keys: tuple[tuple[Key, ...], ...] = ()
    file: File | None = None
    chart: Chart | None = None


class _Piece(msgspec.Struct, frozen=True):
    """Text inside one pair of tags; a piece may be broken at its lines, each part gets the tags again."""

    text: str
    tag: str = ""
    escaped: bool = False
    heads: bool = False  # a heading: what follows stands right under it

    def html(self) -> str:
        inner = self.text if self.escaped else html.escape(self.text, quote=False)
        return f"<{self.tag}>{inner}</{self.tag}>" if self.tag else inner


def render(message: Message) -> list[Part]:
    """What to send, in order: texts of at most 4,096 characters, then files; never raises, never empty."""
    pieces = [_Piece(clean(message.title), "b")] if message.title.strip() else []
    keys: list[Key] = []
    for block in message.blocks:
        pieces += _pieces(block)
        if isinstance(block, Buttons):
            keys += [key for shown in block.buttons if (key := key_of(shown))]
    texts = _joined(pieces) or ["–"]
    documents = [Part(file=block) for block in message.blocks if isinstance(block, File)]
    if len(texts) > MOST_PARTS:
        documents.insert(0, Part(file=File("answer.txt", as_text(message), "text/plain")))
        texts = [texts[0]]
    last = Part(texts[-1], keyboard(keys))
    charts = [
        Part(_caption(block), chart=block) for block in message.blocks if isinstance(block, Chart) and drawable(block)
    ]
    return [*(Part(text) for text in texts[:-1]), last, *charts, *documents]


def _caption(chart: Chart) -> str:
    return html.escape(cut(legend(chart), CAPTION // 6), quote=False)


def keyboard(keys: list[Key]) -> tuple[tuple[Key, ...], ...]:
    """Buttons in rows: short labels share one."""
    rows: list[list[Key]] = []
    for key in keys[:KEYS]:
        row = rows[-1] if rows else []
        if row and len(row) < 3 and sum(width(cell.label) + 4 for cell in [*row, key]) <= PHONE:
            row.append(key)
        else:
            rows.append([key])
    return tuple(tuple(row) for row in rows)


def key_of(button: Button) -> Key | None:
    """A button as a key; None for one that Telegram would refuse (its address stands in the text)."""
    label = cut(line(button.label), LABEL) or "–"
    if button.url:
        return Key(label, url=button.url) if _reachable(button.url) else None
    return Key(label, data=data_of(button.command)) if button.command else None


def data_of(command: str) -> str:
    """What a button sends back: the command itself where it fits 64 bytes, else a short id for it."""
    data = "=" + command
    return data if len(data.encode()) <= DATA else "#" + press_id(command)


def long_commands(message: Message) -> list[str]:
    """Commands whose buttons carry a short id: to be kept before the message is sent."""
    all_of = [button.command for block in message.blocks if isinstance(block, Buttons) for button in block.buttons]
    return [command for command in all_of if command and data_of(command).startswith("#")]


def _reachable(url: str) -> bool:
    """Whether Telegram takes the address for a button: it refuses local ones."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme not in {"http", "https", "tg"} or len(url) > 2048 or not url.isprintable() or " " in url:
        return False
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host or parts.scheme == "tg"


def _pieces(block: Block) -> list[_Piece]:
    match block:
        case Text():
            return [_Piece(clean(block.text), "pre" if block.code else "b" if block.strong else "", heads=block.strong)]
        case Fields():
            rows = [f"<b>{_escaped(line(label))}:</b> {_escaped(clean(value))}" for label, value in block.fields]
            return [_Piece("\n".join(rows), escaped=True)]
        case Table():
            return _table(block)
        case Chart():  # one worth a picture comes as such, after the text
            return [] if drawable(block) else [_Piece("\n".join(chart_lines(block, points=20)), "pre")]
        case Buttons():
            local = [button for button in block.buttons if button.url and not _reachable(button.url)]
            return [_Piece(f"{line(button.label)}: {clean(button.url)}") for button in local]
        case Notice():
            return [_Piece(f"{NOTICE_SIGNS[block.level]} {clean(block.text)}")]
        case File():
            return []


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)


def _table(table: Table) -> list[_Piece]:
    """Fixed width that fits a phone; where its texts are too long for that, each row as `name value` pairs."""
    table = _narrowed(table)
    shown = msgspec.structs.replace(table, rows=first_rows(table, MOST_ROWS))
    rest = left_out(table, len(shown.rows))
    notes = [_Piece(text) for text in (rest, shown.legend) if text]
    if len(table.columns) <= COLUMNS and (lines := fitted(shown, SCREEN)):
        return [_Piece("\n".join(lines), "pre"), *notes]
    head, *rows = cells(shown) if shown.columns else [[]]
    if not head:
        return []
    pairs = [_row(head, row) for row in rows] or [", ".join(_escaped(name) for name in head)]
    return [_Piece("\n".join(pairs), escaped=True), *notes]


def _narrowed(table: Table) -> Table:
    """The columns that matter on a phone; the first ones where the table does not say which."""
    if len(table.columns) <= COLUMNS:
        return table
    columns = [n for n in table.phone or range(COLUMNS) if n < len(table.columns)][:COLUMNS]
    rows = tuple(tuple(row[n] for n in columns if n < len(row)) for row in table.rows)
    numeric = tuple(place for place, n in enumerate(columns) if n in table.numeric)
    return msgspec.structs.replace(
        table, columns=tuple(table.columns[n] for n in columns), rows=rows, numeric=numeric,
        phone=tuple(range(len(columns))), legend="",
    )  # fmt: skip


def _row(head: list[str], row: list[str]) -> str:
    pairs = " · ".join(f"{name} {value}" for name, value in zip(head[1:], row[1:], strict=True) if value != "–")
    return f"<b>{_escaped(row[0])}</b>" + (f"\n{_escaped(pairs)}" if pairs else "")


def _joined(pieces: list[_Piece]) -> list[str]:
    """Pieces as messages, each within the limit; blocks keep an empty line between them."""
    texts: list[str] = []
    gap = ""
    for piece in [part for whole in pieces for part in _broken(whole)]:
        shown = piece.html()
        if not piece.text.strip():
            continue
        joined = f"{texts[-1]}{gap}{shown}" if texts else shown
        gap = "\n" if piece.heads else "\n\n"
        if texts and size(joined) <= TEXT:
            texts[-1] = joined
        else:
            texts.append(shown)
    return texts


def size(text: str) -> int:
    """Length as Telegram counts: UTF-16 units (before entities are read, so on the safe side)."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _broken(piece: _Piece) -> list[_Piece]:
    """A piece that is too long, as several: at lines, or within a line where there is no other way."""
    if size(piece.html()) <= TEXT:
        return [piece]
    parts: list[_Piece] = []
    for row in piece.text.split("\n"):
        for bit in _bits(piece, row):
            joined = msgspec.structs.replace(piece, text=f"{parts[-1].text}\n{bit}") if parts else None
            if joined is not None and size(joined.html()) <= TEXT:
                parts[-1] = joined
            else:
                parts.append(msgspec.structs.replace(piece, text=bit))
    return parts


def _bits(piece: _Piece, row: str) -> list[str]:
    """A line in parts that fit. One with tags of its own loses them when it must be broken."""
    if size(msgspec.structs.replace(piece, text=row).html()) <= TEXT:
        return [row]
    bare = html.unescape(row.replace("<b>", "").replace("</b>", "")) if piece.escaped else row
    step = TEXT // 6  # one character may become five (&amp;), or two units
    bits = [bare[n : n + step] for n in range(0, len(bare), step)]
    return [_escaped(bit) for bit in bits] if piece.escaped else bits
