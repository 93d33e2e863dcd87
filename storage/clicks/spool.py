"""Where clicks go while the database cannot be written: an append-only file, synced before the visitor is sent on.

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
from pathlib import Path

import msgspec

from storage.clicks.write_jobs import Cap, Click, ClickJob, Job, OutgoingJob

RESERVE = 2 << 20  # bytes: about 8,000 clicks
_HEAD = struct.Struct("<II")
_MOMENT = 0.25  # seconds


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
    """What is kept of a job while the database is away; the job decides without it."""
    if isinstance(job, ClickJob):
        if job.visitor_id:
            job.click.unique = 1
        job.decide()
        return SpooledClick(job.click)
    job.decide(None)
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
        self.due = 0.0  # monotonic time before which looking again is of no use

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
        data = b"".join(_HEAD.pack(len(one), zlib.crc32(one)) + one for one in payloads)
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
        """Everything read is in the database but these, which wait a moment: begin anew."""
        if not records:
            self.clear()
            return
        self.due = time.monotonic() + _MOMENT
        fresh = Spool(self._folder, f"{self._name}.fresh")
        fresh.open()
        fresh.append(records)
        fresh._path().rename(self._path())
        os.close(self._file)
        self._file, self._end, self.depth = fresh._file, fresh._end, fresh.depth

    def clear(self) -> None:
        """Everything read is in the database: begin anew."""
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
    found = []
    for path in sorted(folder.glob("*.spool")) if folder.is_dir() else []:
        if path.stem != own and (spool := _adopted(folder, path.stem)):
            found.append(spool)
    return found


def _adopted(folder: Path, name: str) -> "Spool | None":
    spool = Spool(folder, name)
    try:
        spool.adopt()
    except (BlockingIOError, FileNotFoundError):
        return None
    return spool
