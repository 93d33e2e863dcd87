"""The writer: many requests, one commit, and an answer only after it.

While one batch commits the next one gathers; nothing waits for a timer. Of many clicks PostgreSQL stores one half while
those of the other are answered. If the database cannot be written within a second the batch goes to the spool, synced,
and from there to the database when it is back, once each: a part between two batches. If even the spool cannot be
written, clicks wait in memory, up to MOST_UNSAVED.
"""

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from storage.clicks.bursts import BurstCounter
from storage.clicks.spool import Drain, MemorySpool, Spool, record_of
from storage.clicks.visitors import FurtherKeys, ProcessVisitors, SharedVisitors
from storage.clicks.write_batch import DAY, Batch, Counts, FaultKey, WriterState
from storage.clicks.write_jobs import ClickJob, Job, RollupKey, recognise, seen_rows, visitor_keys
from storage.db import tasks
from storage.db.batch_connection import PostgresBatchConnection, batch_connection
from storage.db.deferred_transaction import StoredMeanwhile
from storage.db.engine import Database
from storage.db.spool_file import orphans
from storage.db.unavailable import DatabaseUnavailable, is_unavailable, plain_words
from storage.ledger.clicks.click_id import first_id_at
from storage.ledger.clicks.visitor import Recognition

log = structlog.get_logger()
Answer = Callable[[], None]
Waiting = tuple[Job, Answer]

PATIENCE = 1.0  # seconds a visitor may wait for a locked database
_TICK = 0.25  # seconds between looks at what is owed: counts, touch marks, the spool
_ORPHANS_EVERY = 10.0  # seconds
_LARGEST = 1000  # jobs of one batch
ENOUGH_FOR_TWO = 48  # jobs of which PostgreSQL gets one half while the visitors of the other are answered
_LONGEST_UNANSWERED = 0.002  # seconds
MOST_UNSAVED = 20_000  # clicks kept in memory while neither the database nor the spool can be written: about 25 MB
_RETRY_SPOOL = 1.0  # seconds between two attempts at a spool that cannot be written
_LOG_EVERY = 60.0  # seconds between two log lines about one fault
_LATELY = 0.25  # seconds after a click in which another is expected
_REST = 4.0  # times the time that draining a part of a spool took: so long clicks then have for themselves
_LONGEST_REST = 0.25  # seconds: what took longer waited for a lock
_LAST_DRAIN = 5.0  # seconds a stop goes on draining: the next start does the rest


