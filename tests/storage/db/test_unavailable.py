"""Faults of a real PostgreSQL: each is the database's, and said in plain words without SQL."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import SQLAlchemyError

from storage.db import tasks
from storage.db.batch_connection import PostgresBatchConnection
from storage.db.engine import Database
from storage.db.unavailable import DatabaseUnavailable, is_unavailable, plain_words

FAULT = (SQLAlchemyError, DatabaseUnavailable, OSError)
Spoil = Callable[[Database], Any]


def statements(*spoiling: str) -> Spoil:
    async def fail(database: Database) -> None:
        async with database.begin() as tx:
            for statement in spoiling:
                await tx.execute(text(statement))

    return fail


async def use_up(database: Database) -> None:
    vars(database.engine.pool)["_timeout"] = 0.01  # seconds, instead of 30
    async with database.read():
        await use_up(database)


FAULTS: dict[str, Spoil] = {
    "PostgreSQL broke a statement off": statements("SET LOCAL statement_timeout = 1", "SELECT pg_sleep(60)"),
    "PostgreSQL takes no writes": statements("SET TRANSACTION READ ONLY", "CREATE TABLE notes (n int)"),
    "the user lacks a right": statements("CREATE TABLE n (n int)", "CREATE ROLE stranger_of_a_test",
                                         "SET LOCAL ROLE stranger_of_a_test", "SELECT 1 FROM n"),
    "lacks a table or a column of this version": statements("SELECT 1 FROM clicks_of_tomorrow"),
    "the connection to PostgreSQL broke|ended the connection": statements(
        "SELECT pg_terminate_backend(pg_backend_pid())"
    ),
    "all connections of this process": use_up,
}  # fmt: skip


@asynccontextmanager
async def at(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        await database.close()


@pytest.mark.parametrize("words", FAULTS)
async def test_what_is_wrong_is_said_in_plain_words(postgres_url: str, words: str) -> None:
    async with at(postgres_url) as database:
        with pytest.raises(FAULT) as fault:
            await FAULTS[words](database)
    assert is_unavailable(fault.value)
    assert tasks.database_fault(fault.value)
    said = tasks.short(fault.value)
    assert any(part in said for part in words.split("|")), said
    assert "SELECT" not in said


@pytest.mark.parametrize(
    ("user", "name", "port", "words"),
    [
        ("postgres", "gone", None, "PostgreSQL has no database of that name"),
        ("unknown_user", None, None, "PostgreSQL does not let the user in"),
        (None, None, 1, "PostgreSQL cannot be reached ("),
    ],
)
async def test_why_no_connection_is_made_is_said_alike_by_the_pool_and_by_the_writer(
    postgres_url: str, user: str | None, name: str | None, port: int | None, words: str
) -> None:
    url = make_url(postgres_url)
    url = url.set(username=user or url.username, database=name or url.database)
    if port:
        url = url.set(host="127.0.0.1", port=port, query={})
    async with at(url.render_as_string(hide_password=False)) as database:
        with pytest.raises(FAULT) as of_the_pool:
            async with database.begin():
                pass
        writer = PostgresBatchConnection(database)
        with pytest.raises(FAULT) as of_the_writer:
            async with writer.transaction(5):
                await writer.query("SELECT 1")
    for fault in (of_the_pool, of_the_writer):
        assert plain_words(fault.value).startswith(words), fault.value


async def test_a_fault_of_our_own_statement_is_ours(postgres_url: str) -> None:
    async with at(postgres_url) as database:
        for mistake in ("SELEKT 1", "SELECT 1 / 0", "SELECT 'x'::int"):
            with pytest.raises(FAULT) as fault:
                await statements(mistake)(database)
            assert not is_unavailable(fault.value)
