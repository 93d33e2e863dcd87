"""Where clicks go while the database cannot be written, and how they get from there into it, once each.

A spool is an append-only file, synced before the visitor is sent on.

A record is its length, its CRC-32 and msgpack. What a crash cut off at the end was never answered and is passed over.
A file belongs to the process that holds its lock; files whose process died are taken over by whoever comes first, of
the processes on the same database: a file's name begins with the database's number.
Some room is kept in reserve beforehand, so that a full disk does not stop the spool. It is read piece by piece: what
waits may be more than fits into memory. After a crash it is read from its start again: ids decide what is new.
"""

import asyncio
import errno
import fcntl
import os
import re
import struct
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any

import msgspec
import structlog

from storage.clicks.write_batch import Batch, Counts, WriterState
from storage.clicks.write_jobs import EARLY, Cap, Click, ClickJob, Job, OutgoingJob
from storage.db.unavailable import is_unavailable
from storage.ledger.clicks.click_id import first_id_at

log = structlog.get_logger()

RESERVE = 4 << 20  # bytes: about 15,000 clicks
PIECE = 200  # records of one transaction: requests wait no longer for it than for a batch of clicks
MOST_EARLY = 1_000  # outgoing clicks kept in memory until their own clicks are stored
_HEAD = struct.Struct("<II")
_MOMENT = 0.25  # seconds
_LATER = 10.0  # seconds
_WITHOUT_DATABASE = re.compile(r"\d+-\d+(\.rewritten)*")  # names of earlier versions: taken over by whoever comes first


