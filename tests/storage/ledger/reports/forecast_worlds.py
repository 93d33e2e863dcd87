"""Coverage, bias and claimed accuracy of the forecast over many worlds; run, it prints docs/trust.md's table.

So that little is left to chance, each world has a twin of the opposite luck (pure CPA, which has none, is tried in four
times as many worlds), and each forecast is held against many outcomes that its day might have had.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from random import Random

from storage.ledger.reports.forecast import OfferForecast, Past, Pending, forecast_offer, total
from tests.storage.ledger.reports.coverage import Coverage
from tests.storage.ledger.reports.worlds import DISCRETE, PROCESSES, RATES, World

WINDOW = 90
ORIGINS = (60, 75, 90, 105, 119)
OFFERS = 6
OUTCOMES = 25  # that each forecast is held against


class Tally(Coverage):
    """Sums over the forecasts of many worlds."""

    judged: int = 0
    judged_inside: int = 0

    @property
    def claimed(self) -> float:
        return 100 * self.judged_inside / max(1, self.judged)

    def __str__(self) -> str:
        return f"{super().__str__()} / {self.claimed:.0f}"


def forecast_world(world: World, day: int) -> OfferForecast | None:
    """The forecast made on the morning of the day, with its first deposits in hand."""
    first = max(0, day - WINDOW)
    stated = world.stated(first, day)
    history = [Past(n, amount) for n, amount in zip(world.first_deposits[first:day], stated, strict=True)]
    return forecast_offer(history, [Pending(world.first_deposits[day])], first_day=first)


def singles(process: str, rate: float, seeds: Iterable[int], **form: bool) -> Tally:
    """Single offers: two worlds a seed."""
    return _tally([[(process, rate, str(seed))] for seed in seeds], **form)


def totals(processes: Sequence[str], rate: float, seeds: Iterable[int], **form: bool) -> Tally:
    """Totals over one offer of each process."""
    groups = [[(process, rate, f"{seed}/{n}") for n, process in enumerate(processes)] for seed in seeds]
    return _tally(groups, **form)


def _tally(groups: Iterable[Sequence[tuple[str, float, str]]], **form: bool) -> Tally:
    tally, chance = Tally(), Random(5)
    for worlds in _twins(groups, **form):
        for day in ORIGINS:
            pairs = [(made, world) for world in worlds if (made := forecast_world(world, day))]
            if pairs:
                _add(tally, [made for made, _ in pairs], [world for _, world in pairs], day, chance)
    return tally


def _twins(groups: Iterable[Sequence[tuple[str, float, str]]], **form: bool) -> Iterator[list[World]]:
    for group in groups:
        if any(process in DISCRETE for process, _, _ in group):
            for n in range(8):
                yield [World(process, rate, f"{seed}/{n}", **form) for process, rate, seed in group]
        else:
            for mirrored in (False, True):
                yield [World(process, rate, seed, mirrored=mirrored, **form) for process, rate, seed in group]


def _add(tally: Tally, made: Sequence[OfferForecast], worlds: Sequence[World], day: int, chance: Random) -> None:
    if len(made) == 1:
        estimate, accuracy = made[0].estimates[0], made[0].accuracy
    else:
        whole, accuracy = total(made)
        assert whole is not None
        estimate = whole
    tally.forecasts += 1
    outcomes = [sum(world.another_outcome(day, chance) for world in worlds) for _ in range(OUTCOMES)]
    tally.inside += sum(estimate.low <= outcome <= estimate.high for outcome in outcomes) / OUTCOMES
    tally.estimated += estimate.estimate
    tally.outcome += sum(world.expected(day) for world in worlds)
    tally.judged += accuracy.days
    tally.judged_inside += accuracy.inside


def table(worlds: int, first_seed: int, **form: bool) -> str:
    """Cover, bias and claimed accuracy in percent: single offers, then totals over six."""
    seeds, few = range(first_seed, first_seed + worlds), range(first_seed, first_seed + worlds // 3)
    heads = ["process", *(f"{rate:g}" for rate in RATES), *(f"six at {rate:g}" for rate in RATES)]
    lines = [f"| {' | '.join(heads)} |"]
    lines.append("|---" * (1 + 2 * len(RATES)) + "|")
    for process in PROCESSES:
        alone = [str(singles(process, rate, seeds, **form)) for rate in RATES]
        six = [str(totals([process] * OFFERS, rate, few, **form)) for rate in RATES]
        lines.append(f"| {process} | " + " | ".join([*alone, *six]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    words = sys.argv[1:]
    print(table(int(words[0]), int(words[1]), common="common" in words))
