"""What platforms say, recorded: figures, a revision for each that differs, proof of it all; or held as suspect."""

import asyncio
from datetime import date, datetime
from functools import partial
from zoneinfo import ZoneInfo

import msgspec
from isal import isal_zlib
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.engine import Database
from storage.db.touch_marks import being_written
from storage.ledger.facts import Report
from storage.ledger.revenue.report_parts import LARGE, parts_cooperatively
from storage.revenue import account_measures
from storage.revenue.comparison import CompareInHelper, Comparison, DaySlice, compare
from storage.revenue.raw_reports import check_held, newest, renew_held, settle_days, store, supersede
from storage.revenue.row_diff import Changes, Origin, write
from storage.tables import accounts, revenue_reports

_AT_ONCE = 256 * 1024  # bytes that are compressed in a fifth of a millisecond

_changes = msgspec.msgpack.Decoder(Changes)


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a report: rows in it, figures that were new or differed, rows that had said something else before.

    `suspect` says why the report is held back; nothing of it is merged then.
    """

    rows: int = 0
    revisions: int = 0
    restated: int = 0
    suspect: str | None = None
    reports: int = 1


async def record_in_slices(
    database: Database,
    *,
    team_id: int,
    account_id: int,
    run_id: int | None,
    report: Report,
    now: datetime,
    zone: ZoneInfo,
    fetched_at: datetime | None = None,
    in_helper: CompareInHelper | None = None,
) -> Recorded:
    """Record a fetched report, or hold it as suspect, in transactions of some milliseconds: clicks do not wait for it.

    `zone` is the platform's: days over in it are settled. The same report again writes nothing. A row that is no longer
    there keeps its history and becomes 0. Raises ConnectorError when a row comes twice with different figures.
    What it says is known from `now` on; `fetched_at` is when it was true, if that was earlier: days over then settle.
    A large report is compared by `in_helper`. What is interrupted is completed by recording the report
    again: rows written already no longer differ.
    """
    origin = Origin(team_id=team_id, account_id=account_id, run_id=run_id, now=now)
    recording = Recording(origin, report, zone=zone, fetched_at=fetched_at)
    proof = await _compressed(report.raw)
    await recording.compare_with_helper(database, in_helper)
    going_on = await database.run(lambda tx: recording.begin(tx, proof))
    while going_on and not await recording.write_cooperatively(database):
        await recording.compare_with_helper(database, in_helper, judged=False)
    return await database.run(recording.end)


async def _compressed(raw: bytes) -> bytes:
    """A raw answer as it is kept. In a thread it would take turns of milliseconds with the event loop on one core."""
    compressor, parts = isal_zlib.compressobj(), list[bytes]()
    for start in range(0, len(raw), _AT_ONCE):
        parts.append(compressor.compress(raw[start : start + _AT_ONCE]))
        await asyncio.sleep(0)
    return b"".join((*parts, compressor.flush()))


class Recording:
    """A report on its way into the books: looked at, begun, written slice by slice, ended."""

    def __init__(
        self,
        origin: Origin,
        report: Report,
        *,
        zone: ZoneInfo,
        held_id: int = 0,
        fetched_at: datetime | None = None,
    ) -> None:
        """`held_id` is the report's id if it was held; `fetched_at` is when it was fetched, if not now."""
        self._origin = origin
        self._report = report
        self._zone = zone
        self.held_id = held_id
        self._before = fetched_at or origin.now
        self._comparison: Comparison | None = None
        self._newest: int | None = None
        self._report_id = 0
        self._new = self._restated = 0

    @property
    def _required_comparison(self) -> Comparison:
        if self._comparison is None:
            raise RuntimeError("a report is compared before it is recorded")
        return self._comparison

    async def compare(self, tx: AsyncConnection, *, judged: bool = True) -> None:
        """Compare with what stands; `judged`: and say whether it can be believed. Raises ConnectorError."""
        self.take(await compare(tx, self._origin.account_id, self._report, judged=judged))

    async def compare_with_helper(
        self, database: Database, in_helper: CompareInHelper | None, *, judged: bool = True
    ) -> None:
        """The same beside the event loop, where the report is large and that can be done."""
        comparison = None
        if in_helper is not None and judged and len(self._report.rows) > LARGE:
            comparison = await in_helper(self._origin.account_id, await parts_cooperatively(self._report))
        if comparison is not None:
            self.take(comparison)
            return
        async with database.read() as tx:
            await self.compare(tx, judged=judged)

    def take(self, comparison: Comparison) -> None:
        """Go on with a comparison that was made elsewhere."""
        self._comparison, self._newest = comparison, comparison.newest

    async def begin(self, tx: AsyncConnection, proof: bytes) -> bool:
        """Keep the report if it says anything new, or hold it as suspect; whether there is anything to write."""
        origin, comparison = self._origin, self._required_comparison
        if self.held_id:
            await check_held(tx, self.held_id)
        else:
            await supersede(tx, origin.account_id, self._report, fetched_at=self._before)
        if comparison.suspect is not None:
            await store(
                tx, origin, self._report, proof, state="suspect", at=self._before, reason=comparison.suspect,
                packed=comparison.packed,
            )  # fmt: skip
            return False
        await account_measures.note(tx, origin.account_id, comparison.measures, team_id=origin.team_id, now=origin.now)
        is_outdated = await newest(tx, origin.account_id) != self._newest
        if not is_outdated and comparison.says_nothing_new:
            return False
        if self.held_id:
            self._report_id = self.held_id = await renew_held(tx, self.held_id)
        else:
            self._report_id = await store(tx, origin, self._report, proof, state="merged", at=self._before)
        if not is_outdated:
            self._newest = await newest(tx, origin.account_id)
        return True

    @property
    def slices(self) -> list[DaySlice]:
        return self._required_comparison.slices

    async def write_cooperatively(self, database: Database) -> bool:
        """Write all slices in short transactions; False once another report of the account was recorded."""
        for part in self.slices:
            with being_written(self._origin.team_id, part.first, part.last):
                if not await self._write_slice(database, part):
                    return False
        return True

    async def _write_slice(self, database: Database, part: DaySlice) -> bool:
        writes = [partial(self.write, batch=batch) for batch in part.batches]
        return await database.run_batches([*writes, partial(self.settle, first=part.first, last=part.last)])

    async def write(self, tx: AsyncConnection, batch: bytes) -> bool:
        """Write a batch; False once another report of the account was recorded."""
        if await newest(tx, self._origin.account_id) != self._newest:
            return False
        if self.held_id:
            await check_held(tx, self.held_id)
        changes = _changes.decode(batch)
        await write(tx, self._origin, changes, report_id=self._report_id)
        self._new += changes.new_count
        self._restated += len(changes.restated)
        return True

    async def settle(self, tx: AsyncConnection, first: date, last: date) -> bool:
        """Settle days with their last figures or after them: whoever merges them next sees both. Always True."""
        origin, window = self._origin, (first, last)
        await settle_days(
            tx, origin, window, zone=self._zone, before=self._before, settled=self._required_comparison.settled
        )
        return True

    async def end(self, tx: AsyncConnection) -> Recorded:
        """Settle the days that were over in the platform's zone when it was asked."""
        comparison = self._required_comparison
        if comparison.suspect is not None:
            return Recorded(rows=comparison.rows, suspect=comparison.suspect)
        if comparison.rows and (self._report.shape or self.held_id):
            shape = update(accounts).where(accounts.c.id == self._origin.account_id)
            await tx.execute(shape.values(report_shape=list(self._report.shape)))
        if self._report_id and self._report.digest:
            whole = update(revenue_reports).where(revenue_reports.c.id == self._report_id)
            await tx.execute(whole.values(digest=self._report.digest, rows=comparison.rows))
        await self.settle(tx, self._report.first, self._report.last)
        return Recorded(rows=comparison.rows, revisions=self._new + self._restated, restated=self._restated)
