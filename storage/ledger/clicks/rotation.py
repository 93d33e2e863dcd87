"""Which offer a visitor gets: rules first, then weighted offers; what is paused or full is passed over.

Pure: a campaign's rotation is made once, `pick` is called per click. Randomness comes in as a number from 0 up to 1.
"""

from collections.abc import Callable, Container, Iterator, Sequence
from enum import IntEnum
from itertools import accumulate, pairwise

import msgspec

from storage.ledger.clicks.conditions import All, Node
from storage.ledger.clicks.rotation_rules import Visitor, read_rules
from storage.ledger.facts import Reason

__all__ = [
    "Availability",
    "AvailabilityOf",
    "CompiledRule",
    "Distribution",
    "Pick",
    "Rotation",
    "Share",
    "Visitor",
    "alternatives",
    "chances",
    "pick",
    "read_rules",
    "weighted",
]


class Availability(IntEnum):
    """Whether an offer can be sent visitors now."""

    OPEN = 0
    CAPPED = 1
    PAUSED = 2


AvailabilityOf = Callable[[int], Availability]


class Share(msgspec.Struct, frozen=True):
    """An offer and how much of the traffic it gets, relative to the others."""

    offer_id: int
    weight: int = 1


class CompiledRule(msgspec.Struct, frozen=True):
    """Visitors that match go to these offers. `text` is how the rule reads, `condition` what `matches` was made of."""

    matches: Callable[[Visitor], bool]
    shares: tuple[Share, ...]
    text: str
    condition: Node = All()


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """Weights that earnings set, by country or device (`by`; empty: all the others), and the share of visitors who
    are sent by the weights set by hand."""

    shares: dict[str, tuple[Share, ...]]
    by: str = ""
    holdout: float = 0.0

    def of(self, visitor: Visitor) -> tuple[Share, ...]:
        """The shares that a visitor is sent by, unless they are one of the holdout."""
        return self.shares.get(getattr(visitor, self.by) if self.by else "") or self.shares[""]


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign's rules and offers. `alternatives`: where to go when an offer's cap is full; `distribution`: weights
    that stand for those of `shares`."""

    rules: tuple[CompiledRule, ...] = ()
    shares: tuple[Share, ...] = ()
    alternatives: dict[int, int] = {}
    members: frozenset[int] = frozenset()  # offers a returning visitor may keep
    distribution: Distribution | None = None
    asks: frozenset[str] = frozenset()  # what the rules ask of a visitor

    def first_match(self, visitor: Visitor, among: Sequence[int] | None = None) -> int:
        """The number of the first rule that matches, -1 if none does. `among`: those that may, in order."""
        rules = self.rules
        for number in range(len(rules)) if among is None else among:
            if rules[number].matches(visitor):
                return number
        return -1


class Pick(msgspec.Struct, frozen=True):
    """The offer chosen (0: none can be sent visitors), why, and by which rule (-1: none)."""

    offer_id: int
    reason: Reason
    rule: int = -1


def pick(
    rotation: Rotation, visitor: Visitor, *, availability: AvailabilityOf, bound: int, roll: float,
    seen: Container[int] = (), among: Sequence[int] | None = None,
) -> Pick:  # fmt: skip
    """Choose for one visitor. `bound` is the offer they keep, 0 if none; `roll` is random, 0 ≤ roll < 1; offers they
    have `seen` come after all others; `among` are the rules that may match, if an index has told."""
    if bound and bound in rotation.members and availability(bound) is Availability.OPEN:
        return Pick(bound, Reason.BOUND)
    if (number := rotation.first_match(visitor, among)) >= 0:
        choice = _choose(rotation.rules[number].shares, rotation, availability=availability, roll=roll, seen=seen)
        if choice.offer_id:
            return Pick(choice.offer_id, choice.reason, number)
        default = _default(rotation, visitor, availability=availability, roll=roll, seen=seen)
        return Pick(default.offer_id, choice.reason, number)
    choice = _default(rotation, visitor, availability=availability, roll=roll, seen=seen)
    if rotation.rules and (choice.reason is Reason.CHOSEN or not rotation.shares):
        return Pick(choice.offer_id, Reason.NO_RULE)
    return choice


def chances(
    rotation: Rotation, visitor: Visitor, *, availability: AvailabilityOf, bound: int, seen: Container[int] = ()
) -> dict[int, float]:
    """How likely `pick` chooses each offer for the visitor, of 1, the likeliest first; 0 stands for none of them.

    Between two of its cuts every roll leads to the same offer.
    """
    cuts = sorted({0.0, 1.0, *(round(min(cut, 1.0), 12) for cut in _cuts(rotation, visitor, availability, seen))})
    likely: dict[int, float] = {}
    for begin, end in pairwise(cuts):
        roll = (begin + end) / 2
        offer_id = pick(rotation, visitor, availability=availability, bound=bound, roll=roll, seen=seen).offer_id
        likely[offer_id] = likely.get(offer_id, 0.0) + end - begin
    return dict(sorted(likely.items(), key=lambda entry: -entry[1]))


def _cuts(
    rotation: Rotation, visitor: Visitor, availability: AvailabilityOf, seen: Container[int]
) -> Iterator[float]:  # fmt: skip
    """Rolls at which another offer may begin: where the parts of any of the weights that may decide end."""
    distribution = rotation.distribution
    holdout = distribution.holdout if distribution else 1.0
    yield holdout
    if (number := rotation.first_match(visitor)) >= 0:
        yield from _ends(rotation.rules[number].shares, availability, seen)
    for end in _ends(rotation.shares, availability, seen):
        yield end * holdout
    if distribution:
        for end in _ends(distribution.of(visitor), availability, seen):
            yield holdout + end * (1 - holdout)


def _ends(shares: tuple[Share, ...], availability: AvailabilityOf, seen: Container[int]) -> Iterator[float]:
    """Where the parts of 0 … 1 end; the part of an offer that is shut is shared out among the open ones."""
    still_open = [availability(share.offer_id) is Availability.OPEN for share in shares]
    unseen = [
        share.weight
        for share, is_open in zip(shares, still_open, strict=True)
        if share.weight and is_open and share.offer_id not in seen
    ]
    yield from (end / sum(unseen) for end in accumulate(unseen))
    weights = [share.weight for share in shares]
    weights = weights if any(weights) else [1] * len(weights)
    among = [weight for weight, is_open in zip(weights, still_open, strict=True) if is_open]
    among = among if any(among) else [1] * len(among)
    inner = [end / sum(among) for end in accumulate(among)]
    begin = 0.0
    for weight, is_open in zip(weights, still_open, strict=True):
        width = weight / sum(weights)
        yield begin + width
        if not is_open:
            yield from (begin + width * end for end in inner)
        begin += width


def _default(
    rotation: Rotation, visitor: Visitor, *, availability: AvailabilityOf, roll: float, seen: Container[int]
) -> Pick:
    """Where no rule decides: by the weights in force, for a visitor of the holdout by those set by hand."""
    distribution = rotation.distribution
    if distribution is None:
        return _choose(rotation.shares, rotation, availability=availability, roll=roll, seen=seen)
    holdout = distribution.holdout
    if roll < holdout:
        choice = _choose(rotation.shares, rotation, availability=availability, roll=roll / holdout, seen=seen)
        return Pick(choice.offer_id, Reason.HOLDOUT) if choice.reason is Reason.CHOSEN else choice
    rest = (roll - holdout) / (1 - holdout)
    return _choose(distribution.of(visitor), rotation, availability=availability, roll=rest, seen=seen)


def _choose(
    shares: tuple[Share, ...], rotation: Rotation, *, availability: AvailabilityOf, roll: float, seen: Container[int]
) -> Pick:
    """By weight, among open ones not seen yet first; if the choice is shut its alternative, else by weight among those
    still open."""
    if not shares:
        return Pick(0, Reason.FALLBACK)
    if seen:
        unseen = tuple(
            share for share in shares
            if share.weight and share.offer_id not in seen and availability(share.offer_id) is Availability.OPEN
        )  # fmt: skip
        if unseen:
            return Pick(weighted(unseen, roll), Reason.UNSEEN)
    first = weighted(shares, roll)
    preferred = availability(first)
    if preferred is Availability.OPEN:
        return Pick(first, Reason.CHOSEN)
    reason = Reason.CAPPED if preferred is Availability.CAPPED else Reason.PAUSED
    for offer_id in alternatives(rotation.alternatives, first):
        if availability(offer_id) is Availability.OPEN:
            return Pick(offer_id, reason)
    open_shares = tuple(share for share in shares if availability(share.offer_id) is Availability.OPEN)
    return Pick(weighted(open_shares, _within(shares, roll)) if open_shares else 0, reason)


def _within(shares: tuple[Share, ...], roll: float) -> float:
    """Where in the part of the offer that the roll falls in it lies, from 0 up to 1: another roll, independent of which
    part that is."""
    mark = roll * (sum(share.weight for share in shares) or len(shares))
    for share in shares:
        width = share.weight if any(other.weight for other in shares) else 1
        if mark < width:
            return mark / width
        mark -= width
    return 0.0


def alternatives(next_offers: dict[int, int], offer_id: int) -> Iterator[int]:
    """The alternative, its own alternative, and so on; a circle ends."""
    visited = {offer_id}
    while (offer_id := next_offers.get(offer_id, 0)) and offer_id not in visited:
        visited.add(offer_id)
        yield offer_id


def weighted(shares: tuple[Share, ...], roll: float) -> int:
    """The offer whose part of the whole weight `roll` falls in; equal parts if all weights are 0."""
    if len(shares) == 1:
        return shares[0].offer_id
    total = 0
    for share in shares:
        total += share.weight
    if not total:
        return shares[int(roll * len(shares))].offer_id
    mark = roll * total
    for share in shares:
        mark -= share.weight
        if mark < 0:
            return share.offer_id
    return next(share.offer_id for share in reversed(shares) if share.weight)
