"""Other work goes on step by step between rounds of clicks, and at once where there are none."""

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
from storage.db import pace as paces
from storage.db.direct_sqlite import SyncConnection
from storage.db.engine import Database
from storage.db.pace import MANY, Pace
from storage.db.schema import upgrade


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
    for module in (paces, joined_work, engine):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def pace(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Pace:
    """One whose rounds are expected for a minute and which lets work go on by them alone."""
    for name in ("CALM", "LONG", "WAIT"):
        monkeypatch.setattr(paces, name, 60.0)
    for name in ("PIECE", "JOINED"):
        monkeypatch.setattr(paces, name, 0.01)
    return Pace()


async def steps(done: list[str], name: str, *, spend: Callable[[], None] = lambda: None) -> str:
    for _ in range(3):
        spend()
        done.append(name)
        await asyncio.sleep(0)
    return name


async def settled() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_without_clicks_nothing_waits(pace: Pace, clock: Clock) -> None:
    pace.round_ended(MANY - 1)
    done: list[str] = []
    assert await pace.run(steps(done, "page", spend=lambda: clock.spend(0.011))) == "page"


async def test_work_that_takes_longer_than_its_piece_waits_for_the_next_round(pace: Pace, clock: Clock) -> None:
    pace.round_began(MANY)
    done: list[str] = []
    page = asyncio.create_task(pace.run(steps(done, "page", spend=lambda: clock.spend(0.021))))
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


async def test_work_that_is_cancelled_ends_and_keeps_no_one_waiting(pace: Pace) -> None:
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
    for name in ("CALM", "LONG", "WAIT"):
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
    pace: Pace, clock: Clock, sqlite_url: str
) -> None:
    database = await busy_database(sqlite_url, pace)
    done: list[str] = []

    async def write(_: AsyncConnection) -> None:
        clock.spend(0.021)  # longer than a piece
        done.append("written")

    async def job() -> None:
        for _ in range(3):
            await database.run(write)

    working = asyncio.create_task(pace.run(job()))
    await settled()
    for count in (1, 2, 3):
        assert len(done) == count - 1
        while len(done) < count:
            await a_round(database)
        assert len(done) == count
    await a_round(database)
    await working
    await database.close()


async def test_while_clicks_come_batches_join_their_transactions(pace: Pace, clock: Clock, sqlite_url: str) -> None:
    database = await busy_database(sqlite_url, pace)
    done: list[str] = []

    async def write(tx: AsyncConnection) -> bool:
        await put(tx, f"batch {len(done)}")
        done.append("written")
        return True

    async def long(tx: AsyncConnection) -> bool:
        clock.spend(0.021)  # more than a piece of a round
        return await write(tx)

    writing = asyncio.create_task(database.run_batches([write, long, write]))
    await settled()
    assert done == []  # no transaction of its own
    await a_round(database)
    assert names_in(sqlite_url) == ["batch 0", "batch 1"]  # what goes into a piece goes together
    await a_round(database)
    assert await writing
    assert names_in(sqlite_url) == ["batch 0", "batch 1", "batch 2"]
    await database.close()


async def test_batches_that_join_clicks_end_with_their_piece(pace: Pace, clock: Clock, sqlite_url: str) -> None:
    database = await busy_database(sqlite_url, pace)
    done: list[str] = []

    async def write(_: AsyncConnection) -> bool:
        clock.spend(0.004)  # two go into a piece, and a third would end after it
        done.append("written")
        return True

    writing = asyncio.create_task(database.run_batches([write] * 3))
    await settled()
    await a_round(database)
    assert len(done) == 2
    await a_round(database)
    assert await writing
    await database.close()


async def test_clicks_whose_transaction_empties_the_log_carry_no_other_work(
    pace: Pace, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = direct_sqlite.FULL_BATCHES
    monkeypatch.setattr(direct_sqlite, "FULL_BATCHES", log._replace(due=3 * log.of_clicks))
    database = await busy_database(sqlite_url, pace)
    assert database.direct
    database.direct._logged = 0  # of what made the schema
    for number in range(3):
        await a_round(database, f"click {number}")
    assert not names_in_file(sqlite_url), "all of it is in the log"
    joining = asyncio.create_task(database.run(lambda tx: put(tx, "joined")))
    await settled()
    await a_round(database, "click 3")
    assert names_in_file(sqlite_url) == [f"click {number}" for number in range(4)]
    assert not joining.done()
    await a_round(database, "click 4")
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


async def test_work_that_fails_in_a_transaction_of_clicks_is_undone_by_itself(pace: Pace, sqlite_url: str) -> None:
    database = await busy_database(sqlite_url, pace)

    async def fail(tx: AsyncConnection) -> None:
        await put(tx, "failed")
        raise LookupError("no such thing")

    results = asyncio.gather(database.run(fail), database.run(lambda tx: put(tx, "beside")), return_exceptions=True)
    await settled()
    await a_round(database, "click")
    failed, beside = await results
    assert isinstance(failed, LookupError)
    assert beside is None
    assert names_in(sqlite_url) == ["beside", "click"]
    await database.close()


async def test_work_fails_with_the_transaction_of_clicks_that_it_joined(pace: Pace, sqlite_url: str) -> None:
    database = await busy_database(sqlite_url, pace)

    async def end_all(tx: AsyncConnection) -> None:
        cast(SyncConnection, tx).raw.execute("ROLLBACK")  # as SQLite does on a full disk
        raise sqlite3.OperationalError("database or disk is full")

    results = asyncio.gather(database.run(lambda tx: put(tx, "first")), database.run(end_all), return_exceptions=True)
    await settled()
    with pytest.raises(sqlite3.OperationalError, match="full"):
        await a_round(database, "click")
    assert [type(result) for result in await results] == [sqlite3.OperationalError] * 2
    assert names_in(sqlite_url) == []
    await a_round(database, "click")
    assert names_in(sqlite_url) == ["click"]
    await database.close()


async def test_work_whose_caller_no_longer_waits_is_not_begun(pace: Pace, sqlite_url: str) -> None:
    database = await busy_database(sqlite_url, pace)
    waiting = asyncio.create_task(database.run(lambda tx: put(tx, "given up")))
    await settled()
    waiting.cancel()
    await settled()
    await a_round(database, "click")
    assert waiting.cancelled()
    assert names_in(sqlite_url) == ["click"]
    await database.close()


async def test_work_goes_alone_once_clicks_stop_coming(monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> None:
    database = Database(sqlite_url)
    await upgrade(database)
    monkeypatch.setattr(paces, "LONG", 0.05)
    database.pace.round_began(MANY)
    async with asyncio.timeout(30):
        await database.run(lambda tx: put(tx, "alone"))
    assert names_in(sqlite_url) == ["alone"]
    await database.close()


async def busy_database(url: str, pace: Pace) -> Database:
    """One to which many clicks come, in the rounds of `pace`."""
    database = Database(url)
    await upgrade(database)
    assert database.direct
    vars(database.pace).update(vars(pace))
    database.direct._urgent_until = math.inf
    database.pace.round_ended(MANY)
    return database


async def a_round(database: Database, *names: str) -> None:
    """A batch of clicks, which writes what is named."""
    assert database.direct
    async with database.direct.transaction(1.0, urgent=True) as tx:
        database.pace.round_began(MANY)
        for name in names:
            tx.raw.execute("INSERT INTO facts (name, value) VALUES (?, '')", (name,))
    database.pace.round_ended(MANY)
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
