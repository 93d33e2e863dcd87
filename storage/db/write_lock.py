"""The lock on which all writers of one process to an SQLite database queue."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from storage.db.loop_share import LoopShare


class WriteLock(asyncio.Lock):
    """The lock of this process's writers, which counts those waiting; its holder is exempt from the loop's share.

    `outside`: who holds it waits for another process's lock itself.
    """

    def __init__(self, loop_share: LoopShare) -> None:
        super().__init__()
        self.waiting = 0
        self.outside = False
        self._loop_share = loop_share

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
            self._loop_share.exempt = self._loop_share.stepping
            return True
        finally:
            self.waiting -= 1

    def release(self) -> None:
        self._loop_share.exempt = False
        super().release()
