"""Raw clicks expire, links and roll-ups stay; the roll-up can be counted again; days are partitions on PostgreSQL."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import delete, insert, text, update

from storage.clicks import partitions, retention, rollup_check
from storage.clicks import queries as stored_clicks
from storage.ledger.clicks.click_id import first_id_at
from storage.tables import click_rollup, clicks, outgoing, visitors
from storage.tables.types import EPOCH_DAY
from tests.hub.clicks.click_deployment import ClickDeployment, click_deployment


async def _traffic(d: ClickDeployment) -> None:
    await d.offer("a")
    await d.offer("b")
    site = await d.site("wall", "a", "b")
    await d.campaign("one", {"a": 1})
    await d.campaign("walled", {}, site_id=site)
    for n in range(12):
        await d.get("/c/one?cost=0.1", ip=f"192.0.2.{n % 7}")
        landed = await d.get(f"/c/walled?cost=0.{n}", ip=f"192.0.2.{n}")
        if n % 2:
            await d.get(f"/go/wall/b?click={landed.query['click']}", ip=f"192.0.2.{n}")
        await d.get("/go/wall/a", ip=f"192.0.2.{n}")
    await d.get("/c/one", method="HEAD")
    await d.clicks.writer.stop()


async def test_the_recount_agrees_and_finds_what_was_tampered_with(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await _traffic(d)
        assert await rollup_check.check(d.database) == []
        async with d.database.begin() as tx:
            await tx.execute(update(click_rollup).where(click_rollup.c.bot_clicks == 1).values(bot_clicks=3))
            await tx.execute(delete(outgoing).where(outgoing.c.offer_id == d.made["b"]))
        result = await rollup_check.check(d.database)
        assert any("bot_clicks is 3 in the roll-up, 1 in the raw rows" in line for line in result)
        assert any("outgoing is" in line for line in result)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "UTC", "Pacific/Niue"])
async def test_weeks_are_counted_one_by_one_and_every_hour_once(upgraded_url: str, zone: str) -> None:
    begin = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
    moments = [begin + timedelta(hours=hours) for hours in (0, 1, 23, 167, 168, 169, 335, 336, 900, 2000)]
    async with click_deployment(upgraded_url) as d:
        for n, moment in enumerate(moments):
            local = moment.astimezone(ZoneInfo(zone))
            key = {
                "team_id": 1, "hour": (local.date() - EPOCH_DAY).days * 24 + local.hour, "campaign_id": 7, "site_id": 0,
                "offer_id": 0, "source_id": 0,
            }  # fmt: skip
            async with d.database.begin() as tx:
                await partitions.ensure(tx, moment)
                await tx.execute(insert(clicks).values(
                    **key, id=first_id_at(moment), unique_click=1, bot=0, reason=0, user_agent_id=0,
                ))  # fmt: skip
                await tx.execute(insert(click_rollup).values(
                    **key, country="", device="", currency="", clicks=1, unique_clicks=1, bot_clicks=0, site_visits=0,
                    outgoing=0, cost=0,
                ))  # fmt: skip
            assert await rollup_check.check(d.database) == [], n
        async with d.database.begin() as tx:
            await tx.execute(update(click_rollup).values(clicks=2))
        lines = await rollup_check.check(d.database)
    assert len(lines) == len(moments)
    assert all(line.endswith("clicks is 2 in the roll-up, 1 in the raw rows") for line in lines)


async def test_expired_clicks_leave_their_links_and_counts(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await _traffic(d)
        before = await d.stored()
        rolled = await d.rows(click_rollup)
        later = d.runtime.clock() + timedelta(days=11)
        assert await retention.drop(d.database, later, days=30) == 0
        assert await retention.drop(d.database, later, days=10) == len(before)
        assert await d.count(clicks) == 0
        assert await d.rows(click_rollup) == rolled
        async with d.database.read() as tx:
            links = await stored_clicks.links(tx, [item.id for item in before])
            shown = await stored_clicks.show(tx, d.runtime.team_id, before[0].id)
        assert {item.id: (item.campaign_id, item.offer_id) for item in before} == {
            key: (link.campaign_id, link.offer_id) for key, link in links.items()
        }
        assert shown is not None
        assert shown["expired"]
        assert await rollup_check.check(d.database) == []


async def test_visitors_are_forgotten_after_a_day(postgres_url: str) -> None:
    async with click_deployment(postgres_url) as d:
        await _traffic(d)
        assert await d.count(visitors) > 0
        await retention.forget_visitors(d.database, d.runtime.clock() + timedelta(hours=23))
        assert await d.count(visitors) > 0
        await retention.forget_visitors(d.database, d.runtime.clock() + timedelta(hours=25))
        assert await d.count(visitors) == 0


async def test_clicks_of_a_day_lie_in_its_partition_also_those_that_came_before_it_was_made(postgres_url: str) -> None:
    async with click_deployment(postgres_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        now = d.runtime.clock()
        async with d.database.begin() as tx:
            await partitions.drop(tx, partitions.name_of(now.date()))
        await d.get("/c/one")
        async with d.database.begin() as tx:
            await partitions.ensure(tx, now)
            await partitions.ensure(tx, now)
        await d.get("/c/one")
        async with d.database.read() as tx:
            names = await partitions.names(tx)
            lying = (await tx.execute(text(f"SELECT count(*) FROM {partitions.name_of(now.date())}"))).scalar_one()
        assert len(names) == 4
        assert lying == 2
