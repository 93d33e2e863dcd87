"""Visitors recognised without storing who they are: keyed hashes of address and browser, and what a cookie may say."""

import hashlib
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

import msgspec

from storage.ledger.clicks.click_id import Codec, instant_of

DAY_SECONDS = 24 * 3600
"""Seconds a visitor counts as the same one, and keeps what they saw, where a campaign says nothing else."""
SCOPES = ("campaign", "site", "team")
"""What a visitor is new to."""

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


def site_place(site_id: int) -> int:
    """The place of a site's visitors."""
    return -site_id


def team_place(team_id: int) -> int:
    """The place of the visitors of all of a team's campaigns."""
    return -(1 << 40) - team_id


def offer_place(campaign_id: int, offer_id: int) -> int:
    """The place of the visitors of a campaign who saw one of its offers."""
    return campaign_id << 32 | offer_id


class Recognition(msgspec.Struct, frozen=True, kw_only=True):
    """How a campaign knows its visitors again where it differs from others: for `seconds`; `scope` is the place that a
    visitor is new to (0: the campaign); `unseen`: who returns goes on to offers they have not seen."""

    seconds: int = DAY_SECONDS
    scope: int = 0
    unseen: bool = False

    @property
    def lifetime(self) -> int:
        """`seconds` as a difference of click ids."""
        return self.seconds * 1000 << 22


def recognition(campaign: Any) -> Recognition | None:
    """That of a campaign's row; None for what goes for most."""
    seconds = DAY_SECONDS if campaign.unique_period is None else campaign.unique_period * 60
    scope = 0
    if campaign.unique_scope == "site" and campaign.site_id:
        scope = site_place(campaign.site_id)
    elif campaign.unique_scope == "team":
        scope = team_place(campaign.team_id)
    made = Recognition(seconds=seconds, scope=scope, unseen=campaign.smart_rotation)
    return None if made == Recognition() else made


class Remembered(msgspec.Struct, frozen=True):
    """What a visitor's cookie says: their first click here, the offer they saw last, and those before it."""

    click: str
    click_id: int
    offer_id: int
    earlier: tuple[int, ...] = ()


_MOST_OFFERS = 200  # in a cookie


def cookie_text(click: str, offers: Iterable[int]) -> str:
    """The value of a visitor's cookie: their first click, and the offers they saw, the last one at the end."""
    return f"{click}-{'.'.join(map(str, offers))}"


def read_cookie(value: str, codec: Codec, now: datetime, seconds: int = DAY_SECONDS) -> Remembered | None:
    """A cookie of ours that is not older than so many seconds; None for anything else."""
    click, _, seen = value.partition("-")
    click_id = codec.decode(click)
    offers = seen.split(".", _MOST_OFFERS)
    if click_id is None or not all(offer.isdecimal() and len(offer) <= 18 for offer in offers):
        return None
    age = (now - instant_of(click_id)).total_seconds()
    *earlier, last = map(int, offers)
    return Remembered(click, click_id, last, tuple(earlier)) if -seconds < age < seconds else None
