"""A start that cannot be: one line that names what is wrong and what to do."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from hub.clicks.handler import Clicks
from hub.postbacks.handler import Postbacks
from hub.runtime import boot
from hub.runtime.boot import DatabaseUnreachable
from hub.runtime.runtime import Runtime
from hub.runtime.settings import SettingError, Settings, key_path, read_settings
from storage.catalogue import teams
from storage.clicks.queries import ensure_codec
from storage.db import backup
from storage.db.engine import Database
from storage.db.schema import is_older
from storage.db.secrets import Box
from storage.ledger.errors import CasinoFluxError
from tests.waiting import free_port

on_postgresql = pytest.mark.parametrize("database_kind", ["postgresql"])


def new_runtime(url: str, **settings: str) -> Runtime:
    given = {"DATABASE_URL": url, "SECRET_KEY": "one key", **settings}
    return boot.new_runtime(read_settings({f"CASINOFLUX_{name}": value for name, value in given.items()}))


async def fault_of_start(url: str, **settings: str) -> str:
    runtime = new_runtime(url, **settings)
    try:
        with pytest.raises(CasinoFluxError) as fault:
            await boot.prepare(runtime)
    finally:
        await runtime.close()
    return str(fault.value)


async def test_each_of_several_hosts_that_cannot_be_used_is_named_with_the_reason() -> None:
    ports = free_port(), free_port()
    with pytest.raises(DatabaseUnreachable) as fault:
        await boot.reach(f"postgresql+asyncpg://u:secret@/hub?host=127.0.0.1:{ports[0]}&host=127.0.0.1:{ports[1]}")
    for port in ports:
        assert f"127.0.0.1:{port}: " in str(fault.value)
    assert "secret" not in str(fault.value)
    assert "start the server, check its address" in str(fault.value)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://u:hush@127.0.0.1:{port}/hub",
        "postgresql+asyncpg://127.0.0.1:{port}/hub?user=u&password=hush",
    ],
)
async def test_a_password_is_not_shown_wherever_the_url_has_it(url: str) -> None:
    url = url.format(port=free_port())
    with pytest.raises(DatabaseUnreachable) as fault:
        await boot.reach(url)
    assert "hush" not in str(fault.value)
    assert "hush" not in repr(read_settings({"CASINOFLUX_DATABASE_URL": url, "CASINOFLUX_SECRET_KEY": "one key"}))


def test_a_parameter_that_the_driver_does_not_take_is_named_without_its_value() -> None:
    url = "postgresql://u@db.example.test/hub?sslmode=require&sslpassword=hush"
    with pytest.raises(SettingError) as fault:
        read_settings({"CASINOFLUX_DATABASE_URL": url, "CASINOFLUX_SECRET_KEY": "one key"})
    assert str(fault.value).startswith("CASINOFLUX_DATABASE_URL: sslpassword is no parameter")
    assert "hush" not in str(fault.value)


async def test_a_read_only_server_and_a_missing_database_are_told(postgres_url: str) -> None:
    database = Database(postgres_url)
    name = make_url(postgres_url).database
    async with database.begin() as tx:
        await tx.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
    await database.close()
    with pytest.raises(SettingError, match="default_transaction_read_only"):
        await boot.reach(postgres_url)
    with pytest.raises(SettingError, match="create the database, or name the right one"):
        await boot.reach(postgres_url.replace(str(name), "nowhere"))


async def test_a_server_that_refuses_for_now_is_told_with_the_fix(postgres: str, postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres)
    await connection.execute(f'ALTER DATABASE "{make_url(postgres_url).database}" ALLOW_CONNECTIONS false')
    await connection.close()
    with pytest.raises(DatabaseUnreachable, match="ALLOW_CONNECTIONS true"):
        await boot.reach(postgres_url)


async def test_a_second_hub_has_the_key_and_the_zone_of_the_first(upgraded_url: str) -> None:
    first = new_runtime(upgraded_url)
    await boot.prepare(first)
    async with first.database.begin() as tx:
        await ensure_codec(tx)
        await teams.store_fact(tx, "slack", first.box.seal("a token"))
    await first.close()
    assert "the key of the other hubs" in await fault_of_start(upgraded_url, SECRET_KEY="another key")
    assert "set it back" in await fault_of_start(upgraded_url, REPORT_TIMEZONE="Asia/Tokyo")
    second = new_runtime(upgraded_url, SECRET_KEY="a newer key,one key")
    await boot.prepare(second)
    await second.close()


def read_key(folder: Path, url: str) -> Settings:
    return read_settings({"CASINOFLUX_DATABASE_URL": url}, folder)


async def test_a_key_that_is_lost_is_said_and_no_other_is_made(
    upgraded_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = boot.new_runtime(read_key(tmp_path, upgraded_url))
    await boot.prepare(first)
    async with first.database.begin() as tx:
        await teams.store_fact(tx, "slack", first.box.seal("a token"))
    await first.close()
    kept = key_path(upgraded_url)
    key = kept.read_text()
    kept.unlink()
    with pytest.raises(SettingError, match=rf"{kept.name} is missing.* casinoflux keys rotate"):
        await boot.check_stored(read_key(tmp_path, upgraded_url))
    assert not kept.exists()
    kept.write_text(key)
    await boot.check_stored(read_key(tmp_path, upgraded_url))


async def test_where_nothing_is_sealed_yet_one_process_takes_another_key(upgraded_url: str, database_kind: str) -> None:
    first = new_runtime(upgraded_url)
    await boot.prepare(first)
    await first.close()
    if database_kind == "postgresql":
        assert "the key of the other hubs" in await fault_of_start(upgraded_url, SECRET_KEY="another key")
        return
    second = new_runtime(upgraded_url, SECRET_KEY="another key")
    await boot.prepare(second)
    async with second.database.begin() as tx:
        await teams.store_fact(tx, "slack", second.box.seal("a token"))
    await second.close()
    assert "CASINOFLUX_SECRET_KEY is not the key" in await fault_of_start(upgraded_url)


async def test_a_database_of_before_the_check_is_opened_by_a_key_that_opens_something(upgraded_url: str) -> None:
    runtime = new_runtime(upgraded_url)
    async with runtime.database.begin() as tx:
        await teams.store_fact(tx, "slack", Box("one key").seal({"token": "s"}))
        await teams.store_fact(tx, "lost", Box("a lost key").seal("x"))
    await runtime.close()
    assert "CASINOFLUX_SECRET_KEY is not the key" in await fault_of_start(upgraded_url, SECRET_KEY="another key")
    second = new_runtime(upgraded_url)
    await boot.prepare(second)
    await second.close()


def test_an_empty_key_file_is_no_key(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'flux.db'}"
    (tmp_path / "flux.db.key").touch()
    with pytest.raises(SettingError, match=r"flux\.db\.key is empty"):
        read_key(tmp_path, url)


@on_postgresql
async def test_an_older_program_ends_on_a_newer_schema_and_changes_nothing(upgraded_url: str) -> None:
    runtime = new_runtime(upgraded_url)
    async with runtime.database.begin() as tx:
        await tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await runtime.close()
    assert "start the version that wrote it, or a newer one" in await fault_of_start(upgraded_url)
    assert (is_older("9999"), is_older("0001"), is_older(None)) == (False, True, True)


async def test_a_spool_that_cannot_be_written_ends_the_start(
    opened: Callable[[], Any], database_kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "casinoflux.db.spool" if database_kind == "sqlite" else "casinoflux.spool"
    (tmp_path / name).write_text("a file where the folder should be")
    async with opened() as database:
        runtime = new_runtime(database.url)
        await boot.prepare(runtime)
        for part in (Postbacks(runtime), Clicks(runtime)):
            with pytest.raises(CasinoFluxError, match=f"{name} cannot be written .*: make room there"):
                await part.start()
        await runtime.close()


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_backup_of_a_newer_version_is_refused(opened: Callable[[], Any], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "new.zip", "w") as archive:
        archive.writestr("schema", "9999")
    async with opened() as database:
        with pytest.raises(CasinoFluxError, match="of a newer version: install that one"):
            await backup.restore(database, tmp_path / "new.zip")


_FULL_IN_THE_MIDDLE = """
import sqlite3
import sys
from hub.__main__ import main
from hub.runtime import boot

async def recover(_runtime):
    raise sqlite3.OperationalError("database or disk is full")

boot.recover = recover
sys.argv = ["casinoflux", "serve", "--port", sys.argv[1]]
main()
"""


def test_a_disk_that_is_full_in_the_middle_of_a_start_is_told_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _FULL_IN_THE_MIDDLE, str(free_port())]
    environment = {**os.environ, "CASINOFLUX_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'casinoflux.db'}",
                   "PYTHONPATH": str(Path(__file__).parents[3])}  # fmt: skip
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "make room" in done.stderr


async def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    file.write_text("not a database, " * 100)
    file.chmod(0o644)
    with pytest.raises(CasinoFluxError, match="file is not a database"):
        await boot.reach(f"sqlite+aiosqlite:///{file}")
    assert file.stat().st_mode & 0o777 == 0o644
    assert file.read_text() == "not a database, " * 100
