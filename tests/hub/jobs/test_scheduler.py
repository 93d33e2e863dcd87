"""Jobs that fail: told, counted, tried again; their leases are renewed through an error of the database."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

from hub.jobs import scheduler
from hub.jobs.scheduler import Job, Jobs
from hub.jobs.timetable import TIMETABLE
from hub.runtime.ports import HubPorts
from hub.runtime.runtime import Runtime
from hub.runtime.settings import Settings
from hub.web import health
from storage.db import leases, tasks
from storage.db.engine import LOCKED_WAIT, Database, T, Work
from storage.db.schema import upgrade
from storage.db.secrets import Box
from storage.db.tasks import TaskMonitor
from storage.tables import leases as table
from tests.hub.asgi import fetch
from tests.storage.scene import NOON
from tests.waiting import PATIENCE

AWAY = OperationalError("UPDATE leases SET until = ?", {}, sqlite3.OperationalError("disk I/O error"))


@asynccontextmanager
async def running(database: Database, *jobs: Job) -> AsyncIterator[Runtime]:
    """A timetable at work on a database."""
    result = runtime(database)
    at_work = Jobs(result, jobs)
    await at_work.start()
    try:
        yield result
    finally:
        await at_work.stop()


def runtime(database: Database) -> Runtime:
    settings = Settings(secret_key="k" * 32)
    return Runtime(
        settings=settings, database=database, box=Box("k" * 32), ports=HubPorts(settings), team_id=1,
        clock=lambda: NOON,
    )  # fmt: skip


async def test_a_job_that_raises_is_named_by_readyz_and_counted_by_metrics(
    opened: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from litestar import Litestar

    monkeypatch.setattr(tasks, "monitor", TaskMonitor())
    failed, fixed, working = asyncio.Event(), asyncio.Event(), asyncio.Event()
    calls: list[int] = []

    async def work(_runtime: Runtime) -> None:
        calls.append(1)
        if not fixed.is_set():
            if len(calls) == 3:
                failed.set()
            raise ValueError("no such rate")
        if len(calls) > 4:
            working.set()

    with structlog.testing.capture_logs() as lines:
        async with opened() as database, running(database, Job("rates", 0.01, work)) as here:
            app = Litestar(health.health_routes(here), openapi_config=None)
            await failed.wait()
            ready = await fetch(app, "/readyz", host="hub.example.test")
            assert ready.status == 200, "no request waits for a job"
            assert b'"status":"degraded"' in ready.body
            assert b'"failing":{"rates":"ValueError: no such rate"}' in ready.body
            assert (
                b'casinoflux_task_failures_total{task="rates"}'
                in (await fetch(app, "/metrics", host="hub.example.test")).body
            )
            fixed.set()
            await working.wait()
            assert b'"failing":{}' in (await fetch(app, "/readyz", host="hub.example.test")).body
    assert [line["event"] for line in lines if line.get("task") == "rates"] == [
        "a background task failed", "works again",
    ]  # fmt: skip


async def test_a_job_that_fails_does_not_wait_for_its_next_turn(
    opened: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(tasks, "monitor", TaskMonitor())
    calls: list[int] = []
    works = asyncio.Event()

    async def work(_runtime: Runtime) -> None:
        calls.append(1)
        if len(calls) < 4:
            raise AWAY
        works.set()

    async with opened() as database, running(database, Job("upkeep", 3600, work)):
        async with asyncio.timeout(PATIENCE):
            await works.wait()
    assert tasks.monitor.failures() == {"upkeep": 3}


_CLOCK_IS_SET = """
import asyncio
import datetime
import sys
import time

real, offset, now = datetime.datetime, 0.0, time.time

class Clock(real):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(now() + offset, tz)

datetime.datetime = Clock
time.time = lambda: now() + offset

from hub.jobs.scheduler import Job, Jobs
from storage.db.engine import Database
from tests.hub.jobs.test_scheduler import runtime

async def main():
    global offset
    runs = asyncio.Queue()

    async def work(_runtime):
        runs.put_nowait(1)

    database = Database(f"sqlite+aiosqlite:///{sys.argv[1]}")
    jobs = Jobs(runtime(database), (Job("sync", 0.05, work, leased=False),))
    await jobs.start()
    for offset in (0.0, 3600.0, -3600.0, 0.0):
        for _ in range(3):
            await asyncio.wait_for(runs.get(), 20)
    await jobs.stop()
    await database.close()

