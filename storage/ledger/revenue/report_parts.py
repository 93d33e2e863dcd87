"""A platform's report as bytes in parts, so that the process that gets it from another never decodes it in one go."""

import asyncio

import msgspec

from storage.ledger.facts import Report, RevenueRow

_PART = 500  # rows

_encoder = msgspec.msgpack.Encoder()
_head = msgspec.msgpack.Decoder(Report)
_rows = msgspec.msgpack.Decoder(list[RevenueRow])


class ReportParts(msgspec.Struct, frozen=True):
    """The head has neither rows nor the raw answer, which the process that asks has already."""

    head: bytes
    rows: list[bytes]

    async def report(self, raw: bytes) -> Report:
        """The report with its raw answer; other work of the event loop runs in between."""
        rows: list[RevenueRow] = []
        for part in self.rows:
            rows += _rows.decode(part)
            await asyncio.sleep(0)
        head = _head.decode(self.head)
        return msgspec.structs.replace(head, rows=tuple(rows), raw=b"" if head.same else raw)


def parts_of(report: Report) -> ReportParts:
    """The report without its raw answer."""
    head = msgspec.structs.replace(report, rows=(), raw=b"")
    return ReportParts(_encoder.encode(head), [_encoder.encode(part) for part in _batches(report.rows)])


async def parts_in_turns(report: Report) -> ReportParts:
    """The same; other work of the event loop runs in between."""
    rows = []
    for part in _batches(report.rows):
        rows.append(_encoder.encode(part))
        await asyncio.sleep(0)
    return ReportParts(_encoder.encode(msgspec.structs.replace(report, rows=(), raw=b"")), rows)


def _batches(rows: tuple[RevenueRow, ...]) -> list[tuple[RevenueRow, ...]]:
    return [rows[start : start + _PART] for start in range(0, len(rows), _PART)]
