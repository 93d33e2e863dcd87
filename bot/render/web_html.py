"""A Message as HTML for the cockpit. Everything is escaped; buttons say their command in the page's command line."""

from base64 import b64encode
from html import escape

from bot.core.command import parse
from bot.core.message import Block, Button, Buttons, Chart, Fields, File, Message, Notice, Table, Text
from bot.render.text_columns import left_out
from storage.ledger.errors import Refused


def render(message: Message) -> str:
    """The message as one <article>."""
    return f"<article><h2>{escape(message.title)}</h2>{''.join(_block(block) for block in message.blocks)}</article>"


def _block(block: Block) -> str:
    match block:
        case Text(text=text, code=True):
            return f"<pre>{escape(text)}</pre>"
        case Text(text=text):
            return f"<p>{escape(text)}</p>"
        case Notice(level=level, text=text):
            return f'<p class="{level}">{escape(text)}</p>'
        case Fields(fields=fields):
            return (
                '<dl class="facts">'
                + "".join(f"<dt>{escape(name)}<dd>{escape(value)}" for name, value in fields)
                + "</dl>"
            )
        case Table():
            return _table(block)
        case Chart(title=title, series=series):
            values = ((drawn, drawn.values[-1] if drawn.values else "–") for drawn in series)
            last = ", ".join(f"{drawn.name} {value} {block.unit_of(drawn)}".strip() for drawn, value in values)
            return f"<p>{escape(title)}: {escape(last)}</p>"
        case Buttons(buttons=buttons):
            return "<nav>" + "".join(_button(button) for button in buttons) + "</nav>"
        case File(name=name, binary=binary, mime=mime) if binary:
            data = f"data:{mime};base64,{b64encode(binary).decode()}"
            return f'<a download="{escape(name)}" href="{data}">{escape(name)}</a>'
        case File(name=name):
            return f"<details><summary>{escape(name)}</summary><pre>{escape(block.text)}</pre></details>"


def _table(table: Table) -> str:
    def row(cells: tuple[str, ...], tag: str) -> str:
        kinds = (' class="n"' if n in table.numeric else "" for n in range(len(cells)))
        return "<tr>" + "".join(f"<{tag}{kind}>{escape(c)}" for c, kind in zip(cells, kinds, strict=True))

    body = "".join(row(cells, "td") for cells in table.rows)
    notes = "".join(f"<p>{escape(text)}</p>" for text in (left_out(table, len(table.rows)), table.legend) if text)
    return f"<div class=wide tabindex=0><table><thead>{row(table.columns, 'th')}<tbody>{body}</table></div>{notes}"


def _button(button: Button) -> str:
    if button.url:
        return f'<a href="{escape(button.url)}" rel=noopener>{escape(button.label)}</a>'
    if button.command.startswith(("confirm ", "cancel ")) or _reads(button.command):
        return f'<button type="button" data-say="{escape(button.command)}">{escape(button.label)}</button>'
    return ""


def _reads(text: str) -> bool:
    """Whether a command changes nothing, or asks before it does."""
    try:
        command, _ = parse(text)
    except Refused:
        return False
    return command.reads and not command.changes
