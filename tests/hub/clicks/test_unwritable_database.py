"""A database that cannot be written: visitors go on within a second, clicks are kept, and all is well soon after."""

import asyncio
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, make_url, text

from hub.clicks.decide import CampaignJob
from storage.clicks import rollup_check
from storage.clicks.write_batch import Batch
from storage.db import database_age
from storage.db.direct_sqlite import DirectSqlite
from storage.db.engine import Database
from storage.db.schema import upgrade
from storage.db.unavailable import DatabaseUnavailable
from storage.ledger.facts import Reason
from tests.hub.clicks.click_deployment import WINDOWS, ClickDeployment, click_deployment
from tests.waiting import PATIENCE, eventually


async def recovered(d: ClickDeployment, within: float = PATIENCE) -> None:
    await eventually(lambda: not d.clicks.writer.spooled and not d.clicks.writer.down, "an empty spool", seconds=within)


async def postbacks(d: ClickDeployment) -> None:
    """Another customer of the write lock, who never stops."""
    while True:
        await d.database.run(lambda tx: tx.execute(text("UPDATE changes SET n = n")))
        await asyncio.sleep(0.25)


class SilentNetwork:
    """A way to a PostgreSQL on which packets get lost without a word, both ways or only those from the server."""

    def __init__(self, url: URL) -> None:
        self._path = f"{url.query['host']}/.s.PGSQL.5432"
        self.loses: set[str] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self._tasks: set[asyncio.Task[None]] = set()

    def lose(self, *directions: str) -> None:
        self.loses = set(directions)
        self._passing.clear() if directions else self._passing.set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(self._path)
        for direction, source, target in (("out", reader, server_writer), ("back", server_reader, writer)):
            task = asyncio.create_task(self._forward(direction, source, target))
            self._tasks.add(task)

    async def _forward(self, direction: str, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65_536):
                if direction in self.loses:
                    await self._passing.wait()
                target.write(data)
        target.close()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def silent_network(postgres_url: str) -> AsyncIterator[tuple[str, SilentNetwork]]:
    """The URL of the database behind such a network, and the network."""
    url = make_url(postgres_url)
    network = SilentNetwork(url)
    server = await asyncio.start_server(network, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"postgresql://{url.username}:x@127.0.0.1:{port}/{url.database}?ssl=disable", network
    finally:
        await network.close()
        server.close()


@pytest.mark.parametrize("lost", [("out", "back"), ("back",)])
async def test_a_server_that_falls_silent_keeps_visitors_a_second_and_their_clicks_once(
    postgres_url: str, lost: tuple[str, ...]
) -> None:
    async with silent_network(postgres_url) as (url, network), click_deployment(url) as d:
        await d.offer("a")
        await d.offer("b")
        await d.campaign("one", {"a": 1, "b": 1})
        answers = [await d.get("/c/one", ip="192.0.2.1")]
        network.lose(*lost)
        began = time.monotonic()
        answers.append(await d.get("/c/one", ip="192.0.2.2"))
        assert time.monotonic() - began < 9, "without an end of patience it is ten seconds and more"
        assert d.clicks.writer.down
        answers.append(await d.get("/c/one", ip="192.0.2.3"))
        assert d.clicks.health()["spooled"] == 2
        network.lose()
        await recovered(d)
        stored = {d.clicks.state.codec.encode(click.id): click.offer_id for click in await d.stored()}
        assert stored == {answer.query["c"]: d.made[answer.host[0]] for answer in answers}, "where each was sent"
        assert await rollup_check.check(d.database) == []


async def test_a_click_that_comes_while_the_spool_cannot_be_drained_is_sent_to_an_offer(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with click_deployment(postgres_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        await d.get("/c/one", ip="192.0.2.1")

        async def fails() -> None:
            monkeypatch.undo()
            raise DatabaseUnavailable("PostgreSQL cannot be reached")

        monkeypatch.setattr(d.clicks.writer, "_drain_spools", fails)
        assert (await d.get("/c/one", ip="192.0.2.2")).host == "a.example.test"
        await recovered(d)
        assert [click.offer_id for click in await d.stored()] == [d.made["a"]] * 2


@asynccontextmanager
async def locked(url: str, tables: str) -> AsyncIterator[None]:
    """Another program has tables of PostgreSQL locked."""
    other = Database(url)
    try:
        async with other.begin() as tx:
            await tx.execute(text(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE"))
            yield
    finally:
        await other.close()


async def test_a_click_that_comes_while_marks_alone_wait_for_a_lock_is_sent_to_an_offer(postgres_url: str) -> None:
    async with click_deployment(postgres_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        await d.get("/c/one", ip="192.0.2.1")
        writer, marks = d.clicks.writer, d.clicks.writer._state.touches
        async with locked(postgres_url, "touched"):
            writer._committing = False
            marks.due(marks._last)
            marks.make_all_due()
            await eventually(lambda: writer._committing, "a batch of marks alone to wait for the lock")
            assert (await d.get("/c/one", ip="192.0.2.2")).host == "a.example.test"
            assert "a lock is held from outside" in writer.down_reason
        await recovered(d)
        assert [click.offer_id for click in await d.stored()] == [d.made["a"]] * 2


async def test_a_spool_is_drained_soon_after_a_lock_although_clicks_come(postgres_url: str) -> None:
    async with click_deployment(postgres_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        answers: list[asyncio.Task[Any]] = []

        async def clicks() -> None:
            while True:
                answers.append(asyncio.create_task(d.get("/c/one", ip=f"192.0.2.{len(answers)}")))
                await asyncio.sleep(0.1)

        coming = asyncio.create_task(clicks())
        async with locked(postgres_url, "click_rollup"):
            await asyncio.sleep(2.5)
        assert d.clicks.health()["spooled"] > 0
        writer = d.clicks.writer
        await eventually(lambda: not writer.down, "the database to be back")
        assert writer._drain_from < time.monotonic() + 1.0, "the lock's time is no reason to rest"
        await recovered(d)
        coming.cancel()
        words = {(await answer).query["c"] for answer in answers}
        assert len(await d.stored()) == len(words) == len(answers)


async def test_a_check_of_the_roll_up_is_right_while_clicks_come(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with click_deployment(postgres_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        rolled = rollup_check._rolled

        await d.get("/c/one", ip="192.0.2.1")

        async def read_after_a_click(tx: Any, hours: Any) -> Any:
            await d.get("/c/one", ip="192.0.2.1")
            return await rolled(tx, hours)

        monkeypatch.setattr(rollup_check, "_rolled", read_after_a_click)
        assert await rollup_check.check(d.database) == []
        assert len(await d.stored()) > 1


async def test_a_lock_from_outside_is_over_a_second_after_its_release_while_others_write(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        other = sqlite3.connect(sqlite_url.partition("///")[2], isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(postbacks(d))
        began = time.monotonic()
        assert (await d.get("/c/one", ip="192.0.2.1")).status == 302
        assert time.monotonic() - began < 9
        assert (await d.get("/c/one", ip="192.0.2.2")).status == 302
        assert d.clicks.health()["spooled"] == 2
        other.execute("ROLLBACK")
        other.close()
        await recovered(d, 20.0)
        assert not writing.done()
        writing.cancel()
        assert [click.unique_click for click in await d.stored()] == [1, 1]


async def test_a_click_behind_a_writer_that_waits_for_another_process_names_that_process(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})

        async def command() -> None:
            async with d.database.begin() as tx:
                await tx.execute(text("UPDATE changes SET n = n"))

        with closing(sqlite3.connect(sqlite_url.partition("///")[2], isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = asyncio.create_task(command())
            await eventually(lambda: d.database.write_lock.outside, "the command to wait for the other process")
            assert (await d.get("/c/one", ip="192.0.2.1")).status == 302
            assert "locked by another process" in d.clicks.writer.down_reason
        await waiting
        await recovered(d)


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
async def test_a_write_ahead_log_that_is_deleted_is_brought_in_and_nothing_more_is_written(
    sqlite_url: str, tmp_path: Path, suffix: str
) -> None:
    path, kept = Path(sqlite_url.partition("///")[2]), tmp_path / "kept.db"
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        await d.get("/c/one", ip="192.0.2.1")
        path.with_name(path.name + suffix).unlink()
        await eventually(lambda: d.clicks.health()["database_down"], "the loss to be seen")
        assert f"{suffix} was deleted" in d.clicks.writer.down_reason
        shutil.copyfile(path, kept)  # what a hub that is killed now leaves behind
        assert (await d.get("/c/one", ip="192.0.2.2")).status == 302
        assert d.clicks.health()["spooled"] == 1
        for entered in (d.database.begin, d.database.read):
            with pytest.raises(DatabaseUnavailable, match="restart casinoflux"):
                async with entered():
                    pass
    with closing(sqlite3.connect(kept)) as result:
        assert result.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert result.execute("SELECT count(*) FROM clicks").fetchone() == (1,)


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_file_that_is_deleted_or_replaced_is_never_written_to(sqlite_url: str, replaced: bool) -> None:
    path = Path(sqlite_url.partition("///")[2])
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        await d.get("/c/one", ip="192.0.2.1")
        stored = path.rename(path.with_suffix(".kept"))
        if replaced:
            shutil.copy(stored, path)
        await eventually(lambda: d.clicks.health()["database_down"], "the loss to be seen")
        assert ("replaced" if replaced else "cannot be found") in d.clicks.writer.down_reason
        assert (await d.get("/c/one", ip="192.0.2.2")).status == 302
        assert d.clicks.health()["spooled"] == 1
        with pytest.raises(DatabaseUnavailable):
            async with d.database.begin():
                pass
        with pytest.raises(DatabaseUnavailable):
            async with d.database.read():
                pass
        stored.rename(path)
        await recovered(d)
        assert len(await d.stored()) == 2


def copy_over(source: Path, target: Path) -> None:
    """As `cp source target` does it: the same file, other bytes."""
    inode = target.stat().st_ino
    shutil.copyfile(source, target)
    assert target.stat().st_ino == inode


async def another_database(path: Path) -> Path:
    database = Database(f"sqlite+aiosqlite:///{path}")
    await upgrade(database)
    await database.close()
    return path


@pytest.mark.parametrize("of_this_database", [False, True])
async def test_a_file_that_is_overwritten_is_never_written_to(
    sqlite_url: str, tmp_path: Path, of_this_database: bool
) -> None:
    path, other = Path(sqlite_url.partition("///")[2]), tmp_path / "other.db"
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        await d.get("/c/one", ip="192.0.2.1")
        if of_this_database:
            with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(other)) as target:
                source.backup(target)
            await database_age.grow_older(d.database)
            with closing(sqlite3.connect(path)) as source:
                source.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        else:
            await another_database(other)
        d.database.file.check()
        copy_over(other, path)
        while not d.clicks.health()["database_down"]:
            await asyncio.sleep(0.02)
        assert "was overwritten" in d.clicks.writer.down_reason
        assert (await d.get("/c/one", ip="192.0.2.2")).status == 302
        assert d.clicks.health()["spooled"] == 1
        for entered in (d.database.begin, d.database.read):
            with pytest.raises(DatabaseUnavailable, match="put the file in place again"):
                async with entered():
                    pass
        await d.clicks.stop()
    copy_over(other, path)
    with closing(sqlite3.connect(path)) as result:
        assert result.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert result.execute("SELECT count(*) FROM clicks").fetchone() == (int(of_this_database),)


async def test_a_start_on_a_file_that_replaced_another_finds_it_whole(sqlite_url: str, tmp_path: Path) -> None:
    path = Path(sqlite_url.partition("///")[2])
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        await d.get("/c/one", ip="192.0.2.1")
        stored = path.rename(path.with_suffix(".kept"))
        (await another_database(tmp_path / "other.db")).rename(path)
    for file, clicks in ((path, 0), (stored, 1)):
        with closing(sqlite3.connect(file)) as result:
            assert result.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert result.execute("SELECT count(*) FROM clicks").fetchone() == (clicks,)


async def test_a_job_that_cannot_decide_fails_alone(upgraded_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    decide = CampaignJob.decide

    def broken(job: CampaignJob) -> None:
        if job.click.agent.text == WINDOWS:
            raise RuntimeError("no such rule")
        decide(job)

    monkeypatch.setattr(CampaignJob, "decide", broken)
    async with click_deployment(upgraded_url) as d:
        await d.offer("off", status="paused")
        await d.offer("a")
        await d.campaign("one", {"off": 1, "a": 1})
        gets = [d.get("/c/one", ip="192.0.2.1", agent=WINDOWS), d.get("/c/one", ip="192.0.2.2"), d.get("/c/one")]
        assert [answer.host for answer in await asyncio.gather(*gets)] == ["a.example.test"] * 3
        assert (await d.get("/c/one", ip="192.0.2.3")).host == "a.example.test"
        assert [click.reason == Reason.FAILED for click in await d.stored()] == [True, False, False, False]
        await d.clicks.stop()
        assert await rollup_check.check(d.database) == []


async def test_a_rollback_that_raises_does_not_stop_the_writer(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Batch.store
    faults = iter([OSError("no answer")])

    async def failing(batch: Batch, now: Any, decided: Any) -> None:
        await store(batch, now, decided)
        for fault in faults:
            raise fault

    def rollback(_direct: DirectSqlite, _tx: Any) -> None:
        raise RuntimeError("cannot roll back")

    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        monkeypatch.setattr(Batch, "store", failing)
        with monkeypatch.context() as broken:
            broken.setattr(DirectSqlite, "_rollback", rollback)
            assert (await d.get("/c/one", ip="192.0.2.1")).status == 302
        assert (await d.get("/c/one", ip="192.0.2.2")).status == 302
        await recovered(d)
        assert len(await d.stored()) == 2
