"""Everything to a file and back: the same rows, whichever kind of database it is."""

import fcntl
import lzma
import os
import zipfile
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

import msgspec
from sqlalchemy import Column, Table, UniqueConstraint, delete, func, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.engine import Database
from storage.db.handover import Handover
from storage.db.schema import HEAD, is_older
from storage.db.spool_file import sync_folder
from storage.db.unavailable import is_full, is_unavailable
from storage.ledger.errors import CasinoFluxError
from storage.tables import facts, metadata, teams
from storage.tables.types import stored_type

UNFINISHED = "restore_unfinished"
"""A fact of a database until a backup is in it as a whole: no hub serves from it, and `restore` may begin again."""

CHUNK = 2_000
_BOUND = 30_000  # most parameters in one statement: SQLite's limit is 32,766, asyncpg's 32,767


async def backup(database: Database, path: Path) -> int:
    """Write all rows to a zip of JSON lines, one file a table. Raises CasinoFluxError if the file exists.

    Nothing stands under that name before the backup is whole and on disk, even if the process is killed.
    """
    total = 0
    with _new_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema", HEAD)
        async with _still(database) as connection:
            for table in metadata.sorted_tables:
                with archive.open(f"{table.name}.jsonl", "w", force_zip64=True) as lines:
                    async for rows in _chunks(connection, table):
                        lines.writelines(msgspec.json.encode(row) + b"\n" for row in rows)
                        total += len(rows)
    return total


async def restore(database: Database, path: Path) -> int:
    """Fill an empty database, or one in which a restore was broken off, from a backup.

    Raises CasinoFluxError if the database holds something else, or the file is not of this schema or not whole.
    """
    try:
        with _alone(database):
            total = await _put_back(database, path)
            await _reset_counters(database)
    except _DAMAGED as error:
        if is_full(error) or (isinstance(error, DBAPIError) and is_unavailable(error)):
            raise
        reason = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        raise CasinoFluxError(
            f"{path} is not a whole backup of casinoflux{reason}: name a file that db backup wrote"
        ) from None
    async with database.begin() as tx:
        await tx.execute(delete(facts).where(facts.c.name == UNFINISHED))
    return total


def _alone(database: Database) -> AbstractContextManager[object]:
    """Raises CasinoFluxError while another restore or a transfer is at work on an SQLite database."""
    return Handover(Path(database.file.path)) if database.file.path else nullcontext()


_DAMAGED = (
    OSError, LookupError, ValueError, OverflowError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error,
    lzma.LZMAError, msgspec.DecodeError, SQLAlchemyError,
)  # fmt: skip


async def _put_back(database: Database, path: Path) -> int:
    total = 0
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() is not None:
            raise zipfile.BadZipFile
        schema = archive.read("schema").decode()[:40]
        if schema != HEAD:
            fix = (
                "restore it with the version that wrote it, then run this version's casinoflux db upgrade"
                if is_older(schema)
                else "it is of a newer version: install that one"
            )
            raise CasinoFluxError(f"{path} is of schema {schema}, this version's is {HEAD}: {fix}")
        await _begin(database)
        for table in metadata.sorted_tables:
            with archive.open(f"{table.name}.jsonl") as lines:
                for rows in _batches(lines, table):
                    await _put(database, table, rows)
                    total += len(rows)
    return total


@asynccontextmanager
async def _still(database: Database) -> AsyncIterator[AsyncConnection]:
    """All tables as they are at one moment, whoever writes meanwhile."""
    async with database.read() as tx:
        if not database.sqlite:  # a reader of SQLite sees one moment anyway
            await tx.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        yield tx


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    part = path.with_name(f"{path.name}.part")
    try:
        if path.exists():
            raise CasinoFluxError(f"{path} exists already: name a new file")
        file = os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT, 0o600), "wb")
    except OSError as error:
        raise CasinoFluxError(f"{path} cannot be written ({error.strerror}): name another file") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CasinoFluxError(f"{path} is being written by another db backup: name another file") from None
        try:
            file.truncate()  # half a backup of a process that was killed
            yield file
            file.flush()
            os.fsync(file.fileno())
            part.rename(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


async def _begin(database: Database) -> None:
    """Mark the database as not whole yet, and empty it if it is so marked. Raises CasinoFluxError for a filled one."""
    async with database.begin() as tx:
        if (await tx.execute(select(facts.c.name).where(facts.c.name == UNFINISHED))).first() is not None:
            for table in reversed(metadata.sorted_tables):
                await tx.execute(delete(table))
        elif (await tx.execute(select(func.count()).select_from(teams))).scalar_one():
            raise CasinoFluxError(
                "the database is not empty: restore into a new one (CASINOFLUX_DATABASE_URL), or with --replace in the "
                "place of what is there"
            )
        await tx.execute(insert(facts).values(name=UNFINISHED, value="1"))


async def _chunks(tx: AsyncConnection, table: Table) -> AsyncIterator[list[dict[str, Any]]]:
    """Raw column values, as they are stored on both databases."""
    columns = [column.name for column in table.columns]
    listed = ", ".join(f'"{name}"' for name in columns)
    keys = ", ".join(f'"{column.name}"' for column in table.primary_key.columns) or listed
    stream = await tx.stream(text(f'SELECT {listed} FROM "{table.name}" ORDER BY {keys}'))  # noqa: S608
    async for part in stream.partitions(CHUNK):
        yield [dict(zip(columns, row, strict=True)) for row in part]


async def _put(database: Database, table: Table, rows: list[dict[str, Any]]) -> None:
    size = max(1, _BOUND // len(table.columns))
    async with database.begin() as tx:
        for start in range(0, len(rows), size):
            await _upsert(tx, table, rows[start : start + size])


async def _upsert(tx: AsyncConnection, table: Table, rows: list[dict[str, Any]]) -> None:
    plain = Table(table.name, type(metadata)(), *(Column(c.name, stored_type(c)) for c in table.columns))
    statement = upsert(plain).values(rows)
    keys = [column.name for column in table.primary_key.columns] or [c.name for c in _unique(table)]
    rest = {c.name: statement.excluded[c.name] for c in plain.columns if c.name not in keys}
    if rest:
        statement = statement.on_conflict_do_update(index_elements=keys, set_=rest)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=keys)
    await tx.execute(statement)


def _unique(table: Table) -> list[Column[Any]]:
    return next(
        list(constraint.columns) for constraint in table.constraints if isinstance(constraint, UniqueConstraint)
    )


def _batches(lines: IO[bytes], table: Table) -> Iterator[list[dict[str, Any]]]:
    columns = {column.name for column in table.columns}
    blobs = {column.name for column in table.columns if column.type.python_type is bytes}
    batch: list[dict[str, Any]] = []
    for line in lines:
        row = msgspec.json.decode(line, type=dict[str, Any])
        if row.keys() != columns:
            raise ValueError
        for name in blobs:
            row[name] = None if row[name] is None else msgspec.convert(row[name], bytes)
        batch.append(row)
        if len(batch) == CHUNK:
            yield batch
            batch = []
    if batch:
        yield batch


async def _reset_counters(database: Database) -> None:
    """PostgreSQL's key counters do not notice keys that are given."""
    if database.sqlite:
        return
    async with database.begin() as tx:
        for table in metadata.sorted_tables:
            key = table.autoincrement_column
            if key is not None and key.name == "id" and table.name != "changes":
                query = f"""SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), COALESCE(max(id), 0) + 1, false)
                            FROM "{table.name}" """  # noqa: S608
                await tx.execute(text(query))
