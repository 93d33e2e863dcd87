"""The writer's connection to SQLite and to PostgreSQL: tuples in, tuples out, nothing between.

On SQLite the statements of a batch run on the event loop (microseconds each) and only COMMIT, which waits for the disk,
runs in a thread: sharing the rows' work with a thread would cost a wait for the interpreter lock per row.
"""

import asyncio
import sqlite3
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect
from sqlalchemy.engine import make_url

from storage.clicks.visitors import VisitorFile
from storage.clicks.write_jobs import Click
from storage.clicks.write_sql import Compiled, Statements
from storage.db.engine import Database
from storage.db.write_lock import Helper, Unavailable, WriteLock
from storage.tables import clicks

_COLUMNS = [column.name for column in clicks.columns]
_MISSING = ("", -1)
SWITCH = 0.001  # seconds: how soon a finished commit gets the interpreter back from a busy event loop
_PAUSE = 0.001  # seconds between two tries for a lock that another process holds


class SqlitePort:
    """A connection of the writer's own; its processes take turns on a lock file, so nobody sleeps in a busy handler."""

    def __init__(self, database: Database) -> None:
        self.statements = Statements(sqlite.dialect())
        self.shared = False
        self._path = make_url(database.url).database or ""
        self._turn = database.turn
        self._committer: Helper | None = None
        self._connection: sqlite3.Connection | None = None
        self._file: WriteLock | None = None
        self._turning = False  # the turn among this process's writers
        self._seen = VisitorFile(Path(self._path + ".seen"))

    async def open(self) -> None:
        self._seen.open()
        self._file = WriteLock(self._path + ".turn")
        self._connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=0, cached_statements=64
        )
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-32000", "temp_store=MEMORY"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._committer = Helper("commit")
        sys.setswitchinterval(SWITCH)

    async def close(self) -> None:
        if self._committer:
            self._committer.end()
            self._committer = None
        self._seen.close()
        if self._connection:
            self._connection.close()
        if self._file:
            self._file.close()
        self._connection, self._file = None, None

    async def begin(self, patience: float) -> None:
        """Take the write lock. Raises Unavailable after `patience` seconds."""
        end = time.monotonic() + patience
        try:
            if self._turn.locked():
                await asyncio.wait_for(self._turn.acquire(), patience)
            else:
                await self._turn.acquire()
            self._turning = True
        except TimeoutError:
            raise Unavailable("another transaction of this process is not ending") from None
        try:
            if self._file is None:
                raise Unavailable("the database is not open")
            await self._file.take(max(0.0, end - time.monotonic()))
            while not self._try_begin():
                if time.monotonic() >= end:
                    raise Unavailable("database is locked")
                await asyncio.sleep(_PAUSE)
        except BaseException:
            self._release()
            raise

    def _try_begin(self) -> bool:
        try:
            self._open().execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                return False
            raise
        return True

    def _release(self) -> None:
        if self._file:
            self._file.give()
        if self._turning:
            self._turning = False
            self._turn.release()

    async def commit(self) -> None:
        if self._committer is None:
            raise Unavailable("the database is not open")
        await self._committer.do(self._commit)
        self._release()

    def _commit(self) -> None:
        """In the helper's thread: the next process need not wait for our event loop."""
        self._open().execute("COMMIT")
        if self._file:
            self._file.give()

    async def rollback(self) -> None:
        try:
            if self._connection and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        finally:
            self._release()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise Unavailable("the database is not open")
        return self._connection

    async def many(self, statement: Compiled, rows: Sequence[tuple[Any, ...]]) -> None:
        self._open().executemany(statement.text, rows)

    async def insert_clicks(self, clicks: Sequence[tuple[Click, int]]) -> None:
        execute = self._open().executemany
        execute(self.statements.clicks_short.text, [one.short_row(agent) for one, agent in clicks if not one.wide])
        if wide := [one.row(agent) for one, agent in clicks if one.wide]:
            execute(self.statements.clicks.text, wide)

    async def fetch(self, statement: Compiled, values: tuple[Any, ...]) -> Sequence[tuple[Any, ...]]:
        return self._open().execute(statement.text, values).fetchall()

    async def visitors(self, keys: Sequence[tuple[int, int]], since: int) -> dict[int, int]:
        self._seen.follow()
        look = self._seen.look
        found = {}
        for key, elder in keys:
            offer = look(key, since)
            if offer is None and elder:
                offer = look(elder, since)
            if offer is not None:
                found[key] = offer
        return found

    async def remember(self, rows: Sequence[tuple[int, int, int]], since: int) -> set[int]:
        """In its turn this process is the only one to look or keep."""
        self._seen.keep(rows, since)
        return {row[0] for row in rows}


