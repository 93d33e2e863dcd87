"""From SQLite to PostgreSQL while a hub writes: all rows as of one moment, then again those that were written since.

Triggers put the key of every row that is inserted, changed or deleted meanwhile into a table of the source. `Transfer`
copies everything, then row by row what has such a key, as often as it is asked; the last time with the source locked.
Constraints between tables are checked by PostgreSQL at the end of each of its transactions.
"""

# ruff: noqa: S608 - the names in statements are those of our tables and columns

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from sqlalchemy import Boolean, Column, Table
from sqlalchemy.dialects import postgresql

from storage.db.database_url import read_url
from storage.db.handover import is_under_way
from storage.db.postgres_connection import connect, connect_arguments
from storage.db.spool_file import SPOOLED
from storage.ledger.errors import CasinoFluxError
from storage.tables import metadata, visitors
from storage.tables.types import stored_type

Progress = Callable[[str, int, int], None]

UNFINISHED = "transfer_unfinished"
"""A fact of the target until everything is there: no hub serves from it, and a new transfer may begin again."""

_LOG = "transfer_log"
_PIECE = 5_000  # rows
_LOCK_WAIT = 60.0  # seconds a hub's transaction may take
_FILLING = 7_215_309_003  # any fixed number: one transfer fills a database at a time
_WIDEST = 9  # columns of a key