asyncio.run(main())
"""


def test_jobs_go_on_when_the_clock_is_set(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", _CLOCK_IS_SET, str(tmp_path / "casinoflux.db")],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


async def test_turns_that_a_long_job_misses_are_left_out(opened: Callable[[], Any]) -> None:
    runs: list[float] = []
    enough = asyncio.Event()

    async def work(_runtime: Runtime) -> None:
        runs.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.25)
        if len(runs) == 3:
            enough.set()

    async with opened() as database, running(database, Job("settle", 0.1, work)):
        async with asyncio.timeout(PATIENCE):
            await enough.wait()
    assert all(later - earlier > 0.28 for earlier, later in pairwise(runs)), "at the next turn, not at once"


async def test_a_job_that_a_stop_gives_up_is_no_fault(
    opened: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scheduler, "LAST_WORK", 0.01)
    begun = asyncio.Event()

    async def work(_runtime: Runtime) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with opened() as database, running(database, Job("rates", 60, work)):
        await begun.wait()
    assert "raised an exception" not in caplog.text


class FailsOnce(Database):
    """Renewals of a lease meet an error of the database, once."""

    failures = 0
    renewed = asyncio.Event()

    async def run(self, work: Work[T], *, patience: float = LOCKED_WAIT, **words: Any) -> T:
        self.begun = getattr(self, "begun", 0) + 1
        if self.begun == 2:
            self.failures += 1
            raise AWAY
        result = await super().run(work, patience=patience, **words)
        if self.begun > 2:
            self.renewed.set()
        return result


async def test_a_lease_is_renewed_after_an_error_of_the_database(
    opened: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "LEASE", timedelta(seconds=0.06))
    monkeypatch.setattr(tasks, "monitor", TaskMonitor())
    async with opened() as database:
        failing = FailsOnce(database.url)
        failing.renewed = asyncio.Event()
        here = runtime(failing)
        ticks = iter(range(100_000))
        here.clock = lambda: NOON + timedelta(seconds=next(ticks) / 20)

        async def work(_runtime: Runtime) -> None:
            await failing.renewed.wait()

        try:
            assert await Jobs(here, (Job("settle", 1, work),)).run_once("settle")
        finally:
            await failing.close()
        assert tasks.monitor.failures() == {"job lease": 1}
        assert tasks.monitor.failing() == {}


async def test_a_job_of_the_shell_leaves_it_to_the_hub_that_has_the_lease(opened: Callable[[], Any]) -> None:
    async with opened() as database:
        async with database.begin() as tx:
            await leases.acquire(tx, "job:settle", "the hub", now=NOON, good_for=scheduler.LEASE)
        assert not await Jobs(runtime(database), TIMETABLE).run_once("settle")
        async with database.begin() as tx:
            await leases.release(tx, "the hub")
        assert await Jobs(runtime(database), TIMETABLE).run_once("settle")
        async with database.read() as tx:
            assert (await tx.execute(select(table))).all() == [], "given back"


async def test_only_the_hub_that_has_the_lease_counts_a_run(opened: Callable[[], Any]) -> None:
    async def work(_runtime: Runtime) -> None:
        """Nothing to do."""

    async with opened() as database, running(database, Job("settle", 0.01, work)) as holder:
        while not holder.state.get("job_runs", {}).get("settle"):
            await asyncio.sleep(0.01)
        async with running(database, Job("settle", 0.01, work)) as other:
            while "settle" not in other.state.get("job_runs", {}):
                await asyncio.sleep(0.01)
            assert other.state["job_runs"]["settle"] == 0


async def test_readyz_is_answered_while_a_lock_keeps_the_database_from_answering(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from litestar import Litestar

    monkeypatch.setattr(health, "ANSWERS_WITHIN", 0.1)
    database = Database(postgres_url)
    try:
        await upgrade(database)
        app = Litestar(health.health_routes(runtime(database)), openapi_config=None)
        async with database.begin() as tx:
            await tx.execute(text("LOCK TABLE changes, faults IN ACCESS EXCLUSIVE MODE"))
            ready = await fetch(app, "/readyz", host="hub.example.test")
            assert (ready.status, b"a lock is held from outside" in ready.body) == (503, True), ready.body
            assert (await fetch(app, "/metrics", host="hub.example.test")).status == 200
        assert (await fetch(app, "/readyz", host="hub.example.test")).status == 200
    finally:
        await database.close()
