"""Everything moves: to a file and back, from SQLite to PostgreSQL, as often as one likes."""

import asyncio
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from hub.runtime import boot
from hub.runtime.settings import read_settings
from storage.catalogue import teams
from storage.db import backup
from storage.db.engine import Database
from storage.db.handover import Handover
from storage.db.schema import upgrade
from storage.db.spool_file import SPOOLED
from storage.db.transfer import Transfer, clear_left_over, filling_alone, opened
from storage.db.unavailable import DatabaseUnavailable
from storage.ledger.errors import CasinoFluxError
from storage.tables import casinos, facts, metadata
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
        assert await backup.backup(say.database, tmp_path / "all.zip") > 5
        before = await counted(say.database)
        with pytest.raises(CasinoFluxError, match="not empty"):
            await backup.restore(say.database, tmp_path / "all.zip")
        with pytest.raises(CasinoFluxError, match="exists already"):
            await backup.backup(say.database, tmp_path / "all.zip")
    fresh = Database(f"sqlite+aiosqlite:///{tmp_path / 'fresh.db'}")
    await upgrade(fresh)
    await backup.restore(fresh, tmp_path / "all.zip")
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

        await asyncio.gather(write(), backup.backup(say.database, tmp_path / "all.zip"))
    fresh = Database(f"sqlite+aiosqlite:///{tmp_path / 'fresh.db'}")
    await upgrade(fresh)
    await backup.restore(fresh, tmp_path / "all.zip")
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
                await backup.restore(database, tmp_path / name)
        with pytest.raises(CasinoFluxError, match="cannot be written"):
            await backup.backup(database, tmp_path / "no" / "folder")


async def contents(database: Database) -> dict[str, list[str]]:
    """All rows in words, but those that say where the database came from."""
    async with database.read() as tx:
        rows = {
            table.name: sorted(str(row) for row in await tx.execute(select(table))) for table in metadata.sorted_tables
        }
    rows["facts"] = [row for row in rows["facts"] if SPOOLED not in row]
    return rows


async def test_what_changes_while_it_is_copied_is_carried_over(sqlite_url: str, postgres_url: str) -> None:
    source, target = Database(sqlite_url), Database(postgres_url)
    await upgrade(source)
    await upgrade(target)
    say = Asker(source, 1)
    async with source.begin() as tx:
        await teams.first(tx, say.now)
    await fill(say)
    await say("group add things")
    said: list[tuple[str, int, int]] = []
    async with opened(target.url) as connection:
        transfer = Transfer(Path(source.file.path), connection)
        await transfer.begin()
        await transfer.copy_all(lambda *progress: said.append(progress))
        assert ("teams", 1, 1) in said
        assert await contents(target) != await contents(source), "it is not to be served yet"
        await say("offer pause lucky-one")
        await say("group remove things")
        await say("account add platform=postback_only name=second timezone=UTC currency=EUR")
        await say("offer add casino=Other account=second tag=two url=https://other.example.test/?s={click_id}")
        await say("campaign create c2 offers=lucky-one,other-two")
        async with source.begin() as tx:  # a key that changes, and two that change places
            await tx.execute(update(facts).where(facts.c.name == "report_timezone").values(name="elsewhere"))
            for name, code in (("Lucky", "interim"), ("Other", "lucky"), ("Lucky", "other")):
                await tx.execute(update(casinos).where(casinos.c.name == name).values(code=code))
        assert await transfer.copy_changes() > 5
        await say("campaign create c3")
        async with transfer.lock():
            assert await transfer.copy_changes(locked=True) > 0
            await transfer.copy_unnoted()
            assert await transfer.check_counts() == sum((await counted(source)).values())
            await transfer.finish(Path("/spool"))
        transfer.close()
    assert await contents(target) == await contents(source)
    async with source.read() as tx:
        assert (await tx.execute(text("SELECT name FROM sqlite_master WHERE name LIKE 'transfer%'"))).all() == []
    there = Asker(target, 1)
    assert (await there("offer show lucky-one"))["status"] == "paused"
    assert (await there("campaign create c4"))["id"] == 4
    async with opened(target.url) as connection:
        again = Transfer(Path(source.file.path), connection)
        with pytest.raises(CasinoFluxError, match="is not empty: name an empty one"):
            await again.begin()
        again.close()
    await source.close()
    await target.close()


