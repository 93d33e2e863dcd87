"""Where the two databases differ, and the only place: pragmas, pools, transactions."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

LOCKED_WAIT = 10.0  # seconds a writer waits for those of other processes
BUSY_TIMEOUT_MS = 1_500  # SQLite's own waiting cannot be broken off: this much at a time
CONNECT_TIMEOUT = 10  # seconds PostgreSQL is given to take a connection


class Database:
    """One database, opened once per process: `begin()` to write, `read()` to look.

    On SQLite writers of this process take turns on a lock instead of on SQLite's busy handler, which sleeps;
    writers of other processes are waited for by the busy timeout.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.sqlite = make_url(url).get_backend_name() == "sqlite"
        self.engine = create_engine(url)
        self.turn = asyncio.Lock()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A write transaction, committed at the end or rolled back on an error."""
        if not self.sqlite:
            async with self.engine.begin() as connection:
                yield connection
            return
        async with self.turn, self.engine.connect() as connection:
            await _begin(connection)
            try:
                yield connection
            except BaseException:
                await connection.rollback()
                raise
            await connection.commit()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A consistent view to read from; nothing is written."""
        async with self.engine.connect() as connection:
            if self.sqlite:
                await connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                await connection.rollback()

    async def close(self) -> None:
        await self.engine.dispose()


async def _begin(connection: AsyncConnection) -> None:
    until = time.monotonic() + LOCKED_WAIT
    while True:
        try:
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
            return
        except OperationalError as error:
            if not locked(error) or time.monotonic() >= until:
                raise


def create_engine(url: str) -> AsyncEngine:
    """An engine for `sqlite+aiosqlite:///file` or `postgresql+asyncpg://…`; values never stand in its errors."""
    parsed = with_driver(make_url(url))
    if parsed.get_backend_name() == "sqlite":
        engine = create_async_engine(
            parsed, pool_size=5, max_overflow=20, connect_args={"isolation_level": None}, hide_parameters=True
        )
        event.listen(engine.sync_engine, "connect", _set_pragmas)
        return engine
    return create_async_engine(
        parsed, pool_size=10, max_overflow=20, pool_pre_ping=True, connect_args={"timeout": CONNECT_TIMEOUT},
        hide_parameters=True,
    )  # fmt: skip


def with_driver(url: URL) -> URL:
    """`sqlite:///x` and `postgresql://…` as people write them, with the driver we use."""
    drivers = {
        "sqlite": "sqlite+aiosqlite",
        "postgresql": "postgresql+asyncpg",
        "postgres": "postgresql+asyncpg",
    }
    return url.set(drivername=drivers.get(url.drivername.partition("+")[0], url.drivername))


def _set_pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "temp_store=MEMORY",
        "cache_size=-16000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def locked(error: BaseException) -> bool:
    """Whether SQLite said that somebody else is writing."""
    cause = getattr(error, "orig", error)
    return isinstance(cause, sqlite3.OperationalError) and "locked" in str(cause)
