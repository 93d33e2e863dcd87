"""Several PostgreSQL servers in one URL: how it is read, and that a server which became a standby is left."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from hub.runtime.settings import SettingError, database_url
from storage.db.batch_connection import PostgresBatchConnection
from storage.db.database_url import read_url
from storage.db.engine import Database
from storage.db.postgres_connection import connect_arguments
from storage.db.unavailable import DatabaseUnavailable, is_unavailable

READ_ONLY = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"


@pytest.mark.parametrize("url", [
    "postgresql://anna:p%40ss@db1:5432,db2:5433/hub",
    "postgres://anna:p%40ss@db1,db2:5433/hub",
    "postgresql+asyncpg://anna:p%40ss@/hub?host=db1:5432&host=db2:5433",
    "postgresql+asyncpg://anna:p%40ss@db1,db2:5433/hub?target_session_attrs=read-write",
])  # fmt: skip
def test_hosts_are_tried_in_turn_for_one_that_can_be_written_to(url: str) -> None:
    arguments = connect_arguments(read_url(database_url("CASINOFLUX_DATABASE_URL", url)))
    assert arguments == {
        "host": ["db1", "db2"], "port": [5432, 5433], "user": "anna", "password": "p@ss", "database": "hub",
        "target_session_attrs": "read-write", "timeout": 5,
    }  # fmt: skip


def test_a_url_may_ask_for_any_server_and_for_tls_in_the_words_of_libpq() -> None:
    arguments = connect_arguments(read_url("postgresql://db1,db2/hub?target_session_attrs=any&sslmode=require"))
    assert (arguments["target_session_attrs"], arguments["ssl"]) == ("any", "require")


def test_one_host_is_what_it_was() -> None:
    assert connect_arguments(read_url("postgresql://anna:secret@db/hub")) == {
        "host": "db", "user": "anna", "password": "secret", "database": "hub", "timeout": 10,
    }  # fmt: skip
    assert read_url(read_url("sqlite:///a,b.db").render_as_string()).database == "a,b.db"


@pytest.mark.parametrize("url", ["postgresql://db1:x,db2/hub", "mysql://db1,db2/hub", "postgresql://db1:99x/hub", "//"])
def test_what_is_no_url_is_refused_by_the_settings_name(url: str) -> None:
    with pytest.raises(SettingError, match="CASINOFLUX_DATABASE_URL"):
        database_url("CASINOFLUX_DATABASE_URL", url)


async def test_a_connection_to_a_server_that_became_a_standby_is_given_up(postgres_url: str) -> None:
    database = Database(postgres_url)
    try:
        async with database.begin() as tx:
            await tx.execute(text("CREATE TABLE notes (n int)"))
            await tx.execute(text(READ_ONLY))
        with pytest.raises((DBAPIError, DatabaseUnavailable)) as refused:
            async with database.begin() as tx:
                await tx.execute(text("INSERT INTO notes VALUES (1)"))
        assert is_unavailable(refused.value), "what was to be written is not at fault"
        async with database.begin() as tx:
            await tx.execute(text("INSERT INTO notes VALUES (2)"))
        async with database.read() as tx:
            assert (await tx.execute(text("SELECT n FROM notes"))).scalars().all() == [2]
    finally:
        await database.close()


async def test_the_connection_of_batches_is_given_up_likewise(postgres_url: str) -> None:
    connection = PostgresBatchConnection(Database(postgres_url))
    try:
        async with connection.transaction(5):
            await connection.query("CREATE TABLE notes (n int)")
            await connection.query(READ_ONLY)
        with pytest.raises(Exception, match="read-only") as refused:
            async with connection.transaction(5):
                await connection.query("INSERT INTO notes VALUES (1)")
        assert is_unavailable(refused.value)
        async with connection.transaction(5):
            await connection.query("INSERT INTO notes VALUES (2)")
            assert await connection.query("SELECT n FROM notes") == [(2,)]
    finally:
        await connection.close()


async def test_a_server_that_lacks_something_or_goes_down_is_no_fault_of_what_was_sent(postgres_url: str) -> None:
    at_fault = {"53100": True, "53300": True, "57P01": True, "57P03": True, "58030": True, "XX000": True,
                "42501": True, "42P01": True, "42703": True, "23505": False, "22003": False, "40P01": False,
                "42601": False}  # fmt: skip
    database = Database(postgres_url)
    verdicts = {}
    try:
        for code in at_fault:
            with pytest.raises((DBAPIError, DatabaseUnavailable)) as refused:
                async with database.begin() as tx:
                    await tx.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}'; END $$"))
            verdicts[code] = is_unavailable(refused.value)
    finally:
        await database.close()
    assert verdicts == at_fault, "only what is at fault itself may be set aside"


async def test_a_server_that_is_no_primary_is_no_fault_of_what_was_sent(postgres_url: str) -> None:
    database = Database(f"{postgres_url}&target_session_attrs=standby")
    try:
        with pytest.raises((DBAPIError, OSError)) as refused:
            async with database.begin():
                pass
        assert is_unavailable(refused.value)
    finally:
        await database.close()