class Writer:
    """One per process; `start` and `stop` it on its event loop."""

    def __init__(
        self, database: Database, *, spool: Path, number: str, name: str, clock: Callable[[], datetime],
        left: Sequence[Path] = (),
    ) -> None:  # fmt: skip
        """`number` names the database in the names of the folder `spool`, `name` the process. `left`: further folders
        in which processes that died have left spools."""
        self._database = database
        self._number = number
        self._clock = clock
        self._connection = batch_connection(database)
        self.bursts = BurstCounter()
        self._visitors = ProcessVisitors() if database.sqlite else SharedVisitors()
        #: Whom clicks that are decided without the database know: all, or whom they brought since it was lost.
        self._remembered = self._visitors if isinstance(self._visitors, ProcessVisitors) else ProcessVisitors()
        self._state = WriterState(self._connection, self._visitors, self.bursts)
        self.full = self._state.full
        self._folders = (spool, *left)
        self._spool = Spool(spool, f"{number}-{name}")
        self._unsaved = MemorySpool()  # clicks answered without being durable, since even the spool failed
        self._drains = [self._drain(self._spool), self._drain(self._unsaved)]  # then those of processes that died
        self._waiting: list[Waiting] = []
        self._unanswered: list[Waiting] = []  # stored, and not answered yet
        self._answer_timer: asyncio.TimerHandle | None = None
        self._counts = Counts()
        self._committing = False  # all of the batch has decided where to go: what fails now may be stored all the same
        self._spool_due = 0.0  # monotonic time before which writing to a spool that failed is of no use
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stop_by = 0.0  # monotonic time; 0 while we run
        self._down_since: float | None = None
        self._down_reason = ""
        self._not_logged: Counter[str] = Counter()  # faults since the last log line about them
        self._logged_at: dict[str, float] = {}
        self._looked_for_orphans = 0.0
        self._clicked_at = self._drain_from = 0.0  # monotonic times: of the last click, and of the next part
        self.last_commit: datetime | None = None
        self.tally = {"commits": 0, "clicks": 0, "outgoing": 0, "spooled": 0, "drained": 0, "failed": 0, "lost": 0}

    async def start(self) -> None:
        """Open the spool, and learn who clicked lately; a database that is away does not stop the start."""
        await asyncio.to_thread(self._spool.open_at_start)
        await self._adopt_orphans()
        try:
            await self.bursts.load(self._database, self._clock())
            if isinstance(self._visitors, ProcessVisitors):
                await self._visitors.memory.load(self._database, first_id_at(self._clock() - DAY))
        except Exception as error:
            if not is_unavailable(error):
                raise
            self._mark_down(error)
        self._tasks = [
            tasks.start_loop("click writer", self._write, serving=True),
            tasks.start_loop("click writer timer", self._watch, serving=True),
        ]

    async def stop(self) -> None:
        """Write all that waits, then close."""
        if self._stop_by:
            return
        self._stop_by = time.monotonic() + _LAST_DRAIN
        self._wake.set()
        if self._tasks:
            self._tasks[1].cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self._state.touches.make_all_due()
        if self._counts or self.spooled or self._state.touches.pending:
            await self._batch()
        await self._save_last()
        await self._connection.close()
        for drain in self._drains:
            await asyncio.to_thread(drain.spool.close)

    async def _save_last(self) -> None:
        """The last chance of clicks that are in memory only."""
        self._spool_due = 0.0
        self._drains[1].put_back()
        if not await self._save():
            self._count_lost(self._unsaved.depth)

    def enqueue(self, job: Job, answer: Answer) -> None:
        """Store a click or an outgoing click; `answer` is called once it is on disk and the job has decided."""
        self._waiting.append((job, answer))
        if not self._wake.is_set():
            self._wake.set()

    def submit(self, job: Job) -> "asyncio.Future[None]":
        """The same for a caller that awaits the answer."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.enqueue(job, lambda: None if done.done() else done.set_result(None))
        return done

    def count(self, key: RollupKey, place: int, n: int = 1) -> None:
        """Add to a roll-up row (write_jobs.VISITS …) with the next batch, at the latest in a quarter second."""
        self._counts.rollup[key][place] += n

    def fault(self, key: FaultKey) -> None:
        """Count a fault with the next batch."""
        self._counts.faults[key] += 1

    @property
    def spooled(self) -> int:
        """Clicks that wait outside the database."""
        return sum(drain.spool.depth for drain in self._drains)

    @property
    def unsaved(self) -> int:
        """Those of them that are in memory only: an end of the process would lose them."""
        return self._unsaved.depth

    @property
    def failed_decisions(self) -> int:
        """Clicks that could not choose where to go."""
        return self._state.failed_decisions

    @property
    def down(self) -> bool:
        return self._down_since is not None

    @property
    def down_reason(self) -> str:
        """Why the database cannot be written; empty while it can."""
        return self._down_reason if self.down else ""

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            self.full.clear()
            if self._database.direct is not None:
                await self._database.direct.watch_logs()
            self._check_file()
            if self._counts or self._due() or self._state.touches.waiting() or self._orphans_due():
                self._wake.set()

    def _check_file(self) -> None:
        """A file that is deleted or replaced is noticed although no click comes."""
        try:
            self._database.file.check()
        except DatabaseUnavailable as error:
            self._mark_down(error)
        else:
            if self.down:
                self._wake.set()

    def _due(self) -> bool:
        return self._next_drain() is not None

    def _next_drain(self) -> Drain | None:
        """A spool that is due to be drained; none while new clicks go first."""
        if time.monotonic() < self._drain_from and not self._stop_by:
            return None
        return next((drain for drain in self._drains if drain.due), None)

    def _orphans_due(self) -> bool:
        return time.monotonic() - self._looked_for_orphans > _ORPHANS_EVERY

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._batch()
            while self._waiting or (self._due() and not self.down and not self._stop_by):
                if not self._unanswered:
                    await asyncio.sleep(0)  # first the clicks just committed are answered
                await self._batch()
            if self._stop_by:
                return

    async def _batch(self) -> None:
        """Write what waits in one transaction, or put it into the spool. Never raises."""
        jobs: list[Waiting] = []
        self._committing = False
        try:
            if self.down:
                await self._try_database()
            await self._drain_spools()
            if self._waiting or self._counts or self._state.touches.waiting():
                await self._store(jobs)
        except Exception as error:
            self._answer_stored()
            decided = bool(jobs) and self._committing and self._connection.shared
            jobs = jobs or self._next_jobs()
            if is_unavailable(error):
                self._mark_down(error)
                await self._spool_all(jobs, decided=decided)
            else:
                await self._one_by_one(jobs, error)

    def _next_jobs(self) -> list[Waiting]:
        most = _LARGEST
        if self._unanswered:
            most = min(most, (len(self._waiting) + len(self._unanswered) + 1) // 2)
        jobs, self._waiting = self._waiting[:most], self._waiting[most:]
        if jobs:
            self._clicked_at = time.monotonic()
        return jobs

    async def _store(self, jobs: list[Waiting]) -> None:
        """Store and answer `jobs`; an empty list is filled with what waits once the transaction has begun.

        A server that does not answer is left after a second. Raises what the database raises.
        """
        if not isinstance(self._connection, PostgresBatchConnection):
            await self._transact(jobs)
            return
        too_late = asyncio.get_running_loop().call_later(PATIENCE, self._connection.abandon)
        try:
            await self._transact(jobs)
        finally:
            too_late.cancel()

    async def _transact(self, jobs: list[Waiting]) -> None:
        try:
            batch = await self._write_batch(jobs, optimistic=True)
        except StoredMeanwhile:
            batch = await self._write_batch(jobs, optimistic=False)
        batch.committed()
        if early := [job for job in batch.outgoing if job.early]:
            await self._keep(early)
        self.last_commit = self._clock()
        self.tally["commits"] += 1
        self.tally["clicks"] += len(batch.clicks)
        self.tally["outgoing"] += len(batch.outgoing)
        self._answer_soon(jobs)
        self._database.loop_share.batch_ended(len(jobs))

    async def _write_batch(self, jobs: list[Waiting], *, optimistic: bool) -> Batch:
        """One transaction, committed. Raises StoredMeanwhile if `optimistic`, and what the database raises."""
        counts = Counts()
        self._committing = False
        try:
            async with self._connection.transaction(PATIENCE):
                if not jobs:
                    jobs += self._next_jobs()
                self._database.loop_share.batch_began(len(jobs))
                counts, self._counts = self._counts, counts
                batch = Batch(self._state, [job for job, _ in jobs], counts, optimistic=optimistic)
                await batch.store(self._clock(), self._all_decided)
        except BaseException:
            self._counts.merge(counts)
            raise
        return batch

    def _all_decided(self) -> None:
        self._committing = True
        if self._unanswered:
            asyncio.get_running_loop().call_soon(self._answer_stored)

    def _answer_soon(self, jobs: list[Waiting]) -> None:
        """Answer jobs that are stored: if there are many with those that wait, while PostgreSQL stores these, for which
        the event loop would have nothing else to do. On SQLite it stores them itself."""
        self._answer_stored()
        self._unanswered = jobs
        if self._connection.shared and self._waiting and len(jobs) + len(self._waiting) >= ENOUGH_FOR_TWO:
            self._answer_timer = asyncio.get_running_loop().call_later(_LONGEST_UNANSWERED, self._answer_stored)
        else:
            self._answer_stored()

    def _answer_stored(self) -> None:
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None
        jobs, self._unanswered = self._unanswered, []
        self._answer(jobs)

    @staticmethod
    def _answer(jobs: list[Waiting]) -> None:
        for _, answer in jobs:
            try:
                answer()
            except Exception as error:  # one visitor who cannot be answered must not keep the others waiting
                log.error("a click could not be answered", error=type(error).__name__, exc_info=error)

    async def _try_database(self) -> None:
        """Wait for a database that was away, a second at most; clicks go to the spool meanwhile, without waiting.

        Raises DatabaseUnavailable if it is still away.
        """
        trial = asyncio.create_task(self._begin_once())
        await self._spool_until_done(trial)
        await trial

    async def _spool_until_done(self, work: "asyncio.Task[Any]") -> None:
        """Clicks go to the spool, without waiting, until `work` has ended."""
        while not work.done():
            await self._spool_all(self._next_jobs())
            wake = asyncio.create_task(self._wake.wait())
            await asyncio.wait({work, wake}, return_when=asyncio.FIRST_COMPLETED)
            wake.cancel()
            self._wake.clear()

    async def _drained(self, storing: Coroutine[Any, Any, int]) -> int:
        """The result of a transaction that drains a spool, for which clicks wait a second at most."""
        work = asyncio.create_task(storing)
        await asyncio.wait({work}, timeout=PATIENCE)
        await self._spool_until_done(work)
        return await work

    async def _begin_once(self) -> None:
        async with self._connection.transaction(PATIENCE):
            await self._connection.fetch(self._state.statements.nothing, ())

    async def _drain_spools(self) -> None:
        """Drain the next part of the spools into the database; all of them when we stop."""
        if self._orphans_due():
            await self._adopt_orphans()
        while (drain := self._next_drain()) is not None:
            began = time.monotonic()
            busy = bool(self._waiting) or began < self._clicked_at + _LATELY
            self.tally["drained"] += await drain.step(busy=busy, lost=self.down)
            if busy and not drain.begun:
                self._pause_draining(min((time.monotonic() - began) * _REST, _LONGEST_REST))
            if drain not in self._drains[:2] and not drain.spool.depth:
                self._drains.remove(drain)
                await asyncio.to_thread(drain.spool.close)
            if time.monotonic() > self._stop_by:
                break
        if self._down_since is not None:
            if self._logged("down"):
                away = round(time.monotonic() - self._down_since, 1)
                log.info("database is back", away_seconds=away, spooled=self.spooled)
            self._down_since = None
            if self._remembered is not self._visitors:
                self._remembered = ProcessVisitors()

    def _pause_draining(self, seconds: float) -> None:
        """Drain nothing for some seconds."""
        self._drain_from = time.monotonic() + seconds
        asyncio.get_running_loop().call_later(seconds, self._wake.set)

    async def _adopt_orphans(self) -> None:
        """Take over the spools of processes that died."""
        self._looked_for_orphans = time.monotonic()
        open_names = {drain.spool.name for drain in self._drains if isinstance(drain.spool, Spool)}
        for spool in await asyncio.to_thread(orphans, Spool, self._folders, self._number, open_names):
            if spool.depth:
                self._drains.append(self._drain(spool))
            else:
                spool.close()

    def _drain(self, spool: Spool | MemorySpool) -> Drain:
        return Drain(self._state, spool, clock=self._clock, patience=PATIENCE, beside=self._drained)

    def _mark_down(self, error: Exception) -> None:
        self._down_reason = _described(error)
        if self._down_since is None:
            self._down_since = time.monotonic()
            if times := self._times("down"):
                log.warning("database cannot be written: clicks go to the spool", error=self._down_reason, times=times)

    def _times(self, fault: str, n: int = 1) -> int:
        """How often a fault happened since it was logged last; 0 if that is less than a minute ago."""
        self._not_logged[fault] += n
        if time.monotonic() < self._logged_at.get(fault, -_LOG_EVERY) + _LOG_EVERY:
            return 0
        self._logged_at[fault] = time.monotonic()
        return self._not_logged.pop(fault)

    def _logged(self, fault: str) -> bool:
        """Whether the latest of these faults is in the log."""
        return not self._not_logged[fault]

    async def _spool_all(self, jobs: list[Waiting], *, decided: bool = False) -> None:
        if jobs:
            for job, _ in jobs if not decided else ():
                self._decide_without_database(job)
            await self._keep([job for job, _ in jobs])
            self._answer(jobs)

    def _decide_without_database(self, job: Job) -> None:
        if not isinstance(job, ClickJob):
            self._state.decide_outgoing(job, None)
            return
        if not job.visitor_id:
            self._state.decide(job)
            return
        since = first_id_at(self._clock() - DAY)
        further = job.further or FurtherKeys(Recognition().lifetime)
        fresh = recognise(job, further, self._remembered.find_now(visitor_keys([job]), since))
        self._state.decide(job)
        self._remembered.memory.remember_all(seen_rows(job, further, fresh), since)

    async def _keep(self, jobs: Sequence[Job]) -> None:
        """Into the spool; into memory while it cannot be written, as far as that goes."""
        records = [record_of(job) for job in jobs]
        self.tally["spooled"] += len(records)
        if await self._save():
            try:
                await asyncio.to_thread(self._spool.append, records)
                return
            except OSError as error:
                self._spool_failed(error)
        room = max(0, MOST_UNSAVED - self._unsaved.depth)
        self._unsaved.append(records[:room])
        if room < len(records):
            self._count_lost(len(records) - room)

    async def _save(self) -> bool:
        """Move what is in memory only to the spool; False while that cannot be done."""
        if self._unsaved.depth and time.monotonic() < self._spool_due:
            return False
        while records := self._unsaved.read():
            try:
                await asyncio.to_thread(self._spool.append, records)
            except OSError as error:
                self._unsaved.put_back(records)
                self._spool_failed(error)
                return False
            self._unsaved.depth -= len(records)
        return True

    def _spool_failed(self, error: OSError) -> None:
        if times := self._times("spool"):
            log.error("the spool cannot be written: clicks wait in memory", error=_described(error), times=times)
        self._spool_due = time.monotonic() + _RETRY_SPOOL

    def _count_lost(self, clicks: int) -> None:
        self.tally["lost"] += clicks
        if times := self._times("lost", clicks):
            log.error("clicks were redirected and cannot be kept: make room on the disk", clicks=times)

    async def _one_by_one(self, jobs: list[Waiting], error: Exception) -> None:
        """A batch that its own contents broke: each job alone, so that one cannot hold up the others."""
        log.error("a batch of clicks could not be stored", jobs=len(jobs), error=_described(error))
        for waiting in jobs:
            try:
                await self._store([waiting])
            except Exception as fault:
                self.tally["failed"] += 1
                log.error("a click could not be stored; it stays in the spool", error=_described(fault))
                await self._spool_all([waiting])


def _described(error: BaseException) -> str:
    """What may be shown of an error: SQL and its values never stand in these."""
    if plain := plain_words(error):
        return plain
    if isinstance(error, OSError | sqlite3.OperationalError):
        return f"{type(error).__name__}: {error}"[:300]
    return type(error).__name__
