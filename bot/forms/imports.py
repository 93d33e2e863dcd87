"""Many rows at once: as JSON, or as a table with a header line."""

from collections.abc import Collection, Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bot.core.arguments import amount
from bot.core.tokenizer import day as typed_day
from storage.ledger.dates import Order, read_day
from storage.ledger.errors import Refused
from storage.ledger.numbers import Mark
from storage.ledger.tables import (
    Block,
    TableError,
    column_error,
    column_mark,
    column_order,
    decode_text,
    is_total_name,
    is_value,
    plain_name,
    read_table,
)

Sent = Annotated[
    bytes | None, Meta(description="the table as a file: comes with the message in a chat, as base64 over HTTP")
]


class ImportedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row to import: where it stands (`line 3`, `row 3`), its cells, and how its columns write numbers and days."""

    place: str
    cells: dict[str, Any]
    marks: dict[str, Mark] = {}
    orders: dict[str, Order] = {}

    def text(self, column: str) -> str:
        value = self.cells.get(column)
        return "" if value is None else str(value).strip()

    def amount(self, column: str) -> tuple[Decimal, str]:
        """An amount in whole units, and its currency as written beside it or in the row's `currency`; else empty.

        Raises ValueError.
        """
        currency = self.text("currency")
        if column not in self.cells:
            raise ValueError(f"{column}: the header has no such column")
        try:
            value, beside = amount(
                self.cells.get(column), currency or None, mark=self.marks.get(column, ""), currency=currency
            )
            return value, beside or currency
        except ValueError as error:
            raise ValueError(f"{column}: {error}") from None

    def day(self, column: str, today: date) -> date:
        """A day as files and as people write it. Raises ValueError."""
        text = self.text(column)
        if column in self.orders:
            try:
                return read_day(text, self.orders[column])
            except ValueError:
                pass  # it may be a day as people type it: yesterday
        try:
            return typed_day(text, today)
        except ValueError as error:
            raise ValueError(f"{column}: {error}") from None


def rows_of(
    new: Any, columns: tuple[str, ...], *, amounts: Collection[str] = (), days: Collection[str] = ()
) -> list[ImportedRow]:
    """Rows given as JSON, or as CSV in text or a file; `amounts` and `days` name the columns that hold such.

    Raises Refused for a column there is none of, for what is damaged, naming the line, and for nothing.
    """
    rows = [ImportedRow(place=f"row {number}", cells=dict(cells)) for number, cells in enumerate(new.rows, 1)]
    if new.csv or new.file:
        try:
            rows += _table_rows(new.csv or decode_text(new.file), columns, amounts, days)
        except TableError as error:
            raise Refused(f"{where(new)}: {error}", field=where(new)) from None
    if not rows:
        raise Refused(f"rows: nothing to import: attach a CSV file with the columns {', '.join(columns)}", field="rows")
    unknown = {name for row in rows for name in row.cells} - set(columns)
    if unknown:
        raise Refused(f"no column {sorted(unknown)[0]!r}: there is {', '.join(columns)}", field=where(new))
    return rows


def _table_rows(
    text: str, columns: tuple[str, ...], amounts: Collection[str], days: Collection[str]
) -> list[ImportedRow]:
    expected = {plain_name(name) for name in columns}

    def is_header(cells: Sequence[str]) -> bool:
        named = [cell for cell in cells if cell]
        hits = sum(plain_name(cell) in expected for cell in named)
        return hits >= min(2, len(columns)) and not any(map(is_value, named))

    table = read_table(text, is_header)
    if table.outside:
        row = table.outside[0]
        raise TableError(f"{' '.join(filter(None, row.cells))[:80]!r} is neither header nor row: the header has the "
                         f"columns {', '.join(columns)}", row.line)  # fmt: skip
    return [row for block in table.blocks for row in _block_rows(block, columns, amounts, days)]


def _block_rows(
    block: Block, columns: tuple[str, ...], amounts: Collection[str], days: Collection[str]
) -> list[ImportedRow]:
    ours = {plain_name(name): name for name in columns}
    names = [ours.get(plain_name(name), name.lower()) for name in block.names]
    marks = {name: column_mark(block, at) for at, name in enumerate(names) if name in amounts}
    orders = {name: _order(block, at) for at, name in enumerate(names) if name in days}
    rows = [
        ImportedRow(
            place=f"line {row.line}", cells=dict(zip(names, row.cells, strict=True)), marks=marks, orders=orders
        )
        for row in block.rows
    ]
    if len(rows) > 1 and _is_total(rows[-1], rows[:-1], marks, days):
        rows.pop()
    return rows


def _is_total(last: ImportedRow, rows: Sequence[ImportedRow], amounts: Collection[str], days: Collection[str]) -> bool:
    """Whether the last line is a totals line: it says so, has no day, and its amounts are the sums of the rows'."""
    if not is_total_name(next(filter(None, map(last.text, last.cells)), "")):
        return False
    if any(last.text(name) and not is_total_name(last.text(name)) for name in days if name in last.cells):
        return False
    try:
        sums = {name: sum(row.amount(name)[0] for row in rows) for name in amounts if last.text(name)}
        return bool(sums) and all(last.amount(name)[0] == value for name, value in sums.items())
    except ValueError:
        return False


def _order(block: Block, at: int) -> Order:
    """The order of day and month, which the column must decide: an import has no setting that could."""
    order, decided = column_order(block, at, "")
    if not decided:
        cell = next(filter(None, block.column(at)))
        raise column_error(block, at, f"{cell!r} may be day first or month first: write 2026-10-31")
    return order


def where(new: Any) -> str:
    """The field that the rows came in."""
    return "csv" if new.csv else "file" if new.file else "rows"
