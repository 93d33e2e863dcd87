"""Short transactions that run inside those of clicks, while many clicks come.

Committed alone, each would make clicks wait for its BEGIN, its COMMIT and the queue of writers. So it runs inside the
next transaction of clicks, behind a savepoint: one that fails is rolled back alone, and its caller continues after the
common COMMIT. Its time is charged to the share of the event loop that other work has (storage.db.loop_share).
"""

import asyncio
import math
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, Protocol

from storage.db import loop_share as limits
from storage.db.loop_share import LoopShare
from storage.db.unavailable import CommitUnknown


class Transaction(Protocol):
    """The SQLite transaction that work runs in."""

    raw: sqlite3.Connection


class Alone(Exception):
    """No transaction of clicks began in time: the work needs one of its own."""


class JoinedWork:
    """Work that waits for a transaction of clicks, and work that is in one."""

    def __init__(self, loop_share: LoopShare) -> None:
        self._loop_share = loop_share
        self._waiting: deque[_Joined] = deque()
        self._in_batch: list[_Joined] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_busy(self) -> bool:
        """Whether clicks come in full batches."""
        return self._loop_share.is_busy

    async def run(self, work: Callable[[Any], Any]) -> Any:
        """The result of `work(tx)` once it is committed. Raises what it raises, and Alone where it was not begun."""
        joined = _Joined(work)
        self._waiting.append(joined)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(limits.LONGEST_WAIT, self._expire)
        try:
            return await asyncio.shield(joined.done)
        except asyncio.CancelledError:
            if joined in self._in_batch:
                await asyncio.wait({joined.done})
            else:
                joined.done.cancel()
            raise

    def run_waiting(self, tx: Transaction) -> bool:
        """Run waiting work inside a transaction of clicks, for JOINED_SHARE seconds at most; whether any ran.

        Raises what ended the whole transaction.
        """
        took = 0.0
        while self._waiting and took < limits.JOINED_SHARE:
            joined = self._waiting.popleft()
            if not joined.done.done():
                self._in_batch.append(joined)
                began = time.perf_counter()
                joined.run(tx)
                took += time.perf_counter() - began
        if self._in_batch:
            self._loop_share.spend(took)
        return bool(self._in_batch)

    def committed(self) -> None:
        """The transaction is on disk."""
        in_batch, self._in_batch = self._in_batch, []
        for joined in in_batch:
            joined.committed()

    def failed(self, error: BaseException) -> None:
        """The transaction was rolled back."""
        in_batch, self._in_batch = self._in_batch, []
        for joined in in_batch:
            joined.fail(error if isinstance(error, Exception) else CommitUnknown())

    def _expire(self) -> None:
        """Give up work that waited too long, and all of it once clicks no longer come in full batches."""
        self._timer = None
        oldest = time.perf_counter() - limits.OVERDUE_AFTER if self._loop_share.is_busy else math.inf
        while self._waiting and self._waiting[0].since < oldest:
            self._waiting.popleft().fail(Alone())
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_later(limits.LONGEST_WAIT, self._expire)


class _Joined:
    """A piece of work and its waiting caller."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._work = work
        self._context: Context = copy_context()
        self._result: Any = None
        self._error: Exception | None = None
        self.since = time.perf_counter()
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def run(self, tx: Transaction) -> None:
        tx.raw.execute("SAVEPOINT joined")
        try:
            self._result = self._context.run(self._work, tx)
        except Exception as error:
            if not tx.raw.in_transaction:
                raise
            tx.raw.execute("ROLLBACK TO joined")
            self._error = error
        tx.raw.execute("RELEASE joined")

    def committed(self) -> None:
        if self._error is not None:
            self.fail(self._error)
        elif not self.done.done():
            self.done.set_result(self._result)

    def fail(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error)
