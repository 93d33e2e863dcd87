"""Write transactions of a hot path, without a thread hop per statement.

On SQLite each statement through aiosqlite waits for a thread and for the interpreter lock several times: half a
millisecond each. Here statements run at once on a connection of their own; only COMMIT, which waits for the disk, runs
in a thread. On PostgreSQL this is an ordinary transaction.
"""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import NullPool

from storage.db.engine import Database
from storage.db.write_lock import Helper, Unavailable, WriteLock
from storage.ledger.errors import CasinoFluxError

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[T]]
_PAUSE = 0.001  # seconds between two tries for a lock that is not on the lock file
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-32000", "wal_autocheckpoint=8000")


class Busy(CasinoFluxError):
    """Somebody else kept the database locked for too long."""


class DirectSqlite:
    """One process' straight way into the database. `patience` is how many seconds a lock is waited for."""

    def __init__(self, database: Database, *, patience: float = 10.0) -> None:
        self._database = database
        self._patience = patience
        self._path = make_url(database.url).database or ""
        self._raw: sqlite3.Connection | None = None
        self._connection: Connection | None = None
        self._committer: Helper | None = None
        self._turn: WriteLock | None = None
        self._late: asyncio.Task[None] | None = None

    async def open(self) -> None:
        if not self._database.sqlite:
            return
        raw = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=0, cached_statements=256
        )
        for pragma in _PRAGMAS:
            raw.execute(f"PRAGMA {pragma}")
        engine = create_engine("sqlite://", creator=lambda: _Borrowed(raw), poolclass=NullPool)
        self._raw, self._connection = raw, engine.connect()
        self._committer = Helper("commit")
        # The processes' click writers take turns on this file: so do we, that nobody sleeps in SQLite's busy handler.
        self._turn = WriteLock(self._path + ".turn")

    async def close(self) -> None:
        if self._late is not None:
            self._late.cancel()
        if self._committer is not None:
            self._committer.end()
        if self._connection is not None:
            self._connection.close()
        if self._raw is not None:
            self._raw.close()
        if self._turn is not None:
            self._turn.close()
        self._raw, self._connection, self._committer, self._turn = None, None, None, None

    async def run(self, work: Work[T]) -> T:
        """Run `work` in a write transaction, committed when this returns. It may await nothing but the database.

        Raises Busy when the lock cannot be had in time.
        """
        if not self._database.sqlite:
            async with self._database.begin() as tx:
                return await work(tx)
        if self._raw is None or self._connection is None or self._committer is None or self._turn is None:
            raise Busy("the database is not open")
        end = time.monotonic() + self._patience
        await self._mine(end)
        try:
            await self._begin(self._raw, self._turn, end)
            result = run_without_suspending(work(cast(AsyncConnection, SyncConnection(self._connection, self._raw))))
            await self._committer.do(self._commit)
            return result
        except BaseException:
            if self._raw.in_transaction:
                self._raw.execute("ROLLBACK")
            self._turn.give()
            raise
        finally:
            self._database.turn.release()

    def _commit(self) -> None:
        """In the helper's thread: the next process need not wait for our event loop."""
        if self._raw is not None and self._turn is not None:
            self._raw.execute("COMMIT")
            self._turn.give()

    async def _mine(self, end: float) -> None:
        """The turn among this process' own writers."""
        try:
            if self._database.turn.locked():
                await asyncio.wait_for(self._database.turn.acquire(), end - time.monotonic())
            else:
                await self._database.turn.acquire()
        except TimeoutError:
            raise Busy("another transaction of this process does not end") from None

    async def _begin(self, raw: sqlite3.Connection, turn: WriteLock, end: float) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
        try:
            await turn.take(end - time.monotonic())
        except Unavailable:
            self._late = asyncio.create_task(_hand_back(turn))
            raise Busy("another process is writing and does not end") from None
        while not _try_begin(raw):
            if time.monotonic() >= end:
                raise Busy("the database is locked by somebody else")
            await asyncio.sleep(_PAUSE)


async def _hand_back(turn: WriteLock) -> None:
    """A turn that came too late is given on: everybody else waits for it."""
    await turn.take(24 * 3600.0)
    turn.give()


def _try_begin(raw: sqlite3.Connection) -> bool:
    try:
        raw.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            return False
        raise
    return True


def away(error: BaseException) -> bool:
    """Whether the database is at fault, not what was to be written: locked, full, gone."""
    if isinstance(error, Busy | OSError | TimeoutError | sqlite3.OperationalError):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or isinstance(error.orig, sqlite3.OperationalError | OSError)
    return type(error).__module__.startswith("asyncpg") and "Connection" in type(error).__name__


class SyncConnection:
    """Enough of an AsyncConnection for storage's functions; every statement is done when it is asked."""

    def __init__(self, connection: Connection, raw: sqlite3.Connection) -> None:
        self._connection = connection
        self._raw = raw

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        return self._connection.execute(statement, parameters)

    def fetch(self, text: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Rows of a statement in SQLite's own words."""
        return self._raw.execute(text, values).fetchall()

    def insert(self, table: str, text: str, rows: Sequence[tuple[Any, ...]]) -> list[int]:
        """Insert rows under ids of our own, put before each: nobody else writes meanwhile, and asking costs as much."""
        last: int = self._raw.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0]  # noqa: S608
        ids = list(range(last + 1, last + 1 + len(rows)))
        self._raw.executemany(text, [(number, *row) for number, row in zip(ids, rows, strict=True)])
        return ids


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


def run_without_suspending(work: Awaitable[T]) -> T:
    """The result of a coroutine that never waits. Raises RuntimeError for one that does."""
    steps = work.__await__()
    try:
        next(steps)
    except StopIteration as done:
        return cast(T, done.value)
    raise RuntimeError("work on the straight way may ask nothing but the database")
