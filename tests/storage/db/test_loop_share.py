"""Other work runs a step at a time between batches of clicks, and at once where there are none."""

import asyncio
import math
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db import direct_sqlite, engine, joined_work
from storage.db import loop_share as limits
from storage.db.direct_sqlite import SyncConnection
from storage.db.engine import Database
from storage.db.loop_share import FULL_BATCH, LoopShare
from storage.db.schema import upgrade
from storage.db.unavailable import DatabaseUnavailable


class Clock:
    """The time of day, but for what is measured: that takes as long as it says."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (limits, joined_work, engine):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def loop_share(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> LoopShare:
    """One whose batches are expected for a minute, and which no timer releases."""
    for name in ("IDLE_AFTER", "OVERDUE_AFTER", "LONGEST_WAIT"):
        monkeypatch.setattr(limits, name, 60.0)
    for name in ("SHARE", "JOINED_SHARE"):
        monkeypatch.setattr(limits, name, 0.01)
    return LoopShare()


async def steps(done: list[str], name: str, *, spend: Callable[[], None] = lambda: None) -> str:
    for _ in range(3):
        spend()
        done.append(name)
        await asyncio.sleep(0)
    return name


async def settled() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_without_clicks_nothing_waits(loop_share: LoopShare, clock: Clock) -> None:
    loop_share.batch_ended(FULL_BATCH - 1)
    done: list[str] = []
    assert await loop_share.run(steps(done, "page", spend=lambda: clock.spend(0.011))) == "page"


async def test_work_that_takes_longer_than_its_share_waits_for_the_next_batch(
    loop_share: LoopShare, clock: Clock
) -> None:
    loop_share.batch_began(FULL_BATCH)
    done: list[str] = []
    page = asyncio.create_task(loop_share.run(steps(done, "page", spend=lambda: clock.spend(0.021))))
    await settled()
    assert done == []
    for count in (1, 2, 3):
        loop_share.batch_ended(FULL_BATCH)
        await settled()
        loop_share.batch_ended(FULL_BATCH)  # what the step took beyond its share is charged here
        await settled()
        assert len(done) == count
    loop_share.batch_ended(FULL_BATCH)
    assert await page == "page"


async def test_work_that_waits_alternates(loop_share: LoopShare) -> None:
    loop_share.batch_began(FULL_BATCH)
    done: list[str] = []
    pages = [asyncio.create_task(loop_share.run(steps(done, name))) for name in ("a", "b")]
    await settled()
    loop_share.batch_ended(FULL_BATCH)
    assert await asyncio.gather(*pages) == ["a", "b"]
    assert done[:4] == ["a", "b", "a", "b"]


async def test_a_batch_that_does_not_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OVERDUE_AFTER", 0.02)
    loop_share, done = LoopShare(), list[str]()
    loop_share.batch_began(FULL_BATCH)
    async with asyncio.timeout(30):
        assert await loop_share.run(steps(done, "page")) == "page"


async def test_work_that_is_cancelled_ends_and_keeps_no_one_waiting(loop_share: LoopShare) -> None:
    loop_share.batch_began(FULL_BATCH)
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

    held = asyncio.create_task(loop_share.run(hold()))
    await settled()
    loop_share.batch_ended(FULL_BATCH)
    await settled()
    waiting = asyncio.create_task(loop_share.run(hold()))
    loop_share.spend(1.0)
    await settled()
    for task in (held, waiting):
        task.cancel()
    for _ in range(200):
        loop_share.batch_ended(FULL_BATCH)
        await settled()
    assert held.cancelled()
    assert waiting.cancelled()
    assert cleaned == ["cleaned"]  # the second one never began
    done: list[str] = []
    assert await loop_share.run(steps(done, "page")) == "page"


async def test_whoever_holds_the_write_lock_waits_for_no_batch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    for name in ("IDLE_AFTER", "OVERDUE_AFTER", "LONGEST_WAIT"):
        monkeypatch.setattr(limits, name, 60.0)
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/loop_share.db")
    done: list[str] = []

    async def write() -> None:
        async with database.write_lock:
            database.loop_share.batch_began(FULL_BATCH)
            database.loop_share.spend(1.0)  # nothing is left of the share
            await steps(done, "write")

    try:
        async with asyncio.timeout(30):
            await database.loop_share.run(write())
    finally:
        await database.close()
    assert done == ["write"] * 3


async def test_batches_share_a_transaction_while_few_clicks_come(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    await upgrade(database)
    stored_before: list[int] = []
    with sqlite3.connect(make_url(sqlite_url).database or "") as other:

        async def write(tx: AsyncConnection) -> bool:
            count = other.execute("SELECT count(*) FROM facts WHERE value = 'batch'").fetchone()[0]
            stored_before.append(count)
            await put(tx, f"batch {len(stored_before)}", value="batch")
            return True

        assert await database.run_batches([write] * 4)
    assert stored_before == [0, 0, 0, 0]
    await database.close()


async def test_a_job_of_transactions_goes_at_the_pace_of_clicks_and_in_their_transactions(
    loop_share: LoopShare, clock: Clock, sqlite_url: str
) -> None:
    database = await busy_database(sqlite_url, loop_share)
    done: list[str] = []

    async def write(_: AsyncConnection) -> None:
        clock.spend(0.021)  # longer than a share
        done.append("written")

    async def job() -> None:
        for _ in range(3):
            await database.run(write)

    working = asyncio.create_task(loop_share.run(job()))
    await settled()
    for count in (1, 2, 3):
        assert len(done) == count - 1
        while len(done) < count:
            await click_batch(database)
        assert len(done) == count
    await click_batch(database)
    await working
    await database.close()


async def test_while_clicks_come_batches_join_their_transactions(
    loop_share: LoopShare, clock: Clock, sqlite_url: str
) -> None:
    database = await busy_database(sqlite_url, loop_share)
    done: list[str] = []

    async def write(tx: AsyncConnection) -> bool:
        await put(tx, f"batch {len(done)}")
        done.append("written")
        return True

    async def long(tx: AsyncConnection) -> bool:
        clock.spend(0.021)  # more than a share
        return await write(tx)

    writing = asyncio.create_task(database.run_batches([write, long, write]))
    await settled()
    assert done == []  # no transaction of its own
    await click_batch(database)
    assert names_in(sqlite_url) == ["batch 0", "batch 1"]  # what fits a share goes together
    await click_batch(database)
    assert await writing
    assert names_in(sqlite_url) == ["batch 0", "batch 1", "batch 2"]
    await database.close()


async def test_batches_that_join_clicks_end_with_their_share(
    loop_share: LoopShare, clock: Clock, sqlite_url: str
) -> None:
    database = await busy_database(sqlite_url, loop_share)
    done: list[str] = []

    async def write(_: AsyncConnection) -> bool:
        clock.spend(0.004)  # two fit a share, and a third would end after it
        done.append("written")
        return True

    writing = asyncio.create_task(database.run_batches([write] * 3))
    await settled()
    await click_batch(database)
    assert len(done) == 2
    await click_batch(database)
    assert await writing
    await database.close()


async def test_clicks_whose_transaction_empties_the_log_carry_no_other_work(
    loop_share: LoopShare, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = direct_sqlite.FULL_BATCHES
    monkeypatch.setattr(direct_sqlite, "FULL_BATCHES", log._replace(due=3 * log.of_clicks))
    database = await busy_database(sqlite_url, loop_share)
    assert database.direct
    database.direct._logged = 0  # of what made the schema
    for number in range(3):
        await click_batch(database, f"click {number}")
    assert not names_in_file(sqlite_url), "all of it is in the log"
    joining = asyncio.create_task(database.run(lambda tx: put(tx, "joined")))
    await settled()
    await click_batch(database, "click 3")
    assert names_in_file(sqlite_url) == [f"click {number}" for number in range(4)]
    assert not joining.done()
    await click_batch(database, "click 4")
    await joining
    assert names_in(sqlite_url)[-1] == "joined"
    assert "joined" not in names_in_file(sqlite_url)
    await database.close()


async def test_of_clicks_that_come_one_by_one_hardly_any_waits_for_the_log(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    await upgrade(database)
    assert database.direct
    database.direct._logged = 0  # of what made the schema
    for number in range(150):
        async with database.direct.transaction(1.0, urgent=True) as tx:
            tx.raw.execute("INSERT INTO facts (name, value) VALUES (?, '')", (f"click {number}",))
    assert not names_in_file(sqlite_url), "all of it is in the log"
    await database.close()


async def test_work_that_fails_in_a_transaction_of_clicks_is_undone_by_itself(
    loop_share: LoopShare, sqlite_url: str
) -> None:
    database = await busy_database(sqlite_url, loop_share)

    async def fail(tx: AsyncConnection) -> None:
        await put(tx, "failed")
        raise LookupError("no such thing")

    results = asyncio.gather(database.run(fail), database.run(lambda tx: put(tx, "beside")), return_exceptions=True)
    await settled()
    await click_batch(database, "click")
    failed, beside = await results
    assert isinstance(failed, LookupError)
    assert beside is None
    assert names_in(sqlite_url) == ["beside", "click"]
    await database.close()


async def test_work_fails_with_the_transaction_of_clicks_that_it_joined(loop_share: LoopShare, sqlite_url: str) -> None:
    database = await busy_database(sqlite_url, loop_share)

    async def end_all(tx: AsyncConnection) -> None:
        cast(SyncConnection, tx).raw.execute("ROLLBACK")  # as SQLite does on a full disk
        raise sqlite3.OperationalError("database or disk is full")

    results = asyncio.gather(database.run(lambda tx: put(tx, "first")), database.run(end_all), return_exceptions=True)
    await settled()
    with pytest.raises(DatabaseUnavailable, match="full"):
        await click_batch(database, "click")
    assert [type(result) for result in await results] == [DatabaseUnavailable] * 2
    assert names_in(sqlite_url) == []
    await click_batch(database, "click")
    assert names_in(sqlite_url) == ["click"]
    await database.close()


async def test_work_whose_caller_no_longer_waits_is_not_begun(loop_share: LoopShare, sqlite_url: str) -> None:
    database = await busy_database(sqlite_url, loop_share)
    waiting = asyncio.create_task(database.run(lambda tx: put(tx, "given up")))
    await settled()
    waiting.cancel()
    await settled()
    await click_batch(database, "click")
    assert waiting.cancelled()
    assert names_in(sqlite_url) == ["click"]
    await database.close()


async def test_work_goes_alone_once_clicks_stop_coming(monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> None:
    database = Database(sqlite_url)
    await upgrade(database)
    monkeypatch.setattr(limits, "OVERDUE_AFTER", 0.05)
    database.loop_share.batch_began(FULL_BATCH)
    async with asyncio.timeout(30):
        await database.run(lambda tx: put(tx, "alone"))
    assert names_in(sqlite_url) == ["alone"]
    await database.close()


async def busy_database(url: str, loop_share: LoopShare) -> Database:
    """One to which many clicks come, with this share for other work."""
    database = Database(url)
    await upgrade(database)
    assert database.direct
    vars(database.loop_share).update(vars(loop_share))
    database.direct._urgent_until = math.inf
    database.loop_share.batch_ended(FULL_BATCH)
    return database


async def click_batch(database: Database, *names: str) -> None:
    """A batch of clicks, which writes what is named."""
    assert database.direct
    async with database.direct.transaction(1.0, urgent=True) as tx:
        database.loop_share.batch_began(FULL_BATCH)
        for name in names:
            tx.raw.execute("INSERT INTO facts (name, value) VALUES (?, '')", (name,))
    database.loop_share.batch_ended(FULL_BATCH)
    await settled()


def names_in(url: str) -> list[str]:
    with closing(sqlite3.connect(make_url(url).database or "")) as other:
        return [name for (name,) in other.execute("SELECT name FROM facts WHERE value = '' ORDER BY name")]


def names_in_file(url: str) -> list[str]:
    """Those which the write-ahead log is not needed for."""
    path = Path(make_url(url).database or "").absolute().as_uri()
    with closing(sqlite3.connect(f"{path}?immutable=1", uri=True)) as other:
        return [name for (name,) in other.execute("SELECT name FROM facts WHERE value = '' ORDER BY name")]


async def put(tx: AsyncConnection, name: str, *, value: str = "") -> None:
    await tx.execute(text("INSERT INTO facts (name, value) VALUES (:name, :value)"), {"name": name, "value": value})
