"""aiosqlite with one visit of its thread for a statement: executed, read and closed at once.

Its own cursor goes there four times for each statement (https://aiosqlite.omnilib.dev), each time with a queue, a
wake-up and a wait for the interpreter; a page asks a dozen statements. A transaction is begun with its first statement,
and one that never was begun needs no rollback. SQLAlchemy uses it as it uses aiosqlite's own, by `async_creator_fn`.
"""

import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Self, TypeVar

import aiosqlite

FIRST = 2_000  # rows that come with the statement; what streams asks for the rest
CHUNK = 64  # rows of one visit for who asks for one after the other

T = TypeVar("T")


def connect(database: str, **options: Any) -> "Connection":
    """A connection to await, with the options of `sqlite3.connect`; its thread does not keep the process."""
    return Connection(lambda: sqlite3.connect(database, **options))


class Connection(aiosqlite.Connection):
    """A connection of whose cursors each statement is one visit."""

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=CHUNK)
        self._thread.daemon = True
        self._begins = False
        self._asked = self._done = 0

    def cursor(self) -> "Cursor":  # type: ignore[override]
        return Cursor(self)

    def begin(self) -> None:
        """A deferred BEGIN, which locks nothing: sent with the next statement."""
        self._begins = True

    async def visit(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `work` in the connection's thread, in the transaction that has been asked for."""
        begins, self._begins = self._begins, False
        self._asked += 1
        result: T = await self._execute(self._work, work, begins)  # type: ignore[no-untyped-call]
        return result

    def _work(self, work: Callable[[sqlite3.Connection], T], begins: bool) -> T:
        try:
            if begins:
                self._conn.execute("BEGIN").close()
            return work(self._conn)
        finally:
            self._done += 1

    async def commit(self) -> None:
        self._begins = False
        await self.visit(sqlite3.Connection.commit)

    async def rollback(self) -> None:
        """Nothing to do where no transaction is open, and no statement under way that may begin one."""
        self._begins = False
        if self._asked != self._done or self.in_transaction:
            await self.visit(sqlite3.Connection.rollback)


class Cursor:
    """What SQLAlchemy needs of an asyncio cursor; opened in the thread with its statement."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._open: sqlite3.Cursor | None = None
        self._rows: deque[Any] = deque()
        self.arraysize = 1
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, operation: str, parameters: Sequence[Any] = ()) -> "Cursor":
        if operation == "BEGIN":
            self._connection.begin()
        else:
            await self._connection.visit(lambda connection: self._run(connection, operation, parameters))
        return self

    async def executemany(self, operation: str, rows: Iterable[Sequence[Any]]) -> "Cursor":
        def run(connection: sqlite3.Connection) -> None:
            cursor = connection.executemany(operation, rows)
            self.rowcount, self.lastrowid = cursor.rowcount, cursor.lastrowid
            cursor.close()

        await self._connection.visit(run)
        return self

    def _run(self, connection: sqlite3.Connection, operation: str, parameters: Sequence[Any]) -> None:
        """In the thread: the statement, and its first rows, which mostly are all."""
        cursor = connection.execute(operation, parameters)
        self.description = cursor.description
        rows = cursor.fetchmany(FIRST) if self.description else []
        self._rows = deque(rows)
        self.rowcount, self.lastrowid = cursor.rowcount, cursor.lastrowid
        if len(rows) < FIRST:
            cursor.close()
        else:
            self._open = cursor

    async def fetchall(self) -> list[Any]:
        rest = await self._more(None)
        rows = [*self._rows, *rest]
        self._rows.clear()
        return rows

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        wanted = size or self.arraysize
        if len(self._rows) < wanted:
            self._rows.extend(await self._more(wanted - len(self._rows)))
        return [self._rows.popleft() for _ in range(min(wanted, len(self._rows)))]

    async def fetchone(self) -> Any:
        if not self._rows:
            self._rows.extend(await self._more(CHUNK))
        return self._rows.popleft() if self._rows else None

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (row := await self.fetchone()) is not None:
            yield row

    async def _more(self, count: int | None) -> list[Any]:
        """The next rows that have not come yet; all of them for None."""
        cursor = self._open
        if cursor is None:
            return []
        rows = await self._connection.visit(lambda _: cursor.fetchall() if count is None else cursor.fetchmany(count))
        if count is None or len(rows) < count:
            await self.close()
        return rows

    async def close(self) -> None:
        cursor, self._open = self._open, None
        if cursor is not None:
            await self._connection.visit(lambda _: cursor.close())
