"""Whose turn it is on the event loop: while many clicks come, everything else shares a piece of each of their rounds.

A round is one batch of clicks: they gather, are written, committed, answered. Whatever else the loop does meanwhile
keeps all of them waiting; what is worse, a loop that always finds something to do never lets go of the interpreter for
long enough that the thread which waits for the disk could take it. So other work goes on a step at a time, as far as
the piece of the round reaches; what a long step takes more is missing from the next rounds. Where no clicks come, or
few, nothing waits.
"""

import asyncio
import time
from collections import deque
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

PIECE = 0.0005  # seconds of a round that other work has
JOINED = 0.0003  # seconds of a round that work within the clicks' transaction has, whose COMMIT takes longer by it too
MANY = 8  # clicks of a round: fewer leave the loop time for other work
CALM = 0.01  # seconds after such a round in which the next one is expected
LONG = 0.1  # seconds after which a round is no longer waited for: the disk may hang
WAIT = 0.005  # seconds after which other work goes on although no round has ended

T = TypeVar("T")


class Pace:
    """The rounds of one process, and the work that waits for its piece of them."""

    def __init__(self) -> None:
        self._busy_until = 0.0
        self._left = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.stepping = False  # a step of paced work is being done
        self.held_up = False  # paced work holds what clicks may wait for: it waits for no turn

    def run(self, work: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        """`work`, a step at a time, each when it has its turn."""
        return _run(self, work)

    @property
    def is_busy(self) -> bool:
        """Whether clicks come in full batches."""
        return time.perf_counter() < self._busy_until

    def round_began(self, clicks: int) -> None:
        """So many clicks are being written."""
        if clicks >= MANY:
            self._busy_until = time.perf_counter() + LONG

    def round_ended(self, clicks: int) -> None:
        """So many clicks have been answered: other work may go on."""
        if clicks >= MANY:
            self._busy_until = time.perf_counter() + CALM
        self._left = min(PIECE, self._left + PIECE)
        self._let_one_go()

    def turn(self) -> Generator[Any, None, None]:
        """Wait until a step may be done."""
        if self.held_up or not self.is_busy or (self._left > 0 and not self._waiting):
            return
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._timer = loop.call_later(WAIT, self._go_on)
        mine = loop.create_future()
        self._waiting.append(mine)
        try:
            yield from mine
        finally:
            if not mine.done() or mine.cancelled():
                self._waiting = deque(other for other in self._waiting if other is not mine)

    def took(self, seconds: float) -> None:
        """A step is done."""
        self._left -= seconds
        self._let_one_go()

    def _let_one_go(self) -> None:
        if self._waiting and self._left > 0:
            _release(self._waiting.popleft())

    def _go_on(self) -> None:
        """Rounds may have ended for good, or take long."""
        self._timer = None
        if not self.is_busy:
            while self._waiting:
                _release(self._waiting.popleft())
        elif self._waiting:
            self._timer = asyncio.get_running_loop().call_later(WAIT, self._go_on)
            self._left = max(self._left, PIECE)
            self._let_one_go()


async def _run(pace: Pace, work: Coroutine[Any, Any, T]) -> T:
    return await _Steps(pace, work)


class _Steps(Generic[T]):
    """A coroutine that waits for its turn before each step."""

    def __init__(self, pace: Pace, work: Coroutine[Any, Any, T]) -> None:
        self._pace = pace
        self._work = work

    def __await__(self) -> Generator[Any, Any, T]:
        pace, work = self._pace, self._work
        fault: BaseException | None = None
        while True:
            try:
                yield from pace.turn()
            except GeneratorExit:
                work.close()
                raise
            except BaseException as error:  # of a task that is cancelled, which is its work's to handle
                fault = error
            began = time.perf_counter()
            pace.stepping = True
            try:
                awaited = work.send(None) if fault is None else work.throw(fault)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            finally:
                pace.stepping = False
                pace.took(time.perf_counter() - began)
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
