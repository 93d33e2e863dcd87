"""Distributed campaigns on the click path: weights in force, the holdout, segments, and offers that are closed."""

from collections import Counter
from typing import Any

from sqlalchemy import update

from storage.db import config_version
from storage.ledger.facts import Reason
from storage.tables import campaigns, offers
from tests.hub.clicks.click_deployment import WINDOWS, ClickDeployment, click_deployment
from tests.hub.clicks.test_choice import crowd


async def distribute(d: ClickDeployment, shares: dict[str, dict[str, int]], **values: Any) -> None:
    """Put weights in force for the campaign `one`."""
    weights = {segment: {str(d.made[code]): of[code] for code in of} for segment, of in shares.items()}
    async with d.database.begin() as tx:
        await tx.execute(update(campaigns).values(distribute="auto", distributed=weights, **values))
        await config_version.bump(tx)
    await d.clicks.refresh()


async def test_visitors_go_by_the_weights_in_force_and_the_holdout_by_those_set_by_hand(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        for code in ("one", "two"):
            await d.offer(code)
        await d.campaign("one", {"one": 1, "two": 0})
        await distribute(d, {"": {"one": 0, "two": 10_000}}, holdout=3_000)
        hosts = await crowd(d, "/c/one", 400)
        assert 55 < hosts["one"] < 185
        stored = await d.stored()
        assert Counter((click.offer_id, click.reason) for click in stored) == {
            (d.made["one"], Reason.HOLDOUT): hosts["one"], (d.made["two"], Reason.CHOSEN): hosts["two"]
        }  # fmt: skip


async def test_the_same_where_rules_and_closed_offers_have_a_say(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        for code in ("one", "two", "closed", "vip"):
            await d.offer(code)
        await d.campaign("one", {"one": 1, "two": 0, "closed": 1}, rules=[{"sub1": "vip", "offer": "vip"}])
        async with d.database.begin() as tx:
            await tx.execute(update(offers).where(offers.c.code == "closed").values(status="paused"))
        await distribute(d, {"": {"one": 2_000, "two": 8_000}}, holdout=5_000)
        assert (await d.get("/c/one?sub1=vip")).host == "vip.example.test"
        hosts = await crowd(d, "/c/one", 400, start=1)
        assert set(hosts) == {"one", "two"}
        assert 90 < hosts["two"] < 230
        reasons = Counter(click.reason for click in await d.stored() if click.offer_id != d.made["vip"])
        assert set(reasons) == {Reason.NO_RULE, Reason.HOLDOUT, Reason.PAUSED}


async def test_devices_go_by_weights_of_their_own(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        for code in ("one", "two"):
            await d.offer(code)
        await d.campaign("one", {"one": 1, "two": 1})
        weights = {"": {"one": 10_000, "two": 0}, "desktop": {"one": 0, "two": 10_000}}
        await distribute(d, weights, holdout=0, distribute_by="device")
        assert (await d.get("/c/one", ip="198.51.100.1")).host == "one.example.test"
        assert (await d.get("/c/one", ip="198.51.100.2", agent=WINDOWS)).host == "two.example.test"


async def test_a_returning_visitor_keeps_what_they_saw_whatever_the_weights_become(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        for code in ("one", "two"):
            await d.offer(code)
        await d.campaign("one", {"one": 1, "two": 1})
        await distribute(d, {"": {"one": 10_000, "two": 0}}, holdout=0)
        first = await d.get("/c/one", ip="198.51.100.1")
        await distribute(d, {"": {"one": 0, "two": 10_000}}, holdout=0)
        again = await d.get("/c/one", ip="198.51.100.1", cookie=first.cookie)
        assert (first.host, again.host) == ("one.example.test", "one.example.test")
        assert (await d.get("/c/one", ip="198.51.100.2")).host == "two.example.test"


async def test_weights_of_offers_that_are_gone_never_stop_a_click(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        for code in ("one", "two", "gone"):
            await d.offer(code)
        await d.campaign("one", {"one": 1, "two": 1})
        await distribute(d, {"": {"gone": 10_000}}, holdout=0, floor=0)
        assert set(await crowd(d, "/c/one", 60)) == {"one", "two"}
