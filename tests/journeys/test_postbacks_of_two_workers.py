"""Two workers on one database: the same postback to both at the same moment counts once, and none is lost."""

import asyncio
from collections import Counter
from collections.abc import Callable

import httpx
import pytest

from tests.journeys.deployment import Deployment
from tests.journeys.steps import click, today
from tests.waiting import wait_for

PLAYERS = 60


async def said(urls: list[str]) -> list[tuple[int, str]]:
    """All asked at once, each on a connection of its own, so that both workers are asked."""
    limits = httpx.Limits(max_keepalive_connections=0, max_connections=60)
    async with httpx.AsyncClient(limits=limits, timeout=30) as client:
        answers = await asyncio.gather(*(client.get(url, headers={"connection": "close"}) for url in urls))
    return [
        (answer.status_code, answer.json()["outcome"] if answer.status_code == 200 else answer.text)
        for answer in answers
    ]


@pytest.mark.slow
def test_the_same_postback_to_both_workers_at_once_counts_once(deploy_postgres: Callable[..., Deployment]) -> None:
    hub = deploy_postgres()
    hub.start("--workers", "2")
    hub.post("account/add", name="acme", platform="postback_only", timezone="UTC", currency="EUR")
    hub.post("offer/add", casino="Lucky", account="acme", url="https://lucky.example.test/?s={click_id}")
    link = hub.post("campaign/create", name="Two", offers=["lucky"])["url"]
    address = hub.post("postback/url", account="acme")["url"].partition("?")[0]
    ids = [httpx.URL(click(hub, link, n)).params["s"] for n in range(PLAYERS)]
    messages = []
    for n, item in enumerate(ids):
        messages += [f"{address}?click_id={item}&event=reg&txn_id=r{n}"] * 2
        messages += [f"{address}?click_id={item}&event=ftd&amount=10&txn_id=f{n}"] * 2
        messages += [f"{address}?click_id={item}&event=ftd&amount=10"]
        messages += [f"{address}?click_id={item}&event=dep&amount=5&player_id=p{n}"] * 3
    visits = [f"{link}?click_id=v{n}" for n in range(100)]
    beside = [f"{address}?event=reg" for _ in range(20)]
    answers = asyncio.run(said([*messages[: len(messages) // 2], *visits, *beside, *messages[len(messages) // 2 :]]))
    assert Counter(status for status, _ in answers) == {200: len(messages) + len(beside), 302: len(visits)}, hub.log()
    outcomes = Counter(outcome for _, outcome in answers)
    assert (outcomes["accepted"], outcomes["unmatched"]) == (3 * PLAYERS, len(beside)), outcomes
    assert outcomes["accepted"] + outcomes["duplicate"] + outcomes["updated"] == len(messages)
    day = today(hub)

    def counted() -> bool:
        totals = hub.get("report/merged", **{"from": day, "to": day, "by": "campaign"})["totals"]
        result = {name: totals[name]["postback"] for name in ("registrations", "first_deposits", "deposits")}
        return result == {"registrations": PLAYERS, "first_deposits": PLAYERS, "deposits": 2 * PLAYERS}

    wait_for(counted, "the report to show each once", told=hub.log)
    assert "locked" not in hub.log()
    assert hub.stop() == 0