class PostgresPort:
    """A connection of the writer's own, outside the pool; opened again when the server has been away."""

    def __init__(self, database: Database) -> None:
        self.shared = True
        self.statements = Statements(asyncpg_dialect.dialect())  # type: ignore[no-untyped-call]
        self._url = make_url(database.url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._connection: Any = None
        self._transaction: Any = None

    async def open(self) -> None:
        import asyncpg

        self._connection = await asyncpg.connect(self._url, timeout=5, command_timeout=10)

    async def close(self) -> None:
        if self._connection and not self._connection.is_closed():
            await self._connection.close(timeout=5)
        self._connection = None

    async def begin(self, patience: float) -> None:
        try:
            if self._connection is None or self._connection.is_closed():
                await asyncio.wait_for(self.open(), max(patience, 0.1))
            self._transaction = self._connection.transaction()
            await self._transaction.start()
        except _away() as error:
            await self.rollback()
            raise Unavailable(f"PostgreSQL cannot be reached ({type(error).__name__})") from None

    async def commit(self) -> None:
        await self._transaction.commit()
        self._transaction = None

    async def rollback(self) -> None:
        """Roll back; a connection that cannot even do that is dropped."""
        try:
            if self._transaction and self._connection and not self._connection.is_closed():
                await self._transaction.rollback()
        except _away():
            if self._connection:
                self._connection.terminate()
            self._connection = None
        self._transaction = None

    async def many(self, statement: Compiled, rows: Sequence[tuple[Any, ...]]) -> None:
        await self._connection.executemany(statement.text, rows)

    async def insert_clicks(self, clicks: Sequence[tuple[Click, int]]) -> None:
        records = [[None if value in _MISSING else value for value in one.row(agent)] for one, agent in clicks]
        await self._connection.copy_records_to_table("clicks", records=records, columns=_COLUMNS)

    async def fetch(self, statement: Compiled, values: tuple[Any, ...]) -> Sequence[tuple[Any, ...]]:
        return [tuple(row) for row in await self._connection.fetch(statement.text, *values)]

    async def visitors(self, keys: Sequence[tuple[int, int]], since: int) -> dict[int, int]:
        ids = [one for key in keys for one in key if one]
        rows = await self._connection.fetch(_SEEN, ids, since)
        offers = {row[0]: row[1] for row in rows}
        return {key: offers.get(key, offers.get(elder, 0)) for key, elder in keys if key in offers or elder in offers}

    async def remember(self, rows: Sequence[tuple[int, int, int]], since: int) -> set[int]:
        columns = [list(column) for column in zip(*rows, strict=True)]
        return {row[0] for row in await self._connection.fetch(_REMEMBER, *columns, since)}


_SEEN = "SELECT id, offer_id FROM visitors WHERE id = ANY($1::bigint[]) AND click_id >= $2"
_REMEMBER = """
INSERT INTO visitors (id, click_id, offer_id)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
ON CONFLICT (id) DO UPDATE SET click_id = excluded.click_id, offer_id = excluded.offer_id
WHERE visitors.click_id < $4 RETURNING id
"""

WriterPort = SqlitePort | PostgresPort


def port_of(database: Database) -> WriterPort:
    return SqlitePort(database) if database.sqlite else PostgresPort(database)


def _away() -> tuple[type[BaseException], ...]:
    """What PostgreSQL's absence looks like. Its driver costs 3 MB, so it is loaded where PostgreSQL is used only."""
    import asyncpg

    return OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError


def unavailable(error: BaseException) -> bool:
    """Whether the database is at fault, not what was to be written."""
    if isinstance(error, Unavailable | OSError | TimeoutError | sqlite3.OperationalError):
        return True
    if not type(error).__module__.startswith("asyncpg"):
        return False
    import asyncpg

    return not isinstance(error, asyncpg.DataError | asyncpg.IntegrityConstraintViolationError)