async def test_what_a_killed_transfer_left_is_cleared_away(sqlite_url: str, postgres_url: str) -> None:
    source, target = Database(sqlite_url), Database(postgres_url)
    await upgrade(source)
    await upgrade(target)
    async with opened(target.url) as connection:
        await Transfer(Path(source.file.path), connection).begin()
    runtime = boot.new_runtime(read_settings({"CASINOFLUX_DATABASE_URL": postgres_url, "CASINOFLUX_SECRET_KEY": "k"}))
    with pytest.raises(CasinoFluxError, match="is being filled by casinoflux db transfer"):
        await boot.prepare(runtime)
    await runtime.close()
    runtime = boot.new_runtime(read_settings({"CASINOFLUX_DATABASE_URL": sqlite_url, "CASINOFLUX_SECRET_KEY": "k"}))
    await boot.prepare(runtime)
    async with source.read() as tx:
        assert (await tx.execute(text("SELECT name FROM sqlite_master WHERE name LIKE 'transfer%'"))).all() == []
    await runtime.close()
    await source.close()
    await target.close()


async def test_one_transfer_at_a_time_fills_a_database_from_whichever_source(postgres_url: str) -> None:
    async with filling_alone(postgres_url):
        with pytest.raises(CasinoFluxError, match="another db transfer is filling that database"):
            async with filling_alone(postgres_url):
                pass
    async with filling_alone(postgres_url):
        pass


async def test_tables_of_another_program_are_left_as_they_are(database_url: str) -> None:
    database = Database(database_url)
    async with database.begin() as tx:
        await tx.execute(text("CREATE TABLE campaigns (theirs INTEGER)"))
    with pytest.raises(CasinoFluxError, match=r"holds tables of another program \(campaigns\): name an empty one"):
        await upgrade(database)
    async with database.read() as tx:
        assert (await tx.execute(text("SELECT theirs FROM campaigns"))).all() == []
    await database.close()


async def test_what_is_cleared_away_is_never_of_a_transfer_at_work(sqlite_url: str, postgres_url: str) -> None:
    source, target = Database(sqlite_url), Database(postgres_url)
    await upgrade(source)
    await upgrade(target)
    path = source.file.path
    triggers = text("SELECT count(*) FROM sqlite_master WHERE name LIKE 'transfer%'")
    async with opened(target.url) as connection:
        with Handover(Path(path)):
            transfer = Transfer(Path(path), connection)
            await transfer.begin()
            async with source.read() as tx:
                made = (await tx.execute(triggers)).scalar_one()
            clear_left_over(path)
            async with source.read() as tx:
                assert (await tx.execute(triggers)).scalar_one() == made > 100
        clear_left_over(path)  # its process has died
        async with source.read() as tx:
            assert (await tx.execute(triggers)).scalar_one() == 0
        transfer.close()
    clear_left_over(f"{path}.gone")
    assert not Path(f"{path}.gone").exists()
    await source.close()
    await target.close()


async def test_a_process_that_starts_meanwhile_waits_for_the_minute(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    await upgrade(database)
    with Handover(Path(database.file.path)) as handover:
        handover.hold("it is being restored")
        starting = asyncio.create_task(boot.reach(sqlite_url))
        await asyncio.sleep(0.3)
        assert not starting.done()
    await asyncio.wait_for(starting, 60)
    with Handover(Path(database.file.path)) as handover:
        handover.finish("it was moved")
    await asyncio.wait_for(boot.reach(sqlite_url), 60)  # nothing to wait for: what is read first says so
    await database.close()


async def test_a_hub_leaves_its_database_alone_while_another_process_has_it(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    await upgrade(database)
    path = Path(database.file.path)
    with Handover(path) as handover:
        database.check()
        with pytest.raises(CasinoFluxError, match="another db transfer or db restore is at work"), Handover(path):
            pass
        handover.hold("it is being moved")
        with pytest.raises(DatabaseUnavailable, match="being moved"):
            async with database.begin():
                pass
        with pytest.raises(DatabaseUnavailable, match="being moved"):
            database.check()
    database.check()
    note = Path(f"{path}.handover")
    note.write_text('{"reason": "left by a process that was killed"}')
    database.check()
    with Handover(path) as handover:
        handover.finish("it was moved")
    with pytest.raises(DatabaseUnavailable, match="it was moved"):
        database.check()
    with pytest.raises(CasinoFluxError, match="it was moved"), Handover(path):
        pass
    await database.close()
