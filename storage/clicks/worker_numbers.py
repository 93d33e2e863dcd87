"""The numbers that keep the click ids of processes apart, remembered on this machine.

A process holds a lock on the file of its number as long as it lives. One that starts while the database is unavailable
cannot be given a new number: it takes that of a process that has ended, which makes no more ids.
"""

import fcntl
import os
from pathlib import Path

from storage.ledger.errors import CasinoFluxError

_SUFFIX = "worker"


class WorkerNumber:
    """A number of this process; `release` it at the end."""

    def __init__(self, number: int, descriptor: int = -1) -> None:
        self.number = number
        self._descriptor = descriptor

    def release(self) -> None:
        """Leave the number to the next process on this machine that starts without the database."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def hold(folder: Path, database: str, number: int) -> WorkerNumber:
    """Hold a number that the database gave out; those of processes that have ended are forgotten.

    Raises OSError if the folder cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in _paths(folder, database):
        if (descriptor := _lock(path)) is not None:
            path.unlink(missing_ok=True)
            os.close(descriptor)
    path = folder / f"{database}-{number}.{_SUFFIX}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return WorkerNumber(number, descriptor)


def reuse(folder: Path, database: str) -> WorkerNumber:
    """The number of a process that has ended. Raises CasinoFluxError if none is left."""
    for path in _paths(folder, database):
        if (descriptor := _lock(path)) is not None:
            return WorkerNumber(int(path.stem.rpartition("-")[2]), descriptor)
    raise CasinoFluxError(
        "the database is unavailable, and no number for click ids is left of an earlier process: start as many "
        "processes as ran before, or wait for the database"
    )


def _paths(folder: Path, database: str) -> list[Path]:
    return sorted(folder.glob(f"{database}-*.{_SUFFIX}"))


def _lock(path: Path) -> int | None:
    """A descriptor that holds the file's lock; None while another process has it, or the file is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None
