"""Long tables in pages on Telegram: one message with Prev and Next that is turned in place.

A page's button sends `page=2 <command>`: the command is carried out again, so a page shows the figures of its moment.
"""

import re

import msgspec

from bot.core.message import Block, Button, Buttons, Chart, File, Message, Table, Text

PAGE_ROWS = 15  # of a table: what a phone shows without much scrolling
_PAGE = re.compile(r"page=(\d{1,4}) (.+)", re.DOTALL)


def read(text: str) -> tuple[str, int]:
    """A button's command without the page it turns to, and that page; 0 for any other command."""
    match = _PAGE.fullmatch(text)
    return (match[2], int(match[1])) if match else (text, 0)


def paged(message: Message, command: str, page: int = 0) -> Message:
    """The message with its long tables cut to one page (`page` 0 is the first, and has the files and charts too)."""
    pages = max((_pages(block) for block in message.blocks if isinstance(block, Table)), default=1)
    if pages < 2 or not command:
        return message
    number = min(max(page, 1), pages)
    blocks: list[Block] = []
    for block in message.blocks:
        if isinstance(block, Table) and _pages(block) > 1:
            blocks += [_page_of(block, number, last=number == pages), Text(f"Page {number} of {pages}")]
        elif not (page and isinstance(block, File | Chart)):
            blocks.append(block)
    return msgspec.structs.replace(message, blocks=(*_once(blocks), _turning(command, number, pages)))


def _pages(table: Table) -> int:
    return -(-_count(table) // PAGE_ROWS)


def _count(table: Table) -> int:
    """Rows beside the total, which stands on every page."""
    return len(table.rows) - (1 if table.total else 0)


def _page_of(table: Table, number: int, *, last: bool) -> Table:
    start = (number - 1) * PAGE_ROWS
    rows = table.rows[start : min(start + PAGE_ROWS, _count(table))]
    total = table.rows[-1:] if table.total else ()
    return msgspec.structs.replace(table, rows=(*rows, *total), more=table.more if last else 0)


def _once(blocks: list[Block]) -> list[Block]:
    """The blocks with one line of the page number where several tables are turned together."""
    lines = [place for place, block in enumerate(blocks) if isinstance(block, Text) and _is_number(block.text)]
    return [block for place, block in enumerate(blocks) if place not in lines[1:]]


def _is_number(text: str) -> bool:
    return re.fullmatch(r"Page \d+ of \d+", text) is not None


def _turning(command: str, number: int, pages: int) -> Buttons:
    ways = []
    if number > 1:
        ways.append(Button("◀ Prev", f"page={number - 1} {command}"))
    if number < pages:
        ways.append(Button("Next ▶", f"page={number + 1} {command}"))
    return Buttons(tuple(ways))
