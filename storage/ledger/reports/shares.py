"""Trees of weights: how figures spread over campaigns, then over what lies within a campaign, exact on every level."""

from collections.abc import Callable, Iterable, Sequence

from storage.ledger.reports.allocate import first_telling, split
from storage.ledger.reports.cells import Place

Numbers = Sequence[int | None]
Put = Callable[[Place, Numbers], None]
Weight = tuple[int, int, int]
"""First deposits, registrations, clicks: the first of them that tells anything decides."""


class Share:
    """A place, or a set of weighted shares of which each is one in turn."""

    __slots__ = ("parts", "place", "weights")

    def __init__(self, place: Place | None, parts: Sequence["Share"] = (), weights: Sequence[int] = ()) -> None:
        self.place = place
        self.parts = parts
        self.weights = weights

    @property
    def divided(self) -> bool:
        """Whether figures are really divided here."""
        return len(self.parts) > 1 or any(part.divided for part in self.parts)

    def spread(self, numbers: Numbers, put: Put) -> None:
        """Divide each number over the places below. None stays None for each of them; 0 is 0 for each."""
        if self.place is not None:
            put(self.place, numbers)
        elif len(self.parts) == 1:
            self.parts[0].spread(numbers, put)
        else:
            columns = [self._divided(number) for number in numbers]
            for i, part in enumerate(self.parts):
                part.spread([column[i] for column in columns], put)

    def _divided(self, number: int | None) -> Sequence[int | None]:
        return [number] * len(self.parts) if not number else split(number, self.weights)


def share_over(places: Iterable[tuple[Place, Weight]]) -> Share:
    """Spread over places: over their sites, offers and sources, then over finer dimensions, by the same weights."""
    bases: dict[Place, list[tuple[Place, Weight]]] = {}
    for place, weight in places:
        bases.setdefault((*place[:4], "", "", (), None), []).append((place, weight))
    shares = [(_fine(inside), _sum(weight for _, weight in inside)) for _, inside in sorted(bases.items())]
    return weighted(shares)


def weighted(shares: Sequence[tuple[Share, Weight]]) -> Share:
    """One share over several, in the order given (ties go to the earlier)."""
    scales = [[weight[i] for _, weight in shares] for i in range(3)]
    return Share(None, [share for share, _ in shares], first_telling(scales))


def _fine(places: list[tuple[Place, Weight]]) -> Share:
    if len(places) == 1:
        return Share(places[0][0])
    ordered = sorted(places, key=lambda one: repr(one[0]))
    return weighted([(Share(place), weight) for place, weight in ordered])


def _sum(weights: Iterable[Weight]) -> Weight:
    ftds = registrations = clicks = 0
    for weight in weights:
        ftds += weight[0]
        registrations += weight[1]
        clicks += weight[2]
    return ftds, registrations, clicks
