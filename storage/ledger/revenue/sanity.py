"""What a revenue row is known by, its figures in order, and rows that no database can keep."""

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from datetime import date
from itertools import chain
from operator import attrgetter

import msgspec

from storage.ledger.errors import ConnectorError
from storage.ledger.facts import Figures, Report, RevenueRow
from storage.ledger.revenue.packed_rows import PackedRows

Key = tuple[date, str, str, str, str]
"""Day, tag in lower case, sub, part, currency: what a revenue row is known by."""

Values = tuple[int | None, ...]
"""Figures in the order of the `Figures` struct."""

MEASURES = Figures.__struct_fields__
COUNTS = 5  # how many of them are counts; the others are amounts
AMOUNTS = frozenset(MEASURES[COUNTS:])

#: Figures this large are kept by no database.
LIMIT = 1 << 62


def key_of(row: RevenueRow) -> Key:
    """What the row is known by."""
    return row.day, row.tag.strip().lower(), row.sub.strip(), row.part, row.currency


values_of: Callable[[Figures], Values] = attrgetter(*MEASURES)
"""The figures in the order of MEASURES."""


def distinct(report: Report) -> dict[Key, RevenueRow]:
    """The report's rows within its window by key; a line that is repeated counts once.

    Raises ConnectorError when two lines of one key have different figures: nothing says which is right.
    """
    lines = _storable(report.rows)
    tag_keys = {tag: tag.strip().lower() for tag in {row.tag for row in lines}}
    keys = [(row.day, tag_keys[row.tag], row.sub.strip(), row.part, row.currency) for row in lines]
    rows = dict(zip(keys, lines, strict=True))
    if len(rows) == len(lines) and all(report.first <= day <= report.last for day in {row.day for row in lines}):
        return rows
    rows = {}
    for key, row in zip(keys, lines, strict=True):
        if not report.first <= row.day <= report.last:
            continue
        earlier = rows.setdefault(key, row)
        if earlier is not row and earlier.figures != row.figures:
            raise ConnectorError(
                f"the report has {row.day} of {row.tag or 'no tag'} twice, with different figures: "
                "expected one line for each day and segment",
                raw=report.raw,
            )
    return rows


def measures_not_zero(rows: Sequence[RevenueRow]) -> AbstractSet[str]:
    """The measures that some row states as other than zero."""
    if isinstance(rows, PackedRows):
        return rows.not_zero
    return {name for name in MEASURES if any(map(attrgetter(f"figures.{name}"), rows))}


_TEXTS = ("tag", "sub", "part", "tag_name")
_texts_of: Callable[[RevenueRow], tuple[str, ...]] = attrgetter(*_TEXTS)


def _storable(rows: Sequence[RevenueRow]) -> Sequence[RevenueRow]:
    """The rows without NUL characters, which no database keeps."""
    if "\0" not in "".join(chain.from_iterable(map(_texts_of, rows))):
        return rows
    return [
        msgspec.structs.replace(row, **{name: getattr(row, name).replace("\0", "") for name in _TEXTS}) for row in rows
    ]


def check_sizes(rows: Iterable[RevenueRow]) -> None:
    """Raises ConnectorError for figures no database keeps."""
    for row in rows:
        for measure, value in zip(MEASURES, values_of(row.figures), strict=True):
            if value is not None and not -LIMIT < value < LIMIT:
                where = f"{row.day}{f' of {row.tag}' if row.tag else ''}"
                raise ConnectorError(f"the {measure} of {where} are too large: {value}")
