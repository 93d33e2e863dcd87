"""The plans that clicks are answered from, loaded again after a change."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import update

from storage.clicks import plans
from storage.clicks.plans import Plans
from storage.db import cooperative
from storage.ledger.clicks.rotation_rules import read_rules
from storage.tables import campaigns
from tests.hub.clicks.click_deployment import ClickDeployment, click_deployment

PUBLIC = "https://track.example.test"
RULES = [{"if": {"country": ["DE"], "sub1": [f"zone{number}"]}, "offers": ["one:1"]} for number in range(40)]


async def _loaded(d: ClickDeployment, before: Plans | None = None) -> Plans:
    async with d.database.read() as tx:
        return await plans.load(tx, PUBLIC, before)


async def _set_up(d: ClickDeployment, number_of: int) -> None:
    for code in ("one", "two"):
        await d.offer(code)
    for number in range(number_of):
        await d.campaign(f"c{number}", {"one": 3, "two": 1}, rules=RULES, direct=True)


def _compiled(loaded: Plans, code: str) -> Any:
    return loaded.campaigns[code].rotation.rules


async def test_only_rules_that_changed_are_compiled_again(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await _set_up(d, 3)
        first = await _loaded(d)
        async with d.database.begin() as tx:
            await tx.execute(
                update(campaigns).where(campaigns.c.code == "c1").values(rules=read_rules(RULES[:5], ["one"]))
            )
        second = await _loaded(d, first)
        assert _compiled(second, "c0") is _compiled(first, "c0")
        assert second.campaigns["c0"].index is first.campaigns["c0"].index
        assert len(_compiled(second, "c1")) == len(second.campaigns["c1"].quick_rules) == 5

        await d.offer("three")  # a rule may name an offer that was not there before
        third = await _loaded(d, second)
        assert _compiled(third, "c0") is not _compiled(second, "c0")
        assert repr(third.campaigns["c0"].quick_rules) == repr(second.campaigns["c0"].quick_rules)


async def test_other_work_goes_on_while_plans_are_loaded(upgraded_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A team of many campaigns with many rules changes something: clicks are answered in between."""
    monkeypatch.setattr(cooperative, "HOLD", 0.0)
    counted = 0

    async def count() -> None:
        nonlocal counted
        while True:
            counted += 1
            await asyncio.sleep(0)

    async with click_deployment(upgraded_url) as d:
        await _set_up(d, 4)
        counter = asyncio.create_task(count())
        loaded = await _loaded(d)
        counter.cancel()
    assert len(loaded.campaigns) == 4
    assert counted >= 4 * len(RULES)  # a turn after each rule
