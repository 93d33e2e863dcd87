"""The stand-in chats, one process each, which each test file finds empty."""

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from storage.db.engine import Database
from storage.ledger.rate_limit import RateLimit
from tests.bot.chatting import Chatting, chatting
from tests.journeys.deployment import standin

Chat = Callable[..., AbstractAsyncContextManager[Chatting]]


@pytest.fixture(scope="session")
def slack_standin() -> Iterator[httpx.Client]:
    with standin("slack") as client:
        yield client


@pytest.fixture(scope="session")
def telegram_standin() -> Iterator[httpx.Client]:
    with standin("telegram") as client:
        yield client


@pytest.fixture(scope="module")
def slack_url(slack_standin: httpx.Client) -> str:
    slack_standin.post("/_control/restart", json={}).raise_for_status()
    return str(slack_standin.base_url).rstrip("/")


@pytest.fixture(scope="module")
def telegram_url(telegram_standin: httpx.Client) -> str:
    telegram_standin.post("/_control/restart", json={}).raise_for_status()
    return str(telegram_standin.base_url).rstrip("/")


@pytest.fixture
def chat(tmp_path: Path, sqlite_template: Path, slack_url: str, telegram_url: str) -> Chat:
    """`async with chat() as one:` — both chats on the test's SQLite database, or a `fresh` one."""

    @asynccontextmanager
    async def open_one(*, fresh: bool = False, **settings: str) -> AsyncIterator[Any]:
        path = tmp_path / ("fresh.db" if fresh else "casinoflux.db")
        if not path.exists():
            shutil.copy(sqlite_template, path)
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
