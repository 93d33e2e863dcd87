"""Writing to SQLite while others write: waited for, and never so that a stop has to wait too."""

import asyncio
import sqlite3

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from storage.db.engine import Database
from storage.db.schema import upgrade


@pytest.mark.slow
async def test_a_writer_waits_for_another_process_and_can_be_broken_off(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    await upgrade(database)
    other = sqlite3.connect(make_url(sqlite_url).database or "", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def write() -> None:
        async with database.begin() as tx:
            await tx.execute(text("INSERT INTO facts (name, value) VALUES ('a', 'b')"))

    waiting = asyncio.create_task(write())
    given_up = asyncio.create_task(write())
    await asyncio.sleep(0.1)
    given_up.cancel()
    await asyncio.sleep(1.7)  # longer than SQLite waits at a time
    assert not waiting.done()
    other.execute("ROLLBACK")
    await asyncio.wait_for(waiting, 3)
    other.close()
    await database.close()
