"""A database is upgraded at start; a newer one is refused."""

from collections.abc import Callable
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from storage.db import schema
from storage.ledger.errors import CasinoFluxError
from storage.tables import metadata


async def test_an_empty_database_gets_every_table(opened: Callable[[], Any]) -> None:
    async with opened() as database:
        async with database.read() as tx:
            names = set(await tx.run_sync(lambda sync: inspect(sync).get_table_names()))
        assert set(metadata.tables) <= names
        assert await schema.current(database) == schema.HEAD


async def test_a_newer_schema_is_refused(opened: Callable[[], Any]) -> None:
    async with opened() as database:
        async with database.begin() as tx:
            await tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(CasinoFluxError, match="9999"):
            await schema.upgrade(database)


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based index")
async def test_the_migrations_make_what_the_tables_say(opened: Callable[[], Any]) -> None:
    def differences(connection: Connection) -> list[Any]:
        def is_here(key: Any, _name: Any, kind: str, *_: Any) -> bool:
            where = key.elements[0].info.get("only_on") if kind == "foreign_key_constraint" else ""
            return where in {"", None, connection.dialect.name}

        options = {
            "include_name": lambda name, kind, _: kind != "table" or name in metadata.tables,
            "include_object": is_here,
        }
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    async with opened() as database, database.read() as tx:
        assert await tx.run_sync(differences) == []


async def test_a_failed_statement_tells_no_values(opened: Callable[[], Any]) -> None:
    async with opened() as database:
        with pytest.raises(DBAPIError) as caught:
            async with database.read() as tx:
                await tx.execute(text("SELECT nowhere FROM teams WHERE name = :name"), {"name": "a secret"})
    assert "a secret" not in str(caught.value)
