"""How often an address clicks, counted by all processes of a machine together in a memory-mapped file.

Slots of (keyed hash of the address, when its minute began, clicks since). Processes count without a lock: of two clicks
in the same microsecond one may go uncounted, which no limit of 60 a minute minds.
"""

import mmap
import os
import struct
from pathlib import Path

from storage.ledger.facts import Bot

BURST = 60  # clicks a minute from one address
_WINDOW = 60  # seconds
_SLOT = struct.Struct("<QII")
_SLOTS = 1 << 16
_NEAR = 8  # slots an address may be found in


class Rates:
    """`count` every click; over 60 within a minute of an address's first are a machine's."""

    def __init__(self, path: Path) -> None:
        size = _SLOTS * _SLOT.size
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:  # a folder that cannot be written: this process counts by itself
            self._map = mmap.mmap(-1, size)
            return
        try:
            os.truncate(file, size)
            self._map = mmap.mmap(file, size)
        finally:
            os.close(file)

    def close(self) -> None:
        self._map.close()

    def count(self, hashed: bytes, seconds: float) -> int:
        """Count a click of an address (its keyed hash) at a Unix time; Bot.BURST or Bot.NO."""
        slots, unpack = self._map, _SLOT.unpack_from
        key, now = int.from_bytes(hashed, "little"), int(seconds)
        free = -1
        for near in range(_NEAR):
            at = (key + near) % _SLOTS * _SLOT.size
            seen, start, n = unpack(slots, at)
            over = now - start >= _WINDOW
            if seen == key:
                _SLOT.pack_into(slots, at, key, now if over else start, 1 if over else n + 1)
                return Bot.BURST if not over and n >= BURST else Bot.NO
            if over and free < 0:
                free = at
            if not seen:
                break
        _SLOT.pack_into(slots, free if free >= 0 else key % _SLOTS * _SLOT.size, key, now, 1)
        return Bot.NO
