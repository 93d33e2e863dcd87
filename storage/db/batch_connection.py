"""Transactions of many rows as plain tuples, on SQLite and on PostgreSQL, for batches where every row's work counts."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import Dialect
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect

from storage.db.bulk_sql import Compiled
from storage.db.database_url import read_url
from storage.db.direct_sqlite import DirectSqlite, SyncConnection
from storage.db.engine import Database
from storage.db.postgres_connection import connect, connect_arguments
from storage.db.unavailable import SILENT, DatabaseUnavailable, is_read_only, plain_words


class SqliteBatchConnection:
    """The process's direct connection to SQLite, in whose queue its batches wait like every other writer."""

    shared = False  # nothing else writes during a transaction: rows need no order

    def __init__(self, direct: DirectSqlite) -> None:
        self.dialect: Dialect = sqlite.dialect()
        self._direct = direct
        self._tx: SyncConnection | None = None

    @asynccontextmanager
    async def transaction(self, patience: float) -> AsyncIterator[None]:
        """A write transaction. Raises DatabaseUnavailable if it cannot begin within `patience` seconds."""
        async with self._direct.transaction(patience, urgent=True) as tx:
            self._tx = tx
            yield

    async def many(self, statement: Compiled, rows: Sequence[tuple[Any, ...]]) -> None:
        assert self._tx is not None  # noqa: S101 - within a transaction
        self._tx.raw.executemany(statement.text, rows)

    async def fetch(self, statement: Compiled, values: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
        assert self._tx is not None  # noqa: S101 - within a transaction
        return self._tx.fetch(statement.text, values)

    async def close(self) -> None:
        """The connection is the database's."""


class PostgresBatchConnection:
    """A connection outside the pool; opened again when the server has been away."""

    shared = True  # others write at the same time: rows are written in the order of their keys

    def __init__(self, database: Database) -> None:
        self.dialect: Dialect = asyncpg_dialect.dialect()  # type: ignore[no-untyped-call]
        self._database = database
        self._arguments = connect_arguments(read_url(database.url))
        self._pooled = database.pooled
        self._connection: Any = None
        self._transaction: Any = None
        self._abandoned = False  # the connection: it was broken off

    @asynccontextmanager
    async def transaction(self, patience: float) -> AsyncIterator[None]:
        """A transaction, which begins with its first statement but those that go by `alone`.

        Raises DatabaseUnavailable if the server cannot be reached within `patience` seconds.
        """
        self._database.check()
        await self._open(patience)
        try:
            yield
            if self._transaction is not None:
                await self._transaction.commit()
        except BaseException as error:
            await self._rollback()
            if is_read_only(error):  # another server is the primary now
                self._drop()
            if self._abandoned and isinstance(error, Exception):
                raise DatabaseUnavailable(SILENT) from None
            raise
        finally:
            self._transaction = None

    async def _open(self, patience: float) -> None:
        if self._connection is None or self._connection.is_closed():
            with self._reaching():
                async with asyncio.timeout(patience):
                    self._abandoned = False
                    self._connection = await connect(**self._arguments, command_timeout=10)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        import asyncpg  # 3 MB, loaded where PostgreSQL is used only

        try:
            yield
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            self._drop()
            raise DatabaseUnavailable(plain_words(error) or "PostgreSQL cannot be reached (no answer)") from None

    async def _begin(self) -> None:
        if self._transaction is None:
            with self._reaching():
                transaction = self._connection.transaction()
                await transaction.start()
            self._transaction = transaction

    async def _rollback(self) -> None:
        """Roll back; a connection that cannot even do that is dropped."""
        try:
            if self._transaction is not None and not self._connection.is_closed():
                await self._transaction.rollback()
        except Exception:
            self._drop()

    def abandon(self) -> None:
        """Break off what is under way: it raises at once. Whether a COMMIT that was sent is carried out is unknown."""
        if self._connection is not None:
            self._abandoned = True
            self._connection.terminate()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def many(self, statement: Compiled, rows: Sequence[tuple[Any, ...]]) -> None:
        await self._begin()
        await self._connection.executemany(statement.text, rows)

    async def fetch(self, statement: Compiled, values: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
        return await self.query(statement.text, *values)

    async def query(self, text: str, *values: Any) -> Sequence[tuple[Any, ...]]:
        """Rows of a statement in PostgreSQL's own words."""
        await self._begin()
        return [tuple(row) for row in await self._connection.fetch(text, *values)]

    async def alone(self, text: str, *values: Any) -> Sequence[tuple[Any, ...]]:
        """The same, in no transaction if none has begun: a read, or the last statement, then committed by itself.

        Behind PgBouncer a statement outside a transaction may find another server than its preparation did.
        """
        if self._pooled:
            await self._begin()
        return [tuple(row) for row in await self._connection.fetch(text, *values)]

    async def close(self) -> None:
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close(timeout=5)
        self._connection = None


BatchConnection = SqliteBatchConnection | PostgresBatchConnection


def batch_connection(database: Database) -> BatchConnection:
    """The connection for batches of a database."""
    if database.direct is not None:
        return SqliteBatchConnection(database.direct)
    return PostgresBatchConnection(database)
