"""Reports of single players: from a platform's records, or an uploaded file, to rows; every fault named by its line."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from connectors.base import Connection, Platform, Window
from connectors.columns import ANY_PLAYERS, PLAYER_FIELDS, Columns, PlayerColumns
from connectors.reading import Record, csv_of
from storage.ledger.currencies import currency_of
from storage.ledger.dates import Order, read_day
from storage.ledger.errors import ConnectorError
from storage.ledger.facts import PlayerReport, PlayerRow
from storage.ledger.numbers import Mark, is_missing, read_count, read_micro
from storage.ledger.tables import Block, TableError, column_mark, column_order, is_total_name, plain_name

MAX_PLAYER = 200  # characters of a player's id
_DAYS = ("day", "registered", "ftd_day")
_AMOUNTS = ("deposit_amount", "ngr", "commission")
Lines = Sequence[tuple[int, Record]]


class Written(msgspec.Struct, frozen=True):
    """How a column writes its numbers or days, where its cells decide it."""

    marks: Mapping[str, Mark] = {}
    orders: Mapping[str, Order] = {}


def player_report(
    lines: Lines,
    connection: Connection,
    columns: PlayerColumns,
    *,
    window: Window,
    raw: bytes,
    day: date | None = None,
    written: Written | None = None,
) -> PlayerReport:
    """Rows out of records with their lines (0: of no file). Raises ConnectorError naming line and column.

    `day` is that of every line, where the records have none; without either they are totals until the window's end.
    """
    names = {plain_name(name): name for _, record in reversed(lines) for name in record}
    places = {field: _named(getattr(columns, field), names) for field in PLAYER_FIELDS}
    totals = day is None and not places["day"]
    rows = []
    for line, record in lines:
        try:
            row = _row(record, places, connection, columns, written or Written(), day=window.last if totals else day)
        except ValueError as error:
            place = f"line {line}: " if line else ""
            raise ConnectorError(f"the report of players cannot be read: {place}{error}", raw=raw) from None
        if row is not None and row.day <= window.last:
            rows.append(row)
    if lines and not places["player"]:
        raise ConnectorError(f"the report of players has no column {columns.player[0]!r}", raw=raw)
    first = window.last if totals else window.first
    return PlayerReport(first=first, last=window.last, rows=tuple(rows), totals=totals)


def _named(aliases: Collection[str], names: Mapping[str, str]) -> tuple[str, ...]:
    """The record's own names of a field's first alias that is there, each part of a sum."""
    for alias in aliases:
        parts = [names.get(plain_name(part)) for part in alias.split(" + ")]
        if all(parts):
            return tuple(part for part in parts if part)
    return ()


def _row(
    record: Record, places: Mapping[str, tuple[str, ...]], connection: Connection, columns: PlayerColumns,
    written: Written, *, day: date | None,
) -> PlayerRow | None:  # fmt: skip
    """A record as a row; None for one that names no player. Raises ValueError naming the column."""

    def text(field: str) -> str:
        value = record.get(places[field][0]) if places[field] else None
        return "" if is_missing(value) else str(value).strip()

    player = text("player")
    if not player or is_total_name(player):
        return None
    if len(player) > MAX_PLAYER:
        raise ValueError(f"column {places['player'][0]!r}: an id of over {MAX_PLAYER} characters")
    days = {field: _day(field, text(field), places, columns, written) for field in _DAYS}
    own = connection.currency
    stated = text("currency")
    currency = currency_of(stated, own) if stated else own
    amounts = {}
    for field in _AMOUNTS:
        amounts[field], beside = _amount(record, places[field], written.marks, currency)
        if beside and beside != currency:
            raise ValueError(f"column {places[field][0]!r}: an amount in {beside} in a line in {currency}")
    country = text("country").upper()
    when = days["day"] or day
    if when is None:
        raise ValueError(f"column {places['day'][0]!r}: no day")
    return PlayerRow(
        player=player, day=when, currency=currency, tag=text("tag"), sub=text("sub"),
        country=country if len(country) == 2 and country.isalpha() else "", registered=days["registered"],
        ftd_day=days["ftd_day"], deposits=_count(record, places["deposits"], written.marks), **amounts,
    )  # fmt: skip


def _day(
    field: str, text: str, places: Mapping[str, tuple[str, ...]], columns: PlayerColumns, written: Written
) -> date | None:
    if not text or text == "0":
        return None
    try:
        return read_day(text, written.orders.get(field, columns.day_order))
    except ValueError as error:
        raise ValueError(f"column {places[field][0]!r}: {error}") from None


def _count(record: Record, names: Sequence[str], marks: Mapping[str, Mark]) -> int | None:
    for name in names:
        try:
            return read_count(record.get(name), marks.get(name, ""))
        except ValueError as error:
            raise ValueError(f"column {name!r}: {error}") from None
    return None


def _amount(record: Record, names: Sequence[str], marks: Mapping[str, Mark], currency: str) -> tuple[int | None, str]:
    total, beside = None, ""
    for name in names:
        try:
            value, found = read_micro(record.get(name), marks.get(name, ""), currency)
        except ValueError as error:
            raise ValueError(f"column {name!r}: {error}") from None
        if value is not None:
            total, beside = (total or 0) + value, found or beside
    return total, beside


def read_player_file(platform: Platform, connection: Connection, raw: bytes, today: date) -> PlayerReport:
    """The players in an uploaded file: lines of days, or totals until today. Raises ConnectorError naming the line."""
    candidates = [columns for columns in (platform.player_columns, ANY_PLAYERS) if columns is not None]
    known = Columns(measures={}, day=tuple(name for columns in candidates for name in columns.names()))
    header = [name for columns in candidates for name in columns.player]
    table = csv_of(raw, connection, header=header, columns=known)
    if len(table.blocks) != 1:
        raise ConnectorError("the file has several header lines: upload one table at a time", raw=raw)
    block = table.blocks[0]
    present = set(map(plain_name, block.names))
    columns = max(candidates, key=lambda each: len(present & set(map(plain_name, each.names()))))
    lines = [(line, dict(record)) for line, record in block.records()]
    if not lines:
        raise ConnectorError("the file has a header and no line of players", raw=raw)
    written = _written(block, columns, connection, raw)
    window = Window(first=date.min, last=today)
    report = player_report(lines, connection, columns, window=window, raw=raw, written=written)
    late = next((row for row in report.rows if (row.registered or today) > today), None)
    if late is not None or len(report.rows) < sum(1 for _, record in lines if _names_player(record, columns)):
        raise ConnectorError(f"the file has a day after today ({today}): nothing of it was taken", raw=raw)
    if not report.rows:
        raise ConnectorError("the file has no line of players", raw=raw)
    if report.totals:
        return report
    return msgspec.structs.replace(report, first=min(row.day for row in report.rows),
                                   last=max(row.day for row in report.rows))  # fmt: skip


def _names_player(record: Record, columns: PlayerColumns) -> bool:
    names = {plain_name(name): value for name, value in record.items()}
    values = [str(names[plain_name(name)]).strip() for name in columns.player if plain_name(name) in names]
    return bool(values) and not is_missing(values[0]) and not is_total_name(values[0])


def _written(block: Block, columns: PlayerColumns, connection: Connection, raw: bytes) -> Written:
    """The conventions of the columns that hold numbers and days, by their whole columns."""
    setting: Any = str(connection.option("day_order", columns.day_order)).lower()
    names = {plain_name(name): name for name in block.names}
    marks: dict[str, Mark] = {}
    orders: dict[str, Order] = {}
    try:
        for field in (*_AMOUNTS, "deposits", *_DAYS):
            for name in _named(getattr(columns, field), names):
                at = block.names.index(name)
                if field in _DAYS:
                    orders[field] = column_order(block, at, setting)[0]
                else:
                    marks[name] = column_mark(block, at)
    except TableError as error:
        raise ConnectorError(f"the report of players cannot be read: {error}", raw=raw) from None
    return Written(marks, orders)
