"""Deployments that people look at: an empty one, and one with 30 days of history."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.hub.cockpit.history import write_history
from tests.hub.cockpit.screen import Screen, chromium
from tests.journeys.deployment import Deployment, started_sqlite
from tests.standins.browser import CHROMIUM, MISSING

expect.set_options(timeout=120_000)  # a loaded machine takes its time


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that drive a browser say what they left out on a machine without one."""
    if CHROMIUM is None:
        for item in items:
            if "browser" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason=MISSING))


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a team's last 30 days, to copy."""
    folder = tmp_path_factory.mktemp("history")
    asyncio.run(write_history(folder))
    return folder / "casinoflux.db"


@pytest.fixture(scope="module")
def empty_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A served deployment whose team has nothing yet."""
    folder = tmp_path_factory.mktemp("cockpit")
    yield from _served(started_sqlite(folder), folder)


@pytest.fixture(scope="module")
def hub(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A served deployment whose team has 30 days of history."""
    folder = tmp_path_factory.mktemp("cockpit")
    file = shutil.copy(history, folder / "casinoflux.db")
    yield from _served(f"sqlite+aiosqlite:///{file}", folder)


def _served(url: str, folder: Path) -> Iterator[Deployment]:
    deployment = Deployment(url, folder)
    deployment.start()
    try:
        yield deployment
    finally:
        deployment.stop()
        deployment.http.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def owner(browser: Browser, hub: Deployment) -> Iterator[Screen]:
    """An owner who is signed in; the browser must not have complained at the end."""
    screen = Screen(browser, hub).sign_in()
    yield screen
    screen.close()
    assert screen.complaints == []
