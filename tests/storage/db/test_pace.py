"""Other work goes on step by step between rounds of clicks, and at once where there are none."""

import asyncio
import math
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db import pace as paces
from storage.db.engine import Database
from storage.db.pace import MANY, Pace
from storage.db.schema import upgrade


@pytest.fixture
def pace(monkeypatch: pytest.MonkeyPatch) -> Pace:
    """One whose rounds are expected for a minute and which lets work go on by them alone."""
    for name in ("CALM", "LONG", "_WAIT"):
        monkeypatch.setattr(paces, name, 60.0)
    monkeypatch.setattr(paces, "PIECE", 0.01)
    return Pace()


async def steps(done: list[str], name: str, *, seconds: float = 0.0) -> str:
    for _ in range(3):
        ends = time.perf_counter() + seconds
        while time.perf_counter() < ends:
            pass
        done.append(name)
        await asyncio.sleep(0)
    return name


async def settled() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_without_clicks_nothing_waits(pace: Pace) -> None:
    pace.round_ended(MANY - 1)
    done: list[str] = []
    assert await pace.run(steps(done, "page", seconds=0.011)) == "page"


async def test_work_that_takes_longer_than_its_piece_waits_for_the_next_round(pace: Pace) -> None:
    pace.round_began(MANY)
    done: list[str] = []
    page = asyncio.create_task(pace.run(steps(done, "page", seconds=0.021)))
    await settled()
    assert done == []
    for count in (1, 2, 3):
        pace.round_ended(MANY)
        await settled()
        pace.round_ended(MANY)  # what the step took beyond its piece is missing here
        await settled()
        assert len(done) == count
    pace.round_ended(MANY)
    assert await page == "page"


async def test_those_who_wait_take_turns(pace: Pace) -> None:
    pace.round_began(MANY)
    done: list[str] = []
    pages = [asyncio.create_task(pace.run(steps(done, name))) for name in ("a", "b")]
    await settled()
    pace.round_ended(MANY)
    assert await asyncio.gather(*pages) == ["a", "b"]
    assert done[:4] == ["a", "b", "a", "b"]


async def test_a_round_that_does_not_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paces, "LONG", 0.02)
    pace, done = Pace(), list[str]()
    pace.round_began(MANY)
    async with asyncio.timeout(30):
        assert await pace.run(steps(done, "page")) == "page"


async def test_work_that_is_cancelled_ends_and_keeps_nobody_waiting(pace: Pace) -> None:
    pace.round_began(MANY)
    cleaned: list[str] = []

    @asynccontextmanager
    async def kept() -> AsyncIterator[None]:
        try:
            yield
        finally:
            cleaned.append("cleaned")

    async def hold() -> None:
        async with kept():
            await asyncio.Event().wait()

    held = asyncio.create_task(pace.run(hold()))
    await settled()
    pace.round_ended(MANY)
    await settled()
    waiting = asyncio.create_task(pace.run(hold()))
    pace.took(1.0)
    await settled()
    for task in (held, waiting):
        task.cancel()
    for _ in range(200):
        pace.round_ended(MANY)
        await settled()
    assert held.cancelled()
    assert waiting.cancelled()
    assert cleaned == ["cleaned"]  # the second one never began
    done: list[str] = []
    assert await pace.run(steps(done, "page")) == "page"


async def test_whoever_holds_the_write_lock_waits_for_no_round(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    for name in ("CALM", "LONG", "_WAIT"):
        monkeypatch.setattr(paces, name, 60.0)
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/pace.db")
    done: list[str] = []

    async def write() -> None:
        async with database.write_lock:
            database.pace.round_began(MANY)
            database.pace.took(1.0)  # nothing is left of the piece
            await steps(done, "write")

    try:
        async with asyncio.timeout(30):
            await database.pace.run(write())
    finally:
        await database.close()
    assert done == ["write"] * 3


@pytest.mark.parametrize("busy", [True, False])
async def test_batches_share_a_transaction_only_while_few_clicks_come(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, busy: bool
) -> None:
    monkeypatch.setattr(paces, "CALM", 60.0)
    database = Database(sqlite_url)
    await upgrade(database)
    stored_before: list[int] = []
    with sqlite3.connect(make_url(sqlite_url).database or "") as other:

        async def write(tx: AsyncConnection) -> bool:
            count = other.execute("SELECT count(*) FROM facts WHERE value = 'batch'").fetchone()[0]
            stored_before.append(count)
            name = f"batch {len(stored_before)}"
            await tx.execute(text("INSERT INTO facts (name, value) VALUES (:name, 'batch')"), {"name": name})
            return True

        if busy:
            database.pace.round_ended(MANY)
        assert await database.run_batches([write] * 4)
    assert stored_before == ([0, 1, 2, 3] if busy else [0, 0, 0, 0])
    await database.close()


async def test_a_job_of_transactions_waits_for_rounds_between_them(pace: Pace, sqlite_url: str) -> None:
    database = Database(sqlite_url)
    await upgrade(database)
    database.pace = pace
    assert database.direct
    database.direct._urgent_until = math.inf  # clicks come
    done: list[str] = []

    async def write(_: AsyncConnection) -> None:
        await steps_at_once(done)

    async def job() -> None:
        for _ in range(3):
            await database.run(write)

    pace.round_began(MANY)
    working = asyncio.create_task(pace.run(job()))
    await settled()
    for count in (0, 1, 2):
        assert len(done) == count
        for _ in range(2):  # what it took beyond its piece is missing from the second one
            pace.round_ended(MANY)
            await settled()
    pace.round_ended(MANY)
    await working
    assert len(done) == 3
    await database.close()


async def steps_at_once(done: list[str]) -> None:
    """Longer than a piece, without another turn of the event loop."""
    ends = time.perf_counter() + 0.021
    while time.perf_counter() < ends:
        pass
    done.append("written")
