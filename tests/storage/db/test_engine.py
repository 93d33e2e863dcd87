"""Writing to SQLite while others write: waited for, and never so that a stop has to wait too. Connections."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db import engine, pools, unavailable
from storage.db.engine import Database
from storage.db.postgres_connection import driver_of
from storage.db.schema import upgrade
from storage.db.unavailable import DatabaseUnavailable


async def test_a_writer_waits_for_another_process_and_can_be_broken_off(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = asyncio.Semaphore(0)

    def is_locked(error: BaseException) -> bool:
        refusals.release()
        return unavailable.is_locked(error)

    monkeypatch.setattr(pools, "BUSY_TIMEOUT_MS", 20)  # SQLite waits this long at a time
    monkeypatch.setattr(engine, "is_locked", is_locked)
    database = Database(sqlite_url)
    await upgrade(database)
    other = sqlite3.connect(make_url(sqlite_url).database or "", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def write() -> None:
        async with database.begin() as tx:
            await tx.execute(text("INSERT INTO facts (name, value) VALUES ('a', 'b')"))

    waiting = asyncio.create_task(write())
    given_up = asyncio.create_task(write())
    await refusals.acquire()
    given_up.cancel()
    for _ in range(3):
        await refusals.acquire()
    assert not waiting.done()
    other.execute("ROLLBACK")
    await asyncio.wait_for(waiting, 60)
    other.close()
    await database.close()


async def test_a_look_reads_what_is_committed_beside_a_writer(opened: Callable[[], Any]) -> None:
    async def count(tx: Any) -> int:
        return int((await tx.execute(text("SELECT count(*) FROM facts WHERE name = 'look'"))).scalar_one())

    async with opened() as database:
        assert await database.look(count) == 0
        async with database.begin() as tx:
            await tx.execute(text("INSERT INTO facts (name, value) VALUES ('look', 'b')"))
            assert await database.look(count) == 0
        assert await database.look(count) == 1


async def test_a_look_that_fails_leaves_nothing_behind(sqlite_url: str) -> None:
    async def fail(tx: Any) -> None:
        await tx.execute(text("SELECT count(*) FROM facts"))
        raise ValueError("mine")

    async def write(tx: Any) -> None:
        await tx.execute(text("DELETE FROM facts"))

    async def look(tx: Any) -> Any:
        return (await tx.execute(text("SELECT 1"))).scalar()

    database = Database(sqlite_url)
    await upgrade(database)
    with pytest.raises(ValueError, match="mine"):
        await database.look(fail)
    with pytest.raises(OperationalError, match="readonly"):
        await database.look(write)
    assert await database.look(look) == 1
    await database.close()


async def test_locking_transactions_follow_one_another_on_one_connection(postgres_url: str) -> None:
    """Also after the server ended it; and when the database is closed no connection stays open."""
    database, beside = Database(postgres_url), Database(postgres_url)

    async def server(tx: AsyncConnection) -> int:
        return int((await driver_of(tx).fetch("SELECT pg_backend_pid()"))[0][0])

    try:
        async with database.read(), database.read():
            pass  # the pool has two, and gives them in turn
        first = await database.run(server, lock="SELECT 1")
        assert await database.run(server, lock="SELECT 1") == first
        async with beside.begin() as tx:
            await tx.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": first})
        await asyncio.sleep(0.1)  # asyncpg hears of it
        other = await database.run(server, lock="SELECT 1")
        assert other != first
        await database.close()
        open_ones = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
        still = 1
        async with asyncio.timeout(10):
            while still:
                async with beside.read() as tx:
                    still = (await tx.execute(open_ones, {"pid": other})).scalar_one()
    finally:
        await database.close()
        await beside.close()


@pytest.mark.parametrize("short", [False, True])
async def test_a_full_disk_is_told_to_whoever_writes(sqlite_url: str, short: bool) -> None:
    database = Database(sqlite_url)
    await upgrade(database)

    async def write(tx: AsyncConnection) -> None:
        await tx.execute(text("PRAGMA max_page_count=1"))  # no page more than there are
        await tx.execute(text("INSERT INTO facts (name, value) VALUES ('a', :value)"), {"value": "x" * 100_000})

    async def begin() -> None:
        async with database.begin() as tx:
            await write(tx)

    with pytest.raises(DatabaseUnavailable, match="make room where the database is"):
        await (database.run(write) if short else begin())
    await database.close()
