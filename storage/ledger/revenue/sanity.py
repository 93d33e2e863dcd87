"""Whether a fetched report can be believed, judged by itself and by what stood before."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
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

_LIMIT = 1 << 62

#: Rounding that a platform's own totals may show: half a cent a row, in micro-units.
_ROUNDING = 5_000
#: With fewer figures than this, "all of them doubled" is chance.
_FIGURES = 3
_FIGURES_UNSETTLED = 6


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
    """The report's rows within its window by key; the same line twice is one.

    Raises ConnectorError when a key comes twice with different figures: nobody could tell which are right.
    """
    rows: dict[Key, RevenueRow] = {}
    for one in report.rows:
        if not report.first <= one.day <= report.last:
            continue
        row = _storable(one)
        held = rows.setdefault(key_of(row), row)
        if held is not row and held.figures != row.figures:
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
    for value in values_of(row.figures):
        if value is not None and not -_LIMIT < value < _LIMIT:
            raise ConnectorError(f"the report has a figure of {row.day} that is too large to be one")


class Judge:
    """Whether a report can be believed, told part by part what stood before of its days.

    `settled` holds the days of its window that are over.
    """

    def __init__(self, report: Report, rows: Sequence[RevenueRow], settled: AbstractSet[date]) -> None:
        self._settled = settled
        self._contradiction = report.damage or _contradicts_itself(report, rows)
        self._zeros = "all of its figures are zero" if rows else "it is empty"
        self._says_something = any(any(values_of(row.figures)) for row in rows)
        self._stood = 0
        self._multiplied = True
        self._base: tuple[int, int] | None = None
        self._seen = 0
        self._over = False

    def see(self, stood: Mapping[Key, Values], rows: Mapping[Key, RevenueRow]) -> None:
        """Look at figures that stand, against the report's rows of the same days."""
        for key, before in stood.items():
            if any(before):
                self._stood += 1
                self._compare(key, before, rows.get(key))

    def suspicion(self) -> str | None:
        """Why the report should be looked at before it is believed; None if it is sound."""
        if self._contradiction:
            return self._contradiction
        if not self._says_something:
            return f"{self._zeros}, where {self._stood} rows with figures stood" if self._stood else None
        enough = _FIGURES if self._over else _FIGURES_UNSETTLED
        if not self._multiplied or self._base is None or self._seen < enough:
            return None
        return f"each of its {self._seen} figures is {self._base[1] / self._base[0]:g} times what it was"

    def _compare(self, key: Key, before: Values, row: RevenueRow | None) -> None:
        """Every figure that stood, multiplied by one and the same factor?"""
        if not self._multiplied:
            return
        if row is None:
            self._multiplied = False
            return
        for old, new in zip(before, values_of(row.figures), strict=True):
            if not old and not new:
                continue
            base = self._base = self._base or (old or 0, new or 0)
            if not old or not new or old == new or new * base[0] != old * base[1]:
                self._multiplied = False
                return
            self._seen += 1
        self._over = self._over or key[0] in self._settled


def _contradicts_itself(report: Report, rows: Sequence[RevenueRow]) -> str | None:
    if report.totals is None or not report.rows:
        return None
    one_currency = len({row.currency for row in report.rows}) == 1
    totals = values_of(report.totals)
    for i in range(len(MEASURES) if one_currency else COUNTS):
        total = totals[i]
        if total is None:
            continue
        every, single = _sum(report.rows, i), _sum(rows, i)
        if every is None or single is None:
            continue
        slack = 0 if i < COUNTS else _ROUNDING * (len(report.rows) + 2)
        if min(abs(every - total), abs(single - total)) > slack:
            return f"its rows sum to {_told(every, i)} {MEASURES[i]}, its total says {_told(total, i)}"
    return None


def _sum(rows: Sequence[RevenueRow], i: int) -> int | None:
    known = [value for row in rows if (value := getattr(row.figures, MEASURES[i])) is not None]
    return sum(known) if known else None


def _told(value: int, i: int) -> str:
    return str(value) if i < COUNTS else f"{value / 1_000_000:.2f}"