class Transfer:
    """One transfer: `begin`, `copy_all`, then `copy_changes` until it says that little is left; the rest in `lock`."""

    def __init__(self, source: Path, target: Any) -> None:
        """`target`: a connection of asyncpg to a database of this version's schema."""
        self._target = target
        self._reader = sqlite3.connect(source, isolation_level=None, check_same_thread=False, timeout=_LOCK_WAIT)
        self._writer = sqlite3.connect(source, isolation_level=None, check_same_thread=False, timeout=_LOCK_WAIT)

    def close(self) -> None:
        """End it, finished or not; the source's triggers go with it."""
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")
        self._reader.close()
        _remove_triggers(self._writer)
        self._writer.close()

    async def begin(self) -> None:
        """Empty the target, and have the source's changes noted. Raises CasinoFluxError if the target is in use."""
        if await self._in_use():
            raise CasinoFluxError("the database is not empty: name an empty one, so that nothing in it is overwritten")
        async with self._target.transaction():
            await self._alter_constraints("DEFERRABLE")
            await self._target.execute(f"TRUNCATE {', '.join(map(_quoted, metadata.tables))}")
            await self._target.execute("INSERT INTO facts VALUES ($1, '1')", UNFINISHED)
        await asyncio.to_thread(_add_triggers, self._writer)

    async def _alter_constraints(self, how: str) -> None:
        for table, name in await self._target.fetch(_FOREIGN_KEYS, list(metadata.tables)):
            await self._target.execute(f'ALTER TABLE {table} ALTER CONSTRAINT "{name}" {how}')

    async def _in_use(self) -> bool:
        teams = await self._target.fetchval("SELECT count(*) FROM teams")
        unfinished = await self._target.fetchval("SELECT count(*) FROM facts WHERE name = $1", UNFINISHED)
        return bool(teams) and not unfinished

    async def copy_all(self, progress: Progress) -> int:
        """Copy all rows as they are now; how many. `progress`: a table's name, its rows so far, and in all."""
        total = 0
        with _still(self._reader) as source:
            for table in metadata.sorted_tables:
                (rows_in_all,) = source.execute(f"SELECT count(*) FROM {_quoted(table.name)}").fetchone()
                copied = 0
                async with aclosing(_pieces(source.execute(_select(table)), table)) as pieces:
                    async for rows in pieces:
                        async with self._target.transaction(), self._deferred():
                            await self._put(table, rows)
                        copied += len(rows)
                        progress(table.name, copied, rows_in_all)
                total += copied
        return total

    async def copy_changes(self, *, locked: bool = False) -> int:
        """Copy again what was written since the last time; how many rows. `locked`: within `lock`."""
        if locked:
            return await self._copy_changes(self._writer)
        with _still(self._reader) as source:
            (last,) = source.execute(f"SELECT coalesce(max(n), 0) FROM {_LOG}").fetchone()
            rows = await self._copy_changes(source)
        await asyncio.to_thread(self._writer.execute, f"DELETE FROM {_LOG} WHERE n <= ?", (last,))
        return rows

    async def _copy_changes(self, source: sqlite3.Connection) -> int:
        """In one transaction of the target: first all these rows go, then those come that are still there."""
        noted = {row[0] for row in source.execute(f"SELECT DISTINCT tab FROM {_LOG}")}
        tables = [table for table in metadata.sorted_tables if table.name in noted]
        total = 0
        async with self._target.transaction(), self._deferred():
            for table in tables:
                keys = source.execute(f"SELECT DISTINCT {_key_places(table)} FROM {_LOG} WHERE tab = ?", (table.name,))
                while piece := await asyncio.to_thread(keys.fetchmany, _PIECE):
                    await self._remove(table, piece)
            for table in tables:
                total += await self._put_all(table, source.execute(_select_changed(table), (table.name,)))
        return total

    @asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        """Nothing else writes to the source meanwhile."""
        await asyncio.to_thread(self._writer.execute, "BEGIN IMMEDIATE")
        yield

    async def copy_unnoted(self) -> None:
        """Copy whole the few small tables whose rows have no key, within `lock`."""
        async with self._target.transaction(), self._deferred():
            for table in metadata.sorted_tables:
                if not _key(table):
                    await self._target.execute(f"DELETE FROM {_quoted(table.name)}")
                    await self._put_all(table, self._writer.execute(_select(table)))

    async def check_counts(self) -> int:
        """All rows, after both sides were counted within `lock`. Raises CasinoFluxError for a table that differs."""
        total = 0
        for table in metadata.sorted_tables:
            if table is visitors:  # rows on PostgreSQL only
                continue
            query = f"SELECT count(*) FROM {_quoted(table.name)}"
            (there,) = (await asyncio.to_thread(self._writer.execute, query)).fetchone()
            ours = "" if table.name != "facts" else f" WHERE name NOT IN ('{UNFINISHED}', '{SPOOLED}')"
            here = await self._target.fetchval(query + ours)
            if here != there:
                raise CasinoFluxError(f"{table.name}: {there} rows, but {here} were copied: begin again, and report it")
            total += int(there)
        return total

    async def finish(self, spool: Path) -> None:
        """The target may be served from now on, and the source is left without triggers; within `lock`."""
        async with self._target.transaction():
            await self._alter_constraints("NOT DEFERRABLE")
            for table in metadata.sorted_tables:
                key = table.autoincrement_column
                if key is not None and key.name == "id" and table.name != "changes":
                    await self._target.execute(
                        f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), COALESCE(max(id), 0) + 1, false) "
                        f"FROM {_quoted(table.name)}"
                    )
            await self._target.execute("DELETE FROM facts WHERE name = $1", UNFINISHED)
            await self._target.execute("INSERT INTO facts VALUES ($1, $2)", SPOOLED, str(spool))
        _drop_triggers(self._writer)
        self._writer.execute("COMMIT")

    @asynccontextmanager
    async def _deferred(self) -> AsyncIterator[None]:
        """Constraints between tables are checked when the transaction ends."""
        await self._target.execute("SET CONSTRAINTS ALL DEFERRED")
        yield

    async def _put_all(self, table: Table, cursor: sqlite3.Cursor) -> int:
        total = 0
        async with aclosing(_pieces(cursor, table)) as pieces:
            async for rows in pieces:
                await self._put(table, rows)
                total += len(rows)
        return total

    async def _put(self, table: Table, rows: list[tuple[Any, ...]]) -> None:
        columns = [column.name for column in table.columns]
        await self._target.copy_records_to_table(table.name, records=rows, columns=columns)

    async def _remove(self, table: Table, keys: Sequence[tuple[Any, ...]]) -> None:
        columns = _key(table)
        arrays = [list(values) for values in zip(*keys, strict=True)]
        gone = ", ".join(f"${n}::{_postgres_type(column)}[]" for n, column in enumerate(columns, 1))
        named = ", ".join(_quoted(column.name) for column in columns)
        await self._target.execute(
            f"DELETE FROM {_quoted(table.name)} WHERE ({named}) IN (SELECT * FROM unnest({gone}))",
            *arrays,
        )


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Any]:
    """A connection of asyncpg to a database of PostgreSQL."""
    connection = await connect(**connect_arguments(read_url(url)))
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def filling_alone(url: str) -> AsyncIterator[None]:
    """No other transfer fills the database meanwhile, from whichever source. Raises CasinoFluxError while one does."""
    async with opened(url) as connection, connection.transaction():
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _FILLING):
            raise CasinoFluxError("another db transfer is filling that database: wait for its end, or name another one")
        yield


def clear_left_over(database: str) -> None:
    """Remove what a transfer left in an SQLite database when its process was killed: the hub's changes are noted no
    more. A transfer that is at work is left alone."""
    if not Path(database).is_file():  # opening it would make one
        return
    with closing(sqlite3.connect(database, isolation_level=None, timeout=_LOCK_WAIT)) as connection:
        if _is_noting(connection):
            connection.execute("BEGIN IMMEDIATE")
            if not is_under_way(database):  # one that begins now waits for us before it makes its triggers
                _drop_triggers(connection)
            connection.execute("COMMIT")


