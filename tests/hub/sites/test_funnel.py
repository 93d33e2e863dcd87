"""What a site's visitors do is measured on the page, joined to their clicks, and compared between variants."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, insert, select

from hub.clicks.handler import Clicks
from storage.clicks import retention
from storage.ledger.errors import Refused
from storage.tables import campaigns, click_rollup, conversions, outgoing, site_views
from tests.hub.asgi import Got, fetch
from tests.hub.sites.test_sites import NOW, Team, at_work, published
from tests.waiting import eventually

PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.0 Mobile/15E148 Safari/604.1"
)


@asynccontextmanager
async def measuring(opened: Callable[[], Any], tmp: Any) -> AsyncIterator[Team]:
    async with at_work(opened) as team:
        clicks = Clicks(team.runtime)
        team.runtime.state["clicks"] = clicks
        site = await published(team)
        async with team.runtime.database.begin() as tx:
            await tx.execute(insert(campaigns).values(
                team_id=team.runtime.team_id, name="Spring", code="spring", created_at=NOW, site_id=site.id, rules=[],
                cost_model="none", status="active",
            ))  # fmt: skip
        await clicks.start()
        try:
            yield team
        finally:
            await clicks.stop()


async def look(team: Team, path: str, person: str = "1", **headers: str) -> Got:
    arguments = {
        "user-agent": f"{PHONE} {person}",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return await team.get(path, headers=arguments)


async def tell(team: Team, person: str = "1", **answer: Any) -> int:
    body = msgspec.json.encode({"i": f"view{person}", "m": 4000, **answer})
    headers = {"user-agent": f"{PHONE} {person}"}
    return (await team.get("/s/top/b", method="POST", headers=headers, body=body)).status


async def test_visits_and_behaviour_are_joined_to_the_campaigns_click(opened: Callable[[], Any], tmp_path: Any) -> None:
    async with measuring(opened, tmp_path) as team:
        clicks = team.runtime.state["clicks"]
        agent = {"user-agent": f"{PHONE} 1"}
        arrived = await fetch(clicks, "/c/spring", host="track.example.test", headers=agent)
        landing = arrived.header("location")
        assert landing.startswith("http://track.example.test/s/top?click=")
        page = await look(team, landing.removeprefix("http://track.example.test"))
        click = landing.partition("click=")[2]
        assert f"/go/top/lucky-star?click={click}" in page.text
        assert (
            await tell(team, c=click, r="https://search.example.test/q?x=1", o=["lucky-star", "wild-win"], s=80) == 204
        )
        assert (
            await tell(
                team,
                c=click,
                m=9000,
                r="https://search.example.test/",
                o=["lucky-star", "wild-win"],
                k=["lucky-star"],
                s=100,
            )
            == 204
        )
        store_outgoing = await fetch(
            clicks, f"/go/top/lucky-star?click={click}", host="track.example.test", headers=agent
        )
        assert store_outgoing.status == 302
        await team.sites.visits.count()
        await team.sites.beacon.store()
        assert await visits_of_campaigns(team) == 1
        async with team.runtime.database.read() as tx:
            view = (await tx.execute(select(site_views))).one()
            assert (await tx.execute(select(func.count()).select_from(outgoing))).scalar_one() == 1
        assert (view.device, view.os, view.scroll, view.milliseconds) == ("mobile", "iOS", 100, 9000)
        assert (view.referrer, view.clicked) == ("search.example.test", ["lucky-star"])
        assert view.campaign_id == 1
        async with team.runtime.database.begin() as tx:
            await converted(tx, team, view)
        report = await team.say("site report top 7d")
        line = next(line for line in report.lines if line.offer == "lucky-star")
        assert (line.position, line.impressions, line.clicks, line.ctr) == (1, 1, 1, 1.0)
        assert (line.registrations, line.first_deposits) == (1, 0)
        result = await team.say("site analytics top 7d by device")
        assert (result.total.views, result.total.visitors, result.total.ctr) == (1, 1, 1.0)
        assert result.rows[0].group == {"device": "mobile"}
        assert (await team.say("site overview 7d")).items[0].visitors == 1


async def visits_of_campaigns(team: Team) -> int:
    """Counts reach the roll-up with the writer's next batch."""
    query = select(func.sum(click_rollup.c.site_visits)).where(click_rollup.c.campaign_id != 0)

    async def visits() -> int:
        async with team.runtime.database.read() as tx:
            return int((await tx.execute(query)).scalar_one() or 0)

    return int(await eventually(visits, "the visits in the roll-up"))


