"""A cap that is set or changed in the middle of its period counts what came before."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import delete, update

from storage.clicks import caps
from storage.db import config_version
from storage.tables import cap_counts, conversions, offers
from tests.hub.clicks.click_deployment import ClickDeployment, click_deployment


async def capped(d: ClickDeployment, code: str, cap: int, event: str = "click", period: str = "day") -> int:
    """Set the cap as `offer edit` does, forgetting what was counted; how much of it is used."""
    async with d.database.begin() as tx:
        await tx.execute(delete(cap_counts))
        values = {"cap": cap, "cap_event": event, "cap_period": period}
        await tx.execute(update(offers).where(offers.c.id == d.made[code]).values(**values))
        await caps.recount(tx, d.made[code], d.runtime.clock(), d.runtime.deployment.zone)
        await config_version.bump(tx)
        used = await caps.used(tx, d.made[code], d.runtime.clock())
    await d.clicks.refresh()
    d.clicks.writer.full.clear()
    assert used is not None
    return used[0]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
async def test_a_cap_set_later_counts_the_people_sent_before(upgraded_url: str, zone: str) -> None:
    async with click_deployment(upgraded_url, report_timezone=zone) as d:
        await d.offer("a")
        await d.offer("rest")
        await d.campaign("one", {"a": 1})
        site = await d.site("wall", "a", "rest")
        await d.campaign("two", {}, site_id=site)
        for n in range(3):
            await d.get("/c/one", ip=f"192.0.2.{n}")
        await d.get("/c/one", ip="192.0.2.9", method="HEAD")
        word = (await d.get("/c/two", ip="192.0.2.10")).query["click"]
        for _ in range(2):  # the same click goes on to the offer twice
            await d.get(f"/go/wall/a?click={word}", ip="192.0.2.10")
        await d.get(f"/go/wall/rest?click={word}", ip="192.0.2.10")
        await d.get("/go/wall/a", ip="192.0.2.11")
        await d.clicks.writer.stop()
        await d.clicks.start()
        for period in ("day", "week", "month"):
            assert await capped(d, "a", 100, period=period) == 6


async def test_a_full_cap_set_later_shuts_the_offer_at_once(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await d.offer("rest")
        await d.campaign("one", {"a": 1, "rest": 0})
        for n in range(3):
            await d.get("/c/one", ip=f"192.0.2.{n}")
        await capped(d, "a", 3)
        assert (await d.get("/c/one", ip="192.0.2.7")).host == "rest.example.test"
        await capped(d, "a", 4)
        assert (await d.get("/c/one", ip="192.0.2.8")).host == "a.example.test"
        assert (await d.get("/c/one", ip="192.0.2.9")).host == "rest.example.test"


async def test_a_cap_on_conversions_set_later_counts_those_that_stand(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        now = d.runtime.clock()
        row = {
            "team_id": d.runtime.team_id, "campaign_id": 0, "site_id": 0, "offer_id": d.made["a"], "source_id": 0,
            "occurred_at": now, "received_at": now, "day": now.date(), "marks": [], "status": "approved",
        }  # fmt: skip
        early = datetime(2026, 1, 1, tzinfo=UTC)
        rows = [
            {**row, "event": "registration", "is_ftd": False},
            {**row, "event": "deposit", "is_ftd": True},
            {**row, "event": "first_deposit", "is_ftd": True, "status": "reversed"},
            {**row, "event": "first_deposit", "is_ftd": True, "status": "pending"},
            {**row, "event": "first_deposit", "is_ftd": True, "occurred_at": early, "day": early.date()},
        ]
        async with d.database.begin() as tx:
            for item in rows:
                await tx.execute(conversions.insert().values(**item))
        assert await capped(d, "a", 5, "first_deposit", "month") == 2
        assert await capped(d, "a", 5, "registration") == 1


async def test_a_new_time_zone_of_an_account_moves_its_caps(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        await d.get("/c/one", ip="192.0.2.1")
        await capped(d, "a", 5)
        async with d.database.begin() as tx:
            await tx.execute(update(cap_counts).values(n=4))
            await caps.recount_account(tx, d.made["account"], d.runtime.clock(), ZoneInfo("UTC"))
            assert await caps.used(tx, d.made["a"], d.runtime.clock()) == (1, 5)
