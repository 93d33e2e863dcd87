"""What a revenue row is known by, its figures in order, and rows that no database can keep."""

from datetime import date

import msgspec

from storage.ledger.errors import ConnectorError
from storage.ledger.facts import Figures, Report, RevenueRow

Key = tuple[date, str, str, str, str]
"""Day, tag in lower case, sub, part, currency: what a revenue row is known by."""

Values = tuple[int | None, ...]
"""Figures in the order of the `Figures` struct."""

MEASURES = Figures.__struct_fields__
COUNTS = 5  # how many of them are counts; the others are amounts
AMOUNTS = frozenset(MEASURES[COUNTS:])

_LIMIT = 1 << 62


def key_of(row: RevenueRow) -> Key:
    """What the row is known by."""
    return row.day, row.tag.strip().lower(), row.sub.strip(), row.part, row.currency


def values_of(figures: Figures) -> Values:
    f = figures
    return (
        f.visits, f.registrations, f.first_deposits, f.deposits, f.qualified, f.deposit_amount, f.ngr,
        f.commission_cpa, f.commission_revshare, f.commission_other,
    )  # fmt: skip


def distinct(report: Report) -> dict[Key, RevenueRow]:
    """The report's rows within its window by key; a line that is repeated counts once.

    Raises ConnectorError when two lines of one key have different figures: nothing says which is right.
    """
    rows: dict[Key, RevenueRow] = {}
    for line in report.rows:
        if not report.first <= line.day <= report.last:
            continue
        row = _storable(line)
        earlier = rows.setdefault(key_of(row), row)
        if earlier is not row and earlier.figures != row.figures:
            raise ConnectorError(
                f"the report has {row.day} of {row.tag or 'no tag'} twice, with different figures: "
                "expected one line for each day and segment",
                raw=report.raw,
            )
    return rows


def _storable(row: RevenueRow) -> RevenueRow:
    """The row without NUL characters, which no database keeps."""
    if "\0" not in row.tag + row.sub + row.part + row.tag_name:
        return row
    texts = {name: getattr(row, name).replace("\0", "") for name in ("tag", "sub", "part", "tag_name")}
    return msgspec.structs.replace(row, **texts)


def check_size(row: RevenueRow) -> None:
    """Raises ConnectorError for figures no database keeps."""
    for measure, value in zip(MEASURES, values_of(row.figures), strict=True):
        if value is not None and not -_LIMIT < value < _LIMIT:
            where = f"{row.day}{f' of {row.tag}' if row.tag else ''}"
            raise ConnectorError(f"the {measure} of {where} are too large: {value}")
