"""Taking turns: a lock file among the processes of one machine, and threads that wait in the event loop's stead."""

import asyncio
import fcntl
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue


class Unavailable(Exception):
    """The database cannot be written now: locked by somebody else, full, gone."""


class Helper(threading.Thread):
    """Waits beside the event loop, for a lock or for the disk; costs a queue and a wake-up."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._asked: SimpleQueue[tuple[Callable[[], None], asyncio.Future[None]] | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self.start()

    def do(self, work: Callable[[], None]) -> "asyncio.Future[None]":
        done: asyncio.Future[None] = self._loop.create_future()
        self._asked.put((work, done))
        return done

    def end(self) -> None:
        self._asked.put(None)

    def run(self) -> None:
        while (asked := self._asked.get()) is not None:
            work, done = asked
            try:
                work()
            except Exception as error:
                self._loop.call_soon_threadsafe(_settle, done, error)
            else:
                self._loop.call_soon_threadsafe(_settle, done, None)


def _settle(done: "asyncio.Future[None]", error: Exception | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


class WriteLock:
    """The lock file on which the writing processes of one machine take turns; handed over at once, never slept for."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._waiter = Helper("turn")
        self._waiting: asyncio.Future[None] | None = None
        self.held = False

    async def take(self, patience: float) -> None:
        """Raises Unavailable after `patience` seconds; the wait goes on behind, and its end is taken up next time."""
        if self.held:
            return
        if self._waiting is None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._waiting = self._waiter.do(lambda: fcntl.flock(self._file, fcntl.LOCK_EX))
        if self._waiting is not None:
            try:
                await asyncio.wait_for(asyncio.shield(self._waiting), patience)
            except TimeoutError:
                raise Unavailable("another process is writing and does not end") from None
            self._waiting = None
        self.held = True

    def give(self) -> None:
        """From any thread."""
        if self.held:
            self.held = False
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        self._waiter.end()
        os.close(self._file)
