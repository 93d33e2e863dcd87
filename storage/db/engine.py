"""The database of a process: the one way to write, the way to read, and where SQLite and PostgreSQL differ."""

import asyncio
import random
import sqlite3
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar, cast

from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.db import loop_share as limits
from storage.db.cooperative import yield_control
from storage.db.database_url import is_pooled, read_url
from storage.db.deferred_transaction import DeferredTransaction
from storage.db.direct_sqlite import DirectSqlite, run_without_suspending
from storage.db.joined_work import Alone, JoinedWork
from storage.db.loop_share import LoopShare
from storage.db.pools import create_engine
from storage.db.reused_connection import ReusedConnection
from storage.db.unavailable import (
    LOCKED,
    SILENT,
    CommitUnknown,
    DatabaseFile,
    DatabaseUnavailable,
    full_disk_named,
    is_locked,
    is_lost,
    is_read_only,
    is_unavailable,
)
from storage.db.write_lock import WriteLock

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[T]]

LOCKED_WAIT = 10.0  # seconds a writer waits for those of other processes
REST = 4.0  # times the time that a batch took: so long many clicks have the writer for themselves
SHARING = 5  # times limits.SHARE that batches of one writer may take in one transaction of SQLite
RECONNECT = 1.0  # seconds in which a connection that was refused is tried for again
FIRST_PAUSE = 0.1  # seconds before the second try; doubled each time
READY_WITHIN = 3.0  # seconds that work for a request which others wait for may take before it is stored


