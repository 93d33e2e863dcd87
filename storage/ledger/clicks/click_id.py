"""Click ids: ordered in time, unguessable, at home in any letter case.

Inside, an id is a 63-bit number: milliseconds since 2024, the worker that made it, a sequence number. Rows keyed by it
are appended in order. Outside it is the same number and a seal, 50 bits of its keyed hash, in 23 lower-case characters
of Crockford's base32: words sort as the clicks came, cannot be made up, and may change their case on any platform.
"""

import hashlib
import time
from datetime import UTC, datetime, timedelta

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
WORKERS = 1 << 10
LENGTH = 23
_EPOCH_MS = int(EPOCH.timestamp() * 1000)
_SEQUENCES = 1 << 12
_TIME_SHIFT = 22
_SEAL_BITS = 50
_SEAL = (1 << _SEAL_BITS) - 1
_LOW = (1 << 30) - 1
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


class ClickIdGenerator:
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

    def ahead(self, seconds: float) -> float:
        """Seconds that the last id is ahead of a Unix time: more than a moment once the clock was set back."""
        return (self._last + _EPOCH_MS) / 1000 - seconds


class Codec:
    """Between the number inside and the word outside, under a secret key of any length up to 64 bytes."""

    def __init__(self, key: bytes) -> None:
        # A copy of a prepared state spares hashing the key again.
        self._keyed = hashlib.blake2b(digest_size=8, key=key[:64], person=b"click id")
        # The top of the id that was encoded last, and its letters: those of one millisecond share them. They are one
        # value, since threads encode at the same time.
        self._last = -1, ""

    @property
    def fingerprint(self) -> str:
        """Names the key, and so the deployment, without telling it: 16 hexadecimal digits."""
        return self._keyed.hexdigest()

    def _seal(self, click_id: int) -> int:
        keyed = self._keyed.copy()
        keyed.update(click_id.to_bytes(8, "big"))
        return int.from_bytes(keyed.digest(), "big") & _SEAL

    def encode(self, click_id: int) -> str:
        """The id as links carry it."""
        n, seal, pairs = click_id, self._seal(click_id), _PAIRS
        high, low = seal >> 30, seal & _LOW  # small numbers, which Python shifts faster
        top, letters = self._last
        if n >> 10 != top:
            letters = (
                f"{_ALPHABET[n >> 60]}{pairs[n >> 50 & 1023]}{pairs[n >> 40 & 1023]}{pairs[n >> 30 & 1023]}"
                f"{pairs[n >> 20 & 1023]}{pairs[n >> 10 & 1023]}"
            )
            self._last = n >> 10, letters
        return (
            f"{letters}{pairs[n & 1023]}{pairs[high >> 10]}{pairs[high & 1023]}{pairs[low >> 20]}"
            f"{pairs[low >> 10 & 1023]}{pairs[low & 1023]}"
        )

    def decode(self, text: str) -> int | None:
        """The number of an id in any letter case; None if it is not one of ours."""
        if len(text) != LENGTH or not text.isascii():
            return None
        try:
            n = int(text.translate(_READ), 32)
        except ValueError:
            return None
        click_id = n >> _SEAL_BITS
        return None if click_id >> 63 or self._seal(click_id) != n & _SEAL else click_id
