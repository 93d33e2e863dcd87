"""Who was seen in the last 24 hours, in files that the processes of one machine share.

For SQLite, whose writer would otherwise touch a page of a random place for every new visitor. Hash tables of fixed
slots in memory-mapped files: read and written in a microsecond, kept over restarts and kills, never in the way of a
commit. A full table is not made larger, which would take its time: a larger one is begun, and the old one deleted when
all in it are older than a day. Changes are made in the writer's turn, which one process has at a time. A power cut may
lose some of it: a few visitors would count as unique once more.

File: a head (magic, slots, entries, newest click, whether there is a later file), then slots of (visitor, click,
offer); visitor 0 is an empty slot.
"""

import mmap
import os
import struct
from collections.abc import Sequence
from pathlib import Path

_HEAD = struct.Struct("<8sQQQQ")
_SLOT = struct.Struct("<QQQ")
_START, _WIDTH = _HEAD.size, _SLOT.size
_MAGIC = b"cfseen02"
_SMALLEST = 1 << 16  # slots
_LARGEST = 1 << 20
_FULL = 0.6


class _Table:
    """One file, mapped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)
        magic, self.slots, self.entries, self.newest, _ = _HEAD.unpack_from(self.map)
        if magic != _MAGIC or len(self.map) != _HEAD.size + self.slots * _SLOT.size:
            raise OSError(f"{path} is no file of visitors: remove it")
        self.mask: int = self.slots - 1
        self.end = len(self.map)

    @property
    def followed(self) -> bool:
        return bool(_HEAD.unpack_from(self.map)[4])

    def put(self, rows: Sequence[tuple[int, int, int]]) -> None:
        table, mask, unpack, pack = self.map, self.mask, _SLOT.unpack_from, _SLOT.pack_into
        _, _, entries, newest, followed = _HEAD.unpack_from(table)
        for row in rows:
            visitor = row[0]
            at = (visitor & mask) * _WIDTH + _START
            while (seen := unpack(table, at)[0]) != visitor and seen:
                at += _WIDTH
                if at >= self.end:
                    at = _START
            entries += not seen
            pack(table, at, *row)
            newest = max(newest, row[1])
        self.entries, self.newest = entries, newest
        _HEAD.pack_into(table, 0, _MAGIC, self.slots, entries, newest, followed)

    def mark_followed(self) -> None:
        _HEAD.pack_into(self.map, 0, _MAGIC, self.slots, self.entries, self.newest, 1)


class VisitorFile:
    """`look` at any time after `follow`; `keep` only in the writer's turn."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tables: list[_Table] = []  # oldest first

    def open(self) -> None:
        """Open all files there are, or make the first."""
        if not self._numbers():
            self._make(1, _SMALLEST)
        self._load()

    def close(self) -> None:
        for table in self._tables:
            table.map.close()
        self._tables = []

    def look(self, visitor: int, since: int) -> int | None:
        """The offer that a visitor saw, if their click is not older than the id `since`; None if unknown."""
        unpack = _SLOT.unpack_from
        for table in reversed(self._tables):
            slots = table.map
            at = (visitor & table.mask) * _WIDTH + _START
            while True:
                seen, click, offer = unpack(slots, at)
                if seen == visitor:
                    return int(offer) if click >= since else None
                if not seen:
                    break
                at += _WIDTH
                if at >= table.end:
                    at = _START
        return None

    def keep(self, rows: Sequence[tuple[int, int, int]], since: int) -> None:
        """Remember (visitor, click, offer). Files of which all is older than `since` may go."""
        self.follow()
        table = self._tables[-1]
        table.put(rows)
        if table.entries > _FULL * table.slots:
            number = self._numbers()[-1] + 1
            self._make(number, min(table.slots * 4, _LARGEST))
            table.mark_followed()
            for old in self._tables[:-1]:
                if old.newest < since:
                    old.path.unlink(missing_ok=True)
            self._load()

    def follow(self) -> None:
        """Take in the file that another process has begun in the meantime."""
        if self._tables[-1].followed:
            self._load()

    def _numbers(self) -> list[int]:
        found = self._path.parent.glob(f"{self._path.name}.*")
        return sorted(int(one.suffix[1:]) for one in found if one.suffix[1:].isdecimal())

    def _load(self) -> None:
        fresh = [_Table(self._file(number)) for number in self._numbers()]
        self.close()
        self._tables = fresh

    def _file(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _make(self, number: int, slots: int) -> None:
        """A new file appears whole, so that nobody opens half of one."""
        draft = self._path.with_name(f"{self._path.name}.new{os.getpid()}")
        with draft.open("wb") as file:
            file.write(_HEAD.pack(_MAGIC, slots, 0, 0, 0))
            file.truncate(_HEAD.size + slots * _SLOT.size)
        draft.chmod(0o600)
        draft.rename(self._file(number))
