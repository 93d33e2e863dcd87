"""Databases that are filled once and copied for each test: what fills them takes longer than most tests."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy.engine import make_url

from storage.db.engine import Database
from tests.conftest import new_postgres

Opened = Callable[[], Any]
T = TypeVar("T")


@contextmanager
def filled_once(
    request: pytest.FixtureRequest, kind: str, fill: Callable[[Opened], Awaitable[T]]
) -> Iterator[tuple[str, T]]:
    """The URL of a database of that kind that `fill` has filled, and what it returned."""
    with ExitStack() as stack:
        if kind == "sqlite":
            factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
            path = shutil.copy(request.getfixturevalue("sqlite_template"), factory.mktemp("filled") / "casinoflux.db")
            url = f"sqlite+aiosqlite:///{path}"
        else:
            server, template = (request.getfixturevalue(name) for name in ("postgres", "postgres_template"))
            url = stack.enter_context(new_postgres(server, template))

        async def work() -> T:
            return await fill(lambda: opened_at(url))

        yield url, asyncio.run(work())


@contextmanager
def copied(request: pytest.FixtureRequest, url: str, folder: Path) -> Iterator[Opened]:
    """`async with opened() as database:` — a copy of that database."""
    original = make_url(url)
    if original.get_backend_name() == "sqlite":
        path = shutil.copy(str(original.database), folder / "casinoflux.db")
        yield lambda: opened_at(f"sqlite+aiosqlite:///{path}")
    else:
        with new_postgres(request.getfixturevalue("postgres"), str(original.database)) as copy:
            yield lambda: opened_at(copy)


@asynccontextmanager
async def opened_at(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        await database.close()
