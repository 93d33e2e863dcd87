"""Amounts in whole micro-units, and the rates between currencies."""

from bisect import bisect_right
from collections.abc import Iterable
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache

import msgspec

MICRO = 1_000_000

#: How many days a published rate stands for the days after it: weekends, holidays, a feed that is late.
CARRIED_DAYS = 31

_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_PRECISE = Context(prec=40, rounding=ROUND_HALF_EVEN)
_WHOLE = Decimal(1)
_MICRO = Decimal(MICRO)
_LARGEST_WHOLE = 9_000_000_000_000  # as micro-units it fits 64 bits
_LARGEST, _LOWEST = Decimal(_LARGEST_WHOLE), Decimal(-_LARGEST_WHOLE)


@lru_cache(maxsize=16_384)  # most amounts of a report come many times: 0, the CPA
def to_micro(amount: Decimal) -> int:
    """Micro-units of an amount in whole units, rounded half-even. Raises ValueError for what is too large to keep."""
    if not _LOWEST <= amount <= _LARGEST:
        raise ValueError(f"{amount} is too large an amount")
    scaled = _EXACT.multiply(amount, _MICRO)
    micro = int(scaled)
    return micro if micro == scaled else int(scaled.quantize(_WHOLE, context=_EXACT))


def whole_to_micro(amount: int) -> int:
    """The same of whole units."""
    if not -_LARGEST_WHOLE <= amount <= _LARGEST_WHOLE:
        raise ValueError(f"{amount} is too large an amount")
    return amount * MICRO


def units(micro: int) -> Decimal:
    """An amount in whole units, exactly."""
    return Decimal(micro).scaleb(-6)


def amount_text(micro: int) -> str:
    """An amount in whole units, with a point and no more digits than it has: 40.5, 12, -0.83."""
    text = f"{units(micro):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def ratio(part: int, whole: int) -> Decimal:
    """A part of a whole that is not 0."""
    return Decimal(part) / Decimal(whole)


def rounded(amount: Decimal) -> int:
    """The nearest whole number, half-even."""
    return int(amount.quantize(_WHOLE, context=_EXACT))


def convert(micro: int, rate: Decimal) -> int:
    """An amount in another currency, rounded half-even to the micro-unit."""
    return int(_EXACT.multiply(Decimal(micro), rate).quantize(_WHOLE, context=_EXACT))


class Quote(msgspec.Struct, frozen=True):
    """On `day`, one unit of `currency` is worth `rate` units of `base`; `own` if the team set it."""

    day: date
    currency: str
    base: str
    rate: Decimal
    own: bool = False


class Rates:
    """Rates into one base currency, by day.

    The team's own rate stands for its very day and goes first. A published one also stands for the days after it
    until the next, at most 31. Published quotes may be against another currency (the ECB's are per euro): two of the
    same day make a cross rate. Without a rate there is none: never 1:1.
    """

    def __init__(self, base: str, quotes: Iterable[Quote] = ()) -> None:
        self.base = base
        self._own: dict[tuple[str, date], Decimal] = {}
        published: dict[tuple[str, str], dict[date, Decimal]] = {}
        for quote in quotes:
            if quote.own and quote.base == base:
                self._own[quote.currency, quote.day] = quote.rate
            elif not quote.own:
                published.setdefault((quote.currency, quote.base), {})[quote.day] = quote.rate
        self._published = published
        self._days = {pair: sorted(by_day) for pair, by_day in published.items()}
        self._known: dict[tuple[str, date], Decimal | None] = {}

    def rate(self, currency: str, day: date) -> Decimal | None:
        """Base units per unit of `currency` on `day`; None without a rate."""
        if currency == self.base:
            return _WHOLE
        key = currency, day
        if key not in self._known:
            own = self._own.get(key)
            self._known[key] = own if own is not None else self._cross(currency, day)
        return self._known[key]

    def _cross(self, currency: str, day: date) -> Decimal | None:
        direct = self._last(currency, self.base, day)
        if direct is not None:
            return direct
        back = self._last(self.base, currency, day)
        if back:
            return _PRECISE.divide(_WHOLE, back)
        for via in {pair[0] for pair in self._published}:
            theirs, ours = self._last(via, currency, day), self._last(via, self.base, day)
            if theirs and ours:
                return _PRECISE.divide(ours, theirs)
        return None

    def _last(self, currency: str, base: str, day: date) -> Decimal | None:
        days = self._days.get((currency, base))
        at = bisect_right(days, day) if days else 0
        if not days or not at or (day - days[at - 1]).days > CARRIED_DAYS:
            return None
        return self._published[currency, base][days[at - 1]]
