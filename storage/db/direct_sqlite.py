"""Short transactions on SQLite without a thread hop per statement.

A statement through aiosqlite waits for a thread and for the interpreter lock several times: half a millisecond each.
Here statements run on the event loop, microseconds each; so does COMMIT, which waits for the disk, while clicks come
and that is quick: a thread needs the interpreter twice for it, and gets it late where the loop has much to do,
while everybody waits for the lock. Else a thread waits.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar, cast

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from storage.db.joined_work import JoinedWork
from storage.db.unavailable import LOCKED, DatabaseFile, DatabaseUnavailable, Inode, is_locked, named_full
from storage.db.write_lock import WriteLock

T = TypeVar("T")
_PAUSE = 0.001  # seconds between two tries while another process writes
AUTOMATIC = 4_000  # pages in the write-ahead log at which a COMMIT brings them into the file whatever it carries
_RESCUE_TRIES, _RESCUE_PAUSE = 50, 0.1  # how often, and after how many seconds, a lost log is brought in again
BESIDE = 1.0  # seconds after one that was urgent
_PRAGMAS = (
    "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-8000", "temp_store=MEMORY",
    f"wal_autocheckpoint={AUTOMATIC}",
)  # fmt: skip


class Log(NamedTuple):
    """The write-ahead log: at how many pages a COMMIT that carries clicks alone brings it into the file, and how many
    a transaction of clicks and one of other work write, about."""

    due: int
    of_clicks: int
    of_others: int


#: What moving takes grows with the pages. Where clicks come one by one each has a COMMIT, and one in 200 the moving.
FULL_BATCHES, FEW_CLICKS = Log(250, 15, 50), Log(1_000, 5, 20)


class DirectSqlite:
    """The process's connections for short transactions; opened at first use, and again after a fault."""

    def __init__(self, file: DatabaseFile, lock: WriteLock, joined: JoinedWork) -> None:
        self._file = file
        self._lock = lock
        self._joined = joined
        self._commits: CommitThread | None = None
        self._disk = Disk()
        self._logged = 0  # pages in the write-ahead log, about
        self._urgent_until = 0.0
        self._tx: SyncConnection | None = None
        self._logs: dict[str, Inode | None] = {}  # as they were when that connection first wrote
        self._reader: SyncConnection | None = None

    def read(self, work: Callable[["SyncConnection"], Awaitable[T]]) -> T:
        """Run `work(tx)` on a consistent view, and wait for nothing: an error of a locked database is the caller's."""
        self._file.check()
        tx = self._reader = self._reader or self._open("query_only=ON")
        try:
            tx.raw.execute("BEGIN")
            return run_without_suspending(work(tx))
        except (sqlite3.Error, SQLAlchemyError):
            self._reader = None
            tx.discard()
            raise
        finally:
            if self._reader is not None:
                tx.raw.execute("ROLLBACK")

    @asynccontextmanager
    async def transaction(self, patience: float, *, urgent: bool = False) -> AsyncIterator["SyncConnection"]:
        """A write transaction, committed at the end or rolled back on an error; statements only, no other waiting.

        `urgent`: a small one that clicks wait for, as for others beside it: other work joins it, and by its COMMIT the
        disk is judged if none did. Raises DatabaseUnavailable if it cannot begin within `patience` seconds.
        """
        deadline = time.monotonic() + patience
        try:
            async with asyncio.timeout(patience):
                await self._lock.acquire()
        except TimeoutError:
            raise DatabaseUnavailable(
                LOCKED if self._lock.outside else "another transaction of this process does not end"
            ) from None
        try:
            tx = await self._begin(deadline)
            try:
                self._file.check()  # it may have been moved while its lock was waited for
                yield tx
                if urgent:
                    self._urgent_until = time.monotonic() + BESIDE
                log = FULL_BATCHES if self._joined.is_busy else FEW_CLICKS
                moves = self._logged >= log.due
                is_small = urgent and (moves or not self._joined.run_waiting(tx))
                if self._disk.quick and time.monotonic() < self._urgent_until:
                    self._commit_at_once(tx, judged=is_small, moves=moves)
                else:
                    await self._commit(tx, moves=moves)
                self._logged = (0 if moves else self._logged) + (log.of_clicks if is_small else log.of_others)
            except BaseException as error:
                self._rollback(tx)
                self._joined.failed(fault := named_full(error))
                if fault is not error:
                    raise fault from None
                raise
            self._joined.committed()
        finally:
            self._lock.release()

    async def _begin(self, deadline: float) -> "SyncConnection":
        while True:
            try:
                self._file.check()
                tx = self._tx = self._tx or self._open()
                tx.raw.execute("BEGIN IMMEDIATE")
                if not self._logs and self._file.path:
                    self._logs = self._file.logs()
                return tx
            except sqlite3.OperationalError as error:
                if not is_locked(error):
                    self._drop()
                    raise
                if time.monotonic() >= deadline:
                    raise DatabaseUnavailable(LOCKED) from None
            with self._lock.waits_outside():
                await asyncio.sleep(_PAUSE)

    def _open(self, *pragmas: str) -> "SyncConnection":
        raw = sqlite3.connect(
            self._file.path or ":memory:", isolation_level=None, check_same_thread=False, timeout=0,
            cached_statements=256,
        )  # fmt: skip
        try:
            self._file.remember()
            for pragma in (*_PRAGMAS, *pragmas):
                raw.execute(f"PRAGMA {pragma}")
        except BaseException:
            raw.close()
            raise
        engine = create_engine("sqlite://", creator=lambda: _Borrowed(raw), poolclass=NullPool)
        return SyncConnection(engine.connect(), raw)

    def _commit_at_once(self, tx: "SyncConnection", *, judged: bool, moves: bool) -> None:
        """`judged`: the disk, by this COMMIT; by what takes too long for the event loop always."""
        began = time.monotonic()
        try:
            tx.raw.execute("COMMIT")
        finally:
            self._judge(began, always=judged)
        if moves:
            began = time.monotonic()
            _move_log(tx.raw)
            self._judge(began, always=False)
        self._file.check_same()

    def _judge(self, began: float, *, always: bool) -> None:
        took = time.monotonic() - began
        if always or took > Disk.SLOW:
            self._disk.took(took)

    async def _commit(self, tx: "SyncConnection", *, moves: bool) -> None:
        if self._commits is None:
            self._commits = CommitThread()
        done = self._commits.submit(lambda: _end(tx.raw, moves=moves))
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError:
            await asyncio.wait({done})
            raise
        self._file.check_same()

    def _rollback(self, tx: "SyncConnection") -> None:
        try:
            if tx.raw.in_transaction:
                tx.raw.execute("ROLLBACK")
        except sqlite3.Error:
            self._drop()

    async def watch_logs(self) -> None:
        """Notice that the write-ahead log or its index was deleted or replaced: commits would go into a file without a
        name, and be gone with this process. What is in it is brought into the database then, and nothing more written.
        """
        if self._lost_log() is None:
            return
        async with self._lock:
            if (tx := self._tx) is None or (name := self._lost_log()) is None:
                return
            tries = _RESCUE_TRIES
            while tries and not _moved_all(tx.raw):
                tries -= 1
                await asyncio.sleep(_RESCUE_PAUSE)
            self._file.lose_log(name)

    def _lost_log(self) -> str | None:
        if self._tx is None or not self._logs or self._file.moved:
            return None
        now = self._file.logs()
        return next((name for name, inode in self._logs.items() if now[name] != inode), None)

    def _drop(self) -> None:
        tx, self._tx, self._logs = self._tx, None, {}
        if tx is not None:
            tx.discard()

    def close(self) -> None:
        """Call when all other connections are closed."""
        if self._tx is not None and self._file.moved:
            with suppress(sqlite3.Error):  # the -wal would be taken for that of the file which is there now
                self._tx.raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
        self._drop()
        if self._reader is not None:
            self._reader.discard()
            self._reader = None
        if self._commits is not None:
            self._commits.end()
            self._commits = None


