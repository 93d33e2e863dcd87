"""Trees of weights: how figures divide over campaigns, then over what is within a campaign, exact on every level."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import msgspec

from storage.ledger.reports.allocate import first_positive, split
from storage.ledger.reports.cells import Place


class Weight(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What speaks for a place: human clicks on the offer, and conversions that count, first deposits among deposits."""

    clicks: int = 0
    registrations: int = 0
    first_deposits: int = 0
    deposits: int = 0
    qualified: int = 0

    def __add__(self, other: "Weight") -> "Weight":
        return Weight(
            clicks=self.clicks + other.clicks,
            registrations=self.registrations + other.registrations,
            first_deposits=self.first_deposits + other.first_deposits,
            deposits=self.deposits + other.deposits,
            qualified=self.qualified + other.qualified,
        )

    @property
    def takes_part(self) -> bool:
        """Whether something happened in the place at all."""
        return bool(self.clicks or self.registrations or self.first_deposits or self.deposits or self.qualified)


#: By which kind of weight each measure of a platform is divided; the next kind where the first sums to 0.
WEIGHED_BY: Mapping[str, tuple[str, ...]] = {
    "visits": ("clicks",),
    "registrations": ("registrations", "clicks"),
    "first_deposits": ("first_deposits", "registrations", "clicks"),
    "qualified": ("qualified", "first_deposits", "registrations", "clicks"),
    "commission_cpa": ("qualified", "first_deposits", "registrations", "clicks"),
    "deposits": ("deposits", "first_deposits", "registrations", "clicks"),
    "deposit_amount": ("deposits", "first_deposits", "registrations", "clicks"),
    "ngr": ("deposits", "first_deposits", "registrations", "clicks"),
    "commission_revshare": ("deposits", "first_deposits", "registrations", "clicks"),
    "commission_other": ("deposits", "first_deposits", "registrations", "clicks"),
}

#: Costs follow the clicks.
SPEND = ("clicks",)


class Share:
    """A place, or several shares with a weight each."""

    def __init__(self, place: Place, parts: Sequence[tuple["Share", Weight]] = ()) -> None:
        """Raises ValueError for a single part: that part is the share. `place` counts where there are no parts."""
        self._place = place
        self.parts = [share for share, _ in parts]
        self._weights = [weight for _, weight in parts]
        self._scales: dict[tuple[str, ...], Sequence[int]] = {}

    @cached_property
    def places(self) -> list[Place]:
        """The places below, in the order in which amounts are divided."""
        return [place for part in self.parts for place in part.places] if self.parts else [self._place]

    def divide(self, amount: int, kinds: tuple[str, ...]) -> list[int]:
        """Parts of an amount for each of `places`, weighed by the first of these kinds that sums to more than 0."""
        if not amount:
            return [0] * len(self.places)
        if not self.parts:
            return [amount]
        divided: list[int] = []
        for part, share in zip(self.parts, split(amount, self.scale(kinds)), strict=True):
            divided += part.divide(share, kinds)
        return divided

    def scale(self, kinds: tuple[str, ...]) -> Sequence[int]:
        """The weights of the parts."""
        if kinds not in self._scales:
            self._scales[kinds] = first_positive([[getattr(w, kind) for w in self._weights] for kind in kinds])
        return self._scales[kinds]


def share_of(parts: Sequence[tuple[Share, Weight]]) -> Share:
    """One share over several, in the order given (ties go to the earlier)."""
    return parts[0][0] if len(parts) == 1 else Share(parts[0][0].places[0], parts)


def share_over(places: Iterable[tuple[Place, Weight]]) -> Share:
    """A share over places: over their sites, offers and sources, then over finer dimensions."""
    bases: dict[Place, list[tuple[Place, Weight]]] = {}
    for place, weight in places:
        bases.setdefault(place.base, []).append((place, weight))
    return share_of([(_fine(inside), sum_of(weight for _, weight in inside)) for _, inside in sorted(bases.items())])


def _fine(places: list[tuple[Place, Weight]]) -> Share:
    ordered = sorted(places, key=lambda item: repr(item[0]))
    return share_of([(Share(place), weight) for place, weight in ordered])


def sum_of(weights: Iterable[Weight]) -> Weight:
    return sum(weights, Weight())
