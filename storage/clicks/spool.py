"""Where clicks go while the database cannot be written, and how they get from there into it, once each.

A spool is an append-only file, synced before the visitor is sent on.

A record is its length, its CRC-32 and msgpack. What a crash cut off at the end was never answered and is passed over.
A file belongs to the process that holds its lock; files whose process died are taken over by whoever comes first.
Some room is kept in reserve beforehand, so that a full disk does not stop the spool.
"""

import fcntl
import os
import struct
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
import structlog

from storage.clicks.write_batch import Batch, Counts, WriterState
from storage.clicks.write_jobs import EARLY, Cap, Click, ClickJob, Job, OutgoingJob
from storage.db.unavailable import is_unavailable
from storage.ledger.clicks.click_id import first_id_at

log = structlog.get_logger()

RESERVE = 2 << 20  # bytes: about 8,000 clicks
_HEAD = struct.Struct("<II")
_MOMENT = 0.25  # seconds
_CHUNK = 500  # records of one transaction


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
        self._name = name
        self._file = -1
        self._end = 0
        self.depth = 0  # records waiting
        self.due = 0.0  # monotonic time before which draining is of no use

    def open(self) -> None:
        """Make the file and reserve its room. Raises OSError if the folder cannot be written."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.open(self._path(), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self.depth = len(self.read())
        if os.fstat(self._file).st_size < RESERVE:
            os.posix_fallocate(self._file, 0, RESERVE)
        os.fsync(self._file)
        _sync_folder(self._folder)

    def adopt(self) -> None:
        """Open a file that is there already. Raises BlockingIOError while its process lives."""
        self._file = os.open(self._path(), os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            self._file = -1
            raise
        self.depth = len(self.read())

    def _path(self) -> Path:
        return self._folder / f"{self._name}.spool"

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
            raise OSError(28, "no space left for the spool")
        os.fsync(self._file)
        self._end += len(data)
        self.depth += len(payloads)

    def read(self) -> list[Record]:
        """All that waits here."""
        records: list[Record] = []
        self._end = 0
        for payload in _payloads(self._file):
            records.append(_decoder.decode(payload))
            self._end += _HEAD.size + len(payload)
        return records

    def replace(self, records: Sequence[Record]) -> None:
        """Everything read is in the database but these, which wait a moment: start the file again with them."""
        if not records:
            self.clear()
            return
        self.due = time.monotonic() + _MOMENT
        rewritten = Spool(self._folder, f"{self._name}.rewritten")
        rewritten.open()
        rewritten.append(records)
        rewritten._path().rename(self._path())
        os.close(self._file)
        self._file, self._end, self.depth = rewritten._file, rewritten._end, rewritten.depth

    def set_aside(self, records: Sequence[Record]) -> None:
        """Keep records that the database does not take, as lines of JSON beside the spools."""
        if records:
            with (self._folder / "rejected.jsonl").open("ab") as file:
                file.writelines(msgspec.json.encode(record) + b"\n" for record in records)

    def clear(self) -> None:
        """Everything read is in the database: start the file again."""
        os.pwrite(self._file, b"\0" * _HEAD.size, 0)
        os.fsync(self._file)
        self._end = 0
        self.depth = 0


def _payloads(file: int) -> Iterator[bytes]:
    """Whole records from the start of a file, up to the first that is not."""
    place = 0
    while len(head := os.pread(file, _HEAD.size, place)) == _HEAD.size:
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


def orphans(folder: Path, own: str) -> list["Spool"]:
    """Spools whose process is gone, opened and ours until closed."""
    adopted = []
    for path in sorted(folder.glob("*.spool")) if folder.is_dir() else []:
        if path.stem != own and (spool := _adopted(folder, path.stem)):
            adopted.append(spool)
    return adopted


def _adopted(folder: Path, name: str) -> "Spool | None":
    spool = Spool(folder, name)
    try:
        spool.adopt()
    except (BlockingIOError, FileNotFoundError):
        return None
    return spool


class Drain:
    """From a spool into the database: a click's id decides, and only what was really inserted is counted."""

    def __init__(self, state: WriterState, now: datetime, *, patience: float) -> None:
        self._state = state
        self._now = now
        self._patience = patience
        self.early: list[Record] = []  # outgoing clicks whose own click is still in another process's spool
        self.rejected: list[Record] = []  # what the database does not take

    async def empty(self, spool: Spool) -> int:
        """Store all of a spool, then clear it but for what has to wait; a crash between the two repeats nothing."""
        stored = await self.store(spool.read())
        spool.set_aside(self.rejected)
        spool.replace(self.early)
        return stored

    async def store(self, records: Sequence[Record]) -> int:
        """Store records in chunks, a transaction each; returns how many were new. `early` is what has to wait."""
        stored = 0
        self.early = []
        for start in range(0, len(records), _CHUNK):
            chunk = records[start : start + _CHUNK]
            try:
                stored += await self._chunk(chunk)
            except Exception as error:
                if is_unavailable(error):
                    raise
                stored += await self._one_by_one(chunk)
        return stored

    async def _one_by_one(self, records: Sequence[Record]) -> int:
        """A chunk that its own contents broke: what cannot be stored is set aside, and holds up no other."""
        stored = 0
        for record in records:
            try:
                stored += await self._chunk([record])
            except Exception as error:
                if is_unavailable(error):
                    raise
                log.error("a spooled click cannot be stored; it is set aside", error=type(error).__name__)
                self.rejected.append(record)
        return stored

    async def _chunk(self, records: Sequence[Record]) -> int:
        clicks = [record.click for record in records if isinstance(record, SpooledClick)]
        outgoing = [record for record in records if isinstance(record, SpooledOutgoing)]
        batch = Batch(self._state, [], Counts())
        async with self._state.connection.transaction(self._patience):
            stored = await batch.store_spooled(clicks, self._now) if clicks else 0
            for record in outgoing:
                stored += await self._outgoing(batch, record)
            await batch.write_counts()
        batch.committed()
        return stored

    async def _outgoing(self, batch: Batch, record: SpooledOutgoing) -> int:
        origin = await batch.origin_click(record.click_id)
        if origin is None:
            if first_id_at(self._now) - record.click_id < EARLY:
                self.early.append(record)
            else:
                log.warning("an outgoing click was given up: the click it came with is nowhere", click=record.click_id)
            return 0
        await batch.store_outgoing(record.job(), origin)
        await batch.count_cap(record.cap)
        return 1
