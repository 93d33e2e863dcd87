"""The terminal face: messages as text, and a chat in the shell."""

import asyncio
import sys
from collections.abc import Awaitable, Callable

from bot.core.message import Block, Buttons, Chart, Fields, File, Message, Notice, Table, Text
from bot.render.text_columns import aligned, chart_lines, clean, left_out, line, width

_SIGNS = {"ok": "✓", "info": "i", "warning": "!", "error": "✗"}
_COLOURS = {"ok": "32", "info": "36", "warning": "33", "error": "31", "strong": "1", "dim": "2"}
MOST_ROWS = 200


def render(message: Message, *, colour: bool = False) -> str:
    """The message as plain text (with ANSI colours if asked); never raises."""
    parts = [_paint(clean(message.title), "strong", colour)]
    parts += [text for block in message.blocks if (text := _block(block, colour))]
    return "\n\n".join(part for part in parts if part)


def _block(block: Block, colour: bool) -> str:
    match block:
        case Text():
            return _text(block, colour)
        case Fields():
            return _fields(block)
        case Table():
            rest = left_out(block, min(len(block.rows), MOST_ROWS))
            notes = [text for text in (rest, block.legend) if text]
            return "\n".join([*aligned(block, rows=MOST_ROWS), *notes])
        case Chart():
            return "\n".join(chart_lines(block))
        case Buttons():
            return "\n".join(
                f"→ {line(button.label)}: {line(button.url or button.command)}" for button in block.buttons
            )
        case Notice():
            return _paint(f"{_SIGNS[block.level]} {clean(block.text)}", block.level, colour)
        case File():
            return f"── {line(block.name)} ──\n{clean(block.text).rstrip()}"


def _text(block: Text, colour: bool) -> str:
    text = clean(block.text)
    if block.code:
        return "\n".join("    " + line for line in text.splitlines())
    return _paint(text, "strong", colour) if block.strong else text


def _fields(block: Fields) -> str:
    size = max((width(line(label)) for label, _ in block.fields), default=0)
    return "\n".join(
        f"{line(label)}{' ' * (size - width(line(label)))}  {clean(value)}".rstrip() for label, value in block.fields
    )


def _paint(text: str, kind: str, colour: bool) -> str:
    return f"\x1b[{_COLOURS[kind]}m{text}\x1b[0m" if colour and text else text


async def chat(handle: Callable[[str], Awaitable[Message]]) -> None:
    """Read lines from the standard input and answer each, until the end of the input or `exit`."""
    colour = sys.stdout.isatty()
    while True:
        text = await asyncio.to_thread(_ask, "flux> " if sys.stdin.isatty() else "")
        if text is None or text.strip() in {"exit", "quit"}:
            return
        if text.strip():
            sys.stdout.write(render(await handle(text), colour=colour) + "\n\n")
            sys.stdout.flush()


def _ask(prompt: str) -> str | None:
    try:
        return input(prompt)
    except EOFError:
        return None