def _remove_triggers(connection: sqlite3.Connection) -> None:
    """Stop noting changes, if they are noted."""
    if _is_noting(connection):
        connection.execute("BEGIN IMMEDIATE")
        _drop_triggers(connection)
        connection.execute("COMMIT")


def _is_noting(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (_LOG,)).fetchone() is not None


def _drop_triggers(connection: sqlite3.Connection) -> None:
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'transfer|_%' ESCAPE '|'"
    )
    for (name,) in names.fetchall():
        connection.execute(f"DROP TRIGGER {_quoted(name)}")
    connection.execute(f"DROP TABLE IF EXISTS {_LOG}")


def _add_triggers(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    _drop_triggers(connection)
    places = ", ".join(f"k{n}" for n in range(_WIDEST))
    connection.execute(f"CREATE TABLE {_LOG} (n INTEGER PRIMARY KEY, tab, {places})")
    for statement in chain.from_iterable(_triggers(table) for table in metadata.sorted_tables if _key(table)):
        connection.execute(statement)
    connection.execute("COMMIT")


def _triggers(table: Table) -> Iterator[str]:
    names = [_quoted(column.name) for column in _key(table)]
    into = f"INSERT INTO {_LOG} (tab, {_key_places(table)}) SELECT '{table.name}'"
    new, old = (", ".join(f"{row}.{name}" for name in names) for row in ("NEW", "OLD"))
    moved = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in names)
    for event, noted in (
        ("INSERT", f"{into}, {new};"),
        ("DELETE", f"{into}, {old};"),
        ("UPDATE", f"{into}, {new}; {into}, {old} WHERE {moved};"),
    ):
        name = f"transfer_{table.name}_{event.lower()}"
        yield f"CREATE TRIGGER {name} AFTER {event} ON {_quoted(table.name)} BEGIN {noted} END"


@contextmanager
def _still(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All tables as they are at one moment, whoever writes meanwhile."""
    connection.execute("BEGIN")
    try:
        yield connection
    finally:
        connection.execute("ROLLBACK")


async def _pieces(cursor: sqlite3.Cursor, table: Table) -> AsyncGenerator[list[tuple[Any, ...]], None]:
    """Rows a piece at a time; the next is read while one is being written."""
    flags = [n for n, column in enumerate(table.columns) if isinstance(stored_type(column), Boolean)]

    def read() -> list[tuple[Any, ...]]:
        rows = cursor.fetchmany(_PIECE)
        return [_with_flags(row, flags) for row in rows] if flags else rows

    following = asyncio.create_task(asyncio.to_thread(read))
    try:
        while rows := await following:
            following = asyncio.create_task(asyncio.to_thread(read))
            yield rows
    finally:
        await following


def _with_flags(row: tuple[Any, ...], flags: Sequence[int]) -> tuple[Any, ...]:
    """A row whose truth values are no numbers: SQLite has none."""
    values = list(row)
    for n in flags:
        values[n] = None if values[n] is None else bool(values[n])
    return tuple(values)


def _select(table: Table) -> str:
    return f"SELECT {', '.join(_quoted(column.name) for column in table.columns)} FROM {_quoted(table.name)}"


def _select_changed(table: Table) -> str:
    columns = ", ".join(f"t.{_quoted(column.name)}" for column in table.columns)
    same = " AND ".join(f"t.{_quoted(column.name)} = k.k{n}" for n, column in enumerate(_key(table)))
    keys = f"SELECT DISTINCT {_key_places(table)} FROM {_LOG} WHERE tab = ?"
    return f"SELECT {columns} FROM ({keys}) k CROSS JOIN {_quoted(table.name)} t ON {same}"


def _key(table: Table) -> list[Column[Any]]:
    return list(table.primary_key.columns)


def _key_places(table: Table) -> str:
    return ", ".join(f"k{n}" for n in range(len(_key(table))))


def _quoted(name: str) -> str:
    return f'"{name}"'


def _postgres_type(column: Column[Any]) -> str:
    return str(stored_type(column).compile(postgresql.dialect()))  # type: ignore[no-untyped-call]


_FOREIGN_KEYS = """
SELECT conrelid::regclass::text, conname FROM pg_constraint
WHERE contype = 'f' AND connamespace = current_schema()::regnamespace
AND conrelid IN (SELECT oid FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname = ANY($1))
ORDER BY 1, 2
"""
