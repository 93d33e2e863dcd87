"""Background tasks: started again after a failure, seen in /readyz and /metrics, logged once a minute."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable

import pytest
import structlog
from sqlalchemy.exc import OperationalError

from storage.db import tasks
from storage.db.tasks import TaskMonitor

LOCKED = OperationalError("INSERT INTO secret_table VALUES (?)", {}, sqlite3.OperationalError("database is locked"))


def failing_first(times: int, then: asyncio.Event) -> Callable[[], Awaitable[None]]:
    """A loop that ends by an exception so many times, and then runs."""
    remaining = [times]

    async def work() -> None:
        if remaining[0]:
            remaining[0] -= 1
            raise ValueError("the loop broke")
        then.set()
        await asyncio.Event().wait()

    return work


async def test_a_loop_that_fails_is_started_again_and_named_until_it_is_steady(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(tasks, "STEADY", 0.1)
    monkeypatch.setattr(tasks, "monitor", TaskMonitor())
    running, steady = asyncio.Event(), asyncio.Event()
    monkeypatch.setattr(tasks.monitor, "succeeded", lambda name: steady.set())
    with structlog.testing.capture_logs() as lines:
        task = tasks.start_loop("reader of things", failing_first(3, running), serving=True)
        await running.wait()
        assert tasks.monitor.failing() == {"reader of things": "ValueError: the loop broke"}
        assert tasks.monitor.failures() == {"reader of things": 3}
        assert not tasks.monitor.serving()
        await steady.wait()
        await tasks.stop(task)
    assert [line["event"] for line in lines] == ["a background task failed"]
    assert tasks.monitor.failing() == {}


async def test_an_interval_goes_on_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "monitor", TaskMonitor())
    calls: list[int] = []
    third = asyncio.Event()

    async def work() -> None:
        calls.append(len(calls))
        if len(calls) == 2:
            raise LOCKED
        if len(calls) == 4:
            third.set()

    task = tasks.start_interval("lease", 0.001, work)
    await third.wait()
    assert tasks.monitor.failures() == {"lease": 1}
    assert tasks.monitor.failing() == {}
    await tasks.stop(task)


def test_one_fault_of_the_database_is_one_line_a_minute_for_all_tasks() -> None:
    now = [100.0]
    monitor = TaskMonitor(lambda: now[0])
    with structlog.testing.capture_logs() as lines:
        for _ in range(90):
            for name in ("settle", "sync", "digests"):
                monitor.failed(name, LOCKED)
            now[0] += 1
    assert [(line["times"], line["error"]) for line in lines] == [
        (1, "OperationalError: database is locked"),
        (180, "OperationalError: database is locked"),
    ]
    assert lines[1]["tasks"] == "digests, settle, sync"
    assert not any("exc_info" in line or "secret_table" in str(line) for line in lines)


def test_a_fault_of_the_code_has_its_traceback_once() -> None:
    now = [100.0]
    monitor = TaskMonitor(lambda: now[0])
    with structlog.testing.capture_logs() as lines:
        for _ in range(150):
            monitor.failed("rates", KeyError("EUR"))
            now[0] += 1
    assert [line["times"] for line in lines] == [1, 60, 60]
    assert ["exc_info" in line for line in lines] == [True, False, False]


def test_a_task_that_works_again_is_told_once() -> None:
    monitor = TaskMonitor(lambda: 1.0)
    with structlog.testing.capture_logs() as lines:
        monitor.succeeded("settle")
        for _ in range(5):
            monitor.failed("settle", LOCKED)
            monitor.failed("sync", LOCKED)
            monitor.succeeded("settle")
            monitor.succeeded("settle")
        assert monitor.failing() == {"sync": "OperationalError: database is locked"}
        monitor.succeeded("sync")
    assert [line["event"] for line in lines] == ["the database cannot be used", "works again"]
    assert monitor.failing() == {}
