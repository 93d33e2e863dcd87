"""Writing to SQLite while others write: waited for, and never so that a stop has to wait too."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from storage.db import engine, unavailable
from storage.db.engine import Database
from storage.db.schema import upgrade


async def test_a_writer_waits_for_another_process_and_can_be_broken_off(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = asyncio.Semaphore(0)

    def is_locked(error: BaseException) -> bool:
        refusals.release()
        return unavailable.is_locked(error)

    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 20)  # SQLite waits this long at a time
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
