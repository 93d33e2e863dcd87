"""The world of tests.bot.core.worlds, filled once a session on each database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bot.core.worlds import OpenWorld, Words, make_world, open_world
from tests.bot.filled import copied, filled_once


@pytest.fixture(scope="session")
def sqlite_world(request: pytest.FixtureRequest) -> Iterator[tuple[str, Words]]:
    with filled_once(request, "sqlite", make_world) as filled:
        yield filled


@pytest.fixture(scope="session")
def postgresql_world(request: pytest.FixtureRequest) -> Iterator[tuple[str, Words]]:
    with filled_once(request, "postgresql", make_world) as filled:
        yield filled


@pytest.fixture
def world(request: pytest.FixtureRequest, database_kind: str, tmp_path: Path) -> Iterator[OpenWorld]:
    """`async with world() as scene:` — on a copy of the database, on each kind in turn."""
    url, words = request.getfixturevalue(f"{database_kind}_world")
    with copied(request, url, tmp_path) as opened:
        yield lambda: open_world(opened, words)