def _moved_all(raw: sqlite3.Connection) -> bool:
    """Whether all of the write-ahead log is in the database now; readers of older states may keep a part of it back."""
    with suppress(sqlite3.Error):
        _, pages, moved = raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return bool(pages == moved)
    return False


def _end(raw: sqlite3.Connection, *, moves: bool) -> None:
    """COMMIT; `moves`: and bring the write-ahead log into the file."""
    raw.execute("COMMIT")
    if moves:
        _move_log(raw)


def _move_log(raw: sqlite3.Connection) -> None:
    """Bring the write-ahead log into the file, as far as no reader still needs it.

    In the COMMIT that finds 1,000 pages SQLite does that by itself (https://www.sqlite.org/wal.html#ckpt). It takes two
    to six times as long then, and is left to one that carries no other work.
    """
    with suppress(sqlite3.Error):  # what was committed stands; it is tried again
        raw.execute("PRAGMA wal_checkpoint(PASSIVE)").close()


class Disk:
    """Whether the disk is quick enough for the event loop to wait for a COMMIT: by the mean of the latest ones.

    A disk that was slow once is left to the thread for ten seconds, and then tried again.
    """

    QUICK = 0.001  # seconds, the mean
    SLOW = 0.02  # seconds, of one COMMIT
    REST = 10.0  # seconds
    _EXPECTED = QUICK / 2  # the mean before any: a single COMMIT, which may have met a checkpoint, says little

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._mean = self._EXPECTED
        self._slow_until = 0.0

    @property
    def quick(self) -> bool:
        return self._clock() >= self._slow_until

    def took(self, seconds: float) -> None:
        """A COMMIT took so long."""
        self._mean += (seconds - self._mean) / 32
        if self._mean > self.QUICK or seconds > self.SLOW:
            self._mean, self._slow_until = self._EXPECTED, self._clock() + self.REST


