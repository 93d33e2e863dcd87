"""A report compared with the figures that stand: what must be written, in small batches, or why it is held.

Comparing reads only, so that a large report is compared in another process than the one that writes.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import date, timedelta

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.read_only import read_only
from storage.ledger.facts import Report, RevenueRow
from storage.ledger.revenue.report_parts import ReportParts
from storage.ledger.revenue.sanity import Key, distinct
from storage.ledger.revenue.suspect import Judge
from storage.revenue import account_measures
from storage.revenue.raw_reports import newest, settled_of
from storage.revenue.row_diff import batches, differences, has_figures, standing

#: Rows whose days are settled together, whole days at least.
SLICE = 1_000
#: Rows of a report above which it is compared in the helper process.
LARGE = 1_000

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


CompareApart = Callable[[int, ReportParts], Awaitable[Comparison | None]]
"""Compares the report of an account beside the event loop; None where that cannot be done."""


async def compare(tx: AsyncConnection, account_id: int, report: Report, *, judged: bool = True) -> Comparison:
    """Compare a report with what stands; `judged`: and say whether it can be believed.

    Raises ConnectorError when a row comes twice with different figures, or has one that no database keeps.
    """
    rows = await asyncio.to_thread(distinct, report) if len(report.rows) > LARGE else distinct(report)
    settled = await settled_of(tx, account_id, report)
    judge = Judge(report, list(rows.values()), settled)
    is_recorded = await has_figures(tx, account_id, report.first, report.last)
    slices: list[DaySlice] = []
    for first, last, part in _sliced(report, rows):
        stored = await standing(tx, account_id, first, last) if is_recorded else {}
        judge.see({key: row.values for key, row in stored.items() if not row.withdrawn}, part)
        slices.append(DaySlice(first, last, [_packer.encode(batch) for batch in batches(differences(part, stored))]))
        await asyncio.sleep(0)
    suspect = await asyncio.to_thread(judge.suspicion) if judged else None
    return Comparison(
        rows=len(rows), slices=slices, newest=await newest(tx, account_id), settled=frozenset(settled),
        measures=account_measures.of_report(report), suspect=suspect,
        packed=b"" if suspect is None else packed(report),
    )  # fmt: skip


async def compare_parts(url: str, account_id: int, parts: ReportParts) -> Comparison:
    """The same of a report in parts, for the helper process."""
    report = await parts.report(b"")
    async with read_only(url) as tx:
        return await compare(tx, account_id, report)


def packed(report: Report) -> bytes:
    """The report without its raw answer, as it is kept until a member confirms or discards it."""
    return zlib.compress(_packer.encode(msgspec.structs.replace(report, raw=b"")))


def _sliced(report: Report, rows: Mapping[Key, RevenueRow]) -> Iterator[tuple[date, date, dict[Key, RevenueRow]]]:
    """The report's window in runs of days of about SLICE rows, the latest first."""
    by_day: dict[date, dict[Key, RevenueRow]] = {}
    for key, row in rows.items():
        by_day.setdefault(key[0], {})[key] = row
    last, part = report.last, dict[Key, RevenueRow]()
    for n in range((report.last - report.first).days + 1):
        day = report.last - timedelta(days=n)
        more = by_day.pop(day, {})
        if part and len(part) + len(more) > SLICE:
            yield day + timedelta(days=1), last, part
            last, part = day, {}
        part |= more
    yield report.first, last, part
