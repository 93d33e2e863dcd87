"""A report compared with the figures that stand: what must be written, in small batches, or why it is held.

Comparing reads only, so that a large report is compared in another process than the one that writes.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import chain

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.read_only import read_only
from storage.ledger.facts import Report, RevenueRow
from storage.ledger.revenue.packed_rows import PackedRows
from storage.ledger.revenue.report_parts import LARGE, ReportParts
from storage.ledger.revenue.sanity import Key, distinct
from storage.ledger.revenue.suspect import Judge
from storage.revenue import account_measures
from storage.revenue.raw_reports import newest, settled_of
from storage.revenue.row_diff import (
    POSTGRES_BATCH,
    SQLITE_BATCH,
    BatchSize,
    Changes,
    NewRows,
    batches,
    differences,
    has_figures,
    new_rows,
    standing,
)

#: Rows whose days are settled together, whole days at least.
SLICE = 1_000

_packer = msgspec.msgpack.Encoder()


class DaySlice(msgspec.Struct, frozen=True):
    """A run of whole days of a report, and what it says otherwise of them: `Changes` as MessagePack."""

    first: date
    last: date
    batches: list[bytes]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What a report of so many rows says otherwise than the figures that stand, the latest days first.

    `suspect` says why it cannot be believed, and `packed` holds its rows then. `newest` is the account's latest report
    when it was compared: with another one figures may have moved.
    """

    rows: int
    slices: list[DaySlice]
    newest: int | None
    settled: frozenset[date]
    measures: frozenset[str]
    suspect: str | None = None
    packed: bytes = b""

    @property
    def says_nothing_new(self) -> bool:
        return not any(part.batches for part in self.slices)


CompareInHelper = Callable[[int, ReportParts], Awaitable[Comparison | None]]
"""Compares the report of an account beside the event loop; None where that cannot be done."""


async def compare(tx: AsyncConnection, account_id: int, report: Report, *, judged: bool = True) -> Comparison:
    """Compare a report with what stands; `judged`: and say whether it can be believed.

    Raises ConnectorError when a row comes twice with different figures, or has one that no database keeps.
    """
    size = SQLITE_BATCH if tx.dialect.name == "sqlite" else POSTGRES_BATCH
    settled = await settled_of(tx, account_id, report)
    is_recorded = await has_figures(tx, account_id, report.first, report.last)
    if isinstance(report.rows, PackedRows) and report.rows.distinct and not is_recorded:
        judge, rows = Judge(report, report.rows, settled), len(report.rows)
        slices = await asyncio.to_thread(_new_slices, report, report.rows, size)
    else:
        by_key = await asyncio.to_thread(distinct, report) if len(report.rows) > LARGE else distinct(report)
        judge, rows = Judge(report, list(by_key.values()), settled), len(by_key)
        slices = []
        for first, last, part in _sliced(report, by_key):
            stored = await standing(tx, account_id, first, last) if is_recorded else {}
            judge.add({key: row.values for key, row in stored.items() if not row.withdrawn}, part)
            slices.append(_slice(first, last, differences(part, stored), size))
            await asyncio.sleep(0)
    suspect = await asyncio.to_thread(judge.suspicion) if judged else None
    return Comparison(
        rows=rows, slices=slices, newest=await newest(tx, account_id), settled=frozenset(settled),
        measures=account_measures.of_report(report), suspect=suspect,
        packed=b"" if suspect is None else packed(report),
    )  # fmt: skip


def _slice(first: date, last: date, changes: Changes, size: BatchSize) -> DaySlice:
    return DaySlice(first, last, list(map(_packer.encode, batches(changes, size))))


def _new_slices(report: Report, rows: PackedRows, size: BatchSize) -> list[DaySlice]:
    """All of the rows, where no figures stand."""
    by_day, nothing = new_rows(rows)
    slices = []
    for first, last in _runs(report, {day: len(of_day[0]) for day, of_day in by_day.items()}):
        of_days = [by_day.pop(day) for day in _days_back(first, last) if day in by_day]
        slices.append(_slice(first, last, msgspec.structs.replace(nothing, new=_together(of_days)), size))
    return slices


def _together(parts: Sequence[NewRows]) -> NewRows:
    if len(parts) == 1:
        return parts[0]
    return [[*chain.from_iterable(columns)] for columns in zip(*parts, strict=True)]


async def compare_parts(url: str, account_id: int, parts: ReportParts) -> Comparison:
    """The same of a report in parts, for the helper process."""
    report = parts.report(b"")
    async with read_only(url) as tx:
        return await compare(tx, account_id, report)


def packed(report: Report) -> bytes:
    """The report without its raw answer, as it is kept until a member confirms or discards it."""
    return zlib.compress(_packer.encode(msgspec.structs.replace(report, rows=tuple(report.rows), raw=b"")))


def _sliced(report: Report, rows: Mapping[Key, RevenueRow]) -> Iterator[tuple[date, date, dict[Key, RevenueRow]]]:
    """The report's window in runs of days of about SLICE rows, the latest first."""
    by_day: dict[date, dict[Key, RevenueRow]] = {}
    for key, row in rows.items():
        by_day.setdefault(key[0], {})[key] = row
    for first, last in _runs(report, {day: len(of_day) for day, of_day in by_day.items()}):
        part: dict[Key, RevenueRow] = {}
        for day in _days_back(first, last):
            part |= by_day.pop(day, {})
        yield first, last, part


def _runs(report: Report, counts: Mapping[date, int]) -> Iterator[tuple[date, date]]:
    """First and last day of each run, of days with so many rows."""
    last, size = report.last, 0
    for day in _days_back(report.first, report.last):
        more = counts.get(day, 0)
        if size and size + more > SLICE:
            yield day + timedelta(days=1), last
            last, size = day, 0
        size += more
    yield report.first, last


def _days_back(first: date, last: date) -> Iterator[date]:
    for n in range((last - first).days + 1):
        yield last - timedelta(days=n)
