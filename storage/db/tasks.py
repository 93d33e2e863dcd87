"""Background tasks of this process: started here, watched, started again after a failure, logged once.

Work that belongs to one request or one message is no background task: its caller awaits it.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from storage.db.unavailable import is_unavailable, plain_words
from storage.ledger.errors import CasinoFluxError

log = structlog.get_logger()

FIRST_PAUSE = 0.1  # seconds before a loop that failed is started again; doubled each time
LONGEST_PAUSE = 10.0
STEADY = 10.0  # seconds a loop runs after a failure before it counts as healthy
LOG_EVERY = 60.0  # seconds between two log lines about one fault

Work = Callable[[], Awaitable[Any]]


@dataclass(slots=True)
class TaskState:
    """How a background task does. `error` is empty while it works. `serving`: requests need it."""

    failures: int = 0
    error: str = ""
    serving: bool = False


@dataclass(slots=True)
class _Fault:
    """A fault that repeats: when it may be logged next, and what has happened since."""

    next_at: float = 0.0
    times: int = 0
    logged: bool = False
    tasks: set[str] = field(default_factory=set)


_DATABASE = ("database",)


class TaskMonitor:
    """What /readyz and /metrics say about the background tasks, and the one place that logs their failures."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._states: dict[str, TaskState] = {}
        self._faults: dict[tuple[str, ...], _Fault] = {}

    def failed(self, name: str, error: BaseException, *, serving: bool = False) -> None:
        """Count a failure of the task `name`; one log line a minute for each fault, one for all of the database's."""
        state = self._states.setdefault(name, TaskState())
        state.failures += 1
        state.error = short(error)
        state.serving = serving
        key = _DATABASE if database_fault(error) else (name, type(error).__name__)
        fault = self._faults.setdefault(key, _Fault())
        fault.tasks.add(name)
        self._log(key, fault, name, error)

    def note(self, name: str, error: BaseException) -> None:
        """Log a fault of the database that is no task's with those of the tasks, a line a minute in all."""
        self._log(_DATABASE, self._faults.setdefault(_DATABASE, _Fault()), name, error)

    def _log(self, key: tuple[str, ...], fault: _Fault, name: str, error: BaseException) -> None:
        fault.times += 1
        if self._clock() < fault.next_at:
            return
        first = fault.next_at == 0.0
        fault.next_at = self._clock() + LOG_EVERY
        if key == _DATABASE:
            tasks = ", ".join(sorted(fault.tasks | {name}))
            log.error("the database cannot be used", error=short(error), times=fault.times, tasks=tasks)
        else:
            details = {"exc_info": error} if first and not isinstance(error, CasinoFluxError) else {}
            log.error("a background task failed", task=name, error=short(error), times=fault.times, **details)
        fault.times, fault.logged = 0, True

    def succeeded(self, name: str) -> None:
        """The task works; logged once if its failure was."""
        state = self._states.get(name)
        if state is None or not state.error:
            return
        state.error = ""
        for key, fault in self._faults.items():
            fault.tasks.discard(name)
            if fault.logged and not fault.tasks:
                fault.logged = False
                log.info("works again", task=key[0], failures_not_logged=fault.times)
                fault.times = 0

    def ended(self, name: str) -> None:
        """The task has been stopped: it is neither well nor failing, its count stays."""
        if (state := self._states.get(name)) is not None:
            state.error = ""
        for fault in self._faults.values():
            fault.tasks.discard(name)

    def failing(self) -> dict[str, str]:
        """The tasks that fail now, each with its error."""
        return {name: state.error for name, state in self._states.items() if state.error}

    def serving(self) -> bool:
        """Whether all tasks work that requests need."""
        return not any(state.error and state.serving for state in self._states.values())

    def failures(self) -> dict[str, int]:
        """How often each task has failed since the start of the process."""
        return {name: state.failures for name, state in self._states.items()}


monitor = TaskMonitor()


def start_loop(name: str, work: Work, *, serving: bool = False) -> asyncio.Task[None]:
    """Run `work` in the background until it returns or the task is cancelled.

    An exception ends one run only: it is logged, counted, shown in /readyz, and `work` is called again after a pause
    that grows. `serving`: requests cannot be answered without it, so /readyz is 503 meanwhile.
    """
    return asyncio.create_task(_run_again(name, work, serving), name=name)


def start_interval(name: str, seconds: float, work: Work, *, serving: bool = False) -> asyncio.Task[None]:
    """Call `work` in the background every `seconds`, for the first time after that long; failures are handled alike."""

    async def repeat() -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except Exception as error:
                monitor.failed(name, error, serving=serving)
            else:
                monitor.succeeded(name)

    return start_loop(name, repeat, serving=serving)


async def stop(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel background tasks and wait until they have ended."""
    started = [task for task in tasks if task is not None]
    for task in started:
        task.cancel()
    await asyncio.gather(*started, return_exceptions=True)


async def _run_again(name: str, work: Work, serving: bool) -> None:
    loop, pause = asyncio.get_running_loop(), FIRST_PAUSE
    healthy: asyncio.TimerHandle | None = None
    try:
        while True:
            began = loop.time()
            try:
                await work()
                return
            except Exception as error:
                if healthy is not None:
                    healthy.cancel()
                monitor.failed(name, error, serving=serving)
            pause = FIRST_PAUSE if loop.time() - began > STEADY else pause
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(pause * 2, LONGEST_PAUSE)
            healthy = loop.call_later(STEADY, monitor.succeeded, name)
    finally:
        if healthy is not None:
            healthy.cancel()
        monitor.ended(name)


def database_fault(error: BaseException) -> bool:
    """Whether the database is at fault (away, locked, full, unreadable), not what it was asked."""
    if isinstance(error, DBAPIError) and not isinstance(error, IntegrityError | ProgrammingError):
        return True
    return is_unavailable(error)


def short(error: BaseException) -> str:
    """An exception in one line, without SQL or values: in plain words, else its type and the driver's words."""
    if plain := plain_words(error):
        return plain
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    bare = isinstance(cause, DBAPIError) or type(cause).__name__ == "DataError"  # the driver's own shows the value
    words = "" if bare else str(cause).partition("\n")[0][:200]
    return f"{type(cause).__name__}: {words}" if words else type(cause).__name__
