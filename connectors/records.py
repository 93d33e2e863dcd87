"""Records out of an answer whose format is known only when it has come: JSON, XML or CSV."""

from collections.abc import Collection
from typing import Any
from xml.etree import ElementTree

from connectors.base import Connection
from connectors.reading import Record, csv_of, decoded, json_of, snippet, xml_of
from storage.ledger.errors import ConnectorError

_LISTS = ("data", "rows", "items", "result", "report", "stats", "table", "registrations")


def records_of(body: bytes, connection: Connection, *, header: Collection[str]) -> list[Record]:
    """The records of an answer by what it begins with."""
    start = decoded(body[:200]).lstrip()
    if start[:1] in {"{", "["}:
        return json_records(json_of(body, connection), body, connection)
    if start.startswith("<") and not start[:14].lower().startswith(("<!doctype", "<html")):
        return xml_records(xml_of(body, connection))
    return csv_of(body, connection, header=header)[0]


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
