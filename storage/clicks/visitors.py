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
import sys
from collections.abc import Sequence
from pathlib import Path

_MAGIC = int.from_bytes(b"cfseen02", sys.byteorder)
_WORD = 8  # bytes; all of a file is numbers of this size
_SLOTS_AT, _ENTRIES_AT, _NEWEST_AT, _FOLLOWED_AT, _START = range(1, 6)
_WIDTH = 3  # words of a slot
_SMALLEST = 1 << 16  # slots
_LARGEST = 1 << 20
_FULL = 0.6


class _Table:
    """One file, mapped, as a row of numbers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.words = memoryview(self._map).cast("Q")
        self.slots = self.words[_SLOTS_AT]
        if self.words[0] != _MAGIC or len(self.words) != _START + self.slots * _WIDTH:
            self.close()
            raise OSError(f"{path} is no file of visitors: remove it")
        self.mask: int = self.slots - 1
        self.end = len(self.words)

    def close(self) -> None:
        self.words.release()
        self._map.close()

    @property
    def followed(self) -> bool:
        return bool(self.words[_FOLLOWED_AT])

    @property
    def newest(self) -> int:
        return self.words[_NEWEST_AT]

    @property
    def full(self) -> bool:
        return self.words[_ENTRIES_AT] > _FULL * self.slots

    def put(self, rows: Sequence[tuple[int, int, int]]) -> None:
        words, mask = self.words, self.mask
        new = 0
        for visitor, click, offer in rows:
            at = (visitor & mask) * _WIDTH + _START
            while (seen := words[at]) != visitor and seen:
                at += _WIDTH
                if at >= self.end:
                    at = _START
            new += not seen
            words[at + 2], words[at + 1], words[at] = offer, click, visitor
        words[_ENTRIES_AT] += new
        words[_NEWEST_AT] = max(words[_NEWEST_AT], max(row[1] for row in rows))

    def mark_followed(self) -> None:
        self.words[_FOLLOWED_AT] = 1


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
            table.close()
        self._tables = []

    def look(self, visitor: int, since: int) -> int | None:
        """The offer that a visitor saw, if their click is not older than the id `since`; None if unknown."""
        for table in reversed(self._tables):
            words = table.words
            at = (visitor & table.mask) * _WIDTH + _START
            while seen := words[at]:
                if seen == visitor:
                    return words[at + 2] if words[at + 1] >= since else None
                at += _WIDTH
                if at >= table.end:
                    at = _START
        return None

    def keep(self, rows: Sequence[tuple[int, int, int]], since: int) -> None:
        """Remember (visitor, click, offer). Files of which all is older than `since` may go."""
        self.follow()
        table = self._tables[-1]
        table.put(rows)
        if table.full:
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
            file.write(b"".join(word.to_bytes(_WORD, sys.byteorder) for word in (_MAGIC, slots, 0, 0, 0)))
            file.truncate((_START + slots * _WIDTH) * _WORD)
        draft.chmod(0o600)
        draft.rename(self._file(number))