class SpooledClick(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    click: Click


class SpooledOutgoing(msgspec.Struct, frozen=True, array_like=True, tag="o"):
    """An outgoing click; the click it came with is looked up when it is stored."""

    id: int
    team_id: int
    click_id: int
    site_id: int
    offer_id: int
    hour: int
    bot: int
    cap: Cap | None

    def job(self) -> OutgoingJob:
        job = OutgoingJob(
            id=self.id, team_id=self.team_id, click_id=self.click_id, site_id=self.site_id, hour=self.hour, bot=self.bot
        )
        job.offer_id, job.cap = self.offer_id, self.cap
        return job


Record = SpooledClick | SpooledOutgoing


def record_of(job: Job) -> Record:
    """What is kept of a job that has decided without the database."""
    if isinstance(job, ClickJob):
        return SpooledClick(job.click)
    return SpooledOutgoing(
        job.id, job.team_id, job.click_id, job.site_id, job.offer_id, job.hour, job.bot, job.cap
    )  # fmt: skip


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


class Spool:
    """One process's spool in a folder; also hands out those that dead processes left."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self.name = name
        self._file = -1
        self._start = 0  # what lies before has been read
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
        _sync_folder(self._folder)

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
        return self._folder / f"{self.name}.spool"

    def close(self) -> None:
        """Let go of the file; an empty one is removed."""
        if self._file < 0:
            return
        if not self.depth:
            self._path().unlink(missing_ok=True)
        os.close(self._file)
        self._file = -1

    def append(self, records: Iterable[Record]) -> None:
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

    def read(self, most: int = PIECE) -> list[Record]:
        """The next records, in the order they came in; empty once all have been read.

        Those that another version wrote, and this one cannot read, are set aside.
        """
        records: list[Record] = []
        unreadable: list[Any] = []
        payloads = list(islice(_payloads(self._file, self._start, self._end), most))
        for payload in payloads:
            try:
                records.append(_decoder.decode(payload))
            except msgspec.ValidationError:
                unreadable.append(msgspec.msgpack.decode(payload))
        if unreadable:
            self.set_aside(unreadable)
            log.error("spooled clicks of another version cannot be read; they are set aside", clicks=len(unreadable))
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

    def replace(self, records: Sequence[Record]) -> None:
        """Everything read is in the database but these, which wait a moment: start the file again with them."""
        if not records:
            self._clear()
            return
        self.due = time.monotonic() + _MOMENT
        rewritten = Spool(self._folder, f"{self.name}.rewritten")
        try:
            rewritten.open(wait=False)
            rewritten.append(records)
            rewritten._path().rename(self._path())
        except OSError:  # a full disk: all is read once more, later
            rewritten.abandon()
            self.rewind()
            self.due = time.monotonic() + _LATER
            return
        os.close(self._file)
        self._file, self._start, self._end, self.depth = rewritten._file, 0, rewritten._end, rewritten.depth
        _sync_folder(self._folder)

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


class MemorySpool:
    """Where clicks wait while not even a file can be written; an end of the process loses them."""

    def __init__(self) -> None:
        self._records: deque[Record] = deque()
        self.depth = 0
        self.due = 0.0

    def append(self, records: Sequence[Record]) -> None:
        self._records.extend(records)
        self.depth += len(records)

    def read(self, most: int = PIECE) -> list[Record]:
        """The next records, which are no longer here."""
        return [self._records.popleft() for _ in range(min(most, len(self._records)))]

    def put_back(self, records: Sequence[Record]) -> None:
        """Undo a `read`."""
        self._records.extendleft(reversed(records))

    @property
    def all_read(self) -> bool:
        return not self._records

    def replace(self, records: Sequence[Record]) -> None:
        """Everything read is in the database but these, which wait a moment."""
        self.put_back(records)
        self.depth = len(self._records)
        self.due = time.monotonic() + _MOMENT if records else 0.0

    def set_aside(self, records: Sequence[Any]) -> None:
        """Nothing can be written."""

    def close(self) -> None:
        """It has no file."""


def _payloads(file: int, place: int, end: float = inf) -> Iterator[bytes]:
    """Whole records from a place in a file on, up to the first that is not whole."""
    while place < end and len(head := os.pread(file, _HEAD.size, place)) == _HEAD.size:
        length, checksum = _HEAD.unpack(head)
        payload = os.pread(file, length, place + _HEAD.size)
        if not length or len(payload) < length or zlib.crc32(payload) != checksum:
            return
        yield payload
        place += _HEAD.size + length


def _sync_folder(folder: Path) -> None:
    """Make the file's name durable too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def orphans(folder: Path, database: str, open_names: set[str]) -> list[Spool]:
    """Spools of a database whose process is gone, opened and ours until closed; not those whose names are known."""
    adopted = []
    for path in sorted(folder.glob("*.spool")) if folder.is_dir() else []:
        ours = path.stem.startswith(f"{database}-") or _WITHOUT_DATABASE.fullmatch(path.stem)
        if ours and path.stem not in open_names and (spool := _adopted(folder, path.stem)):
            adopted.append(spool)
    return adopted


def _adopted(folder: Path, name: str) -> Spool | None:
    spool = Spool(folder, name)
    try:
        spool.adopt()
    except (BlockingIOError, FileNotFoundError):
        return None
    return spool


class Drain:
    """One spool on its way into the database: a click's id decides, and only what was really inserted is counted.

    `step` by step, so that requests get their turn between two of them.
    """

    def __init__(
        self, state: WriterState, spool: Spool | MemorySpool, *, clock: Callable[[], datetime], patience: float
    ) -> None:
        self._state = state
        self.spool = spool
        self._clock = clock
        self._patience = patience
        self._piece: list[Record] = []  # read, and not stored yet
        self._early: list[Record] = []  # outgoing clicks whose own click is still in another process's spool
        self._rejected: list[Record] = []  # what the database does not take

    @property
    def due(self) -> bool:
        """Whether there is something to store now."""
        return bool(self.spool.depth) and time.monotonic() >= self.spool.due

    async def step(self) -> int:
        """Store the next piece, in one transaction; how many records were new. Raises what the database raises."""
        if not self._piece:
            self._piece = self._next()
        stored = 0
        if self._piece:
            early: list[Record] = []
            stored = await self._store(self._piece, early)
            self.spool.depth -= len(self._piece) - len(early)
            self._piece, self._early = [], self._early + early
        if self._rejected:
            await asyncio.to_thread(self.spool.set_aside, self._rejected)
            self._rejected = []
        if self.spool.all_read:
            await asyncio.to_thread(self.spool.replace, self._early)
            self._early = []
        return stored

    def put_back(self) -> None:
        """Have the spool hold again all that was read of it and is not stored."""
        self.spool.replace([*self._piece, *self._early])
        self._piece, self._early = [], []

    def _next(self) -> list[Record]:
        if len(self._early) < MOST_EARLY:
            return self.spool.read()
        self.spool.due = time.monotonic() + _MOMENT / (MOST_EARLY // PIECE)
        piece, self._early = self._early[:PIECE], self._early[PIECE:]  # these first: memory has its limit
        return piece

    async def _store(self, piece: Sequence[Record], early: list[Record]) -> int:
        try:
            return await self._transaction(piece, early)
        except Exception as error:
            if is_unavailable(error):
                raise
            early.clear()
            return await self._one_by_one(piece, early)

    async def _one_by_one(self, records: Sequence[Record], early: list[Record]) -> int:
        """A piece that its own contents broke: what cannot be stored is set aside, and holds up no other."""
        stored = 0
        for record in records:
            try:
                stored += await self._transaction([record], early)
            except Exception as error:
                if is_unavailable(error):
                    raise
                log.error("a spooled click cannot be stored; it is set aside", error=type(error).__name__)
                self._rejected.append(record)
        return stored

    async def _transaction(self, records: Sequence[Record], early: list[Record]) -> int:
        """Store records; those that have to wait are added to `early`."""
        now = self._clock()
        clicks = [record.click for record in records if isinstance(record, SpooledClick)]
        outgoing = [record for record in records if isinstance(record, SpooledOutgoing)]
        waiting: list[Record] = []
        batch = Batch(self._state, [], Counts())
        async with self._state.connection.transaction(self._patience):
            stored = await batch.store_spooled(clicks, now) if clicks else 0
            for record in outgoing:
                origin = await batch.origin_click(record.click_id)
                if origin is not None:
                    stored += await batch.store_spooled_outgoing(record.job(), origin)
                elif first_id_at(now) - record.click_id < EARLY:
                    waiting.append(record)
                else:
                    log.warning("an outgoing click was given up: its click is nowhere", click=record.click_id)
            await batch.write_counts()
        batch.committed()
        early += waiting
        return stored
