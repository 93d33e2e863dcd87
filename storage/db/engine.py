"""The database of a process: the one way to write, the way to read, and where SQLite and PostgreSQL differ."""

import asyncio
import re
import sqlite3
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeVar, cast

from sqlalchemy import event
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import InvalidatePoolError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from storage.db.direct_sqlite import DirectSqlite, run_without_suspending
from storage.db.unavailable import DatabaseFile, DatabaseUnavailable, is_locked, is_read_only

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[T]]

LOCKED_WAIT = 10.0  # seconds a writer waits for those of other processes
WAL_WAIT = 5.0  # seconds, of a process that meets a database in the making
BUSY_TIMEOUT_MS = 1_500  # SQLite's own waiting cannot be broken off: this much at a time
SHARING = 5  # batches of one writer that share a transaction of SQLite
ASKED_AFTER = 1.0  # seconds that a connection rested, after which PostgreSQL is asked whether it still is
CONNECT_TIMEOUT = 10  # seconds PostgreSQL is given to take a connection


class WriteLock(asyncio.Lock):
    """The lock of this process's writers, which knows how many wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0

    async def acquire(self) -> Literal[True]:
        self.waiting += 1
        try:
            return await super().acquire()
        finally:
            self.waiting -= 1


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
        self.file = DatabaseFile(parsed.database or "" if self.sqlite else "")
        self.write_lock = WriteLock()
        self.direct = DirectSqlite(self.file, self.write_lock) if self.sqlite else None
        self.engine = create_engine(parsed, self.file)
        self._lookups = self.engine if self.sqlite else self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def begin(self, *, patience: float = LOCKED_WAIT) -> AsyncIterator[AsyncConnection]:
        """A write transaction, committed at the end or rolled back on an error.

        Raises DatabaseUnavailable if another process keeps SQLite locked for `patience` seconds.
        """
        if not self.sqlite:
            async with self.engine.begin() as connection:
                yield connection
            return
        async with self.write_lock:
            self.file.check()
            async with self.engine.connect() as connection:
                await _begin(connection, patience)
                try:
                    yield connection
                except BaseException:
                    await connection.rollback()
                    raise
                await connection.commit()
            self.file.check()

    async def run(self, work: Work[T], *, patience: float = LOCKED_WAIT) -> T:
        """Run `work(tx)` in a short write transaction, committed when this returns; it awaits nothing but `tx`.

        Raises DatabaseUnavailable if SQLite's transaction cannot begin within `patience` seconds.
        """
        if self.direct is None:
            async with self.begin() as tx:
                return await work(tx)
        async with self.direct.transaction(patience) as direct:
            return run_without_suspending(work(cast(AsyncConnection, direct)))

    async def run_batches(self, batches: Iterable[Work[bool]]) -> bool:
        """Run batches as `run` does, until one returns False; whether all of them were run.

        Those that another writer waits for are committed one by one, and then it has at least as much of the event
        loop; else some of them share a transaction, between which other work of the event loop runs.
        """
        remaining = deque(batches)
        while remaining:
            began = time.perf_counter()
            if not await self._run_some(remaining):
                return False
            if self.write_lock.waiting:
                await asyncio.sleep(time.perf_counter() - began)
        return True

    async def _run_some(self, batches: deque[Work[bool]]) -> bool:
        if self.direct is None:
            return await self.run(batches.popleft())
        async with self.direct.transaction(LOCKED_WAIT) as direct:
            for _ in range(SHARING):
                if not run_without_suspending(batches.popleft()(cast(AsyncConnection, direct))):
                    return False
                if self.write_lock.waiting or not batches:
                    break
                await asyncio.sleep(0)
        return True

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A consistent view to read from; nothing is written."""
        self.file.check()
        async with self.engine.connect() as connection:
            if self.sqlite:
                await connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                await connection.rollback()

    async def look(self, work: Work[T]) -> T:
        """Run `work(tx)`, a few short reads that await nothing but `tx`; each is a consistent view by itself.

        On PostgreSQL a read then costs one round trip: BEGIN and ROLLBACK would be two more.
        """
        if self.direct is None:
            async with self._lookups.connect() as connection:
                return await work(connection)
        try:
            return cast(T, self.direct.read(cast(Any, work)))
        except (OperationalError, sqlite3.OperationalError) as error:
            if not is_locked(error):
                raise
        async with self.read() as tx:
            return await work(tx)

    async def close(self) -> None:
        await self.engine.dispose()
        if self.direct is not None:
            self.direct.close()
        self.file.close()


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
                raise DatabaseUnavailable("the database is locked by another process") from None


