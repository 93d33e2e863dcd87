"""Deployments on both databases, and the stand-ins they talk to."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.journeys.deployment import Deployment, standin

Deploy = Callable[..., Deployment]


@pytest.fixture
def deploy(database_url: str, tmp_path: Path) -> Iterator[Deploy]:
    """`deploy(SETTING="value")`: a deployment on an empty database, on each kind in turn; stopped at the end."""
    yield from _deploying(database_url, tmp_path)


@pytest.fixture
def deploy_sqlite(sqlite_url: str, tmp_path: Path) -> Iterator[Deploy]:
    """The same on SQLite only, for what does not depend on the database."""
    yield from _deploying(sqlite_url, tmp_path)


@pytest.fixture
def deploy_postgres(postgres_url: str, tmp_path: Path) -> Iterator[Deploy]:
    """The same on PostgreSQL only, for several processes on one database."""
    yield from _deploying(postgres_url, tmp_path)


def _deploying(database_url: str, folder: Path) -> Iterator[Deploy]:
    made: list[Deployment] = []

    def new(**settings: str) -> Deployment:
        made.append(Deployment(database_url, folder, **settings))
        return made[-1]

    yield new
    for row in made:
        if row.process and row.process.poll() is None:
            row.stop()
        row.http.close()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A served deployment on SQLite that the tests of a file share."""
    folder = tmp_path_factory.mktemp("hub")
    deployment = Deployment(f"sqlite+aiosqlite:///{folder / 'casinoflux.db'}", folder)
    deployment.start()
    try:
        yield deployment
    finally:
        deployment.stop()


@pytest.fixture
def affilka() -> Iterator[httpx.Client]:
    with standin("affilka") as client:
        yield client


@pytest.fixture
def traffic_source() -> Iterator[httpx.Client]:
    with standin("traffic_source") as client:
        yield client
