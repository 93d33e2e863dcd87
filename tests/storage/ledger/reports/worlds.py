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
    """One offer. `booked`: late commission stands on the day a player qualifies, not on that of the first deposit.
    `common`: a day's luck is all players' alike, and strays by 2.4 times its mean; else each player has his own."""

    process: str
    rate: float
    seed: str
    booked: bool = False
    common: bool = False
    first_deposits: list[int] = field(init=False)
    _delays: list[list[int]] = field(init=False)
    _booked: list[int] = field(init=False)
    _shares: list[int] = field(init=False)
    _expected_shares: list[float] = field(init=False)

    def __post_init__(self) -> None:
        chance = Random(f"{self.process}/{self.rate}/{self.seed}/{self.booked}/{self.common}")
        grows = self.process == "hybrid, growing"
        self.first_deposits = [
            poisson(chance, self.rate * (0.3 + 1.4 * day / DAYS if grows else 1)) for day in range(DAYS)
        ]
        self._delays = [
            [self._delay(chance) for _ in range(n) if chance.random() < QUALIFY] for n in self.first_deposits
        ]
        self._booked = [0] * DAYS
        for day, delays in enumerate(self._delays):
            for delay in delays:
                if day + delay < DAYS:
                    self._booked[day + delay] += self._cpa
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
            mean = stock * 1.0
            if self.common:
                amount = mean * (1 + self._luck(chance))
            else:
                amount = sum(self._player(chance) for _ in range(poisson(chance, stock / 4)))
            shares.append(round(amount * 100) * CENT)
            expected.append(mean * EURO)
        return shares, expected

    def _luck(self, chance: Random) -> float:
        if self.process != "rev share, tail":
            return 2.4 * chance.gauss(0, 1)
        return 1.9 * (chance.paretovariate(2.2) - 1) * chance.choice((1, -1))

    def _player(self, chance: Random) -> float:
        if self.process != "rev share, tail":
            return chance.gauss(4, 10)
        size = chance.paretovariate(1.9)
        return 4 + 6 * size * chance.choice((1, -1))

    def stated(self, first: int, today: int) -> list[int]:
        """Commission of the days from `first` to the one before `today`, as stated on the morning of `today`."""
        return [
            self._shares[day]
            + (self._booked[day] if self.booked else self._cpa * sum(day + late < today for late in self._delays[day]))
            for day in range(first, today)
        ]

    def outcome(self, day: int) -> int:
        """What the day brought once all of it had come."""
        return self._shares[day] + (self._booked[day] if self.booked else self._cpa * len(self._delays[day]))

    def expected(self, day: int) -> float:
        """What the day brings on average, given the first deposits so far."""
        coming = float(self.first_deposits[day])
        if self.booked and (mean := self._mean_delay):
            keep = mean / (1 + mean)
            coming = sum(self.first_deposits[d] * (1 - keep) * keep ** (day - d) for d in range(day + 1))
        return self._expected_shares[day] + self._cpa * QUALIFY * coming
