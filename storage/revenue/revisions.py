"""What platforms say, recorded: figures, a revision for each that differs, proof of it all; or held as suspect."""

import asyncio
import zlib
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.engine import Database
from storage.ledger.facts import Report, RevenueRow
from storage.ledger.revenue.sanity import Key, distinct
from storage.ledger.revenue.suspect import Judge
from storage.revenue import account_measures
from storage.revenue.raw_reports import keep, newest, settle_days, settled_of, supersede
from storage.revenue.row_diff import Changes, Origin, differences, standing, stands_at_all, write
from storage.tables import accounts, revenue_reports

#: Rows written in one transaction, whole days at least: clicks wait for no longer than that takes.
SLICE = 1_000


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a report: rows in it, figures that were new or differed, rows that had said something else before.

    `suspect` says why the report is held back; nothing of it is merged then.
    """

    rows: int = 0
    revisions: int = 0
    restated: int = 0
    suspect: str | None = None
    reports: int = 1


async def record(
    tx: AsyncConnection,
    *,
    team_id: int,
    account_id: int,
    run_id: int | None,
    report: Report,
    now: datetime,
    zone: ZoneInfo,
) -> Recorded:
    """Record a fetched report, or hold it as suspect. `zone` is the platform's: days over in it are settled.

    The same report again writes nothing. A row that is no longer there keeps its history and becomes 0. Raises
    ConnectorError when a row comes twice with different figures.
    """
    of = Origin(team_id=team_id, account_id=account_id, run_id=run_id, now=now)
    recording = Recording(of, report, zone=zone)
    await recording.look(tx)
    if await recording.begin(tx, zlib.compress(report.raw)):
        for number in recording.parts():
            await recording.write(tx, number)
    return await recording.end(tx)


async def record_in_turns(
    database: Database,
    *,
    team_id: int,
    account_id: int,
    run_id: int | None,
    report: Report,
    now: datetime,
    zone: ZoneInfo,
    fetched_at: datetime | None = None,
) -> Recorded:
    """The same in short transactions, so that clicks need not wait for a long report. Each day comes whole.

    What it says is known from `now` on; `fetched_at` is when it was true, if that was earlier: days over then settle.

    What is broken off half way is completed by recording the report again: rows written already differ no more.
    """
    of = Origin(team_id=team_id, account_id=account_id, run_id=run_id, now=now)
    recording = await asyncio.to_thread(Recording, of, report, zone=zone, fetched_at=fetched_at)
    async with database.read() as tx:
        await recording.look(tx)
    proof = await asyncio.to_thread(zlib.compress, report.raw)
    async with database.begin() as tx:
        going_on = await recording.begin(tx, proof)
    for number in recording.parts() if going_on else ():
        async with database.begin() as tx:
            await recording.write(tx, number)
        await asyncio.sleep(0)
    async with database.begin() as tx:
        return await recording.end(tx)


class Recording:
    """A report on its way into the books: looked at, begun, written slice by slice, ended."""

    def __init__(
        self,
        of: Origin,
        report: Report,
        *,
        zone: ZoneInfo,
        held: int | None = None,
        fetched_at: datetime | None = None,
    ) -> None:
        """Raises ConnectorError when a row comes twice with different figures. `held` is the report if it is kept
        already, `fetched_at` when it was true if that is not now.
        """
        self._of = of
        self._report = report
        self._zone = zone
        self._slices = list(_sliced(report, distinct(report)))
        self._measures = account_measures.of_report(report)
        self._changes: list[Changes] = []
        self._held = held
        self._before = fetched_at or of.now
        self._newest: int | None = None
        self._report_id = 0
        self._again = False
        self._why: str | None = None
        self._settled: set[date] = set()

    async def look(self, tx: AsyncConnection, *, judged: bool = True) -> None:
        """Compare with what stands; `judged`: and say whether it can be believed."""
        report, account_id = self._report, self._of.account_id
        self._settled = await settled_of(tx, account_id, report)
        self._newest = await newest(tx, account_id)
        every = [row for _, _, rows in self._slices for row in rows.values()]
        judge = Judge(report, every, self._settled)
        known = await stands_at_all(tx, account_id, report.first, report.last)
        for first, last, rows in self._slices:
            stood = await standing(tx, account_id, first, last) if known else {}
            judge.see({key: row.values for key, row in stood.items() if not row.withdrawn}, rows)
            self._changes.append(differences(rows, stood))
            await asyncio.sleep(0)
        self._why = await asyncio.to_thread(judge.suspicion) if judged else None

    async def begin(self, tx: AsyncConnection, proof: bytes) -> bool:
        """Keep the report if it says anything new, or hold it as suspect; whether there is anything to write."""
        if self._held is None:
            await supersede(tx, self._of.account_id, self._report)
        if self._why is not None:
            await keep(tx, self._of, self._report, proof, state="suspect", at=self._before, reason=self._why)
            return False
        of = self._of
        await account_measures.note(tx, of.account_id, self._measures, team_id=of.team_id, now=of.now)
        self._again = await newest(tx, self._of.account_id) != self._newest
        if not self._again and not any(one.days for one in self._changes):
            return False
        self._report_id = self._held or await keep(tx, self._of, self._report, proof, state="merged", at=self._before)
        self._newest = await newest(tx, self._of.account_id)
        return True

    def parts(self) -> range:
        return range(len(self._slices))

    async def write(self, tx: AsyncConnection, number: int) -> None:
        """Write a slice. If somebody else has recorded for the account meanwhile, it is compared anew."""
        first, last, rows = self._slices[number]
        if self._again or await newest(tx, self._of.account_id) != self._newest:
            stood = await standing(tx, self._of.account_id, first, last)
            self._changes[number] = differences(rows, stood)
        if self._changes[number].days:
            await write(tx, self._of, self._changes[number], report_id=self._report_id)
        await self._settle(tx, first, last)

    async def _settle(self, tx: AsyncConnection, first: date, last: date) -> None:
        """Settle days with their figures: whoever merges them next sees both."""
        of, window = self._of, (first, last)
        await settle_days(tx, of, window, zone=self._zone, before=self._before, settled=self._settled)

    async def end(self, tx: AsyncConnection) -> Recorded:
        """Settle the days that were over in the platform's zone when it was asked."""
        rows = sum(len(rows) for _, _, rows in self._slices)
        if self._why is not None:
            return Recorded(rows=rows, suspect=self._why)
        if self._report.rows and (self._report.shape or self._held):
            shape = update(accounts).where(accounts.c.id == self._of.account_id)
            await tx.execute(shape.values(report_shape=list(self._report.shape)))
        if self._report_id and self._report.digest:
            whole = update(revenue_reports).where(revenue_reports.c.id == self._report_id)
            await tx.execute(whole.values(digest=self._report.digest, rows=rows))
        await self._settle(tx, self._report.first, self._report.last)
        restated = sum(one.restated for one in self._changes)
        fresh = sum(len(one.fresh) for one in self._changes)
        return Recorded(rows=rows, revisions=fresh + restated, restated=restated)


def _sliced(report: Report, rows: Mapping[Key, RevenueRow]) -> Iterator[tuple[date, date, dict[Key, RevenueRow]]]:
    """The report's window in runs of days of about SLICE rows, the latest first."""
    by_day: dict[date, dict[Key, RevenueRow]] = {}
    for key, row in rows.items():
        by_day.setdefault(key[0], {})[key] = row
    last, held = report.last, dict[Key, RevenueRow]()
    for n in range((report.last - report.first).days + 1):
        day = report.last - timedelta(days=n)
        more = by_day.pop(day, {})
        if held and len(held) + len(more) > SLICE:
            yield day + timedelta(days=1), last, held
            last, held = day, {}
        held |= more
    yield report.first, last, held
