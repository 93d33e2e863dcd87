"""Write transactions of a hot path, without a thread hop per statement.

On SQLite each statement through aiosqlite waits for a thread and for the interpreter lock several times: half a
millisecond each. Here the same SQLAlchemy statements run at once on a connection of their own; only COMMIT, which waits
for the disk, runs in a thread. On PostgreSQL this is an ordinary transaction.
"""

import asyncio
import fcntl
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Table, create_engine
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import NullPool

from storage.engine import Database
from storage.ledger.errors import CasinoFluxError

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[T]]
_PAUSE = 0.001  # seconds between two tries for a lock that another process holds


class Busy(CasinoFluxError):
    """Somebody else kept the database locked for too long."""


class Straight:
    """One process' straight way into the database. `patience` is how many seconds a lock is waited for."""

    def __init__(self, database: Database, *, patience: float = 5.0) -> None:
        self._database = database
        self._patience = patience
        self._path = make_url(database.url).database or ""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._raw: sqlite3.Connection | None = None
        self._connection: Connection | None = None
        self._lock = -1

    async def open(self) -> None:
        if not self._database.sqlite:
            return
        # The click writer's processes take turns on this file; so do we, that nobody sleeps in SQLite's busy handler.
        self._lock = os.open(self._path + ".turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        raw = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=0)
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "cache_size=-32000",
            "wal_autocheckpoint=8000",
        ):
            raw.execute(f"PRAGMA {pragma}")
        engine = create_engine("sqlite://", creator=lambda: _Borrowed(raw), poolclass=NullPool)
        self._raw, self._connection = raw, engine.connect()

    async def close(self) -> None:
        self._thread.shutdown()
        if self._connection is not None:
            self._connection.close()
        if self._raw is not None:
            self._raw.close()
        if self._lock >= 0:
            os.close(self._lock)
        self._raw, self._connection, self._lock = None, None, -1

    async def run(self, work: Work[T]) -> T:
        """Run `work` in a write transaction, committed when this returns. It may await nothing but the database.

        Raises Busy when the lock cannot be had in time.
        """
        if self._raw is None or self._connection is None:
            async with self._database.begin() as tx:
                return await work(tx)
        async with self._database.turn:
            await self._begin(self._raw)
            try:
                result = _driven(work(cast(AsyncConnection, AtOnce(self._connection, self._raw))))
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._thread, self._raw.execute, "COMMIT")
            except BaseException:
                if self._raw.in_transaction:
                    self._raw.execute("ROLLBACK")
                raise
            finally:
                fcntl.flock(self._lock, fcntl.LOCK_UN)
            return result

    async def _begin(self, raw: sqlite3.Connection) -> None:
        end = time.monotonic() + self._patience
        while not self._try_begin(raw):
            if time.monotonic() >= end:
                raise Busy("the database is locked by somebody else")
            await asyncio.sleep(_PAUSE)

    def _try_begin(self, raw: sqlite3.Connection) -> bool:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        try:
            raw.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            if "locked" in str(error) or "busy" in str(error):
                return False
            raise
        return True


class AtOnce:
    """Enough of an AsyncConnection for storage's functions; every statement is done when it is asked."""

    def __init__(self, connection: Connection, raw: sqlite3.Connection) -> None:
        self._connection = connection
        self._raw = raw

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        return self._connection.execute(statement, parameters)

    def insert(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """Insert rows under ids of our own: nobody else writes meanwhile. Half the cost of asking for them."""
        last = self._raw.execute(f"SELECT coalesce(max(id), 0) FROM {table.name}").fetchone()[0]  # noqa: S608
        names = tuple(rows[0])
        binds = [_binding(table, name) for name in names]
        ids = list(range(last + 1, last + 1 + len(rows)))
        self._raw.executemany(
            _insert_text(table, names),
            [
                (number, *[bind(row[name]) if bind else row[name] for name, bind in zip(names, binds, strict=True)])
                for number, row in zip(ids, rows, strict=True)
            ],
        )
        return ids


_DIALECT = sqlite.dialect()


@cache
def _insert_text(table: Table, names: tuple[str, ...]) -> str:
    marks = ", ".join("?" * (len(names) + 1))
    return f"INSERT INTO {table.name} (id, {', '.join(names)}) VALUES ({marks})"  # noqa: S608 - our own names


@cache
def _binding(table: Table, name: str) -> Callable[[Any], Any] | None:
    """How a column's values are written, as SQLAlchemy does it."""
    kind = table.c[name].type
    return kind.dialect_impl(_DIALECT).bind_processor(_DIALECT)


class _Borrowed:
    """A DBAPI connection whose transactions somebody else begins and ends."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def commit(self) -> None:
        """Not ours to do."""

    def rollback(self) -> None:
        """Not ours to do."""

    def close(self) -> None:
        """Not ours to do."""


def _driven(work: Awaitable[T]) -> T:
    """The result of a coroutine that never waits. Raises RuntimeError for one that does."""
    steps = work.__await__()
    try:
        next(steps)
    except StopIteration as done:
        return cast(T, done.value)
    raise RuntimeError("work on the straight way may ask nothing but the database")
