"""Records out of an answer whose format is known only when it has come: JSON, XML or CSV."""

from collections.abc import Collection, Iterable
from typing import Any
from xml.etree import ElementTree

import msgspec

from connectors.base import Connection
from connectors.columns import Columns
from connectors.reading import (
    RawRecords,
    Record,
    csv_of,
    decoded,
    flat,
    is_raw_list,
    json_of,
    json_outline,
    no_rows,
    raw_outline,
    raw_value,
    xml_of,
)
from connectors.sheet import Sheet
from storage.ledger.facts import Figures

_LISTS = ("data", "rows", "items", "result", "report", "stats", "table", "registrations")

_PAGING = ("meta", "pagination")
_ROW_COUNTS = ("total_count", "totalrecords", "total_records", "total_rows", "row_count")
_TOTALS = ("totals", "total", "summary")


def add_answer(sheet: Sheet, body: bytes, *, header: Collection[str]) -> Figures | None:
    """Add an answer to a sheet by what it begins with; what a table's totals lines say."""
    if _is_table(body):
        return sheet.add_table(csv_of(body, sheet.connection, header=header, columns=sheet.columns))
    if decoded(body[:200]).lstrip()[:1] in {"{", "["}:
        content = json_of(body, sheet.connection)
        return note_stated(sheet, content, sheet.add_all(json_records(content, body, sheet.connection)))
    sheet.add_all(xml_records(xml_of(body, sheet.connection)))
    return None


def note_stated(sheet: Sheet, content: Any, rows_read: int) -> Figures | None:
    """What a JSON answer states of its rows, beside them or in its paging: their number, and totals."""
    places = [content, *(content.get(name) for name in _PAGING)] if isinstance(content, dict) else []
    for place in places:
        if isinstance(place, dict):
            names = _ROW_COUNTS if place is content else (*_ROW_COUNTS, "total")
            for name in names:
                if type(place.get(name)) is int:
                    sheet.count(place[name], rows_read, name)
    stated = [content[name] for name in _TOTALS if isinstance(content.get(name), dict)] if places else []
    return sheet.note_totals(*map(flat, stated[:1]))


def _is_table(body: bytes) -> bool:
    start = decoded(body[:200]).lstrip()
    page = start[:14].lower().startswith(("<!doctype", "<html"))
    return start[:1] not in {"{", "["} and (page or not start.startswith("<"))


def records_of(body: bytes, connection: Connection, *, header: Collection[str], columns: Columns) -> list[Record]:
    """The records of an answer by what it begins with."""
    start = decoded(body[:200]).lstrip()
    if start[:1] in {"{", "["}:
        return json_records(json_of(body, connection), body, connection)
    if not _is_table(body):
        return xml_records(xml_of(body, connection))
    table = csv_of(body, connection, header=header, columns=columns)
    return [record for block in table.blocks for _, record in block.records()]


def json_records(content: Any, body: bytes, connection: Connection) -> list[Record]:
    """The list of objects in a JSON answer, wherever platforms put it; nested objects become `outer_inner`."""
    inner = content
    for _ in range(3):
        if isinstance(inner, list):
            break
        if not isinstance(inner, dict):
            break
        inner = next((inner[name] for name in _LISTS if isinstance(inner.get(name), list | dict)), None)
    if not isinstance(inner, list) or not all(isinstance(entry, dict) for entry in inner):
        raise no_rows(body, connection)
    return [flat(entry) for entry in inner]


def json_stream(body: bytes, connection: Connection) -> tuple[Any, Iterable[Record]]:
    """What a JSON answer says beside its list of objects, and those one by one, as `json_records` finds them.

    A long report is thus never in memory as objects; a record that cannot be read raises when it is reached.
    """
    entries = fields = json_outline(body, connection)
    for _ in range(3):
        if not isinstance(entries, dict):
            break
        name = next((name for name in _LISTS if name in entries and _opens(entries[name])), None)
        entries = None if name is None else raw_outline(entries.pop(name))
    try:
        head = {name: raw_value(value) for name, value in fields.items()} if isinstance(fields, dict) else fields
    except msgspec.MsgspecError:
        head = json_of(body, connection)  # which says what is wrong
    if not is_raw_list(entries):
        return head, (
            record for _ in (0,) for record in json_records(head, body, connection)
        )  # which raises when it is read
    return head, RawRecords(entries, body, connection)


def _opens(value: msgspec.Raw) -> bool:
    """Whether something is within the raw value."""
    return memoryview(value)[:1].tobytes() in {b"[", b"{"}


def xml_records(root: ElementTree.Element) -> list[Record]:
    """Elements with elements or attributes of their own, as records."""
    rows = [child for child in root if len(child) or child.attrib] or ([root] if len(root) else [])
    return [dict(row.attrib) | {inner.tag: (inner.text or "").strip() for inner in row} for row in rows]
