"""The timetable: who runs what, how often. Due work itself is rows in the database, so a restart loses nothing."""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple
from uuid import uuid4

from sqlalchemy.exc import DBAPIError

from hub.runtime.runtime import Runtime
from storage.db import leases, tasks

LEASE = timedelta(seconds=20)
FIRST_PAUSE = 5.0  # seconds after which a job that failed is done again, if its turn is not sooner; doubled each time
GIVE_BACK = 2.0  # seconds a stop waits for the database
LAST_WORK = 5.0  # seconds a stop waits for jobs that run

Work = Callable[[Runtime], Awaitable[Any]]


class Job(NamedTuple):
    """Something to look at every so many seconds. `leased`: by one process of the deployment at a time."""

    name: str
    seconds: float
    work: Work
    leased: bool = True


class Jobs:
    """Runs a timetable on this process' event loop, by a clock that is never set: the time of day may jump."""

    def __init__(self, runtime: Runtime, timetable: tuple[Job, ...]) -> None:
        self._runtime = runtime
        self._timetable = timetable
        self._holder = uuid4().hex
        self._held: dict[str, datetime] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._running: set[asyncio.Task[Any]] = set()
        self._pauses: dict[str, float] = {}  # seconds, of jobs that failed the last time

    async def start(self) -> None:
        self._loops = [tasks.start_loop(job.name, partial(self._repeat, job)) for job in self._timetable]

    async def stop(self) -> None:
        """Start nothing more, wait a little for what runs, and let other processes take over at once."""
        self._runtime.state["stopping"] = True
        if self._running:
            await asyncio.wait(self._running, timeout=LAST_WORK)
        await tasks.stop(*self._loops)
        await self._give_back()

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

    async def _repeat(self, job: Job) -> None:
        """Do a job at once, and then every so many seconds; turns that come while it is done are left out."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self._runtime.state.get("stopping"):
            if loop.time() < due:
                await asyncio.sleep(due - loop.time())
                continue
            worked = await self._run(job)
            due += job.seconds * max(1, math.ceil((loop.time() - due) / job.seconds))
            if not worked:
                due = min(due, loop.time() + self._pause(job))

    async def _run(self, job: Job) -> bool:
        """Do a job; False if it failed."""
        task = asyncio.current_task()
        if task:
            self._running.add(task)
        try:
            ran = await self._runtime.database.loop_share.run(self._run_leased(job))
        except Exception as error:
            tasks.monitor.failed(job.name, error)
            return False
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
        return True

    def _pause(self, job: Job) -> float:
        """Seconds until a job that failed is done again, if its next turn, which may be an hour away, is not sooner."""
        pause = self._pauses.get(job.name, FIRST_PAUSE)
        self._pauses[job.name] = min(pause * 2, job.seconds)
        return pause

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
