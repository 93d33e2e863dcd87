"""Deployments that people look at: an empty one, and one with 30 days of history."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from hub.cli.demo_history import History
from hub.runtime import boot
from hub.runtime.settings import read_settings
from tests.hub.cockpit.screen import Screen, chromium
from tests.journeys.deployment import Deployment
from tests.standins.browser import CHROMIUM, MISSING

KEY = "journey-secret-key"


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


async def write_history(folder: Path) -> None:
    environment = {"CASINOFLUX_DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'casinoflux.db'}",
                   "CASINOFLUX_SECRET_KEY": KEY, "CASINOFLUX_PUBLIC_URL": "http://127.0.0.1"}  # fmt: skip
    runtime = boot.new_runtime(read_settings(environment, folder=folder))
    try:
        await boot.prepare(runtime)
        await History(runtime, folder).write()
    finally:
        await runtime.database.close()


@pytest.fixture(scope="module")
def empty_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A served deployment on an empty database."""
    yield from _served(tmp_path_factory.mktemp("cockpit"))


@pytest.fixture(scope="module")
def hub(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A served deployment whose team has 30 days of history."""
    folder = tmp_path_factory.mktemp("cockpit")
    shutil.copy(history, folder / "casinoflux.db")
    yield from _served(folder)


def _served(folder: Path) -> Iterator[Deployment]:
    deployment = Deployment(f"sqlite+aiosqlite:///{folder / 'casinoflux.db'}", folder)
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
