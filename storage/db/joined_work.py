"""Short transactions that join those of clicks, while many clicks come.

By itself each would have clicks wait for its BEGIN, its COMMIT and whoever is ahead of it in the queue. So it is done
within the transaction of the clicks that come next, behind a savepoint: what fails is undone by itself, and its caller
goes on once the disk has all of it. What it took is missing from the piece of the round that other work has.
"""

import asyncio
import math
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, Protocol

from storage.db import pace as rounds
from storage.db.pace import Pace
from storage.db.unavailable import CommitUnknown


class Transaction(Protocol):
    """What a piece of work is done in."""

    raw: sqlite3.Connection


class Alone(Exception):
    """No transaction of clicks came: the work is to be done in one of its own."""


class JoinedWork:
    """Work that waits for a transaction of clicks, and work that one carries."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._waiting: deque[_Piece] = deque()
        self._carried: list[_Piece] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_busy(self) -> bool:
        """Whether clicks come in full batches."""
        return self._pace.is_busy

    async def run(self, work: Callable[[Any], Any]) -> Any:
        """The result of `work(tx)` once it is committed. Raises what it raises, and Alone where it was not begun."""
        piece = _Piece(work)
        self._waiting.append(piece)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(rounds.WAIT, self._look)
        try:
            return await asyncio.shield(piece.done)
        except asyncio.CancelledError:
            if piece in self._carried:
                await asyncio.wait({piece.done})
            else:
                piece.done.cancel()
            raise

    def carry_out(self, tx: Transaction) -> bool:
        """Do within a transaction of clicks what waits, as far as their piece of the round reaches; whether any did.

        Raises what ended the whole transaction.
        """
        took = 0.0
        while self._waiting and took < rounds.JOINED:
            piece = self._waiting.popleft()
            if not piece.done.done():
                self._carried.append(piece)
                began = time.perf_counter()
                piece.carry_out(tx)
                took += time.perf_counter() - began
        if self._carried:
            self._pace.took(took)
        return bool(self._carried)

    def committed(self) -> None:
        """The transaction is on disk."""
        carried, self._carried = self._carried, []
        for piece in carried:
            piece.committed()

    def failed(self, error: BaseException) -> None:
        """The transaction came to nothing."""
        carried, self._carried = self._carried, []
        for piece in carried:
            piece.fail(error if isinstance(error, Exception) else CommitUnknown())

    def _look(self) -> None:
        """Let go what has waited for long, and all once clicks no longer come in full batches."""
        self._timer = None
        oldest = time.perf_counter() - rounds.LONG if self._pace.is_busy else math.inf
        while self._waiting and self._waiting[0].since < oldest:
            self._waiting.popleft().fail(Alone())
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_later(rounds.WAIT, self._look)


class _Piece:
    """One piece of work and who waits for it."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._work = work
        self._context: Context = copy_context()
        self._result: Any = None
        self._error: Exception | None = None
        self.since = time.perf_counter()
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def carry_out(self, tx: Transaction) -> None:
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
