"""Worlds of players whose lives go on: what `cohorts` forecasts on a day is held against what they then brought.

Run, it prints docs/cohorts.md's table. Each world has weeks of registration of Poisson-many players. A player deposits
for the first time with a probability that varies by week, mostly in the first days; what they bring by day after that
is of one of the processes.
"""

import math
import sys
from collections.abc import Iterable
from datetime import date, timedelta
from random import Random

from storage.ledger.reports.cohorts import ENDS, HORIZONS, Forecast, Week, age_of, forecast, is_matured
from tests.storage.ledger.reports.coverage import Coverage

MICRO = 1_000_000
FIRST = date(2026, 1, 5)
WEEKS = 44
UNTIL = FIRST + timedelta(days=7 * WEEKS - 1)
#: What a depositor brings: a fixed amount at the first deposit; a share of what they lose, week by week until they
#: stop, sometimes negative, one in fifty a high roller; both.
PROCESSES = ("cpa", "revshare", "hybrid")
SIZES = (20, 100, 500)  # players of a week


class Tally(Coverage):
    """Sums over the forecasts of one horizon."""

    def add(self, made: Forecast, outcome: float) -> None:
        self.forecasts += 1
        self.inside += made.low <= round(outcome) <= made.high
        self.estimated += made.estimate
        self.outcome += outcome


def poisson(chance: Random, mean: float) -> int:
    if mean > 50:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    number, product, least = 0, chance.random(), math.exp(-mean)
    while product > least:
        number, product = number + 1, product * chance.random()
    return number


def world(process: str, size: int, seed: str) -> list[Week]:
    """Weeks with all that their players bring in 180 days."""
    chance = Random(f"{process} {size} {seed}")
    weeks = []
    for number in range(WEEKS):
        quality, players = chance.lognormvariate(-0.02, 0.2), poisson(chance, size)
        amounts = dict.fromkeys(ENDS, 0.0)
        for _ in range(players):
            if chance.random() < min(0.9, 0.3 * quality):
                for age, amount in _brought(process, chance):
                    for end in ENDS:
                        if age < end:
                            amounts[end] += amount
        commission = [round(amounts[end] * MICRO) for end in ENDS]
        weeks.append(Week(FIRST + timedelta(days=7 * number), players, commission))
    return weeks


def _brought(process: str, chance: Random) -> Iterable[tuple[int, float]]:
    """Ages and amounts of one depositor, in whole units."""
    age = int(chance.expovariate(0.8 if chance.random() < 0.7 else 1 / 25))
    if process in {"cpa", "hybrid"}:
        yield age, 80.0 if process == "cpa" else 40.0
    if process in {"revshare", "hybrid"}:
        level = chance.lognormvariate(1.6, 1.0) * (12 if chance.random() < 0.02 else 1)
        stays = chance.betavariate(3, 1.2)
        while age < HORIZONS[-1]:
            yield age, level * chance.gauss(1.0, 2.0)
            age += 7
            if chance.random() > stays:
                return


def known(week: Week) -> Week:
    """The week as it is told on UNTIL: nothing of what comes after an age that all its players have reached."""
    age = min(age_of(week.week, UNTIL), ENDS[-1])
    last = week.until(age)
    return Week(
        week.week,
        week.players,
        [value if end <= age else last for end, value in zip(ENDS, week.commission, strict=True)],
    )


def tallies(process: str, size: int, seeds: Iterable[int]) -> dict[tuple[str, int], Tally]:
    """By group (one week of registration, or all weeks together as of a campaign) and horizon."""
    made = {(group, horizon): Tally() for group in ("week", "campaign") for horizon in HORIZONS[1:]}
    for seed in seeds:
        whole = world(process, size, str(seed))
        told = [known(week) for week in whole]
        for horizon in HORIZONS[1:]:
            groups = [("campaign", whole, told)]
            groups += [
                ("week", [week], [seen]) for week, seen in zip(whole, told, strict=True)
                if week.players and not is_matured(week.week, horizon, UNTIL)
            ]  # fmt: skip
            for group, truth, seen in groups:
                if estimate := forecast(seen, told, horizon=horizon, until=UNTIL):
                    outcome = sum(week.until(horizon) for week in truth) / sum(week.players for week in truth)
                    made[group, horizon].add(estimate, outcome)
    return made


def table(worlds: int, first_seed: int) -> str:
    """Cover and bias in percent."""
    heads = [
        "process",
        "players a week",
        *(f"{group}, {h} days" for group in ("week", "campaign") for h in HORIZONS[1:]),
    ]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for process in PROCESSES:
        for size in SIZES:
            tally = tallies(process, size, range(first_seed, first_seed + worlds))
            lines.append(f"| {process} | {size} | " + " | ".join(map(str, tally.values())) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(int(sys.argv[1]), int(sys.argv[2])))
