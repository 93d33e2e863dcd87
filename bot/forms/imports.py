"""Many rows at once: as JSON, or as a table with a header line."""

import csv
import io
from decimal import Decimal
from typing import Annotated, Any

from msgspec import Meta

from storage.ledger.errors import Refused

Sent = Annotated[
    bytes | None, Meta(description="the table as a file: comes with the message in a chat, as base64 over HTTP")
]


def text_of(file: bytes) -> str:
    """A file's text, in whatever encoding a spreadsheet saved it. Raises Refused at `file`."""
    encodings = ["utf-16"] if file[:2] in {b"\xff\xfe", b"\xfe\xff"} else ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            text = file.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\x00" not in text:
            return text
    raise Refused("file: this is no text: save the table as CSV", field="file")


def micro(value: Decimal) -> int:
    """Micro-units of an amount in whole units. Raises Refused when it is finer or larger than can be kept."""
    scaled = value * 1_000_000
    if scaled != scaled.to_integral_value() or abs(scaled) > 9 * 10**18:
        raise Refused("amount: at most six digits after the point, and below nine trillion", field="amount")
    return int(scaled)


def rows_of(new: Any, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """Rows given as JSON, or as CSV in text or a file. Raises Refused for a column there is none of, or for nothing."""
    found: list[dict[str, Any]] = list(new.rows)
    if table := new.csv or (text_of(new.file) if new.file else ""):
        text = table.strip("\ufeff \r\n")
        dialect = ";" if text.partition("\n")[0].count(";") > text.partition("\n")[0].count(",") else ","
        for row in csv.DictReader(io.StringIO(text), delimiter=dialect):
            if None in row:
                raise Refused(f"{where(new)}: a line has more values than the header", field=where(new))
            found.append({(name or "").strip().lower(): (value or "").strip() for name, value in row.items()})
    if not found:
        raise Refused(
            f"rows: nothing to import: send a CSV file along, with the columns {', '.join(columns)}", field="rows"
        )
    unknown = {name for row in found for name in row} - set(columns)
    if unknown:
        raise Refused(f"no column {sorted(unknown)[0]!r}: there is {', '.join(columns)}", field=where(new))
    return found


def where(new: Any) -> str:
    """The field that the rows came in."""
    return "csv" if new.csv else "file" if new.file else "rows"
