"""SQLite through one visit of its thread a statement."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from storage.db import one_hop
from storage.db.engine import Database

ROWS = one_hop.FIRST * 2 + 7


@asynccontextmanager
async def _numbers(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'rows.db'}")
    async with database.begin() as tx:
        await tx.execute(text("CREATE TABLE numbers (n INTEGER PRIMARY KEY)"))
        await tx.execute(text("INSERT INTO numbers VALUES (:n)"), [{"n": n} for n in range(ROWS)])
    yield database
    await database.close()


async def test_more_rows_than_come_with_the_statement_are_read_at_once_and_in_a_stream(tmp_path: Path) -> None:
    async with _numbers(tmp_path) as numbers:
        query = text("SELECT n FROM numbers ORDER BY n")
        async with numbers.read() as tx:
            assert list((await tx.execute(query)).scalars()) == list(range(ROWS))
            stream = await tx.stream(query)
            parts = [part async for part in stream.scalars().partitions(1_000)]
            some = await tx.stream(query)
            first = await some.fetchone()
            await some.close()  # though rows are left
            again = (await tx.execute(text("SELECT count(*) FROM numbers"))).scalar_one()
        assert [n for part in parts for n in part] == list(range(ROWS))
        assert [len(part) for part in parts] == [1_000, 1_000, 1_000, 1_000, 7]
        assert first is not None
        assert first.n == 0
        assert again == ROWS


async def test_counts_and_new_ids_are_told(tmp_path: Path) -> None:
    async with _numbers(tmp_path) as numbers:
        async with numbers.begin() as tx:
            assert (await tx.execute(text("DELETE FROM numbers WHERE n < 10"))).rowcount == 10
            made = await tx.execute(text("INSERT INTO numbers VALUES (:n) RETURNING n"), {"n": 3})
            assert made.scalar_one() == 3

        async def replace_all() -> None:
            async with numbers.begin() as tx:
                await tx.execute(text("DELETE FROM numbers"))
                await tx.execute(text("INSERT INTO numbers VALUES (1), (1)"))

        with pytest.raises(IntegrityError):
            await replace_all()
        async with numbers.read() as tx:
            assert (await tx.execute(text("SELECT count(*) FROM numbers"))).scalar_one() == ROWS - 9


async def test_a_view_stays_as_it_was_at_its_first_statement(tmp_path: Path) -> None:
    async with _numbers(tmp_path) as numbers:
        count = text("SELECT count(*) FROM numbers")
        async with numbers.read() as tx:
            before = (await tx.execute(count)).scalar_one()
            async with numbers.begin() as other:
                await other.execute(text("DELETE FROM numbers"))
            assert (await tx.execute(count)).scalar_one() == before
        async with numbers.read() as tx:
            assert (await tx.execute(count)).scalar_one() == 0


async def test_a_reader_that_is_cancelled_leaves_no_transaction_open(tmp_path: Path) -> None:
    async with _numbers(tmp_path) as numbers:
        endless = text(
            "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 3000000) SELECT sum(n) FROM c"
        )

        async def read() -> None:
            async with numbers.read() as tx:
                await tx.execute(endless)

        reader = asyncio.create_task(read())
        await asyncio.sleep(0.05)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        async with numbers.begin() as tx:
            await tx.execute(text("DELETE FROM numbers"))
        async with numbers.read() as tx:  # of a connection that is used again: it sees what was written meanwhile
            assert (await tx.execute(text("SELECT count(*) FROM numbers"))).scalar_one() == 0
