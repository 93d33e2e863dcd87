"""Rules as clicks ask them, index and closures and open offers by weight, against each rule asked in turn."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

from hub.clicks.decide import CampaignJob
from storage.clicks.plans import CampaignPlan
from storage.clicks.write_jobs import Agent, Click
from storage.ledger.clicks.rotation import CompiledRule, Rotation, pick
from storage.ledger.clicks.rotation_rules import read_rules
from storage.ledger.errors import Refused
from storage.ledger.facts import Reason
from storage.tables import campaigns
from tests.hub.clicks.click_deployment import ClickDeployment, click_deployment
from tests.storage.ledger.clicks.test_conditions import evaluated

VALUES = {
    "country": ["DE", "AT", "!FR", "FR"], "device": ["mobile", "!tablet", "tablet"], "language": ["de", "en"],
    "os": ["ios", "win*"], "source": ["unknown"], "sub1": ["a", "b*", "*c", "!a", "ab?"], "sub2": ["zone1", "zone2*"],
    "visitor": ["unique", "returning", "bot", "person"], "ip": ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.1"],
    "referrer": ["example.test", "none", "*.test/*"],
}  # fmt: skip
OFFERS = ("one", "two", "three", "four", "shut")


def condition(chance: Random, depth: int = 0) -> dict[str, Any]:
    kind = chance.choice(("test", "test", "all", "any", "not")) if depth < 3 else "test"
    if kind == "test":
        name = chance.choice(sorted(VALUES))
        return {name: chance.sample(VALUES[name], chance.randint(1, 2) if len(VALUES[name]) > 1 else 1)}
    if kind == "not":
        return {"not": condition(chance, depth + 1)}
    return {kind: [condition(chance, depth + 1) for _ in range(chance.randint(1, 3))]}


def rules(chance: Random, offers: Sequence[str], n: int) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    while len(made) < n:
        rule = {"if": condition(chance), "offers": [f"{o}:{chance.randint(1, 5)}" for o in chance.sample(offers, 2)]}
        with suppress(Refused):  # a contradiction
            made += read_rules([rule], OFFERS)
    return made


async def _campaigns(d: ClickDeployment, chance: Random, n: int) -> None:
    for code in OFFERS:
        await d.offer(code, status="paused" if code == "shut" else "active")
    for number in range(n):
        offers = OFFERS if number % 3 == 0 else OFFERS[:4]  # with one that is shut, or all open
        more: dict[str, Any] = {}
        if number % 2:
            ids = [d.made[code] for code in OFFERS[:2]]
            weights = {segment: dict(zip(map(str, ids), (9_000, 1_000), strict=True)) for segment in ("", "DE")}
            more = {"distribute": "auto", "distribute_by": "country", "holdout": 2_000, "distributed": weights}
        await d.campaign(
            f"c{number}", {"one": 3, "two": 1}, rules=rules(chance, offers, chance.choice((1, 3, 30))), direct=True,
            binding=number % 4 != 1, **more,
        )  # fmt: skip


def _job(d: ClickDeployment, plan: CampaignPlan, chance: Random) -> CampaignJob:
    agent = Agent("x", device=chance.choice(("mobile", "tablet")), os=chance.choice(("iOS", "Windows", "")))
    click = Click(
        1, plan.team_id, plan.id, 0, 0, 0, agent, country=chance.choice(("DE", "AT", "FR", "")),
        bot=chance.random() < 0.1, unique=chance.random() < 0.5, language=chance.choice(("de", "en", "")),
        referrer=chance.choice(("", "https://www.example.test/x", "https://a.b.test/y")),
        subs=(chance.choice(("a", "bc", "abc", "ab", "")), chance.choice(("zone1", "zone2", "zone20", "")), *[""] * 8),
    )  # fmt: skip
    job = CampaignJob(d.clicks.state, plan, click, d.clicks.state.seconds())
    job.address = chance.choice(("10.1.2.3", "10.2.2.3", "192.0.2.1", "::ffff:10.1.0.1", "2001:db8::1", ""))
    job.roll, job.bound = chance.random(), chance.choice((0, 0, *(d.made[code] for code in OFFERS)))
    return job


def _naive(plan: CampaignPlan, stored: list[dict[str, Any]]) -> Rotation:
    """The plan's rotation with its rules asked one after the other, by their meaning written down in the tests."""
    asked = [
        CompiledRule(partial(evaluated, raw["if"]), rule.shares, "")
        for raw, rule in zip(stored, plan.rotation.rules, strict=True)
    ]
    return Rotation(
        rules=tuple(asked), shares=plan.rotation.shares, members=plan.rotation.members,
        distribution=plan.rotation.distribution,
    )  # fmt: skip


async def test_a_click_goes_where_asking_each_rule_sends_it(upgraded_url: str) -> None:
    chance, reasons, quick = Random(15), Counter[int](), 0
    async with click_deployment(upgraded_url) as d:
        await _campaigns(d, chance, 60)
        for code, stored in [(row.code, row.rules) for row in await d.rows(campaigns)]:
            plan = d.clicks.state.plans.campaigns[code]
            naive = _naive(plan, stored)
            quick += plan.quick is not None
            for _ in range(80):
                job = _job(d, plan, chance)
                job.decide()
                expected = pick(
                    naive, job._visitor(), availability=d.clicks.state.availability(job.plans, job.seconds),
                    bound=job.bound if plan.binding else 0, roll=job.roll,
                )  # fmt: skip
                assert (job.click.offer_id, job.click.reason) == (expected.offer_id, expected.reason)
                reasons[job.click.reason] += 1
    assert quick >= 40
    assert set(reasons) == {Reason.CHOSEN, Reason.NO_RULE, Reason.BOUND, Reason.HOLDOUT, Reason.PAUSED}
    assert min(reasons.values()) > 10  # some 70 of the rarest; the visitors' keys are drawn again each time
