"""What pages of a team read alike, kept for some seconds, and not after anything has been configured."""

import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

import msgspec

from storage.db import config_version
from storage.db.engine import Database

SECONDS = 5.0
MOST = 64  # values
MOST_LABELS = 2_500  # of one kind; more are read each time

T = TypeVar("T")


class _Value(msgspec.Struct, frozen=True, gc=False):
    version: int
    ends: float
    value: Any


class Kept:
    """Values by what they are of. A command raises the version of the configuration in its own transaction, whichever
    process of the deployment runs it: what it changes is seen by the next page."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._values: dict[Hashable, _Value] = {}

    async def version(self) -> int:
        """The version of the configuration now; what is read after this may be kept under it."""
        return await self._database.look(config_version.current)

    def get(self, key: Hashable, version: int) -> Any:
        """The value, or None where none is kept of this version."""
        kept = self._values.get(key)
        return kept.value if kept is not None and kept.version == version and self._clock() < kept.ends else None

    def put(self, key: Hashable, version: int, value: Any) -> None:
        """Keep a value; the oldest gives way to it."""
        self._values.pop(key, None)
        while len(self._values) >= MOST:
            del self._values[next(iter(self._values))]
        self._values[key] = _Value(version, self._clock() + SECONDS, value)

    async def read(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """The value that is kept, or else the one that `make` reads."""
        version = await self.version()
        value = self.get(key, version)
        if value is None:
            value = await make()
            self.put(key, version, value)
        return value  # type: ignore[no-any-return]
