"""A local copy of what clicks, pages and postbacks go by: a hub starts from it while PostgreSQL is unavailable.

A small SQLite file beside the spools, for its owner only, replaced whole whenever something configured has changed.
Its rows are the database's own, so the functions that read the database read it too; secrets stay as sealed as they are
there. It says of which database it is.
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import msgspec
from sqlalchemy import Table, func, select, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.schema import CreateTable

from storage import tables
from storage.db import config_version
from storage.db.database_url import hosts_of, read_url
from storage.db.engine import Database, T, Work
from storage.db.schema import HEAD
from storage.db.spool_file import sync_folder

TABLES: tuple[Table, ...] = (
    tables.changes, tables.facts, tables.teams, tables.accounts, tables.casinos, tables.offers, tables.sources,
    tables.campaigns, tables.campaign_aliases, tables.campaign_offers,
    tables.placement_lists, tables.placements, tables.sites,
    tables.site_offers, tables.site_variants, tables.domains, tables.images, tables.site_files,
)  # fmt: skip
MOST_IMAGES = 64 << 20  # bytes of pictures, the latest first
_CHUNK = 2_000  # rows
_SUFFIX = "plans"


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot says of itself: whose it is, and as of when. `version`: of the configuration."""

    schema: str
    version: int
    taken_at: datetime
    database: str
    hosts: tuple[str, ...]

    def is_of(self, url: URL) -> bool:
        """Whether it was taken of the database that a URL names, by any of its hosts."""
        return self.database == (url.database or "") and bool(set(self.hosts) & set(_hosts(url)))


class Snapshot:
    """A snapshot to read from; a newer one that takes its place is read from then on."""

    def __init__(self, path: Path, described: Described) -> None:
        self.number = path.stem  # the database's
        self.described = described
        uri = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1&uri=true"
        self._engine = create_async_engine(f"sqlite+aiosqlite:///{uri}", hide_parameters=True)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        async with self._engine.connect() as connection:
            yield connection

    async def look(self, work: Work[T]) -> T:
        """Run `work(tx)`, a few short reads, as `Database.look` does."""
        async with self.read() as connection:
            return await work(connection)

    async def close(self) -> None:
        await self._engine.dispose()


def find(folder: Path, url: str) -> Snapshot | None:
    """The latest snapshot of a database that this version can read; None if there is none."""
    parsed, latest = read_url(url), None
    for path in folder.glob(f"*.{_SUFFIX}") if folder.is_dir() else ():
        described = describe(path)
        if described is None or described.schema != HEAD or not described.is_of(parsed):
            continue
        if latest is None or described.taken_at > latest.described.taken_at:
            latest = Snapshot(path, described)
    return latest


def describe(path: Path) -> Described | None:
    """What the file says of itself; None if it is no snapshot."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1", uri=True)) as file:
            (written,) = file.execute("SELECT described FROM snapshot").fetchone()
        return msgspec.json.decode(written, type=Described)
    except (sqlite3.Error, msgspec.DecodeError, TypeError):
        return None


def path_of(folder: Path, number: str) -> Path:
    return folder / f"{number}.{_SUFFIX}"


async def take(database: Database, folder: Path, number: str, *, now: datetime) -> int | None:
    """Write the database's snapshot; the configuration's version in it, None if that changed meanwhile: take it again.

    Raises OSError if the folder cannot be written, and what the database raises.
    """
    path = path_of(folder, number)
    draft = await asyncio.to_thread(_new_draft, path)
    try:
        with closing(sqlite3.connect(draft, isolation_level=None, check_same_thread=False)) as file:
            version = await _fill(file, database, now)
        if version is not None:
            await asyncio.to_thread(_put, draft, path)
        return version
    except sqlite3.OperationalError as error:
        raise OSError(f"the snapshot cannot be written: {error}") from None
    finally:
        draft.unlink(missing_ok=True)


def _new_draft(path: Path) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    return draft


async def _fill(file: sqlite3.Connection, database: Database, now: datetime) -> int | None:
    file.execute("PRAGMA journal_mode=OFF")  # a draft: it is synced whole before it counts
    file.execute("PRAGMA synchronous=OFF")
    file.execute("BEGIN")
    async with database.read() as tx:
        version = await config_version.current(tx)
        for table in tables.metadata.sorted_tables:  # those that are not copied are there, and empty
            file.execute(str(CreateTable(table).compile(dialect=sqlite.dialect())))
        for table in TABLES:
            await _copy(file, tx, table)
        if await config_version.current(tx) != version:
            return None
    url = read_url(database.url)
    described = Described(
        schema=HEAD, version=version, taken_at=now, database=url.database or "", hosts=_hosts(url)
    )  # fmt: skip
    file.execute("CREATE TABLE snapshot (described BLOB NOT NULL)")
    file.execute("INSERT INTO snapshot VALUES (?)", [msgspec.json.encode(described)])
    file.execute("COMMIT")
    return version


async def _copy(file: sqlite3.Connection, tx: AsyncConnection, table: Table) -> None:
    """All rows of a table, as they are stored."""
    columns = [f'"{column.name}"' for column in table.columns]
    insert = f'INSERT INTO "{table.name}" VALUES ({", ".join("?" * len(columns))})'  # noqa: S608
    kept = f"WHERE id >= {await _first_image(tx)}" if table is tables.images else ""
    stream = await tx.stream(text(f'SELECT {", ".join(columns)} FROM "{table.name}" {kept}'))  # noqa: S608
    async for rows in stream.partitions(_CHUNK):
        await asyncio.to_thread(_insert, file, insert, rows)


def _insert(file: sqlite3.Connection, statement: str, rows: Sequence[Sequence[object]]) -> None:
    file.executemany(statement, [tuple(row) for row in rows])


async def _first_image(tx: AsyncConnection) -> int:
    """The oldest of the latest pictures that are MOST_IMAGES together."""
    i = tables.images.c
    sizes = select(i.id, func.sum(func.length(i.content)).over(order_by=i.id.desc()).label("size")).subquery()
    first = select(func.min(sizes.c.id)).where(sizes.c.size <= MOST_IMAGES)
    return int((await tx.execute(first)).scalar_one() or 0)


def _put(draft: Path, path: Path) -> None:
    descriptor = os.open(draft, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    draft.rename(path)
    sync_folder(path.parent)


def _hosts(url: URL) -> tuple[str, ...]:
    port = f":{url.port or 5432}" if url.host else ""
    return tuple(f"{host}{port}" if host == url.host else host for host in hosts_of(url)) or ("localhost:5432",)
