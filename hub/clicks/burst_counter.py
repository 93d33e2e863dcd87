"""How often an address clicks, counted by all processes of a machine together.

Most addresses click once or twice: a process counts these by itself, and only who clicks more is counted together
with the other processes, in a memory-mapped file of buckets of four slots (keyed hash of the address; in one number,
when its minute began and the clicks since). Processes count without a lock: of two clicks in the same microsecond one
may go uncounted, which no limit of 60 a minute minds.
"""

import mmap
import os
from pathlib import Path

from storage.ledger.facts import Bot

BURST = 60  # clicks a minute from one address
_WINDOW = 60  # seconds
_ALONE = 8  # clicks that a process counts by itself
_KEPT = 16_384  # addresses; who clicks once a second is not forgotten below 30,000 others in that second
_BUCKETS = 1 << 14
_WORDS = 8  # of a bucket: four times key and count
_BITS = 32  # a count is the Unix time when its minute began, and in these lower bits the clicks since
_COUNT = (1 << _BITS) - 1


class Rates:
    """`count` every click; over 60 within a minute of an address's first are a machine's."""

    def __init__(self, path: Path) -> None:
        self._map = _mapped(path, _BUCKETS * _WORDS * 8)
        self._words = memoryview(self._map).cast("Q")
        self._young: dict[bytes, int] = {}
        self._old: dict[bytes, int] = {}

    def close(self) -> None:
        self._words.release()
        self._map.close()

    def count(self, hashed: bytes, seconds: float) -> int:
        """Count a click of an address (its keyed hash) at a Unix time; Bot.BURST or Bot.NO."""
        young, now = self._young, int(seconds)
        held = young.get(hashed) or self._old.get(hashed)
        if held is None or now - (held >> _BITS) >= _WINDOW:
            if len(young) >= _KEPT:
                self._old, self._young = young, {}
            self._young[hashed] = now << _BITS | 1
            return Bot.NO
        n = (held & _COUNT) + 1
        young[hashed] = held + 1
        if n < _ALONE:
            return Bot.NO
        return self._together(hashed, held >> _BITS, n if n == _ALONE else 1, now=now)

    def _together(self, hashed: bytes, began: int, clicked: int, *, now: int) -> int:
        """Add clicks to what all processes have counted since the minute began."""
        words, key = self._words, int.from_bytes(hashed, "little")
        at = key % _BUCKETS * _WORDS
        bucket = words[at : at + _WORDS].tolist()
        if key in bucket[::2]:
            at += 1 + 2 * bucket[::2].index(key)
            count = words[at]
            if now - (count >> _BITS) < _WINDOW:
                words[at] = count + clicked
                return Bot.BURST if (count & _COUNT) + clicked > BURST else Bot.NO
            words[at] = began << _BITS | clicked
            return Bot.NO
        # It takes the place of the one that has clicked least; who is past its minute counts as nothing.
        over = (now - _WINDOW) << _BITS | _COUNT
        others = [count & _COUNT if count > over else 0 for count in bucket[1::2]]
        at += 2 * others.index(min(others))
        words[at], words[at + 1] = key, began << _BITS | clicked
        return Bot.NO


def _mapped(path: Path, size: int) -> mmap.mmap:
    """The file, or where its folder cannot be written, memory of this process alone."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return mmap.mmap(-1, size)
    try:
        os.truncate(file, size)
        return mmap.mmap(file, size)
    finally:
        os.close(file)
