"""A database of the first release, a row in every table, becomes today's and loses nothing."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Boolean, Column, Connection, Integer, LargeBinary, MetaData, Table, Text, select

from storage.clicks import partitions
from storage.db.engine import Database
from storage.db.schema import HEAD, MIGRATIONS, current, upgrade
from storage.reports.cohort_sums import rebuild
from storage.tables import cohort_cells, cohort_weeks, metadata, touched_cohorts
from storage.tables.types import Day, Instant, Json

WHEN = datetime(2026, 10, 1, 12, tzinfo=UTC)
#: What the types that SQLite stores as text or number hold, so that today's code can read the rows.
VALUES: tuple[tuple[type, Any], ...] = (
    (Instant, WHEN), (Day, date(2026, 10, 1)), (Json, {}), (Boolean, False), (LargeBinary, b"x"), (Integer, 1),
    (Text, "1"),
)  # fmt: skip


def to_revision(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def stored_tables(connection: Connection) -> list[Table]:
    """The tables as the database has them, with the types that today's code reads them by."""
    reflected = MetaData()
    reflected.reflect(connection, only=lambda name, _: name in metadata.tables)
    for table in reflected.tables.values():
        for column in table.columns:
            if column.name in metadata.tables[table.name].columns:
                column.type = metadata.tables[table.name].columns[column.name].type
    return reflected.sorted_tables


def value_of(column: Column[Any]) -> Any:
    return next((value for kind, value in VALUES if isinstance(column.type, kind)), 1)


def row_of(table: Table) -> dict[str, Any]:
    counted = "id" if table.name == "touched" else ""  # a migration adds to it
    return {column.name: value_of(column) for column in table.columns if column.name != counted}


@pytest.mark.slow_on_postgresql
async def test_a_filled_first_database_becomes_todays(database_url: str) -> None:
    database = Database(database_url)
    try:
        async with database.begin() as tx:
            await tx.run_sync(to_revision, "0001")
            tables = await tx.run_sync(stored_tables)
            await partitions.ensure(tx, WHEN)
            for table in tables:
                if table.name != "changes":  # has its one row from the start
                    await tx.execute(table.insert().values(row_of(table)))
        await upgrade(database)
        assert await current(database) == HEAD
        async with database.read() as tx:
            for table in tables:
                rows = (await tx.execute(select(metadata.tables[table.name]))).all()
                # Merged days are made of the other tables: 0002 and 0005 mark their days, 0005 drops them.
                expected = {"touched": 3, "merged": 0}.get(table.name, 1)
                assert len(rows) == expected, table.name
        assert len(tables) > 40
    finally:
        await database.close()


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
async def test_the_release_before_goes_on_writing_after_an_upgrade(sqlite_url: str) -> None:
    """Hubs are upgraded one after the other: rows of the columns that the last migration found are still taken."""
    database = Database(sqlite_url)
    revisions = sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("0*.py"))
    assert revisions[-1] == HEAD
    try:
        async with database.begin() as tx:
            await tx.run_sync(to_revision, revisions[-2])
            before = await tx.run_sync(stored_tables)
        await upgrade(database)
        async with database.begin() as tx:
            for table in before:
                if table.name != "changes":
                    await tx.execute(table.insert().values(row_of(table)))
                    assert len((await tx.execute(select(table))).all()) == 1, table.name
        assert len(before) > 40
    finally:
        await database.close()


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
async def test_players_of_the_release_before_are_summed_up_again(database_url: str) -> None:
    """0029 keeps sums in other tables; a hub of the release before cannot take the marks it leaves."""
    database = Database(database_url)
    registered = date(2026, 10, 1)  # a Thursday
    try:
        async with database.begin() as tx:
            await tx.run_sync(to_revision, "0028")
            for table in await tx.run_sync(stored_tables):
                if table.name in {"teams", "accounts", "players"}:
                    row = row_of(table) | ({"registered": registered} if table.name == "players" else {})
                    await tx.execute(table.insert().values(row))
        await upgrade(database)
        assert await rebuild(database) == 1
        async with database.read() as tx:
            for sums in (cohort_weeks, cohort_cells):
                rows = (await tx.execute(select(sums))).all()
                assert {(row.week, row.registrations) for row in rows} == {(date(2026, 9, 28), 1)}
            assert (await tx.execute(select(touched_cohorts))).all() == []
    finally:
        await database.close()