class CommitThread(threading.Thread):
    """A thread that waits for the disk; costs a queue and a wake-up, less than an executor."""

    def __init__(self) -> None:
        super().__init__(name="commit", daemon=True)
        self._work: SimpleQueue[tuple[Callable[[], object], asyncio.Future[None]] | None] = SimpleQueue()
        self.start()

    def submit(self, work: Callable[[], object]) -> "asyncio.Future[None]":
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._work.put((work, done))
        return done

    def end(self) -> None:
        self._work.put(None)

    def run(self) -> None:
        while (item := self._work.get()) is not None:
            work, done = item
            failure: Exception | None = None
            try:
                work()
            except Exception as error:
                failure = error
            with suppress(RuntimeError):  # the loop may be closed by now
                done.get_loop().call_soon_threadsafe(_resolve, done, failure)


def _resolve(done: "asyncio.Future[None]", failure: Exception | None) -> None:
    if done.done():
        return
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(failure)


class SyncConnection:
    """Enough of an AsyncConnection for storage's functions; every statement is done when it is called."""

    def __init__(self, connection: Connection, raw: sqlite3.Connection) -> None:
        self._connection = connection
        self.dialect = connection.dialect
        self.raw = raw

    def discard(self) -> None:
        with suppress(Exception):
            self._connection.close()
            self.raw.close()

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        return self._connection.execute(statement, parameters)

    def fetch(self, text: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Rows of a statement in SQLite's own words."""
        return self.raw.execute(text, values).fetchall()

    def insert(self, table: str, text: str, rows: Sequence[tuple[Any, ...]]) -> list[int]:
        """Insert rows under ids of our own, put before each: this is the only writer, and RETURNING costs as much."""
        last: int = self.raw.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0]  # noqa: S608
        ids = list(range(last + 1, last + 1 + len(rows)))
        self.raw.executemany(text, [(number, *row) for number, row in zip(ids, rows, strict=True)])
        return ids


class _Borrowed:
    """A DBAPI connection whose transactions DirectSqlite begins and ends."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def commit(self) -> None:
        """Left to DirectSqlite."""

    def rollback(self) -> None:
        """Left to DirectSqlite."""

    def close(self) -> None:
        """Left to DirectSqlite."""


def run_without_suspending(work: Awaitable[T]) -> T:
    """Run a coroutine that never suspends. Raises RuntimeError for one that does."""
    steps = work.__await__()
    try:
        next(steps)
    except StopIteration as done:
        return cast(T, done.value)
    raise RuntimeError("a direct transaction may await nothing but its own statements")
