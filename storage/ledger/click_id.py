"""Click ids: time-ordered inside, unguessable outside.

Inside, an id is a 63-bit number: milliseconds since 2024, the worker that made it, a sequence number. Rows keyed by it
are appended in order. Outside it is the same number through a keyed Feistel permutation, written as 13 lower-case
characters of Crockford's base32, which any platform may turn to upper case without harm.
"""

import hashlib
import time
from datetime import UTC, datetime, timedelta

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
WORKERS = 1 << 10
LENGTH = 13
_EPOCH_MS = int(EPOCH.timestamp() * 1000)
_SEQUENCES = 1 << 12
_TIME_SHIFT = 22
_HALF = 0xFFFFFFFF
_ROUNDS = 4
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = tuple(a + b for a in _ALPHABET for b in _ALPHABET)
_PYTHON_DIGITS = "0123456789abcdefghijklmnopqrstuv"
# Crockford: i and l are read as 1, o as 0; u stands for nothing.
_READ = str.maketrans(
    _ALPHABET + _ALPHABET[10:].upper() + "iIlLoO" + "uU_+- \t\n",
    _PYTHON_DIGITS + _PYTHON_DIGITS[10:] + "111100" + "!!!!!!!!",
)


def instant_of(click_id: int) -> datetime:
    """When the click was made, to the millisecond, in UTC."""
    return EPOCH + timedelta(milliseconds=click_id >> _TIME_SHIFT)


def first_id_at(instant: datetime) -> int:
    """The lowest id a click of that instant can have; ids below it are of earlier clicks."""
    return max(0, (instant - EPOCH) // timedelta(milliseconds=1)) << _TIME_SHIFT


class Mint:
    """Makes ids in one process; `worker` (0 … 1023) keeps processes apart. Never repeats one, never goes back."""

    def __init__(self, worker: int) -> None:
        self._worker = (worker % WORKERS) << 12
        self._last = 0
        self._sequence = 0

    def make(self, seconds: float | None = None) -> int:
        """A new id of the given Unix time, or of now."""
        moment = int((time.time() if seconds is None else seconds) * 1000) - _EPOCH_MS
        if moment > self._last:
            self._last, self._sequence = moment, 0
        else:
            self._sequence += 1
            if self._sequence == _SEQUENCES:  # more than 4,096 in a millisecond: borrow from the next one
                self._last, self._sequence = self._last + 1, 0
        return self._last << _TIME_SHIFT | self._worker | self._sequence


class Codec:
    """Between the number inside and the word outside, under a secret key of any length up to 64 bytes."""

    def __init__(self, key: bytes) -> None:
        self._rounds = tuple(hashlib.blake2b(bytes([n]), digest_size=4, key=key[:64]) for n in range(_ROUNDS))

    def encode(self, click_id: int) -> str:
        """The id as links carry it."""
        left, right = click_id >> 32, click_id & _HALF
        for keyed in self._rounds:
            digest = keyed.copy()
            digest.update(right.to_bytes(4, "big"))
            left, right = right, left ^ int.from_bytes(digest.digest(), "big")
        n = left << 32 | right
        return (
            _ALPHABET[n >> 60] + _PAIRS[n >> 50 & 1023] + _PAIRS[n >> 40 & 1023] + _PAIRS[n >> 30 & 1023]
            + _PAIRS[n >> 20 & 1023] + _PAIRS[n >> 10 & 1023] + _PAIRS[n & 1023]
        )  # fmt: skip

    def decode(self, text: str) -> int | None:
        """The number of an id in any letter case; None if it cannot be one of ours."""
        if len(text) != LENGTH or not text.isascii():
            return None
        try:
            n = int(text.translate(_READ), 32)
        except ValueError:
            return None
        if n >> 64:
            return None
        left, right = n >> 32, n & _HALF
        for keyed in reversed(self._rounds):
            digest = keyed.copy()
            digest.update(left.to_bytes(4, "big"))
            left, right = right ^ int.from_bytes(digest.digest(), "big"), left
        click_id = left << 32 | right
        return None if click_id >> 63 else click_id
