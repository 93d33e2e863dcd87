"""Connections to PostgreSQL that break while a commit is on its way: nothing is done twice, whether it was stored."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.engine import make_url

from hub.requests.problems import from_error
from storage.clicks import rollup_check
from storage.db.engine import Database
from storage.db.unavailable import CommitUnknown
from storage.tables import campaigns, clicks, conversions, postbacks
from tests.bot.asking import asking
from tests.hub.clicks.click_deployment import click_deployment
from tests.hub.postbacks.test_postbacks import served, until_placed

pytestmark = [
    pytest.mark.parametrize("database_kind", ["postgresql"]),
    pytest.mark.parametrize("stored", [True, False], ids=["stored", "not-stored"]),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spools lie below the working folder."""
    monkeypatch.chdir(tmp_path)


class Cutter:
    """Stands between a process and its PostgreSQL, and ends a connection at the next `word` when it is `armed`.

    `stored`: the server hears the statement, and only its answer is lost.
    """

    def __init__(self, url: str, *, stored: bool) -> None:
        self._server = make_url(url)
        self._stored = stored
        self.armed = False
        self.word = b"COMMIT"
        self.cuts = 0
        self.url = url

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        socket = f"{self._server.query['host']}/.s.PGSQL.5432"
        server_reader, server_writer = await asyncio.open_unix_connection(socket)
        answers = asyncio.create_task(_copy(server_reader, writer))
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                if self.armed and self.word in data:
                    self.armed = False
                    self.cuts += 1
                    answers.cancel()
                    if self._stored:
                        server_writer.write(data)
                        await server_reader.read(1 << 16)
                    break
                server_writer.write(data)
                await server_writer.drain()
        for end in (writer, server_writer):
            end.close()
        answers.cancel()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def cutting(url: str, *, stored: bool) -> AsyncIterator[Cutter]:
    cutter = Cutter(url, stored=stored)
    server = await asyncio.start_server(cutter.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    direct = make_url(url)
    cutter.url = f"postgresql+asyncpg://{direct.username}@127.0.0.1:{port}/{direct.database}"
    try:
        yield cutter
    finally:
        server.close()


def opening(cutter: Cutter) -> Callable[[], Any]:
    """What the fixture `opened` is, through the cutter."""

    @asynccontextmanager
    async def open_one() -> AsyncIterator[Database]:
        database = Database(cutter.url)
        try:
            yield database
        finally:
            await database.close()

    return open_one


async def test_a_command_says_that_it_is_not_known_and_is_not_repeated(upgraded_url: str, stored: bool) -> None:
    async with cutting(upgraded_url, stored=stored) as cutter, asking(opening(cutter)) as say:
        await say.account("main")
        await say("offer add casino=Lucky account=main url=https://lucky.example.test/?s={click_id}")
        cutter.armed = True
        with pytest.raises(CommitUnknown, match="look whether it was done") as unknown:
            await say("campaign create One offers=lucky")
        answer = from_error(unknown.value)
        assert (answer.status_code, "retry-after" in answer.headers, cutter.cuts) == (503, False, 1)
        async with say.database.read() as tx:
            count = (await tx.execute(select(func.count()).select_from(campaigns))).scalar_one()
        assert count == int(stored)


@pytest.mark.parametrize("one_statement", [True, False], ids=["one-statement", "changes-a-conversion-too"])
async def test_a_postback_is_answered_and_placed_once(upgraded_url: str, *, stored: bool, one_statement: bool) -> None:
    async with cutting(upgraded_url, stored=stored) as cutter, served(opening(cutter)) as (client, scene, runtime):
        async with runtime.database.begin() as tx:
            click = await scene.click(tx, 1)
        deposit = f"/postback/key-1?click_id={click}&event=dep&amount=10&txn_id=1"
        if one_statement:
            cutter.word = b'"digest":'  # of a row that the statement stores
        else:
            await client.get(f"{deposit}&status=pending")
        cutter.armed = True
        answer: httpx.Response = await client.get(deposit)
        assert (answer.status_code, answer.json()["outcome"], cutter.cuts) == (200, "accepted", 1)
        await until_placed(runtime)
        async with runtime.database.read() as tx:
            counts = [
                (await tx.execute(select(func.count()).select_from(t))).scalar_one() for t in (postbacks, conversions)
            ]
            assert counts == [1 if one_statement else 2, 1]
            assert (await tx.execute(select(conversions.c.status))).scalar_one() == "approved"


async def test_a_click_is_redirected_and_counted_once(upgraded_url: str, stored: bool) -> None:
    async with cutting(upgraded_url, stored=stored) as cutter, click_deployment(cutter.url) as d:
        await d.offer("lucky")
        await d.campaign("one", {"lucky": 1})
        cutter.armed = True
        answers = await asyncio.gather(*(d.get("/c/one", ip=f"198.51.100.{n}") for n in range(5)))
        assert {answer.status for answer in answers} == {302}
        assert cutter.cuts == 1
        async with asyncio.timeout(180):
            while d.clicks.writer.spooled:
                await asyncio.sleep(0.02)
        assert await d.count(clicks) == 5
        assert await rollup_check.check(d.database) == []


async def test_a_read_is_repeated(upgraded_url: str, stored: bool) -> None:
    async with cutting(upgraded_url, stored=stored) as cutter, opening(cutter)() as database:
        times: list[int] = []

        async def read(tx: Any) -> int:
            times.append(1)
            cutter.armed = len(times) == 1
            return int((await tx.execute(text("SELECT 1 /* COMMIT */"))).scalar_one())

        assert await database.look(read) == 1
        assert (len(times), cutter.cuts) == (2, 1)
