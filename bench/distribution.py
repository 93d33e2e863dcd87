"""What distribution earns in simulated campaigns, against equal weights, last-24-hours conversions and an oracle.

`python -m bench distribution` prints each world and measures; `python -m bench.distribution [seeds] [first seed]`
prints the tables of docs/automation.md: the twenty worlds, and twenty more of the same kinds. Distribution is simulated
with each seed, what it is compared with by the first one.
"""

import asyncio
import os
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product

from sqlalchemy import select, update

from bench.stage import Line, Server, folder, middle, ratio, rounds, servers, set_up
from storage.db.engine import Database
from storage.ledger.distribution.weights import WHOLE
from storage.tables import campaign_offers, campaigns
from tests.storage.ledger.distribution.worlds import LEARNING, Outcome, World, further_worlds, simulate, worlds

WAYS = ("equal", "last 24 hours", "distribution", "clairvoyant", "oracle")
SEEDS = 3


def measured(of: Sequence[World], seeds: Sequence[int]) -> dict[str, list[Outcome]]:
    """Outcomes by the world's name, one a seed; other ways than distribution are only of the first."""
    outcomes: dict[str, list[Outcome]] = {}
    with ProcessPoolExecutor(int(os.environ.get("BENCH_PROCESSES", 0)) or None) as pool:
        for outcome in pool.map(_one, of_each(of, seeds)):
            outcomes.setdefault(outcome.world.name, []).append(outcome)
    return outcomes


def of_each(of: Sequence[World], seeds: Sequence[int]) -> list[tuple[World, int, tuple[str, ...]]]:
    return [(world, seed, WAYS[:-1] if seed == seeds[0] else ("distribution",)) for world, seed in product(of, seeds)]


def _one(of: tuple[World, int, tuple[str, ...]]) -> Outcome:
    return simulate(of[0], seed=of[1], ways=of[2])


def share(outcomes: Sequence[Outcome], way: str, *, whole: bool = False) -> float:
    """Earnings of the clicks after the first ones (or of all), of the best fixed offer's: the mean of the seeds."""
    if whole:
        return statistics.mean(of.whole[way] / of.best_whole for of in outcomes if way in of.whole)
    return statistics.mean(of.after[way] / of.best_after for of in outcomes if way in of.after)


def table(measured_outcomes: dict[str, list[Outcome]]) -> str:
    """Per cent of the best fixed offer's earnings, as Markdown; of distribution the seeds' least, most and median."""
    heads = (
        "equal weights", "last-24-hours conversions", "distribution", "least to most", "median", "without delay",
        "oracle",
    )  # fmt: skip
    lines = [f"| world | {' | '.join(heads)} | distribution, all clicks |", f"|---{'|--:' * 8}|"]
    for name, outcomes in measured_outcomes.items():
        cells = [f"{share(outcomes, way):.0%}" for way in WAYS]
        of_seeds = sorted(outcome.after["distribution"] / outcome.best_after for outcome in outcomes)
        cells[3:3] = f"{of_seeds[0]:.0%} to {of_seeds[-1]:.0%}", f"{statistics.median(of_seeds):.0%}"
        lines.append(f"| {name} | {' | '.join(cells)} | {share(outcomes, 'distribution', whole=True):.0%} |")
    unequal = [outcomes for outcomes in measured_outcomes.values() if not outcomes[0].world.equal]
    cells = [f"{statistics.mean(share(outcomes, way) for outcomes in unequal):.1%}" for way in WAYS]
    whole = statistics.mean(share(outcomes, "distribution", whole=True) for outcomes in unequal)
    lines.append(f"| **mean of those that differ** | {' | '.join([*cells[:3], '', '', *cells[3:]])} | {whole:.1%} |")
    return "\n".join(lines)


def clicks_line(*, n: int, seconds: float) -> Line:
    """Clicks of a campaign that distributes, with a holdout and countries of their own, against one that does not."""
    with folder() as place:
        urls = {kind: f"sqlite+aiosqlite:///{place / kind}.db" for kind in ("distributed", "plain")}
        for url in urls.values():
            asyncio.run(set_up(url))
        asyncio.run(distribute(urls["distributed"]))
        with servers(**{kind: Server("clicks", url) for kind, url in urls.items()}) as started:
            result = rounds({name: server.port for name, server in started.items()}, n=n, seconds=seconds)
    rates = (f"{name} {middle(result[name]):,.0f}/s p99 {middle(result[name], 'p99'):.1f} ms" for name in urls)
    reached = ratio(result, "distributed", "plain")
    return Line("clicks with distribution ÷ without", reached, 0.9, detail=", ".join(rates))


async def distribute(url: str) -> None:
    """The campaigns of a database hand their weights over, with a holdout and countries of their own."""
    database = Database(url)
    async with database.begin() as tx:
        offers = list((await tx.execute(select(campaign_offers.c.offer_id))).scalars())
        weights = {str(offer): WHOLE // len(offers) for offer in offers}
        distributed = dict.fromkeys(("", "DE", "SE"), weights)
        await tx.execute(update(campaigns).values(
            distribute="auto", distribute_by="country", holdout=1_000, distributed=distributed
        ))  # fmt: skip
    await database.close()


def lines(*, seeds: int = 1, n: int = 5, seconds: float = 2.0) -> list[Line]:
    outcomes = measured(worlds(), range(1, seeds + 1))
    print(f"\n{table(outcomes)}", flush=True)
    unequal = [of for of in outcomes.values() if not of[0].world.equal]
    equal = [of for of in outcomes.values() if of[0].world.equal]
    every = [outcome for of in outcomes.values() for outcome in of]
    after = f"{len(unequal)} worlds, clicks after the first {LEARNING:,}"
    return [
        Line("distribution ÷ best fixed offer, mean of worlds", statistics.mean(
            share(of, "distribution") for of in unequal), 0.9, detail=after),
        Line("last-24-hours conversions ÷ best fixed offer", statistics.mean(
            share(of, "last 24 hours") for of in unequal), 0.0, detail=after),
        Line("where all are equal, least of what the best earns", min(share(of, "distribution") for of in equal), 0.98),
        Line("lowest share ÷ floor", min(outcome.lowest / outcome.least for outcome in every), 1.0),
        clicks_line(n=n, seconds=seconds),
    ]  # fmt: skip


def main(seeds: int = SEEDS, first: int = 1) -> None:
    for of in (worlds(), further_worlds()):
        print(f"seeds {first} to {first + seeds - 1}\n{table(measured(of, range(first, first + seeds)))}\n", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
