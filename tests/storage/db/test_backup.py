"""A backup that is damaged or was made by someone else is refused in words, and half a database is never served."""

import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select

from hub.runtime import boot
from storage.catalogue import teams
from storage.db import backup
from storage.db.engine import Database
from storage.db.handover import Handover
from storage.ledger.errors import CasinoFluxError
from storage.tables import facts, metadata
from storage.tables import teams as table

NOW = datetime(2026, 11, 28, tzinfo=UTC)

#: What a table of the archive holds instead, and the table.
DAMAGES = {
    "no object": ("members", b"[1, 2]\n"),
    "no JSON": ("members", b'{"id":\n'),
    "nested": ("members", b"[" * 100_000 + b"\n"),
    "another column": ("teams", b'{"id":1,"evil; drop":1}\n'),
    "a column less": ("teams", b'{"id":1}\n'),
    "too large a number": ("changes", b'{"id":99999999999999999999,"n":1}\n'),
    "a number past all": ("changes", b'{"id":1e400,"n":1}\n'),
    "no text": ("facts", b'{"name":"a","value":{"b":1}}\n'),
    "not the table": ("changes", None),
    "no number": ("schema", b"\xff\xfe"),
}


async def filled(database: Database, folder: Path) -> Path:
    """The backup of a database with a team, which is emptied then."""
    async with database.begin() as tx:
        await teams.first(tx, NOW)
    path = folder / "whole.zip"
    await backup.backup(database, path)
    await emptied(database)
    return path


async def emptied(database: Database) -> None:
    async with database.begin() as tx:
        for each in reversed(metadata.sorted_tables):
            await tx.execute(delete(each))


def damaged(whole: Path, name: str, content: bytes | None) -> Path:
    path = whole.with_name("damaged.zip")
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as archive:
        for entry in source.namelist():
            bytes_of = content if entry.partition(".")[0] == name else source.read(entry)
            if bytes_of is not None:
                archive.writestr(entry, bytes_of)
    return path


async def count(database: Database) -> int:
    async with database.read() as tx:
        return int((await tx.execute(select(func.count()).select_from(table))).scalar_one())


@pytest.mark.parametrize("kind", DAMAGES)
async def test_a_damaged_backup_is_refused_in_words_and_a_whole_one_taken_after_it(
    opened: Callable[[], Any], tmp_path: Path, kind: str
) -> None:
    async with opened() as database:
        whole = await filled(database, tmp_path)
        broken = damaged(whole, *DAMAGES[kind])
        with pytest.raises(CasinoFluxError, match="is not a whole backup"):
            await backup.restore(database, broken)
        assert await backup.restore(database, whole) > 0
        assert await count(database) == 1
        async with database.read() as tx:
            await boot.check_whole(tx)


async def test_a_restore_that_was_killed_is_not_served_and_may_begin_again(
    opened: Callable[[], Any], tmp_path: Path
) -> None:
    async with opened() as database:
        whole = await filled(database, tmp_path)
        async with database.begin() as tx:  # as it is left where the process ends after the first tables
            await tx.execute(insert(facts).values(name=backup.UNFINISHED, value="1"))
            await teams.first(tx, NOW)
        async with database.read() as tx:
            with pytest.raises(CasinoFluxError, match="run casinoflux db restore again"):
                await boot.check_whole(tx)
        await backup.restore(database, whole)
        async with database.read() as tx:
            await boot.check_whole(tx)
        with pytest.raises(CasinoFluxError, match="is not empty"):
            await backup.restore(database, whole)


async def test_a_file_that_is_not_there_leaves_a_new_database_as_it_was(
    opened: Callable[[], Any], tmp_path: Path
) -> None:
    async with opened() as database:
        with pytest.raises(CasinoFluxError, match="No such file"):
            await backup.restore(database, tmp_path / "nothing.zip")
        async with database.read() as tx:
            await boot.check_whole(tx)


async def test_two_restores_at_once_do_not_mix(opened: Callable[[], Any], tmp_path: Path) -> None:
    async with opened() as database:
        if not database.sqlite:
            pytest.skip("the operator's one shell is all that guards PostgreSQL")
        whole = await filled(database, tmp_path)
        with Handover(Path(database.file.path)), pytest.raises(CasinoFluxError, match="at work on this database"):
            await backup.restore(database, whole)
        assert await count(database) == 0
