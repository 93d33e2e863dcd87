"""Everything to a file and back: the same rows, whichever kind of database it is."""

import os
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec
from sqlalchemy import Column, Table, UniqueConstraint, func, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.engine import Database
from storage.db.schema import HEAD, is_older
from storage.ledger.errors import CasinoFluxError
from storage.tables import metadata, teams

CHUNK = 2_000
_BOUND = 30_000  # most parameters in one statement: SQLite's limit is 32,766, asyncpg's 32,767


async def backup(database: Database, path: Path) -> int:
    """Write all rows to a zip of JSON lines, one file a table. Raises CasinoFluxError if the file exists."""
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
    """Fill an empty database from a backup. Raises CasinoFluxError if it is not empty or not of this schema."""
    await _refuse_filled(database)
    try:
        total = await _put_back(database, path)
    except (OSError, KeyError, zipfile.BadZipFile, msgspec.DecodeError):
        raise CasinoFluxError(f"{path} is not a whole backup of casinoflux: name a file that db backup wrote") from None
    await _reset_counters(database)
    return total


async def _put_back(database: Database, path: Path) -> int:
    total = 0
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() is not None:
            raise zipfile.BadZipFile
        schema = archive.read("schema").decode()
        if schema != HEAD:
            fix = (
                "restore it with the version that wrote it, then run this version's casinoflux db upgrade"
                if is_older(schema)
                else "it is of a newer version: install that one"
            )
            raise CasinoFluxError(f"{path} is of schema {schema}, this version's is {HEAD}: {fix}")
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
    try:
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except FileExistsError:
        raise CasinoFluxError(f"{path} exists already: name a new file") from None
    except OSError as error:
        raise CasinoFluxError(f"{path} cannot be written ({error.strerror}): name another file") from None
    try:
        with file:
            yield file
    except BaseException:
        path.unlink()  # half a backup is none
        raise


async def _refuse_filled(database: Database) -> None:
    async with database.read() as tx:
        if (await tx.execute(select(func.count()).select_from(teams))).scalar_one():
            raise CasinoFluxError(
                "the database is not empty: restore into a new one (CASINOFLUX_DATABASE_URL), or with --replace in the "
                "place of what is there"
            )


async def _chunks(tx: AsyncConnection, table: Table) -> AsyncIterator[list[dict[str, Any]]]:
    """Raw column values, as they lie on disk on both databases."""
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
    plain = Table(table.name, type(metadata)(), *(Column(c.name, _stored(c)) for c in table.columns))
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


def _stored(column: Column[Any]) -> Any:
    """The type on disk, without the dress it wears in Python."""
    return getattr(column.type, "impl_instance", column.type)


def _batches(lines: IO[bytes], table: Table) -> Iterator[list[dict[str, Any]]]:
    blobs = {column.name for column in table.columns if column.type.python_type is bytes}
    batch: list[dict[str, Any]] = []
    for line in lines:
        row = msgspec.json.decode(line)
        for name in blobs & row.keys():
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
