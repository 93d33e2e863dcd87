"""The writer: many requests, one commit, and an answer only after it.

While one batch commits the next one gathers; nobody waits for a timer. If the database cannot be written within a
second the batch goes to the spool, synced, and from there to the database when it is back, once each.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.clicks.spool import Record, Spool, orphans, record_of
from storage.clicks.spool_drain import Drain
from storage.clicks.write_batch import Batch, Counts, FaultKey, Touches
from storage.clicks.write_connections import port_of, unavailable
from storage.clicks.write_jobs import Job, RollupKey
from storage.db import tasks
from storage.db.engine import Database
from storage.db.write_lock import Unavailable

log = structlog.get_logger()
T = TypeVar("T")
Answer = Callable[[], None]

PATIENCE = 1.0  # seconds a visitor may wait for a locked database
_TICK = 0.25  # seconds between looks at what is owed: counts, touch marks, the spool
_LARGEST = 1000  # jobs of one batch


class _Call(Generic[T]):
    """Somebody else's work inside a writer's transaction."""

    def __init__(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> None:
        self.work = work
        self.done: asyncio.Future[T] = asyncio.get_running_loop().create_future()


class Writer:
    """One per process; `start` and `stop` it on its event loop."""

    def __init__(self, database: Database, *, spool: Path, name: str, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._port = port_of(database)
        self._folder = spool
        self._spool = Spool(spool, name)
        self._name = name
        self._jobs: list[tuple[Job, Answer]] = []
        self._calls: list[_Call[Any]] = []
        self._counts = Counts()
        self._touches = Touches()
        self._unsaved: list[Record] = []  # answered without being durable, since even the spool failed
        self._wake = asyncio.Event()
        self._call_wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop
        self._down_since: float | None = None
        self._looked_for_orphans = 0.0
        self.full: set[tuple[int, str, int]] = set()  # caps found full; forgotten every tick
        self.last_commit: datetime | None = None
        self.tally = {"commits": 0, "clicks": 0, "outgoing": 0, "spooled": 0, "drained": 0, "failed": 0}

    async def start(self) -> None:
        """Open the connection and the spool; a database that is away does not stop the start."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._spool.open)
        try:
            await self._port.open()
        except Exception as error:
            if not unavailable(error):
                raise
            self._down_since = time.monotonic()
        self._tasks = [
            tasks.start_loop("click writer", self._write_jobs, serving=True),
            tasks.start_loop("click writer calls", self._write_calls, serving=True),
            tasks.start_loop("click writer timer", self._watch, serving=True),
        ]

    async def stop(self) -> None:
        """Write all that waits, then close."""
        if self._stopping:
            return
        self._stopping = True
        self._wake.set()
        self._call_wake.set()
        if self._tasks:
            self._tasks[2].cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._counts or self._spool.depth or self._touches.owed:
            await self._batch(finishing=True)
        await self._port.close()
        await asyncio.to_thread(self._spool.close)

    def hand_in(self, job: Job, answer: Answer) -> None:
        """Store a click or an outgoing click; `answer` is called once it is on disk and the job has decided."""
        self._jobs.append((job, answer))
        if not self._wake.is_set():
            self._wake.set()

    def submit(self, job: Job) -> "asyncio.Future[None]":
        """The same for who awaits the answer."""
        done: asyncio.Future[None] = self._loop.create_future()
        self.hand_in(job, lambda: None if done.done() else done.set_result(None))
        return done

    async def run(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do `work(tx)` in a transaction shared with others, under a savepoint of its own; returns after the commit.

        Raises what `work` raises (its writes are undone then), or the database's error if nothing could be committed.
        """
        call = _Call(work)
        self._calls.append(call)
        self._call_wake.set()
        return await call.done

    def count(self, key: RollupKey, place: int, n: int = 1) -> None:
        """Add to a roll-up row (writer_jobs.VISITS …) with the next batch, at the latest in a quarter second."""
        self._counts.rollup[key][place] += n

    def fault(self, key: FaultKey) -> None:
        """Count a fault with the next batch."""
        self._counts.faults[key] += 1

    @property
    def spooled(self) -> int:
        """Clicks that wait outside the database."""
        return self._spool.depth + len(self._unsaved)

    @property
    def down(self) -> bool:
        return self._down_since is not None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            self.full.clear()
            if self._counts or self.spooled or self._touches.waiting() or self._orphans_due():
                self._wake.set()

    def _orphans_due(self) -> bool:
        return time.monotonic() - self._looked_for_orphans > 10

    async def _write_jobs(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._batch()
            while self._jobs:
                await asyncio.sleep(0)  # first let those go whose clicks were just committed
                await self._batch()
            if self._stopping:
                return

    async def _batch(self, *, finishing: bool = False) -> None:
        """Write what waits in one transaction, or put it into the spool."""
        taken: list[tuple[Job, Answer]] = []
        try:
            await self._port.begin(PATIENCE if self._down_since is None or finishing else 0.0)
            await self._catch_up()
            taken, self._jobs = self._jobs[:_LARGEST], self._jobs[_LARGEST:]
            await self._store([job for job, _ in taken])
            self._answer(taken)
        except Exception as error:
            await self._port.rollback()
            if not taken:
                taken, self._jobs = self._jobs[:_LARGEST], self._jobs[_LARGEST:]
            await self._failed(taken, error)

    async def _store(self, jobs: list[Job]) -> None:
        counts, self._counts = self._counts, Counts()
        batch = Batch(jobs, counts, self._touches, self.full)
        try:
            await batch.store(self._port, self._clock())
            await self._port.commit()
        except BaseException:
            self._counts.merge(counts)
            raise
        batch.committed()
        if early := [job for job in batch.outgoing if job.early]:
            await self._keep(early)
        self.last_commit = self._clock()
        self.tally["commits"] += 1
        self.tally["clicks"] += len(batch.clicks)
        self.tally["outgoing"] += len(batch.outgoing)

    @staticmethod
    def _answer(taken: list[tuple[Job, Answer]]) -> None:
        for _, answer in taken:
            try:
                answer()
            except Exception as error:  # one visitor who cannot be answered must not keep the others waiting
                log.error("a click could not be answered", error=type(error).__name__, exc_info=error)

    async def _catch_up(self) -> None:
        """The database is there: first what waited outside it. Leaves an open transaction behind."""
        spools = [self._spool]
        if self._orphans_due():
            self._looked_for_orphans = time.monotonic()
            spools += await asyncio.to_thread(orphans, self._folder, self._name)
        drained = 0
        for spool in spools:
            if spool.depth and time.monotonic() >= spool.due:
                drained += await Drain(self._port, self._touches, self._clock()).empty(spool)
                await self._port.begin(PATIENCE)
            if spool is not self._spool:
                spool.close()
        if self._unsaved:
            drain = Drain(self._port, self._touches, self._clock())
            drained += await drain.store(self._unsaved)
            self._unsaved = drain.early
            await self._port.begin(PATIENCE)
        self.tally["drained"] += drained
        if self._down_since is not None:
            log.info("database is back", away_seconds=round(time.monotonic() - self._down_since, 1), drained=drained)
            self._down_since = None

    async def _failed(self, taken: list[tuple[Job, Answer]], error: Exception) -> None:
        if not unavailable(error):
            await self._one_by_one(taken, error)
            return
        if self._down_since is None:
            self._down_since = time.monotonic()
            log.warning("database cannot be written: clicks go to the spool", error=_told(error))
        await self._spool_all(taken)

    async def _spool_all(self, taken: list[tuple[Job, Answer]]) -> None:
        if taken:
            await self._keep([job for job, _ in taken])
            self._answer(taken)

    async def _keep(self, jobs: Sequence[Job]) -> None:
        records = [record_of(job) for job in jobs]
        try:
            await asyncio.to_thread(self._spool.append, [*self._unsaved, *records])
            self._unsaved = []
        except OSError as error:
            log.error("the spool cannot be written: clicks are kept in memory", error=_told(error))
            self._unsaved += records
        self.tally["spooled"] += len(records)

    async def _one_by_one(self, taken: list[tuple[Job, Answer]], error: Exception) -> None:
        """A batch that its own contents broke: each job alone, so that one cannot hold up the others."""
        log.error("a batch of clicks could not be stored", jobs=len(taken), error=_told(error))
        for one in taken:
            try:
                await self._port.begin(PATIENCE)
                await self._store([one[0]])
            except Exception as fault:
                await self._port.rollback()
                self.tally["failed"] += 1
                log.error("a click could not be stored; it stays in the spool", error=_told(fault))
                await self._spool_all([one])
            else:
                self._answer([one])

    async def _write_calls(self) -> None:
        while True:
            await self._call_wake.wait()
            self._call_wake.clear()
            while self._calls:
                calls, self._calls = self._calls[:_LARGEST], self._calls[_LARGEST:]
                await self._call_together(calls)
            if self._stopping:
                return

    async def _call_together(self, calls: list[_Call[Any]]) -> None:
        results: list[tuple[_Call[Any], Any]] = []
        try:
            async with self._database.begin() as tx:
                for call in calls:
                    await self._call_one(tx, call, results)
        except Exception as error:
            for call in calls:
                if not call.done.done():
                    call.done.set_exception(error)
            return
        for call, result in results:
            if not call.done.done():
                call.done.set_result(result)

    @staticmethod
    async def _call_one(tx: AsyncConnection, call: _Call[Any], results: list[tuple[_Call[Any], Any]]) -> None:
        try:
            async with tx.begin_nested():
                results.append((call, await call.work(tx)))
        except Exception as error:
            if not call.done.done():
                call.done.set_exception(error)


def _told(error: BaseException) -> str:
    return (
        f"{type(error).__name__}: {error}"[:300] if isinstance(error, Unavailable | OSError) else type(error).__name__
    )
