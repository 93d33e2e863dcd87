"""The database of a process: the one way to write, the way to read, and where SQLite and PostgreSQL differ."""

import asyncio
import os
import random
import re
import socket
import sqlite3
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal, TypeVar, cast

from sqlalchemy import event
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import InvalidatePoolError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from storage.db import one_hop
from storage.db.direct_sqlite import DirectSqlite, run_without_suspending
from storage.db.joined_work import Alone, JoinedWork
from storage.db.pace import PIECE, Pace
from storage.db.turns import give_way
from storage.db.unavailable import (
    CommitUnknown,
    DatabaseFile,
    DatabaseUnavailable,
    is_locked,
    is_lost,
    is_read_only,
    is_unavailable,
)

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[T]]

LOCKED_WAIT = 10.0  # seconds a writer waits for those of other processes
WAL_WAIT = 5.0  # seconds, of a process that meets a database in the making
BUSY_TIMEOUT_MS = 1_500  # SQLite's own waiting cannot be broken off: this much at a time
REST = 4.0  # times the time that a batch took: so long many clicks have the writer for themselves
SHARING = 5  # times PIECE that the batches of one writer take which share a transaction of SQLite
ASKED_AFTER = 1.0  # seconds that a connection rested, after which PostgreSQL is asked whether it still is
CONNECT_TIMEOUT = 10  # seconds PostgreSQL is given to take a connection
RECONNECT = 1.0  # seconds in which a connection that was refused is tried for again
FIRST_PAUSE = 0.1  # seconds before the second try; doubled each time
SILENT_MS = 10_000  # after which a server that confirms nothing counts as gone
KEPT_OPEN = 5  # connections of a process
MOST_OPEN = 30  # the same, at most; storage.db.pool_size lowers it to what the server allows
AT_HAND = 0.2  # seconds that the connection of a locking transaction is kept out of the pool for the next one


class WriteLock(asyncio.Lock):
    """The lock of this process's writers, which knows how many wait for it; who holds it waits for no turn."""

    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self.waiting = 0
        self._pace = pace

    async def acquire(self) -> Literal[True]:
        self.waiting += 1
        try:
            await super().acquire()
            self._pace.held_up = self._pace.stepping
            return True
        finally:
            self.waiting -= 1

    def release(self) -> None:
        self._pace.held_up = False
        super().release()


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
        self.pace = Pace()
        self.write_lock = WriteLock(self.pace)
        self._joined = JoinedWork(self.pace)
        self.direct = DirectSqlite(self.file, self.write_lock, self._joined) if self.sqlite else None
        self.engine = create_engine(parsed, self.file)
        self._held = ""
        # Behind PgBouncer a statement outside a transaction may find another server than its preparation did.
        in_transactions = self.sqlite or self.pooled
        self._lookups = self.engine if in_transactions else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._at_hand: AsyncConnection | None = None  # of the locking transaction that ended last
        self._giving_back: asyncio.TimerHandle | None = None
        self._given_back: asyncio.Task[None] | None = None

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
            async with self._postgres_transaction() as connection:
                yield connection
            return
        async with self.write_lock:
            self.file.check()
            async with self.engine.connect() as connection:
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

    @asynccontextmanager
    async def _begin_locked(self, lock: str) -> AsyncIterator[AsyncConnection]:
        """`begin` on PostgreSQL with a statement that locks rows: both are one round trip.

        The driver itself begins and ends the transaction: by SQLAlchemy either takes the hub as long as a statement.
        """
        self.check()
        if self.pooled:
            async with self._postgres_transaction() as connection:
                await connection.exec_driver_sql(lock)
                yield connection
            return
        async with self._one_at_hand() as connection:
            driver = driver_of(connection)
            try:
                await driver.execute(f"BEGIN; {lock}")
                yield connection
            except BaseException as error:
                await _roll_back(connection, driver, leave=is_read_only(error))
                raise
            try:
                await driver.execute("COMMIT")
            except BaseException as error:
                await connection.invalidate()
                if is_lost(error):
                    raise CommitUnknown from None
                raise

    @asynccontextmanager
    async def _one_at_hand(self) -> AsyncIterator[AsyncConnection]:
        """A connection for a locking transaction: that of the one before, if it ended a moment ago.

        Transactions that follow one another so spare the pool, and PostgreSQL has all it knows in one process.
        """
        connection = self._taken_at_hand()
        if connection is None:
            connection = await self._connect(self._lookups)
        try:
            yield connection
        finally:
            if self._at_hand is not None or connection.in_transaction() or not _is_open(connection):
                await connection.close()
            else:
                self._at_hand = connection
                self._giving_back = asyncio.get_running_loop().call_later(AT_HAND, self._give_back)

    def _taken_at_hand(self) -> AsyncConnection | None:
        connection = self._at_hand
        if connection is None:
            return None
        if not _is_open(connection):
            self._give_back()  # to the pool, which finds out that it is closed
            return None
        self._at_hand = None
        if self._giving_back is not None:
            self._giving_back.cancel()
        return connection

    def _give_back(self) -> None:
        connection, self._at_hand = self._at_hand, None
        if self._giving_back is not None:
            self._giving_back.cancel()
        if connection is not None:
            self._given_back = asyncio.create_task(connection.close())

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

    async def run(self, work: Work[T], *, patience: float = LOCKED_WAIT, lock: str = "") -> T:
        """Run `work(tx)` in a short write transaction, committed when this returns; it awaits nothing but `tx`.

        Other work of the event loop has its turn afterwards. `lock`: a statement with which it begins on PostgreSQL,
        to lock rows. Raises DatabaseUnavailable if SQLite's transaction cannot begin within `patience` seconds.
        """
        if self.direct is None:
            if lock:
                async with self._begin_locked(lock) as tx:
                    return await work(tx)
            async with self.begin() as tx:
                return await work(tx)
        if self.pace.is_busy:
            with suppress(Alone):
                return cast(T, await self._joined.run(lambda tx: run_without_suspending(work(tx))))
        async with self.direct.transaction(patience) as direct:
            result = run_without_suspending(work(cast(AsyncConnection, direct)))
        await asyncio.sleep(0)
        return result

    async def run_batches(self, batches: Iterable[Work[bool]]) -> bool:
        """Run batches as `run` does, until one returns False; whether all of them were run.

        On SQLite as many go together as a piece of a round reaches for. While many clicks come, they join a
        transaction of clicks; else they are committed where another writer waits, and then it has at least as much of
        the event loop, and where none does share a transaction with some more, between which other work of the event
        loop runs. On PostgreSQL each is committed by itself, and many clicks have the loop four times as long.
        """
        remaining = deque(batches)
        while remaining:
            if self.direct is not None and self.pace.is_busy:
                if not await self.run(lambda tx: _run_piece(remaining, tx)):
                    return False
                continue
            began = time.perf_counter()
            if not await self._run_some(remaining):
                return False
            rest = REST if self.pace.is_busy else 1.0 if self.write_lock.waiting else 0.0
            await asyncio.sleep((time.perf_counter() - began) * rest)
        return True

    async def _run_some(self, batches: deque[Work[bool]]) -> bool:
        if self.direct is None:
            return await self.run(batches.popleft())
        async with self.direct.transaction(LOCKED_WAIT) as direct:
            for _ in range(SHARING):
                if not run_without_suspending(_run_piece(batches, cast(AsyncConnection, direct))):
                    return False
                if self.write_lock.waiting or self.pace.is_busy or not batches:
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
                await give_way()
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
        self._give_back()
        if self._given_back is not None:
            await asyncio.wait({self._given_back})
        await self.engine.dispose()
        if self.direct is not None:
            self.direct.close()
        self.file.close()


