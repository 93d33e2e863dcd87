"""Deployments on both databases, and the stand-ins they talk to."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy.engine import make_url

from tests.conftest import new_postgres
from tests.journeys.deployment import Deployment, standin, start_once, started_sqlite

Deploy = Callable[..., Deployment]


@pytest.fixture(scope="session")
def started_postgres(postgres: str) -> Iterator[str]:
    """The name of a PostgreSQL database on which a hub has been started before, to copy."""
    with new_postgres(postgres) as url:
        start_once(url)
        yield make_url(url).database or ""


@pytest.fixture
def started_url(request: pytest.FixtureRequest, database_kind: str, tmp_path: Path) -> Iterator[str]:
    """The URL of a database on which a hub has been started before, on each kind in turn."""
    if database_kind == "sqlite":
        yield started_sqlite(tmp_path)
    else:
        template = request.getfixturevalue("started_postgres")
        with new_postgres(request.getfixturevalue("postgres"), template) as url:
            yield url


@pytest.fixture
def deploy(started_url: str, tmp_path: Path) -> Iterator[Deploy]:
    """`deploy(SETTING="value")`: a deployment of a team that has nothing yet, on each kind of database in turn;
    stopped at the end."""
    yield from _deploying(started_url, tmp_path)


@pytest.fixture
def deploy_sqlite(tmp_path: Path) -> Iterator[Deploy]:
    """The same on SQLite only, for what does not depend on the database."""
    yield from _deploying(started_sqlite(tmp_path), tmp_path)


@pytest.fixture
def deploy_postgres(postgres: str, started_postgres: str, tmp_path: Path) -> Iterator[Deploy]:
    """The same on PostgreSQL only, for several processes on one database."""
    with new_postgres(postgres, started_postgres) as url:
        yield from _deploying(url, tmp_path)


@pytest.fixture
def deploy_empty(database_url: str, tmp_path: Path) -> Iterator[Deploy]:
    """A deployment on a database without tables, for what a first start makes; on each kind in turn."""
    yield from _deploying(database_url, tmp_path)


@pytest.fixture
def deploy_empty_sqlite(sqlite_url: str, tmp_path: Path) -> Iterator[Deploy]:
    """The same on SQLite only; the file does not exist."""
    yield from _deploying(sqlite_url, tmp_path)


def _deploying(database_url: str, folder: Path) -> Iterator[Deploy]:
    deployments: list[Deployment] = []

    def new(**settings: str) -> Deployment:
        deployments.append(Deployment(database_url, folder, **settings))
        return deployments[-1]

    yield new
    for deployment in deployments:
        if deployment.process and deployment.process.poll() is None:
            deployment.stop()
        deployment.http.close()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A served deployment on SQLite that the tests of a file share."""
    folder = tmp_path_factory.mktemp("hub")
    deployment = Deployment(started_sqlite(folder), folder)
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
