"""A file that keeps what cannot be written to the database now, until it can.

It is append-only, and synced before whoever asked is answered.

A record is its length, its CRC-32 and msgpack. What a crash cut off at the end was never answered and is passed over.
A file belongs to the process that holds its lock; files whose process died are taken over by whoever comes first, of
the processes on the same database: a file's name begins with the database's number.
Some room is kept in reserve beforehand, so that a full disk does not stop the spool. It is read piece by piece: what
waits may be more than fits into memory. After a crash it is read from its start again: whoever stores the records
knows those that are stored already.
"""

import errno
import fcntl
import os
import re
import struct
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.database_url import sqlite_file
from storage.ledger.errors import CasinoFluxError
from storage.tables import facts

log = structlog.get_logger()

SPOOLED = "transferred_spool"
"""A fact of a database that was transferred from SQLite: the folder of the spools there."""
RESERVE = 4 << 20  # bytes: about 15,000 clicks
PIECE = 200  # records of one transaction, at most: requests that come meanwhile wait for it
PIECE_BYTES = 2 << 20
MOMENT = 0.25  # seconds until what has to wait is looked at again
_LATER = 10.0  # seconds
_HEAD = struct.Struct("<II")
_BLOCK = 32_000  # bytes read at a time
_WITHOUT_DATABASE = re.compile(r"\d+-\d+(\.rewritten)*")  # names of earlier versions: taken over by whoever comes first
_encoder = msgspec.msgpack.Encoder()
R = TypeVar("R")
S = TypeVar("S", bound="SpoolFile[Any]")


def spool_folder(url: str) -> Path:
    """Where the spools of a database are: beside an SQLite file, else in the working folder."""
    file = sqlite_file(url)
    return Path(f"{file}.spool") if file else Path("casinoflux.spool")


def unwritable(folder: Path, error: OSError) -> CasinoFluxError:
    """What to do about a spool folder in which nothing can be written."""
    return CasinoFluxError(
        f"the spool folder {folder} cannot be written ({error.strerror}): make room there, or let us write to it, and "
        "start again"
    )


async def left_folders(tx: AsyncConnection) -> list[Path]:
    """Where requests wait that were answered on the SQLite database from which this one was transferred."""
    folder = (await tx.execute(select(facts.c.value).where(facts.c.name == SPOOLED))).scalar_one_or_none()
    return [Path(folder)] if folder else []