def driver_of(connection: AsyncConnection) -> Any:
    """asyncpg's own connection beneath one that is open."""
    assert connection.sync_connection is not None  # noqa: S101 - it is open
    return connection.sync_connection.connection.driver_connection


def _is_open(connection: AsyncConnection) -> bool:
    return not connection.invalidated and not driver_of(connection).is_closed()


async def _run_piece(batches: deque[Work[bool]], tx: AsyncConnection) -> bool:
    """The next batches, as far as a piece of a round reaches; False if one returned that."""
    ends = time.perf_counter() + PIECE
    while batches:
        if not await batches.popleft()(tx):
            return False
        if time.perf_counter() > ends:
            break
    return True


async def _roll_back(connection: AsyncConnection, driver: Any, *, leave: bool) -> None:
    """End a transaction that the driver began. A connection that cannot do that is given up, as one to `leave`."""
    with suppress(Exception):
        try:
            await driver.execute("ROLLBACK")
        except BaseException:
            leave = True
            raise
        finally:
            if leave:
                await connection.invalidate()


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
            url, pool_size=5, max_overflow=20, hide_parameters=True,
            connect_args={"isolation_level": None, "async_creator_fn": one_hop.connect},
        )  # fmt: skip

        def connected(connection: Any, _record: Any) -> None:
            file.remember()
            _set_pragmas(connection)

        event.listen(engine.sync_engine, "connect", connected)
        return engine
    engine = create_async_engine(
        postgres_url(url), pool_size=KEPT_OPEN, max_overflow=MOST_OPEN - KEPT_OPEN, hide_parameters=True,
        connect_args={
            "async_creator_fn": connect, "timeout": _seconds_per_host(url),
            **(_POOLED | {"prepared_statement_cache_size": 0} if is_pooled(url) else {}),
        },
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


def read_url(text: str, session: str = "read-write") -> URL:
    """A database's URL as people write it, with the driver used here. Raises ArgumentError or ValueError for no URL.

    `sqlite:///x`, `postgres://…`; several hosts as libpq takes them, `postgresql://user:password@db1:5432,db2:5432/name`,
    or as `?host=db1:5432&host=db2:5432`: the first that can be written to is used (`session`, where the URL names no
    `target_session_attrs`), https://www.postgresql.org/docs/15/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS.
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
        url = url.update_query_dict({"target_session_attrs": session})
    return url


_HOSTS = re.compile(r"(?P<before>postgres[\w+]*://(?:[^@/?]*@)?)(?P<hosts>[^@/?,]+(?:,[^@/?,]+)+)(?:/(?P<after>.*))?")
_PORT = re.compile(r":\d+$")


def shown_url(url: str | URL) -> str:
    """A database's URL as it may be read in logs and errors: without passwords, in its query either."""
    parsed = make_url(url)
    hidden = {name: "hidden" for name in parsed.query if _SECRET.search(name)}
    return (
        parsed.update_query_dict(hidden).render_as_string(hide_password=True) if hidden else parsed.render_as_string()
    )


_SECRET = re.compile("pass|secret|token|key", re.IGNORECASE)


def hosts_of(url: URL) -> tuple[str, ...]:
    """The hosts of PostgreSQL that a URL names."""
    named = url.query.get("host", ())
    return (named,) if isinstance(named, str) else (*named,) or ((url.host,) if url.host else ())


def is_pooled(url: URL) -> bool:
    """Whether PgBouncer stands before the server, as `?pgbouncer=1` in the URL says."""
    return url.query.get("pgbouncer", "0") == "1"


async def behind_pooler(database: Database) -> bool:
    """Whether a pooler stands before the server: the process that a connection was told of is not the one it meets."""
    async with database.read() as tx:
        met = (await tx.exec_driver_sql("SELECT pg_backend_pid()")).scalar_one()
        raw = await tx.get_raw_connection()
        assert raw.driver_connection is not None  # noqa: S101 - it has just answered
        return bool(raw.driver_connection.get_server_pid() != met)


def postgres_url(url: URL) -> URL:
    """The URL without what is ours in it."""
    return url.difference_update_query(["pgbouncer"])


QUERY = frozenset({
    "command_timeout", "database", "direct_tls", "gsslib", "host", "krbsrvname", "max_cacheable_statement_size",
    "max_cached_statement_lifetime", "passfile", "password", "pgbouncer", "port", "prepared_statement_cache_size",
    "service", "servicefile", "ssl", "statement_cache_size", "target_session_attrs", "timeout", "user",
})  # fmt: skip
"""What may stand in the query of a PostgreSQL URL: what asyncpg's `connect` takes, and our own `pgbouncer`."""


def connect_arguments(url: URL) -> dict[str, Any]:
    """What `connect` takes."""
    dialect = asyncpg_dialect.dialect()  # type: ignore[no-untyped-call]
    _, arguments = dialect.create_connect_args(postgres_url(url))  # type: ignore[no-untyped-call]
    return {**arguments, "timeout": _seconds_per_host(url), **(_POOLED if is_pooled(url) else {})}


def _seconds_per_host(url: URL) -> float:
    return max(2, CONNECT_TIMEOUT / max(1, len(hosts_of(url))))


_POOLED = {"statement_cache_size": 0}  # asyncpg uses unnamed statements then; a named one is of one server only
_good: dict[tuple[str, ...], int] = {}
"""Of hosts in a list, the one that was connected to last."""


async def connect(*, host: Any = None, port: Any = None, **arguments: Any) -> Any:
    """An asyncpg connection to the first of the hosts that can be used, beginning with the one that could be last.

    Each host has `timeout` seconds: asyncpg's own list shares one timeout, so that a host which does not answer would
    keep the others out. Raises NoHost, which names them all.
    """
    import asyncpg  # 3 MB, loaded where PostgreSQL is used only

    arguments["server_settings"] = {"application_name": f"casinoflux {socket.gethostname()}:{os.getpid()}"[:63]}
    if not isinstance(host, list | tuple) or len(host) < 2:
        return _watched(await asyncpg.connect(host=host, port=port, **arguments))
    hosts = [f"{name}:{number}" for name, number in zip(host, port, strict=True)]
    first, faults, cause = _good.get(tuple(hosts), 0), {}, None
    for n in (*range(first, len(hosts)), *range(first)):
        try:
            connection = await asyncpg.connect(host=host[n], port=port[n], **arguments)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            faults[hosts[n]] = _fault_of(error)
            cause = error if isinstance(error, asyncpg.PostgresError) or cause is None else cause
        else:
            _good[tuple(hosts)] = n
            return _watched(connection)
    raise NoHost(", ".join(f"{name}: {fault}" for name, fault in faults.items())) from cause


class NoHost(ConnectionError):
    """None of several hosts can be used; the text says of each why."""


def _fault_of(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    if type(error).__name__ == "TargetServerAttributeNotMatched":
        return "takes no writes (a standby)"
    return (str(error).partition("\n")[0] or type(error).__name__)[:200]


def _watched(connection: Any) -> Any:
    """Have the kernel give the connection up when its server has been silent for some seconds, also while a query is
    on its way: asyncpg sets nothing, and the default is a quarter of an hour."""
    opened = connection._transport.get_extra_info("socket")  # asyncpg has no other way to it
    if opened is not None and opened.family != socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_MS)
    return connection


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
