"""Databases that the helper process reads between two of its jobs."""

import asyncio
from threading import Thread

import asyncpg
from sqlalchemy import text
from sqlalchemy.engine import make_url

from storage.db.read_only import close, read_only


async def backend(url: str) -> int:
    async with read_only(url) as tx:
        return int((await tx.execute(text("SELECT pg_backend_pid()"))).scalar_one())


async def end_backend(url: str, pid: int) -> None:
    connection = await asyncpg.connect(make_url(url).set(drivername="postgresql").render_as_string(False))
    await connection.execute("SELECT pg_terminate_backend($1)", pid)
    while await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid):
        await asyncio.sleep(0.01)
    await connection.close()


def test_a_connection_that_ended_while_the_event_loop_stood_still_is_not_used(postgres_url: str) -> None:
    with asyncio.Runner() as runner:
        pid = runner.run(backend(postgres_url))
        assert runner.run(backend(postgres_url)) == pid
        elsewhere = Thread(target=lambda: asyncio.run(end_backend(postgres_url, pid)))
        elsewhere.start()
        elsewhere.join()
        assert runner.run(backend(postgres_url)) != pid
        runner.run(close())
