"""A report as bytes in parts, so that the process that gets it from another never decodes it in one go."""

import asyncio

import msgspec

from storage.ledger.facts import Report
from storage.ledger.revenue.packed_rows import PackedRows, blocks_of

#: Rows above which a report's stay packed.
LARGE = 1_000

_encoder = msgspec.msgpack.Encoder()
_head = msgspec.msgpack.Decoder(Report)


class ReportParts(msgspec.Struct, frozen=True):
    """The head has neither rows nor the raw answer, which the process that asks has already."""

    head: bytes
    rows: PackedRows

    def report(self, raw: bytes) -> Report:
        """The report with its raw answer."""
        head = _head.decode(self.head)
        rows = self.rows if len(self.rows) > LARGE else tuple(self.rows)
        return msgspec.structs.replace(head, rows=rows, raw=b"" if head.same else raw)


def parts_of(report: Report) -> ReportParts:
    """The report without its raw answer."""
    rows = report.rows if isinstance(report.rows, PackedRows) else PackedRows.of(blocks_of(report.rows))
    return ReportParts(_head_of(report), rows)


async def parts_cooperatively(report: Report) -> ReportParts:
    """The same; other work of the event loop runs in between."""
    if isinstance(report.rows, PackedRows):
        return parts_of(report)
    rows = PackedRows()
    for block in blocks_of(report.rows):
        rows.add(block)
        await asyncio.sleep(0)
    return ReportParts(_head_of(report), rows)


def _head_of(report: Report) -> bytes:
    return _encoder.encode(msgspec.structs.replace(report, rows=(), raw=b""))
