"""The timetable: who runs what, how often. Due work itself is rows in the database, so a restart loses nothing."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from sqlalchemy.exc import DBAPIError

from hub.runtime.runtime import Runtime, utc_now
from storage.db import leases, tasks

LEASE = timedelta(seconds=20)
FIRST_PAUSE = 5.0  # seconds after which a job that failed is done again, if its turn is not sooner; doubled each time
GIVE_BACK = 2.0  # seconds a stop waits for the database
LAST_WORK = 5.0  # seconds a stop waits for jobs that run
CLOCK_LOOK = 1.0  # seconds between two looks whether the clock was set, and by how much it must have been

Work = Callable[[Runtime], Awaitable[Any]]


class Job(NamedTuple):
    """Something to look at every so many seconds. `leased`: by one process of the deployment at a time."""

    name: str
    seconds: float
    work: Work
    leased: bool = True


class Jobs:
    """Runs a timetable on this process' event loop."""

    def __init__(self, runtime: Runtime, timetable: tuple[Job, ...]) -> None:
        self._runtime = runtime
        self._timetable = timetable
        self._holder = uuid4().hex
        self._held: dict[str, datetime] = {}
        self._scheduler = AsyncIOScheduler(timezone="UTC")
        self._running: set[asyncio.Task[Any]] = set()
        self._pauses: dict[str, float] = {}  # seconds, of jobs that failed the last time
        self._clock_offset = 0.0  # seconds, of the time of day from a clock that is never set
        self._clock_watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        for job in self._timetable:
            self._scheduler.add_job(
                self._run, "interval", seconds=job.seconds, args=[job], id=job.name, coalesce=True, max_instances=1,
                misfire_grace_time=None, next_run_time=utc_now(),
            )  # fmt: skip
        self._scheduler.start()
        self._clock_offset = _clock_offset()
        self._clock_watch = tasks.start_interval("timetable clock", CLOCK_LOOK, self._follow_clock)

    async def stop(self) -> None:
        """Start nothing more, wait a little for what runs, and let other processes take over at once."""
        self._runtime.state["stopping"] = True
        self._scheduler.pause()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=LAST_WORK)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._clock_watch is not None:
            await tasks.stop(self._clock_watch)
        self._scheduler.shutdown(wait=False)
        for job in self._timetable:
            tasks.monitor.ended(job.name)
        await self._give_back()

    async def _follow_clock(self) -> None:
        """Have every job take its turn once the clock was set: APScheduler waits for a time of day, which a clock that
        is set back an hour puts off by an hour."""
        before, self._clock_offset = self._clock_offset, _clock_offset()
        if abs(self._clock_offset - before) >= CLOCK_LOOK:
            for job in self._timetable:
                self._scheduler.modify_job(job.name, next_run_time=utc_now())

    async def _give_back(self) -> None:
        if self._held:
            with suppress(TimeoutError, DBAPIError, OSError):  # database unavailable: the leases lapse by themselves
                async with asyncio.timeout(GIVE_BACK), self._runtime.database.begin() as tx:
                    await leases.release(tx, self._holder)

    async def run_once(self, name: str) -> bool:
        """Do one job now, under its lease; False if another process has it and does it by itself."""
        job = next(job for job in self._timetable if job.name == name)
        try:
            return await self._run_leased(job)
        finally:
            await self._give_back()

    async def _run(self, job: Job) -> None:
        task = asyncio.current_task()
        if task:
            self._running.add(task)
        try:
            ran = await self._runtime.database.loop_share.run(self._run_leased(job))
        except Exception as error:
            tasks.monitor.failed(job.name, error)
            self._retry(job)
        except asyncio.CancelledError:
            if not self._runtime.state.get("stopping"):  # a stop gives it up: no fault
                raise
        else:
            tasks.monitor.succeeded(job.name)
            self._pauses.pop(job.name, None)
            self._runtime.state.setdefault("job_runs", Counter())[job.name] += ran
        finally:
            if task:
                self._running.discard(task)

    def _retry(self, job: Job) -> None:
        """Do a job again that failed before its next turn, which may be an hour away."""
        pause = self._pauses.get(job.name, FIRST_PAUSE)
        self._pauses[job.name] = min(pause * 2, job.seconds)
        if pause < job.seconds and not self._runtime.state.get("stopping"):
            self._scheduler.modify_job(job.name, next_run_time=utc_now() + timedelta(seconds=pause))

    async def _run_leased(self, job: Job) -> bool:
        """Do a job unless another process has its lease; whether it was done here."""
        if not job.leased:
            await job.work(self._runtime)
        elif await self._lease(job):
            await self._keep_lease(job)
        else:
            return False
        return True

    async def _keep_lease(self, job: Job) -> None:
        """Work, and renew the lease meanwhile. The work goes on when that fails: it is safe to be done twice."""
        renewing = tasks.start_interval("job lease", LEASE.total_seconds() / 3, lambda: self._lease(job))
        try:
            await job.work(self._runtime)
        finally:
            renewing.cancel()

    async def _lease(self, job: Job) -> bool:
        now = self._runtime.clock()
        if LEASE / 2 < self._held.get(job.name, now) - now <= LEASE:
            return True
        mine = await self._runtime.database.run(
            lambda tx: leases.acquire(tx, f"job:{job.name}", self._holder, now=now, good_for=LEASE)
        )
        if mine:
            self._held[job.name] = now + LEASE
        else:
            self._held.pop(job.name, None)
        return mine


def _clock_offset() -> float:
    return utc_now().timestamp() - time.monotonic()
