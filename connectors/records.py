"""Records out of an answer whose format is known only when it has come: JSON, XML or CSV."""

from collections.abc import Collection, Iterator
from typing import Any
from xml.etree import ElementTree

import msgspec

from connectors.base import Connection
from connectors.columns import Columns
from connectors.reading import (
    Record,
    csv_of,
    decoded,
    json_of,
    json_outline,
    raw_outline,
    raw_value,
    snippet,
    xml_of,
)
from connectors.sheet import Sheet
from storage.ledger.errors import ConnectorError
from storage.ledger.facts import Figures

_LISTS = ("data", "rows", "items", "result", "report", "stats", "table", "registrations")


def add_answer(sheet: Sheet, body: bytes, *, header: Collection[str]) -> Figures | None:
    """Add an answer to a sheet by what it begins with; what a table's totals lines say."""
    if _is_table(body):
        return sheet.add_table(csv_of(body, sheet.connection, header=header, columns=sheet.columns))
    sheet.add_all(records_of(body, sheet.connection, header=header, columns=sheet.columns))
    return None


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
    found = content
    for _ in range(3):
        if isinstance(found, list):
            break
        if not isinstance(found, dict):
            break
        found = next((found[name] for name in _LISTS if isinstance(found.get(name), list | dict)), None)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ConnectorError(f"the platform sent no list of rows: {snippet(body, connection)}", raw=body)
    return [flat(one) for one in found]


def json_stream(body: bytes, connection: Connection) -> tuple[Any, Iterator[Record]]:
    """What a JSON answer says beside its list of objects, and those one by one, as `json_records` finds them.

    A long report is thus never in memory as objects; what is wrong with a record is told when its turn comes.
    """
    found = fields = json_outline(body, connection)
    for _ in range(3):
        if not isinstance(found, dict):
            break
        name = next((name for name in _LISTS if name in found and _opens(found[name])), None)
        found = None if name is None else raw_outline(found.pop(name))
    try:
        told = {name: raw_value(value) for name, value in fields.items()} if isinstance(fields, dict) else fields
    except msgspec.MsgspecError:
        told = json_of(body, connection)  # which says what is wrong
    if not isinstance(found, list):
        return told, (record for _ in (0,) for record in json_records(told, body, connection))  # told on the first turn
    return told, _each(found, body, connection)


def _opens(value: msgspec.Raw) -> bool:
    """Whether something lies within the raw value."""
    return memoryview(value)[:1].tobytes() in {b"[", b"{"}


def _each(found: list[Any], body: bytes, connection: Connection) -> Iterator[Record]:
    for one in found:
        try:
            record = raw_value(one)
        except msgspec.MsgspecError:
            record = json_of(body, connection)  # which says what is wrong
        if not isinstance(record, dict):
            raise ConnectorError(f"the platform sent no list of rows: {snippet(body, connection)}", raw=body)
        yield flat(record) if dict in map(type, record.values()) else record


def flat(record: Record, before: str = "") -> Record:
    """A record without nesting."""
    out: Record = {}
    for name, value in record.items():
        if isinstance(value, dict):
            out |= flat(value, f"{before}{name}_")
        else:
            out[f"{before}{name}"] = value
    return out


def xml_records(root: ElementTree.Element) -> list[Record]:
    """Elements with elements or attributes of their own, as records."""
    rows = [one for one in root if len(one) or one.attrib] or ([root] if len(root) else [])
    return [dict(one.attrib) | {inner.tag: (inner.text or "").strip() for inner in one} for one in rows]
