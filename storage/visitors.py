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
_MAGIC = b"cfseen02"
_SMALLEST = 1 << 14  # slots
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

    @property
    def followed(self) -> bool:
        return bool(_HEAD.unpack_from(self.map)[4])

    def find(self, visitor: int) -> int:
        """Offset of the visitor's slot, or of the empty one where they would be."""
        table, mask = self.map, self.mask
        place = visitor & mask
        while True:
            at = _HEAD.size + place * _SLOT.size
            if _SLOT.unpack_from(table, at)[0] in (0, visitor):
                return at
            place = (place + 1) & mask

    def put(self, rows: Sequence[tuple[int, int, int]]) -> None:
        _, _, entries, newest, followed = _HEAD.unpack_from(self.map)
        for row in rows:
            at = self.find(row[0])
            entries += not _SLOT.unpack_from(self.map, at)[0]
            _SLOT.pack_into(self.map, at, *row)
            newest = max(newest, row[1])
        self.entries, self.newest = entries, newest
        _HEAD.pack_into(self.map, 0, _MAGIC, self.slots, entries, newest, followed)

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
        for table in reversed(self._tables):
            seen, click, offer = _SLOT.unpack_from(table.map, table.find(visitor))
            if seen:
                return int(offer) if click >= since else None
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
