"""The stand-in chats, one process each per test file."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from storage.db.engine import Database
from storage.db.schema import upgrade
from storage.ledger.rate_limit import RateLimit
from tests.bot.chatting import Chatting, chatting
from tests.journeys.deployment import standin

Chat = Callable[..., AbstractAsyncContextManager[Chatting]]


@pytest.fixture(scope="module")
def slack_url() -> Iterator[str]:
    with standin("slack") as client:
        yield str(client.base_url).rstrip("/")


@pytest.fixture(scope="module")
def telegram_url() -> Iterator[str]:
    with standin("telegram") as client:
        yield str(client.base_url).rstrip("/")


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An upgraded SQLite file to copy: upgrading takes longer than most of these tests."""
    path = tmp_path_factory.mktemp("empty") / "casinoflux.db"

    async def make() -> None:
        database = Database(f"sqlite+aiosqlite:///{path}")
        await upgrade(database)
        await database.close()

    asyncio.run(make())
    return path


@pytest.fixture
def chat(tmp_path: Path, empty_database: Path, slack_url: str, telegram_url: str) -> Chat:
    """`async with chat() as one:` — both chats on the test's SQLite database, or a `fresh` one."""

    @asynccontextmanager
    async def open_one(*, fresh: bool = False, **settings: str) -> AsyncIterator[Any]:
        path = tmp_path / ("fresh.db" if fresh else "casinoflux.db")
        if not path.exists():
            shutil.copy(empty_database, path)
        database = Database(f"sqlite+aiosqlite:///{path}")
        try:
            async with chatting(database, slack_url, telegram_url, **settings) as chats:
                yield chats
        finally:
            await database.close()

    return open_one


@pytest.fixture(autouse=True)
def fresh_invitation_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of one process join more often than a person may."""
    monkeypatch.setattr("bot.chat.session._JOINS", RateLimit(10))
