"""A cache of what several pages of a team read: some seconds long, emptied by any change of the configuration."""

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


class VersionedCache:
    """Values by what they are of. A command raises the version of the configuration in its own transaction, whichever
    process of the deployment runs it: what it changes is seen by the next page."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._values: dict[Hashable, _Value] = {}

    async def version(self) -> int:
        """The version of the configuration now; what is read after this may be cached under it."""
        return await self._database.look(config_version.current)

    def get(self, key: Hashable, version: int) -> Any:
        """The value, or None where none is cached of this version."""
        cached = self._values.get(key)
        return (
            cached.value if cached is not None and cached.version == version and self._clock() < cached.ends else None
        )

    def put(self, key: Hashable, version: int, value: Any) -> None:
        """Cache a value; the oldest is evicted."""
        self._values.pop(key, None)
        while len(self._values) >= MOST:
            del self._values[next(iter(self._values))]
        self._values[key] = _Value(version, self._clock() + SECONDS, value)

    async def read(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """The cached value, or else the one that `make` reads."""
        version = await self.version()
        value: T | None = self.get(key, version)
        if value is None:
            value = await make()
            self.put(key, version, value)
        return value
