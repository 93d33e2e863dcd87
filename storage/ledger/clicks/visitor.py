"""Visitors recognised without storing who they are: keyed hashes of address and browser, and what a cookie may say."""

import hashlib
from datetime import date, datetime

import msgspec

from storage.ledger.clicks.click_id import Codec, instant_of

COOKIE_AGE = 24 * 3600
"""Seconds a visitor counts as the same one, and keeps what they saw."""

_SPREAD = 0x9E3779B97F4A7C15
_MASK = (1 << 63) - 1


class Keys:
    """The day's random hash key and, while it is kept, the day before's; hashing under them."""

    def __init__(self, day: date, today: bytes, yesterday: bytes | None = None) -> None:
        self.day = day
        # A copy of a prepared state spares hashing the key again.
        self._today = hashlib.blake2b(digest_size=8, key=today)
        self._yesterday = hashlib.blake2b(digest_size=8, key=yesterday) if yesterday else None

    def address(self, address: str) -> bytes:
        """Eight bytes for an address; the address cannot be found once the key is gone."""
        state = self._today.copy()
        state.update(address.encode())
        return state.digest()

    def address_yesterday(self, address: str) -> bytes | None:
        """The same under the day before's key; None if there is none."""
        if self._yesterday is None:
            return None
        state = self._yesterday.copy()
        state.update(address.encode())
        return state.digest()


def browser_number(hashed: bytes, mark: int) -> int:
    """Address and browser together, as 64 bits: nothing without the address's key. `mark` is the user agent's hash."""
    return int.from_bytes(hashed, "big") ^ mark


def visitor_id(browser: int, place: int) -> int:
    """The visitor on one campaign (`place`), as a positive 63-bit number, never 0."""
    return ((browser ^ place * _SPREAD) & _MASK) or 1


class Remembered(msgspec.Struct, frozen=True):
    """What a visitor's cookie says: their first click here, and the offer they saw."""

    click: str
    click_id: int
    offer_id: int


def read_cookie(value: str, codec: Codec, now: datetime) -> Remembered | None:
    """A cookie of ours that is not older than a day; None for anything else."""
    click, _, offer = value.partition("-")
    click_id = codec.decode(click)
    if click_id is None or not offer.isdecimal() or len(offer) > 18:
        return None
    age = (now - instant_of(click_id)).total_seconds()
    return Remembered(click, click_id, int(offer)) if -COOKIE_AGE < age < COOKIE_AGE else None
