"""Jobs that the tests give the helper process."""

import os
import time
from pathlib import Path
from typing import Any

from hub.runtime import helper_process
from storage.db.engine import Database
from storage.ledger.errors import Refused


async def whereabouts() -> tuple[int, int]:
    """Process id and niceness."""
    return os.getpid(), os.nice(0)


def cores() -> tuple[set[int], ...]:
    """Those that each thread of this process may run on."""
    return tuple(os.sched_getaffinity(int(thread.name)) for thread in Path("/proc/self/task").iterdir())


def repeated(data: bytes, times: int) -> bytes:
    print("this must not stand in the answer")
    return data * times


def refuse(field: str) -> None:
    raise Refused("this is wrong", field=field)


def compute_for(seconds: float) -> None:
    """Hold the interpreter."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def mark_and_compute(path: str) -> None:
    Path(path).touch()
    compute_for(60.0)


def end_when_idle_for(seconds: float) -> None:
    """Have this process wait no longer than that for its next job."""
    helper_process.IDLE_SECONDS = seconds


def fail() -> None:
    """As when the database goes away under a job."""
    raise ConnectionResetError("the server went away")


async def meet_no_database() -> None:
    """As when PostgreSQL has been stopped."""
    async with Database("postgresql+asyncpg://u:p@127.0.0.1:1/nowhere").read():
        pass


class Unreadable:
    """Can be sent, and not be read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (os, "no_such_name")


def answer_unreadably() -> Unreadable:
    return Unreadable()
