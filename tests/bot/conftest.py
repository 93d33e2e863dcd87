"""The stand-in chats, one process each per test file."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from storage.engine import Database
from storage.schema import upgrade
from tests.bot.chatting import Chatting, chatting
from tests.journeys.deployment import standin


@pytest.fixture(scope="module")
def slack_url() -> Iterator[str]:
    with standin("slack") as client:
        yield str(client.base_url).rstrip("/")


@pytest.fixture(scope="module")
def telegram_url() -> Iterator[str]:
    with standin("telegram") as client:
        yield str(client.base_url).rstrip("/")


Chat = Callable[..., AbstractAsyncContextManager[Chatting]]


@pytest.fixture
def chat(sqlite_url: str, slack_url: str, telegram_url: str) -> Chat:
    """`async with chat() as one:` — both chats on the test's SQLite database, or a `fresh` one."""

    @asynccontextmanager
    async def open_one(*, fresh: bool = False, **settings: str) -> AsyncIterator[Any]:
        database = Database(sqlite_url.replace(".db", "-fresh.db") if fresh else sqlite_url)
        try:
            await upgrade(database)
            async with chatting(database, slack_url, telegram_url, **settings) as one:
                yield one
        finally:
            await database.close()

    return open_one