class SpoolFile(Generic[R]):
    """One process's spool in a folder. A subclass says what its records are, and how its files end."""

    suffix: ClassVar[str]
    decoder: msgspec.msgpack.Decoder[R]

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self.name = name
        self._file = -1
        self._start = 0  # what is before it has been read
        self._end = 0
        self.depth = 0  # records waiting
        self.due = 0.0  # monotonic time before which reading is of no use

    def open(self, *, wait: bool = True) -> None:
        """Make the file and reserve its room. Raises OSError if the folder cannot be written.

        Raises BlockingIOError without `wait` while another process has the file.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        while not self._lock(os.O_CREAT, 0 if wait else fcntl.LOCK_NB):
            pass  # another process took the new file for one that a dead process left, and removed it
        self.rewind()
        if os.fstat(self._file).st_size < RESERVE:
            os.posix_fallocate(self._file, 0, RESERVE)
        os.fsync(self._file)
        sync_folder(self._folder)

    def open_at_start(self) -> None:
        """The same, with what to do. Raises CasinoFluxError."""
        try:
            self.open()
        except OSError as error:
            raise unwritable(self._folder, error) from None

    def adopt(self) -> None:
        """Open a file that is there already. Raises BlockingIOError while its process lives."""
        if not self._lock(0, fcntl.LOCK_NB):
            raise FileNotFoundError(errno.ENOENT, "the spool was removed meanwhile")
        self.rewind()

    def _lock(self, create: int, no_wait: int) -> bool:
        """Open and lock the file; False if its name leads to another file, or none, once it is locked."""
        file = os.open(self._path(), os.O_RDWR | os.O_CLOEXEC | create, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | no_wait)
            named = os.path.samestat(os.fstat(file), self._path().stat())
        except FileNotFoundError:
            named = False
        except OSError:
            os.close(file)
            raise
        if named:
            self._file = file
        else:
            os.close(file)
        return named

    def _path(self) -> Path:
        return self._folder / f"{self.name}.{self.suffix}"

    def close(self) -> None:
        """Let go of the file; an empty one is removed."""
        if self._file < 0:
            return
        if not self.depth:
            self._path().unlink(missing_ok=True)
        os.close(self._file)
        self._file = -1

    def append(self, records: Iterable[R]) -> None:
        """Write and sync. Raises OSError if it cannot be made durable; then none of these records counts."""
        payloads = [_encoder.encode(record) for record in records]
        data = b"".join(_HEAD.pack(len(payload), zlib.crc32(payload)) + payload for payload in payloads)
        # The zeros of the next head end the file for a reader, also over the remains of an earlier, longer one.
        written = os.pwrite(self._file, data + b"\0" * _HEAD.size, self._end)
        if written < len(data):
            raise OSError(errno.ENOSPC, "no space left for the spool")
        os.fsync(self._file)
        self._end += len(data)
        self.depth += len(payloads)

    def read(self, most: int = PIECE) -> list[R]:
        """The next records, in the order they came in, PIECE_BYTES of them or so; empty once all have been read.

        Those that another version wrote, and this one cannot read, are set aside.
        """
        records: list[R] = []
        unreadable: list[Any] = []
        payloads = _piece(_payloads(self._file, self._start, self._end), most)
        for payload in payloads:
            try:
                records.append(self.decoder.decode(payload))
            except msgspec.ValidationError:
                unreadable.append(msgspec.msgpack.decode(payload))
        if unreadable:
            self.set_aside(unreadable)
            log.error("spooled records of another version cannot be read; they are set aside", records=len(unreadable))
        self._start += sum(_HEAD.size + len(payload) for payload in payloads)
        self.depth -= len(unreadable)
        return records

    @property
    def all_read(self) -> bool:
        return self._start >= self._end

    def rewind(self) -> None:
        """Read from the start again, with all that the file holds."""
        self._start, self._end, self.depth = 0, 0, 0
        for payload in _payloads(self._file, 0):
            self._end += _HEAD.size + len(payload)
            self.depth += 1

    def replace(self, records: Sequence[R]) -> None:
        """Everything read is in the database but these, which wait a moment: start the file again with them."""
        if not records:
            self._clear()
            return
        self.due = time.monotonic() + MOMENT
        rewritten = type(self)(self._folder, f"{self.name}.rewritten")
        try:
            rewritten.open(wait=False)
            rewritten.append(records)
            rewritten._path().rename(self._path())
        except OSError:  # a full disk: all is read again later
            rewritten.abandon()
            self.rewind()
            self.due = time.monotonic() + _LATER
            return
        os.close(self._file)
        self._file, self._start, self._end, self.depth = rewritten._file, 0, rewritten._end, rewritten.depth
        sync_folder(self._folder)

    def abandon(self) -> None:
        """Remove the file, whatever it holds, if it is ours."""
        if self._file >= 0:
            self._path().unlink(missing_ok=True)
            os.close(self._file)
            self._file = -1

    def set_aside(self, records: Sequence[Any]) -> None:
        """Keep records that the database does not take, as lines of JSON beside the spools."""
        if records:
            with (self._folder / "rejected.jsonl").open("ab") as file:
                file.writelines(msgspec.json.encode(record) + b"\n" for record in records)

    def _clear(self) -> None:
        os.pwrite(self._file, b"\0" * _HEAD.size, 0)
        os.fsync(self._file)
        self._start = self._end = self.depth = 0


def _piece(payloads: Iterator[bytes], most: int) -> list[bytes]:
    """The first `most` payloads, or fewer as soon as they are PIECE_BYTES."""
    piece, size = [], 0
    for payload in islice(payloads, most):
        piece.append(payload)
        size += len(payload)
        if size >= PIECE_BYTES:
            break
    return piece


def _payloads(file: int, place: int, end: float = inf) -> Iterator[bytes]:
    """Whole records from a place in a file on, up to the first that is not whole."""
    block, first = b"", place  # what was read of the file, and where
    while place < end:
        if place + _HEAD.size > first + len(block):
            block, first = os.pread(file, _BLOCK, place), place
        if len(block) - (place - first) < _HEAD.size:
            return
        length, checksum = _HEAD.unpack_from(block, place - first)
        if place + _HEAD.size + length > first + len(block):
            block, first = os.pread(file, max(_BLOCK, _HEAD.size + length), place), place
        payload = block[place - first + _HEAD.size : place - first + _HEAD.size + length]
        if not length or len(payload) < length or zlib.crc32(payload) != checksum:
            return
        yield payload
        place += _HEAD.size + length


def sync_folder(folder: Path) -> None:
    """Make the file's name durable too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def orphans(kind: type[S], folders: Iterable[Path], database: str, open_names: set[str]) -> list[S]:
    """Spools of a database whose process is gone, opened and ours until closed; not those whose names are known."""
    adopted = []
    for path in [path for folder in folders for path in sorted(folder.glob(f"*.{kind.suffix}"))]:
        ours = path.stem.startswith(f"{database}-") or _WITHOUT_DATABASE.fullmatch(path.stem)
        if ours and path.stem not in open_names and (spool := _adopted(kind, path.parent, path.stem)):
            adopted.append(spool)
    return adopted


def _adopted(kind: type[S], folder: Path, name: str) -> S | None:
    spool = kind(folder, name)
    try:
        spool.adopt()
    except (BlockingIOError, FileNotFoundError):
        return None
    return spool
