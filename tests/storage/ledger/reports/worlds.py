"""Worlds of 120 days to try a forecast on: first deposits, what was stated on each morning, and what came of it.

Written from the processes alone, without the product's code; a seed gives the same world each time. Amounts are in
micro-units.
"""

import math
from dataclasses import dataclass, field
from random import Random

DAYS = 120
CENT = 10_000
EURO = 100 * CENT
QUALIFY = 0.7  # of players with a first deposit
CPA = 100 * EURO
PROCESSES = (
    "cpa at once", "cpa after 3 days", "cpa after 8 days",
    "hybrid", "hybrid, growing", "rev share", "rev share, tail",
)  # fmt: skip
RATES = (0.4, 2.0, 12.0)
DISCRETE = PROCESSES[:3]


def poisson(chance: Random, mean: float) -> int:
    """A count with this mean."""
    if mean > 40:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    limit, count, product = math.exp(-mean), 0, chance.random()
    while product > limit:
        count += 1
        product *= chance.random()
    return count


@dataclass
class World:
    """One offer. `common`: a day's luck is all players' alike, and strays by 2.4 times its mean; else each his own.
    `mirrored`: the twin of the world of that seed, whose luck is the opposite: over both of them luck evens out."""

    process: str
    rate: float
    seed: str
    common: bool = False
    mirrored: bool = False
    first_deposits: list[int] = field(init=False)
    _delays: list[list[int]] = field(init=False)
    _shares: list[int] = field(init=False)
    _expected_shares: list[float] = field(init=False)

    def __post_init__(self) -> None:
        chance = Random(f"{self.process}/{self.rate}/{self.seed}/{self.common}")
        grows = self.process == "hybrid, growing"
        self.first_deposits = [
            poisson(chance, self.rate * (0.3 + 1.4 * day / DAYS if grows else 1)) for day in range(DAYS)
        ]
        self._delays = [
            [self._delay(chance) for _ in range(n) if chance.random() < QUALIFY] for n in self.first_deposits
        ]
        self._shares, self._expected_shares = self._rev_share(chance)

    @property
    def _mean_delay(self) -> int:
        return {"cpa after 3 days": 3, "cpa after 8 days": 8}.get(self.process, 0)

    @property
    def _cpa(self) -> int:
        return 0 if self.process.startswith("rev share") else CPA if self.process in DISCRETE else CPA * 2 // 5

    def _delay(self, chance: Random) -> int:
        mean = self._mean_delay
        return int(math.log(1 - chance.random()) / math.log(mean / (1 + mean))) if mean else 0

    def _rev_share(self, chance: Random) -> tuple[list[int], list[float]]:
        """Of the stock of players, of whom a quarter plays on a day and leaves us 4 on average."""
        if self.process in DISCRETE:
            return [0] * DAYS, [0.0] * DAYS
        shares, expected, stock = [], [], 0
        for new in self.first_deposits:
            stock += new
            shares.append(self._share(chance, stock))
            expected.append(1.0 * stock * EURO)
        return shares, expected

    def _share(self, chance: Random, stock: int) -> int:
        """What a stock of players brings on a day."""
        if self.common:
            amount = stock * (1 + self._luck(chance))
        else:
            amount = sum(4 + self._luck(chance) for _ in range(poisson(chance, stock / 4)))
        return round(amount * 100) * CENT

    def _luck(self, chance: Random) -> float:
        """How far a day strays, relative to its mean, or one player from his 4."""
        if self.process != "rev share, tail":
            luck = 2.4 * chance.gauss(0, 1) if self.common else chance.gauss(0, 10)
        else:
            size = 1.9 * (chance.paretovariate(2.2) - 1) if self.common else 6 * chance.paretovariate(1.9)
            luck = size * chance.choice((1, -1))
        return -luck if self.mirrored else luck

    def another_outcome(self, day: int, chance: Random) -> int:
        """What the day might as well have brought, given the first deposits up to it."""
        cpa = self._cpa * sum(chance.random() < QUALIFY for _ in range(self.first_deposits[day]))
        rest = 0 if self.process in DISCRETE else self._share(chance, sum(self.first_deposits[: day + 1]))
        return cpa + rest

    def stated(self, first: int, today: int) -> list[int]:
        """Commission of the days from `first` to the one before `today`, as stated on the morning of `today`."""
        return [
            self._shares[day] + self._cpa * sum(day + late < today for late in self._delays[day])
            for day in range(first, today)
        ]

    def expected(self, day: int) -> float:
        """What the day brings on average, given the first deposits so far."""
        return self._expected_shares[day] + self._cpa * QUALIFY * self.first_deposits[day]