def create_engine(url: URL, file: DatabaseFile) -> AsyncEngine:
    """An engine for `sqlite+aiosqlite:///file` or `postgresql+asyncpg://…`; values never stand in its errors."""
    if url.get_backend_name() == "sqlite":
        engine = create_async_engine(
            url, pool_size=5, max_overflow=20, connect_args={"isolation_level": None}, hide_parameters=True
        )

        def connected(connection: Any, _record: Any) -> None:
            file.remember()
            _set_pragmas(connection)

        event.listen(engine.sync_engine, "connect", connected)
        return engine
    engine = create_async_engine(
        url, pool_size=10, max_overflow=20, connect_args={"timeout": connect_arguments(url)["timeout"]},
        hide_parameters=True,
    )  # fmt: skip
    event.listen(engine.sync_engine, "handle_error", _leave_standby)
    event.listen(engine.sync_engine, "checkin", _note_return)
    event.listen(engine.sync_engine, "checkout", _check_connection)
    return engine


def _note_return(_connection: Any, record: Any) -> None:
    record.info["returned_at"] = time.monotonic()


def _check_connection(connection: Any, record: Any, _fairy: Any) -> None:
    """A connection that the server has closed is given up with all others of that time; one that was not used for a
    while is asked. (`pool_pre_ping` asks each time, which takes three round trips.)"""
    rested = time.monotonic() - record.info.get("returned_at", time.monotonic())
    alive = not connection.driver_connection.is_closed()
    if alive and rested > ASKED_AFTER:
        try:
            connection.ping()
        except connection.dbapi.Error:
            alive = False
    if not alive:
        raise InvalidatePoolError


def _leave_standby(context: Any) -> None:
    """A server that turned into a standby refuses to write: connections to it are given up, as if it were away."""
    if is_read_only(context.original_exception):
        context.is_disconnect = True


def read_url(text: str) -> URL:
    """A database's URL as people write it, with the driver used here. Raises ArgumentError or ValueError for no URL.

    `sqlite:///x`, `postgres://…`; several hosts as libpq takes them, `postgresql://user:password@db1:5432,db2:5432/name`,
    or as `?host=db1:5432&host=db2:5432`: the first that can be written to is used (`target_session_attrs=read-write`
    unless the URL says otherwise), https://www.postgresql.org/docs/15/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS.
    """
    address = _HOSTS.fullmatch(text)
    url = make_url(text if address is None else f"{address['before']}/{address['after']}")
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
    url = url.set(drivername=drivers.get(url.drivername.partition("+")[0], url.drivername))
    if address is not None:
        hosts = [host if _PORT.search(host) else f"{host}:5432" for host in address["hosts"].split(",")]
        url = url.update_query_dict({"host": hosts})
    if "sslmode" in url.query:  # libpq's word for what asyncpg calls ssl
        url = url.difference_update_query(["sslmode"]).update_query_dict({"ssl": url.query["sslmode"]})
    if len(hosts_of(url)) > 1 and "target_session_attrs" not in url.query:
        url = url.update_query_dict({"target_session_attrs": "read-write"})
    return url


_HOSTS = re.compile(r"(?P<before>postgres[\w+]*://(?:[^@/?]*@)?)(?P<hosts>[^@/?,]+(?:,[^@/?,]+)+)(?:/(?P<after>.*))?")
_PORT = re.compile(r":\d+$")


def hosts_of(url: URL) -> tuple[str, ...]:
    """The hosts of PostgreSQL that a URL names."""
    named = url.query.get("host", ())
    return (named,) if isinstance(named, str) else (*named,) or ((url.host,) if url.host else ())


def connect_arguments(url: URL) -> dict[str, Any]:
    """What asyncpg connects with. A host that does not answer leaves the others their part of the time."""
    dialect = asyncpg_dialect.dialect()  # type: ignore[no-untyped-call]
    _, arguments = dialect.create_connect_args(url)  # type: ignore[no-untyped-call]
    return {**arguments, "timeout": max(2, CONNECT_TIMEOUT / max(1, len(hosts_of(url))))}


def _set_pragmas(connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    _use_wal(cursor)
    for pragma in (
        "synchronous=FULL",
        "foreign_keys=ON",
        "temp_store=MEMORY",
        "cache_size=-16000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _use_wal(cursor: Any) -> None:
    """SQLite does not wait for another process that makes the same empty file a database: so this does, briefly."""
    deadline = time.monotonic() + WAL_WAIT
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if not is_locked(error) or time.monotonic() >= deadline:
                raise
        time.sleep(0.01)
