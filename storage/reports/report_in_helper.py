"""Reports merged in another process than the one that answers: when that is worth it, and how they come back.

A report comes back as JSON in parts, so that the process that sends it on neither encodes nor copies it whole.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.read_only import read_only
from storage.ledger.reports.report_rows import MergedReport, ReportRow
from storage.reports.day_facts import has_few_facts
from storage.reports.merged_report import ReportQuery, cells_suffice, merged_report, paged_report, summed_report
from storage.reports.report_data import ReportData
from storage.tables import merged, touched

#: Bytes of settled cells which an event loop sums up itself, in some milliseconds.
LIGHT_BYTES = 60_000

_PART = 500  # rows
_ROWS = b'"rows":[],"unassigned":[]'

_encoder = msgspec.json.Encoder()
_rows = msgspec.json.Decoder(list[ReportRow])


class ReportParts(msgspec.Struct, frozen=True):
    """A report as JSON: the head with totals and no rows, and JSON arrays of some hundred rows each."""

    head: bytes
    rows: list[bytes]
    unassigned: list[bytes]

    def json(self) -> Iterator[bytes]:
        """The bytes that encoding the whole report gives, in parts."""
        head, _, tail = self.head.partition(_ROWS)
        yield head + b'"rows":['
        yield from _joined(self.rows)
        yield b'],"unassigned":['
        yield from _joined(self.unassigned)
        yield b"]" + tail

    async def report(self) -> MergedReport:
        """The report as structs; other work of the event loop runs in between."""
        head = msgspec.json.decode(self.head, type=MergedReport)
        return msgspec.structs.replace(head, rows=await _decoded(self.rows), unassigned=await _decoded(self.unassigned))


ReportInHelper = Callable[[ReportQuery], Awaitable[ReportParts | None]]


async def is_light(tx: AsyncConnection, query: ReportQuery) -> bool:
    """Whether an event loop may sum the report up itself, in a few milliseconds."""
    if not cells_suffice(query):
        return False
    m, t = merged.c, touched.c
    size = select(func.coalesce(func.sum(func.length(m.cells)), 0)).where(
        m.team_id == query.team_id, m.day.between(query.first, query.last)
    )
    if int((await tx.execute(size)).scalar_one()) > LIGHT_BYTES:
        return False
    moved = select(t.day).where(t.team_id == query.team_id, t.day.between(query.first, query.last)).distinct()
    days = list((await tx.execute(moved)).scalars())
    return len(days) <= 10 and await has_few_facts(tx, query.team_id, days)


async def report_of(tx: AsyncConnection, query: ReportQuery, in_helper: ReportInHelper | None) -> MergedReport:
    """The merged report; one that would hold the event loop is asked of `in_helper`, `Ports.report_in_helper`."""
    parts = None if in_helper is None or await is_light(tx, query) else await in_helper(query)
    return await parts.report() if parts else await merged_report(tx, query)


async def report_parts(url: str, query: ReportQuery) -> ReportParts:
    """The merged report of a database. Raises Refused like `merged_report`."""
    async with read_only(url) as tx:
        data = ReportData(tx, query.team_id)
        if paged := await paged_report(tx, query, data):
            return ReportParts(_encoder.encode(paged.head), *paged.parts())
        return _parts_of(await summed_report(tx, query, data))


def _parts_of(report: MergedReport) -> ReportParts:
    head = msgspec.structs.replace(report, rows=[], unassigned=[])
    return ReportParts(_encoder.encode(head), _encoded(report.rows), _encoded(report.unassigned))


def _encoded(rows: Sequence[ReportRow]) -> list[bytes]:
    parts = iter(rows)
    return [_encoder.encode(part) for part in iter(lambda: list(islice(parts, _PART)), [])]


async def _decoded(parts: Sequence[bytes]) -> list[ReportRow]:
    rows: list[ReportRow] = []
    for part in parts:
        rows += _rows.decode(part)
        await asyncio.sleep(0)
    return rows


def _joined(parts: Sequence[bytes]) -> Iterator[bytes]:
    """JSON arrays as the inside of one."""
    for number, part in enumerate(parts):
        yield b"," + part[1:-1] if number else part[1:-1]
