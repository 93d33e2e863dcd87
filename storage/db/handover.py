"""How a process that moves an SQLite database, or restores it in place, has the hub on it let go meanwhile.

A file beside the database, `….db.handover`, which that process keeps locked. While it gives a reason, every other
process of ours reads and writes nothing: a hub's clicks and postbacks go to the spool. When the file is gone, or its
process died before it was done, they go on; once it is final, they never do.
"""

import asyncio
import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from storage.ledger.errors import CasinoFluxError

_LONGEST = 90.0  # seconds
_TRIES, _PAUSE = 20, 0.05  # a process that looks whether the file is locked has it locked for a moment


class Note(msgspec.Struct, frozen=True):
    """What the file says. `reason`: why the database is left alone; empty: it need not be yet."""

    reason: str = ""
    final: bool = False


def note_path(database: str) -> str:
    return f"{database}.handover"


class Handover:
    """The side of the process that moves or restores. Use it as a context: one at a time has it.

    Raises CasinoFluxError if another process has it, or the database was moved before.
    """

    def __init__(self, database: Path) -> None:
        self._path = Path(note_path(str(database)))
        self._final = False
        self._file = -1

    def __enter__(self) -> Self:
        if reason := reason_to_wait(str(self._path)):
            raise CasinoFluxError(reason)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        for _ in range(_TRIES):
            with suppress(BlockingIOError):
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._write(Note())
                return self
            time.sleep(_PAUSE)
        os.close(self._file)
        raise CasinoFluxError("another db transfer or db restore is at work on this database: wait for its end")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        if not self._final:
            self._path.unlink(missing_ok=True)
        os.close(self._file)

    def hold(self, reason: str) -> None:
        """Have the others leave the database alone from their next transaction on."""
        self._write(Note(reason))

    def finish(self, reason: str) -> None:
        """Have them leave it alone for good."""
        self._write(Note(reason, final=True))
        self._final = True

    def _write(self, note: Note) -> None:
        data = msgspec.json.encode(note)
        os.pwrite(self._file, data, 0)
        os.ftruncate(self._file, len(data))
        os.fsync(self._file)


def reason_to_wait(path: str) -> str:
    """Why the database beside this note is to be left alone; empty if it is not."""
    if not os.access(path, os.F_OK):  # asked for every batch of clicks
        return ""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        note = msgspec.json.decode(os.pread(file, 10_000, 0), type=Note)
        if note.final:
            return note.reason
        return note.reason if note.reason and _is_locked(file) else ""
    except msgspec.MsgspecError:  # it is just being written, or its process died over it
        return "the database is just being handed over" if _is_locked(file) else ""
    finally:
        os.close(file)


async def wait_while_held(database: str) -> None:
    """At the start of a process wait while another holds the database; `check` reports a longer or final hold."""
    for _ in range(int(_LONGEST / _PAUSE)):
        if not (reason_to_wait(note_path(database)) and is_under_way(database)):
            return
        await asyncio.sleep(_PAUSE)


def is_under_way(database: str) -> bool:
    """Whether a process has the database's handover now."""
    try:
        file = os.open(note_path(database), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return _is_locked(file)
    finally:
        os.close(file)


def _is_locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