class Database:
    """One database, opened once per process: `begin()` or `run()` to write, `read()` or `look()` to read.

    On SQLite all writers of the process queue on one lock, first come first served; SQLite's own lock is between
    processes, and is waited for with the process's lock held. `run()` and `look()` are for short transactions, whose
    statements are done on the event loop; `begin()` and `read()` for all others, whose statements are done in a thread.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        parsed = read_url(url)
        self.sqlite = parsed.get_backend_name() == "sqlite"
        self.pooled = is_pooled(parsed)  # by PgBouncer
        self.file = DatabaseFile(parsed.database or "" if self.sqlite else "")
        self.loop_share = LoopShare()
        self.write_lock = WriteLock(self.loop_share)
        self._joined = JoinedWork(self.loop_share)
        self.direct = DirectSqlite(self.file, self.write_lock, self._joined) if self.sqlite else None
        self.engine = create_engine(parsed, self.file)
        self._held = ""
        # Behind PgBouncer a statement outside a transaction may find another server than its preparation did.
        in_transactions = self.sqlite or self.pooled
        self._lookups = self.engine if in_transactions else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._reused = ReusedConnection(self._connect_within, lambda: READY_WITHIN)

    def hold(self, reason: str) -> None:
        """Have nothing read or written, and DatabaseUnavailable raised with `reason`, until this is called with ''."""
        self._held = reason

    def check(self) -> None:
        """Raises DatabaseUnavailable while the database is held, or its file is not the one that was opened."""
        if self._held:
            raise DatabaseUnavailable(self._held)
        self.file.check()

    @asynccontextmanager
    async def begin(self, *, patience: float = LOCKED_WAIT) -> AsyncIterator[AsyncConnection]:
        """A write transaction, committed at the end or rolled back on an error.

        Raises DatabaseUnavailable if another process keeps SQLite locked for `patience` seconds.
        """
        self.check()
        if not self.sqlite:
            with full_disk_named():
                async with self._postgres_transaction() as connection:
                    yield connection
            return
        with full_disk_named():
            async with self._sqlite_transaction(patience) as connection:
                yield connection

    @asynccontextmanager
    async def _sqlite_transaction(self, patience: float) -> AsyncIterator[AsyncConnection]:
        async with self.write_lock:
            self.file.check()
            async with self.engine.connect() as connection:
                with self.write_lock.waits_outside():
                    await _begin(connection, patience)
                try:
                    self.file.check()  # it may have been moved while its lock was waited for
                    yield connection
                except BaseException:
                    await connection.rollback()
                    raise
                await connection.commit()
            self.file.check_same()

    @asynccontextmanager
    async def _postgres_transaction(self) -> AsyncIterator[AsyncConnection]:
        async with self._connected(self.engine) as connection:
            transaction = await connection.begin()
            try:
                yield connection
            except BaseException:
                with suppress(Exception):  # of a connection that is gone nothing can be rolled back, nor need be
                    await transaction.rollback()
                raise
            try:
                await transaction.commit()
            except Exception as error:
                if is_lost(error):
                    raise CommitUnknown from None
                raise

    @property
    def defers(self) -> bool:
        """Whether it has `run_deferred`: PostgreSQL without PgBouncer, where each statement may find another server."""
        return not (self.sqlite or self.pooled)

    async def run_deferred(self, work: Callable[[DeferredTransaction], Awaitable[T]]) -> T:
        """Run `work` on a connection where each statement is a transaction by itself, until it begins one.

        Raises StoredMeanwhile if what it read is not so any more. It waits for READY_WITHIN seconds for a lock, and as
        long for all before what is stored by one statement, or COMMIT; then it raises what `is_unavailable` knows.
        """
        self.check()
        async with self._reused.borrow() as connection:
            transaction = DeferredTransaction(connection)
            try:
                with transaction.broken_off_after(READY_WITHIN):
                    result = await work(transaction)
            except BaseException as error:
                await transaction.roll_back(leave=is_read_only(error))
                raise
            await transaction.commit()
            return result

    async def _run_locked(self, work: Work[T], lock: str) -> T:
        """`run` on PostgreSQL with a statement that locks rows: where that can be, both are one round trip."""
        if not self.defers:
            async with self.begin() as connection:
                await connection.exec_driver_sql(lock)
                return await work(connection)

        async def locked(transaction: DeferredTransaction) -> T:
            await transaction.begin(lock)
            return await work(transaction.connection)

        return await self.run_deferred(locked)

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        """A connection, as `_connect` gets it, for a while."""
        if self.sqlite:
            async with engine.connect() as connection:
                yield connection
            return
        connection = await self._connect(engine)
        try:
            yield connection
        finally:
            await connection.close()

    async def _connect(self, engine: AsyncEngine) -> AsyncConnection:
        """A connection; a server that just went away is tried again, after pauses that grow and differ."""
        deadline, pause = time.monotonic() + RECONNECT, FIRST_PAUSE
        while True:
            try:
                return await engine.connect()
            except Exception as error:
                if not is_unavailable(error) or time.monotonic() + pause > deadline:
                    raise
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
            pause *= 2

    async def _connect_within(self) -> AsyncConnection:
        """A connection for what is READY_WITHIN seconds; of an idle one the server is asked whether it still is."""
        try:
            async with asyncio.timeout(READY_WITHIN):
                return await self._connect(self._lookups)
        except TimeoutError:
            raise DatabaseUnavailable(SILENT) from None

    async def run(self, work: Work[T], *, patience: float = LOCKED_WAIT, lock: str = "") -> T:
        """Run `work(tx)` in a short write transaction, committed when this returns; it awaits nothing but `tx`.

        Other work of the event loop has its turn afterwards. `lock`: a statement with which it begins on PostgreSQL,
        to lock rows. Raises DatabaseUnavailable if SQLite's transaction cannot begin within `patience` seconds.
        """
        if self.direct is None:
            if lock:
                return await self._run_locked(work, lock)
            async with self.begin() as tx:
                return await work(tx)
        if self.loop_share.is_busy:
            with suppress(Alone), full_disk_named():
                return cast(T, await self._joined.run(lambda tx: run_without_suspending(work(tx))))
        async with self.direct.transaction(patience) as direct:
            result = run_without_suspending(work(cast(AsyncConnection, direct)))
        await asyncio.sleep(0)
        return result

    async def run_batches(self, batches: Iterable[Work[bool]]) -> bool:
        """Run batches as `run` does, until one returns False; whether all of them were run.

        On SQLite as many are committed together as the share of the event loop allows. While many clicks come, they
        join a transaction of clicks. Else up to SHARING of these share a transaction, unless another writer waits,
        which then has the event loop for as long. On PostgreSQL each is committed by itself, and many clicks have the
        loop four times as long.
        """
        remaining = deque(batches)
        while remaining:
            if self.direct is not None and self.loop_share.is_busy:
                if not await self.run(lambda tx: _run_share(remaining, tx, limits.JOINED_SHARE)):
                    return False
                continue
            began = time.perf_counter()
            if not await self._run_some(remaining):
                return False
            rest = REST if self.loop_share.is_busy else 1.0 if self.write_lock.waiting else 0.0
            await asyncio.sleep((time.perf_counter() - began) * rest)
        return True

    async def _run_some(self, batches: deque[Work[bool]]) -> bool:
        if self.direct is None:
            return await self.run(batches.popleft())
        async with self.direct.transaction(LOCKED_WAIT) as direct:
            for _ in range(SHARING):
                if not run_without_suspending(_run_share(batches, cast(AsyncConnection, direct), limits.SHARE)):
                    return False
                if self.write_lock.waiting or self.loop_share.is_busy or not batches:
                    break
                await asyncio.sleep(0)
        return True

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A consistent view to read from; nothing is written."""
        self.check()
        async with self._connected(self.engine) as connection:
            if self.sqlite:
                await connection.exec_driver_sql("BEGIN")
                await yield_control()
            try:
                yield connection
            finally:
                await connection.rollback()

    async def look(self, work: Work[T]) -> T:
        """Run `work(tx)`, a few short reads that await nothing but `tx`; each is a consistent view by itself.

        On PostgreSQL a read then costs one round trip: BEGIN and ROLLBACK would be two more.
        """
        self.check()
        if self.direct is None:
            return await self._look_at_postgres(work)
        try:
            return cast(T, self.direct.read(cast(Any, work)))
        except (OperationalError, sqlite3.OperationalError) as error:
            if not is_locked(error):
                raise
        async with self.read() as tx:
            return await work(tx)

    async def _look_at_postgres(self, work: Work[T]) -> T:
        """Reads may be repeated: once, if the connection is lost on the way."""
        try:
            async with self._connected(self._lookups) as connection:
                return await work(connection)
        except Exception as error:
            if not is_lost(error):
                raise
        async with self._connected(self._lookups) as connection:
            return await work(connection)

    async def close(self) -> None:
        await self._reused.close()
        await self.engine.dispose()
        if self.direct is not None:
            self.direct.close()
        self.file.close()


async def _run_share(batches: deque[Work[bool]], tx: AsyncConnection, seconds: float) -> bool:
    """The next batches, one at least, as many as so many seconds are enough for; False if one returned that."""
    began = time.perf_counter()
    ends = began + seconds
    while batches:
        if not await batches.popleft()(tx):
            return False
        ended = time.perf_counter()
        if ended + (ended - began) > ends:  # the next one takes as long as this one
            break
        began = ended
    return True


async def _begin(connection: AsyncConnection, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
            return
        except OperationalError as error:
            if not is_locked(error):
                raise
            if time.monotonic() >= deadline:
                raise DatabaseUnavailable(LOCKED) from None


async def behind_pooler(database: Database) -> bool:
    """Whether a pooler stands before the server: the process a connection was given is not the one it reaches."""
    async with database.read() as tx:
        met = (await tx.exec_driver_sql("SELECT pg_backend_pid()")).scalar_one()
        raw = await tx.get_raw_connection()
        assert raw.driver_connection is not None  # noqa: S101 - it has just answered
        return bool(raw.driver_connection.get_server_pid() != met)
