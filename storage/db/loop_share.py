"""The share of the event loop that other work gets while many clicks come.

Clicks are handled in batches: they gather, are written, committed and answered. Other work on the loop delays all of
them, and a loop that is always busy rarely releases the interpreter for the thread that waits for the disk. So while
batches are full, other work runs a step at a time, SHARE seconds a batch; a step that takes longer is charged to the
next batches. Without clicks, or with few, nothing waits.
"""

import asyncio
import time
from collections import deque
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

SHARE = 0.0005  # seconds of each batch that other work has
JOINED_SHARE = 0.0003  # seconds of each batch for work inside its transaction (storage.db.joined_work)
FULL_BATCH = 8  # clicks: smaller batches leave the loop time for other work
IDLE_AFTER = 0.01  # seconds after a full batch without another one
OVERDUE_AFTER = 0.1  # seconds after which a batch is no longer waited for: the disk may hang
LONGEST_WAIT = 0.005  # seconds after which other work runs although no batch has ended

T = TypeVar("T")


class LoopShare:
    """Other work of one process, which waits for its share."""

    def __init__(self) -> None:
        self._busy_until = 0.0
        self._budget = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.stepping = False  # a step of other work is running
        self.exempt = False  # other work holds the write lock that clicks need: it does not wait

    def run(self, work: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        """`work`, a step at a time, each within the share."""
        return _run(self, work)

    @property
    def is_busy(self) -> bool:
        """Whether clicks come in full batches."""
        return time.perf_counter() < self._busy_until

    def batch_began(self, clicks: int) -> None:
        """A batch of so many clicks is being written."""
        if clicks >= FULL_BATCH:
            self._busy_until = time.perf_counter() + OVERDUE_AFTER

    def batch_ended(self, clicks: int) -> None:
        """A batch of so many clicks is answered: other work may run."""
        if clicks >= FULL_BATCH:
            self._busy_until = time.perf_counter() + IDLE_AFTER
        self._budget = min(SHARE, self._budget + SHARE)
        self._release_next()

    def acquire(self) -> Generator[Any, None, None]:
        """Wait until a step may run."""
        if self.exempt or not self.is_busy or (self._budget > 0 and not self._waiting):
            return
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._timer = loop.call_later(LONGEST_WAIT, self._on_timer)
        mine = loop.create_future()
        self._waiting.append(mine)
        try:
            yield from mine
        finally:
            if not mine.done() or mine.cancelled():
                self._waiting = deque(other for other in self._waiting if other is not mine)

    def spend(self, seconds: float) -> None:
        """Charge a step to the share."""
        self._budget -= seconds
        self._release_next()

    def _release_next(self) -> None:
        if self._waiting and self._budget > 0:
            _release(self._waiting.popleft())

    def _on_timer(self) -> None:
        """No batch has ended for a while."""
        self._timer = None
        if not self.is_busy:
            while self._waiting:
                _release(self._waiting.popleft())
        elif self._waiting:
            self._timer = asyncio.get_running_loop().call_later(LONGEST_WAIT, self._on_timer)
            self._budget = max(self._budget, SHARE)
            self._release_next()


async def _run(loop_share: LoopShare, work: Coroutine[Any, Any, T]) -> T:
    return await _Steps(loop_share, work)


class _Steps(Generic[T]):
    """A coroutine that waits for its share before each step."""

    def __init__(self, loop_share: LoopShare, work: Coroutine[Any, Any, T]) -> None:
        self._loop_share = loop_share
        self._work = work

    def __await__(self) -> Generator[Any, Any, T]:
        loop_share, work = self._loop_share, self._work
        fault: BaseException | None = None
        while True:
            try:
                yield from loop_share.acquire()
            except GeneratorExit:
                work.close()
                raise
            except BaseException as error:  # of a task that is cancelled, which is its work's to handle
                fault = error
            began = time.perf_counter()
            loop_share.stepping = True
            try:
                awaited = work.send(None) if fault is None else work.throw(fault)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            finally:
                loop_share.stepping = False
                loop_share.spend(time.perf_counter() - began)
            fault = None
            try:
                yield awaited
            except GeneratorExit:
                work.close()
                raise
            except BaseException as error:
                fault = error


def _release(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)
