"""The lock on which all writers of one process to an SQLite database queue."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from storage.db.pace import Pace


class WriteLock(asyncio.Lock):
    """The lock of this process's writers, which knows how many wait for it; who holds it waits for no turn.

    `outside`: who holds it waits for another process's lock itself.
    """

    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self.waiting = 0
        self.outside = False
        self._pace = pace

    @contextmanager
    def waits_outside(self) -> Iterator[None]:
        """Meanwhile SQLite's own lock is waited for."""
        self.outside = True
        try:
            yield
        finally:
            self.outside = False

    async def acquire(self) -> Literal[True]:
        self.waiting += 1
        try:
            await super().acquire()
            self._pace.held_up = self._pace.stepping
            return True
        finally:
            self.waiting -= 1

    def release(self) -> None:
        self._pace.held_up = False
        super().release()