async def converted(tx: Any, team: Team, view: Any) -> None:
    day = NOW.date()
    await tx.execute(insert(conversions).values(
        team_id=team.runtime.team_id, campaign_id=1, site_id=view.site_id, offer_id=1, source_id=0,
        click_id=view.click_id, event="registration", status="approved", occurred_at=NOW, received_at=NOW, day=day,
        marks=[],
    ))  # fmt: skip


async def test_who_objects_is_not_measured_and_nonsense_is_refused(opened: Callable[[], Any], tmp_path: Any) -> None:
    async with measuring(opened, tmp_path) as team:
        for headers in ({"dnt": "1"}, {"sec-gpc": "1"}, {"user-agent": "Googlebot/2.1"}):
            response = await team.get("/s/top/b", method="POST", headers=headers, body=b'{"i":"x"}')
            assert response.status == 204
        assert (await team.get("/s/top/b", method="POST", body=b"\xff")).status == 400
        assert (await team.get("/s/top/b", method="POST", body=b"x" * 5000)).status == 413
        await tell(team, v="zzz", o=["unknown"], s=9**9, m=-5, c="!!!", r="http://[bad")
        await team.sites.beacon.store()
        async with team.runtime.database.read() as tx:
            view = (await tx.execute(select(site_views))).one()
        assert (view.variant, view.seen, view.scroll, view.milliseconds, view.referrer) == ("a", [], 100, 0, "")


async def test_a_visitor_keeps_the_variant_and_the_better_one_is_kept(opened: Callable[[], Any], tmp_path: Any) -> None:
    async with measuring(opened, tmp_path) as team:
        await team.say("variant add top theme=comparison offers=wild-win headline=Other")
        renderers: dict[str, int] = {"a": 0, "b": 0}
        for person in map(str, range(60)):
            response = await look(team, "/s/top", person)
            stored = response.cookies()[0].partition(";")[0]
            again = await look(team, "/s/top", "someone else", cookie=stored)
            assert again.text == response.text
            assert again.cookies() == []
            renderers[stored[-1]] += 1
            await tell(team, person, v=stored[-1], k=["wild-win"] if stored[-1] == "b" else [])
        assert min(renderers.values()) > 10
        assert "/go/top/wild-win?v=b" in (await team.get("/s/top?look=b")).text
        assert "?click=ABC&amp;v=b" in (await team.get("/s/top?look=b&click=ABC")).text
        await team.sites.beacon.store()
        result = await team.say("variant list top")
        assert [(variant.code, variant.visitors) for variant in result.variants] == [
            ("a", renderers["a"]),
            ("b", renderers["b"]),
        ]
        assert [variant.rate for variant in result.variants] == [0, 1]
        assert result.winner is None
        assert "not enough yet" in result.reason
        site = await team.say("variant keep top b")
        assert (site.theme, site.offers, site.version) == ("comparison", ["wild-win", "lucky-star"], 2)
        assert (await team.say("variant list top")).variants[0].code == "a"
        with pytest.raises(Refused):
            await team.say("variant drop top b")


async def test_views_expire_and_what_was_counted_of_them_stays(opened: Callable[[], Any], tmp_path: Any) -> None:
    async with measuring(opened, tmp_path) as team:
        clicks, database = team.runtime.state["clicks"], team.runtime.database
        for person in ("1", "2", "3"):
            await look(team, "/s/top", person)
            assert await tell(team, person, o=["lucky-star"], k=["lucky-star"]) == 204
        await fetch(clicks, "/go/top/lucky-star", host="track.example.test", headers={"user-agent": f"{PHONE} 1"})
        await team.sites.visits.count()
        await team.sites.beacon.store()
        await clicks.stop()
        before = await team.say("site report top today")
        assert (before.visits, before.visitors, before.outgoing) == (3, 3, 1)
        midnight = NOW.replace(hour=0)
        assert await retention.drop_views(database, midnight + timedelta(days=30, hours=23), days=30) == 0
        assert await retention.drop_views(database, midnight + timedelta(days=31), days=30) == 3
        after = await team.say("site report top today")
        assert (after.visits, after.visitors, after.outgoing) == (3, None, 1)
        assert after.lines[0].impressions is None
