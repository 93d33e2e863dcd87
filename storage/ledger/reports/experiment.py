"""Which variant is better, and whether that can be said yet: Bayesian, on shares of visitors (Beta-binomial)."""

import random
from collections.abc import Sequence

import msgspec

DRAWS = 4000
LEAST_VISITORS = 200  # per variant
LEAST_SUCCESSES = 20  # over all variants
SURE = 0.95
FINE_LOSS = 0.01  # of the best one's own rate


class Arm(msgspec.Struct, frozen=True):
    """A variant's count: visitors who saw it, and those of them who did what is wanted."""

    code: str
    visitors: int
    successes: int


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A variant in the comparison. `expected_loss` is the share of visitors given up by keeping it, if it is wrong."""

    code: str
    visitors: int
    successes: int
    rate: float | None
    low: float
    high: float  # 95 % interval of the rate
    best: float  # probability to be the best
    expected_loss: float


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`winner` is null while it is not enough yet; `reason` says in words why, or why it is."""

    standings: list[Standing]
    winner: str | None
    reason: str


def compare(arms: Sequence[Arm], *, seed: int = 1) -> Verdict:
    """Stand the variants side by side; the same counts always give the same answer."""
    chance = random.Random(seed)
    draws = [
        [chance.betavariate(1 + arm.successes, 1 + max(arm.visitors - arm.successes, 0)) for arm in arms]
        for _ in range(DRAWS)
    ]
    standings = [_standing(arm, place, draws) for place, arm in enumerate(arms)]
    lead = max(standings, key=lambda standing: standing.best)
    lacking = _lacking(standings, lead)
    if lacking:
        return Verdict(standings=standings, winner=None, reason=f"not enough yet: {lacking}")
    reason = f"{lead.code} is best with {lead.best:.0%} probability"
    return Verdict(standings=standings, winner=lead.code, reason=reason)


def _standing(arm: Arm, place: int, draws: list[list[float]]) -> Standing:
    own = sorted(draw[place] for draw in draws)
    wins = sum(1 for draw in draws if draw[place] == max(draw))
    loss = sum(max(draw) - draw[place] for draw in draws) / len(draws)
    rate = arm.successes / arm.visitors if arm.visitors else None
    return Standing(
        code=arm.code, visitors=arm.visitors, successes=arm.successes, rate=rate, best=wins / len(draws),
        expected_loss=loss, low=own[len(own) // 40], high=own[-len(own) // 40],
    )  # fmt: skip


def _lacking(standings: Sequence[Standing], lead: Standing) -> str:
    if len(standings) < 2:
        return "there is only one variant"
    fewest = min(standings, key=lambda standing: standing.visitors)
    if fewest.visitors < LEAST_VISITORS:
        return f"{fewest.code} has {fewest.visitors} visitors, {LEAST_VISITORS} are needed"
    successes = sum(standing.successes for standing in standings)
    if successes < LEAST_SUCCESSES:
        return f"{successes} of all visitors went on, {LEAST_SUCCESSES} are needed"
    if lead.best < SURE and lead.expected_loss > FINE_LOSS * (lead.rate or 0):
        return f"{lead.code} leads with {lead.best:.0%} probability, {SURE:.0%} are needed"
    return ""
