"""One process of low priority beside the event loop, for work that would hold the interpreter for long.

It runs one job after another: a function that can be imported, and its arguments, go over a pipe as a pickle; what the
function returns or raises comes back the same way. The process starts with the first job, ends by itself after a
minute without one or with the hub, and is replaced when it dies. A job that exceeds its time is given up and the
process ended, because nothing else stops a computation. Jobs that begin while clicks come in full batches keep off the
core that the event loop runs on: even at the lowest priority the scheduler gives a process that just came to a core
what is left until its next tick, 4 ms, for which all clicks wait.
"""

import asyncio
import logging
import os
import pickle
import select
import subprocess
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from inspect import isawaitable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, overload

from hub.runtime.logs import log_warnings
from hub.runtime.process_tuning import settle_down
from storage.db.loop_share import LoopShare
from storage.db.unavailable import DatabaseUnavailable, plain_words
from storage.ledger.errors import CasinoFluxError, TooLong

log = logging.getLogger(__name__)

T = TypeVar("T")

SECONDS = 30.0
"""The longest a caller waits for a job, its turn included."""
_END_AGAIN = 0.1  # seconds
IDLE_SECONDS = 60.0
NICE = 19
NICE_ON_ONE_CORE = 10
MOST_WAITING = 12  # jobs; each caller may hold a connection to the database meanwhile
_ATTEMPTS = 2  # a process may have ended for idleness at the moment it was asked


class HelperFailed(CasinoFluxError):
    """The helper process died twice over one job, or cannot be started."""


class HelperProcess:
    """The helper process of this process; jobs wait for their turn, first come, first served."""

    def __init__(self, *, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._turn = asyncio.Lock()
        self._waiting = 0
        # A thread of its own: those of the loop are few, and commits wait for them.
        self._thread = ThreadPoolExecutor(1, "helper")
        self._child: subprocess.Popen[bytes] | None = None
        #: What clicks leave of the event loop, where it answers any.
        self.loop_share: LoopShare | None = None

    @property
    def pid(self) -> int | None:
        """Of the running process, None while there is none."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    @overload
    async def run(self, job: Callable[..., Awaitable[T]], *arguments: Any, advice: str = ...) -> T: ...
    @overload
    async def run(self, job: Callable[..., T], *arguments: Any, advice: str = ...) -> T: ...
    async def run(self, job: Callable[..., Any], *arguments: Any, advice: str = "ask for less") -> Any:
        """Run `job(*arguments)` in the helper process, a coroutine function included.

        Raises what the job raises, TooLong with `advice` after 30 s, HelperFailed if the process dies twice.
        """
        if self._waiting >= MOST_WAITING:
            raise TooLong("too much work waits for the helper process: try again in a minute")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._seconds), self._turn:
                keeps_off = self.loop_share is not None and self.loop_share.is_busy
                return await self._exchange((keeps_off, job, arguments))
        except TimeoutError:
            raise TooLong(f"this takes longer than {self._seconds:g} seconds: {advice}") from None
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._end()
        self._thread.shutdown(wait=False)

    async def _exchange(self, request: tuple[Any, ...]) -> Any:
        """Hand over a request and wait for its answer; a caller that stops waiting ends the process."""
        waiting = asyncio.get_running_loop().run_in_executor(self._thread, self._ask, request)
        try:
            succeeded, result = await asyncio.shield(waiting)
        except asyncio.CancelledError:
            while not waiting.done():  # a process that is just being started cannot be ended yet
                self._end()
                await asyncio.wait({waiting}, timeout=_END_AGAIN)
            waiting.cancelled() or waiting.exception()  # its pipe broke: we closed it
            raise
        if not succeeded:
            raise result
        return result

    def _ask(self, request: tuple[Any, ...]) -> tuple[bool, Any]:
        """In the thread: whether the job succeeded, and its result or error."""
        for _ in range(_ATTEMPTS):
            child = self._child = self._child or _start()
            try:
                return _send_and_receive(child, request)
            except Exception as error:  # what cannot be read stays in the pipe: the next answer would be the same
                ended = self._child is None  # by `_end`: the caller no longer waits
                child.kill()
                child.communicate()
                self._child = None
                if ended:
                    break
                log.warning("the helper process is started again: %s: %s", type(error).__name__, error)
        raise HelperFailed("the helper process ended before the work was done: see the log, then try again")

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()


def _start() -> "subprocess.Popen[bytes]":
    # Imported, not run as `__main__`: the errors of this module have to be known to the hub by the same name.
    command = [sys.executable, "-c", f"from {__name__} import main; main()"]
    # A group of its own, so that Ctrl-C is for the hub alone. A session of its own would have as much of the processor
    # as the hub, whatever its nice value: https://man7.org/linux/man-pages/man7/sched.7.html (the autogroup feature).
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0)  # noqa: S603


def _send_and_receive(child: "subprocess.Popen[bytes]", request: tuple[Any, ...]) -> tuple[bool, Any]:
    """Raises OSError or EOFError if the process has ended, anything else if its answer cannot be read."""
    assert child.stdin is not None  # noqa: S101 - both are pipes
    assert child.stdout is not None  # noqa: S101
    pickle.dump(request, child.stdin, protocol=5)
    child.stdin.flush()
    answer: tuple[bool, Any] = pickle.load(child.stdout)  # noqa: S301 - written by our own process
    return answer


def main() -> None:
    """The helper process. What a job prints goes to standard error: standard output carries the answers."""
    _lower_priority()
    cores = _cores()
    settle_down()
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    log_warnings()
    with asyncio.Runner() as runner:
        while select.select([requests], [], [], IDLE_SECONDS)[0]:
            try:
                keeps_off, job, arguments = pickle.load(requests)  # noqa: S301 - written by the hub
            except EOFError:
                return
            _run_on(cores - _core_of_hub() if keeps_off else cores)
            _answer(answers, runner.run(_outcome(job, arguments)))


def _lower_priority() -> None:
    """Run when nothing else wants the processor; on an only core beside it: a busy hub would leave nothing of that."""
    if not hasattr(os, "sched_getaffinity"):  # no Linux
        os.nice(NICE)
    elif len(os.sched_getaffinity(0)) == 1:
        os.nice(NICE_ON_ONE_CORE)
    else:
        os.nice(NICE)
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _cores() -> frozenset[int]:
    """Those this process may run on; none where the system does not say."""
    return frozenset(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ())


def _core_of_hub() -> frozenset[int]:
    """The one its event loop ran on last: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html (39)."""
    try:
        return frozenset({int(Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[36])})
    except (OSError, IndexError, ValueError):  # it has just ended, or this is no Linux
        return frozenset()


def _run_on(cores: frozenset[int]) -> None:
    """Have all threads run on these cores; anywhere if there are none. Threads to come inherit it."""
    if cores and cores != os.sched_getaffinity(0):
        for thread in Path("/proc/self/task").iterdir():
            with suppress(OSError):  # it has just ended
                os.sched_setaffinity(int(thread.name), cores)


async def _outcome(job: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    try:
        result = job(*arguments)
        return True, await result if isawaitable(result) else result
    except CasinoFluxError as error:
        return False, error
    except Exception as error:
        if plain := plain_words(error):  # who asked has one line a minute of it in the log
            return False, DatabaseUnavailable(plain)
        log.exception("a job of the helper process failed")
        return False, HelperFailed(f"the work failed on our side ({type(error).__name__}): the log has the details")


def _answer(answers: BinaryIO, outcome: tuple[bool, Any]) -> None:
    pickle.dump(outcome, answers, protocol=5)
    answers.flush()
