"""Everything moves: to a file and back, from SQLite to PostgreSQL, as often as one likes."""

import asyncio
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from storage.catalogue import teams
from storage.db import transfer
from storage.db.engine import Database
from storage.db.schema import upgrade
from storage.ledger.errors import CasinoFluxError
from storage.tables import metadata
from tests.bot.asking import Asker, asking

Opened = Callable[[], Any]


async def counted(database: Database) -> dict[str, int]:
    async with database.read() as tx:
        return {
            table.name: (await tx.execute(select(func.count()).select_from(table))).scalar_one()
            for table in metadata.sorted_tables
        }


async def fill(say: Asker) -> None:
    await say.account()
    await say("offer add casino=Lucky account=main tag=one url=https://lucky.example.test/?s={click_id}")
    await say("campaign create c1 offers=lucky-one")
    await say("token create name=t role=viewer")


async def test_a_backup_is_restored_into_a_new_database(opened: Opened, tmp_path: Path) -> None:
    async with asking(opened) as say:
        await fill(say)
        assert await transfer.backup(say.database, tmp_path / "all.zip") > 5
        before = await counted(say.database)
        with pytest.raises(CasinoFluxError, match="not empty"):
            await transfer.restore(say.database, tmp_path / "all.zip")
        with pytest.raises(CasinoFluxError, match="exists already"):
            await transfer.backup(say.database, tmp_path / "all.zip")
    fresh = Database(f"sqlite+aiosqlite:///{tmp_path / 'fresh.db'}")
    await upgrade(fresh)
    await transfer.restore(fresh, tmp_path / "all.zip")
    assert await counted(fresh) == before
    await fresh.close()


@pytest.mark.slow_on_postgresql
async def test_a_backup_is_of_one_moment_whoever_writes_meanwhile(opened: Opened, tmp_path: Path) -> None:
    async with asking(opened) as say:
        await fill(say)

        async def write() -> None:
            for n in range(8):
                await say.account(f"a{n}")
                await say(f"offer add casino=C{n} account=a{n} tag=t url=https://c.example.test/?s={{click_id}}")
                await say(f"campaign create k{n} offers=c{n}-t")

        await asyncio.gather(write(), transfer.backup(say.database, tmp_path / "all.zip"))
    fresh = Database(f"sqlite+aiosqlite:///{tmp_path / 'fresh.db'}")
    await upgrade(fresh)
    await transfer.restore(fresh, tmp_path / "all.zip")
    stored = await counted(fresh)
    assert stored["campaign_offers"] == stored["campaigns"]
    await fresh.close()


async def test_what_is_no_backup_is_said(opened: Opened, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("other", "something")
    async with opened() as database:
        for name in ("text", "zip", "nothing"):
            with pytest.raises(CasinoFluxError, match="not a whole backup"):
                await transfer.restore(database, tmp_path / name)
        with pytest.raises(CasinoFluxError, match="cannot be written"):
            await transfer.backup(database, tmp_path / "no" / "folder")
        with pytest.raises(CasinoFluxError, match="to itself"):
            await transfer.copy(database, database)


async def test_sqlite_is_ported_to_postgresql_and_again(sqlite_url: str, postgres_url: str) -> None:
    source, target = Database(sqlite_url), Database(postgres_url)
    await upgrade(source)
    await upgrade(target)
    say = Asker(source, 1)
    async with source.begin() as tx:
        await teams.first(tx, say.now)
    await fill(say)
    said: list[tuple[str, int, int]] = []
    await transfer.copy(source, target, lambda *progress: said.append(progress))
    assert ("teams", 1, 1) in said
    assert await counted(target) == await counted(source)
    await say("offer pause lucky-one")
    await say("campaign create c2")
    await transfer.copy(source, target)
    there = Asker(target, 1)
    assert (await there("offer show lucky-one"))["status"] == "paused"
    assert await counted(target) == await counted(source)
    assert (await there("campaign create c3"))["id"] == 3
    await source.close()
    await target.close()
