"""Many rows at once: as JSON, or as a table with a header line."""

import csv
import io
from decimal import Decimal
from typing import Any

from storage.ledger.errors import Refused


def micro(value: Decimal) -> int:
    """Micro-units of an amount in whole units. Raises Refused when it is finer or larger than can be kept."""
    scaled = value * 1_000_000
    if scaled != scaled.to_integral_value() or abs(scaled) > 9 * 10**18:
        raise Refused("amount: at most six digits after the point, and below nine trillion", field="amount")
    return int(scaled)


def rows_of(new: Any, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """Rows given as JSON or as CSV text. Raises Refused for a column there is none of, or for nothing at all."""
    found: list[dict[str, Any]] = list(new.rows)
    if new.csv:
        text = new.csv.strip("\ufeff \n")
        dialect = ";" if text.partition("\n")[0].count(";") > text.partition("\n")[0].count(",") else ","
        for row in csv.DictReader(io.StringIO(text), delimiter=dialect):
            if None in row:
                raise Refused("csv: a line has more values than the header", field="csv")
            found.append({(name or "").strip().lower(): (value or "").strip() for name, value in row.items()})
    if not found:
        raise Refused(f"rows: nothing to import: give rows, or csv with the columns {', '.join(columns)}", field="rows")
    unknown = {name for row in found for name in row} - set(columns)
    if unknown:
        raise Refused(
            f"no column {sorted(unknown)[0]!r}: there is {', '.join(columns)}", field="csv" if new.csv else "rows"
        )
    return found
