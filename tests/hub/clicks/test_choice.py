"""Where clicks go: rules, weights, binding, caps, pauses, fallbacks; and what they cost."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from storage.chat import rooms
from storage.clicks import rollup_check
from storage.clicks.visitors import SharedVisitors
from storage.clicks.write_jobs import Agent
from storage.db import config_version
from storage.ledger.errors import Refused
from storage.ledger.facts import Bot, Reason
from storage.tables import cap_counts, messages, offers, subscriptions
from tests.bot.commands.test_clicks import say
from tests.hub.clicks.click_deployment import WINDOWS, ClickDeployment, click_deployment
from tests.hub.requests.test_country import database, mapping, text
from tests.waiting import eventually


async def crowd(d: ClickDeployment, path: str, n: int, *, start: int = 0) -> Counter[str]:
    """So many different visitors at once; how many went to each host."""
    gets = (d.get(path, ip=f"10.{k // 65536}.{k // 256 % 256}.{k % 256}") for k in range(start, start + n))
    return Counter([item.host.split(".")[0] for item in await asyncio.gather(*gets)])


async def test_rules_come_first_then_weights(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        for code in ("nordic", "phone", "big", "small"):
            await d.offer(code)
        rules = [
            {"if": {"country": ["US"], "device": "desktop"}, "offers": ["nordic"]},
            {"sub1": "vip", "offer": "phone"},
        ]
        await d.campaign("one", {"big": 3, "small": 1}, rules=rules)
        assert (await d.get("/c/one", agent=WINDOWS, ip="8.8.8.8")).host == "nordic.example.test"
        assert (await d.get("/c/one?sub1=vip", ip="8.8.8.8")).host == "phone.example.test"
        hosts = await crowd(d, "/c/one", 400)
        assert set(hosts) == {"big", "small"}
        assert 240 < hosts["big"] < 360
        reasons = Counter(click.reason for click in await d.stored())
        assert reasons[Reason.NO_RULE] == 400


async def test_a_cap_on_clicks_is_exact_for_a_crowd_and_goes_to_the_alternative(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        reserve = await d.offer("reserve")
        await d.offer("full", cap=25, cap_event="click", cap_period="day", alternative_id=reserve)
        await d.offer("other")
        await d.campaign("one", {"full": 1, "other": 0})
        assert await crowd(d, "/c/one", 100) == {"full": 25, "reserve": 75}
        [row] = await d.rows(cap_counts)
        assert row.n == 25
        assert Counter(click.reason for click in await d.stored()) == {Reason.CHOSEN: 25, Reason.CAPPED: 75}


async def test_a_cap_is_exact_across_processes(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d, click_deployment(upgraded_url, create="") as other:
        await d.offer("full", cap=30, cap_event="click", cap_period="day")
        await d.offer("rest")
        await d.campaign("one", {"full": 1, "rest": 0})
        await other.clicks.refresh()
        mine, theirs = await asyncio.gather(crowd(d, "/c/one", 60), crowd(other, "/c/one", 60, start=5000))
        assert mine + theirs == {"full": 30, "rest": 90}


async def test_uniqueness_is_exact_across_processes(postgres_url: str) -> None:
    async with click_deployment(postgres_url) as d, click_deployment(postgres_url, create="") as other:
        await d.offer("a")
        await d.offer("b")
        await d.campaign("one", {"a": 1, "b": 1})
        await other.clicks.refresh()
        gets = [item.get("/c/one", ip=f"192.0.2.{n}") for n in range(30) for item in (d, other)]
        await asyncio.gather(*gets)
        assert sum(click.unique_click for click in await d.stored()) == 30


async def test_a_visitor_whom_another_process_keeps_meanwhile_is_unique_there_only(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = SharedVisitors.find
    async with click_deployment(postgres_url) as d, click_deployment(postgres_url, create="") as other:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        await other.clicks.refresh()
        await d.get("/c/one", ip="192.0.2.1")

        async def find_before_the_other(visitors: SharedVisitors, *arguments: Any) -> dict[int, int]:
            monkeypatch.setattr(SharedVisitors, "find", find)
            found = await find(visitors, *arguments)
            await other.get("/c/one", ip="192.0.2.2")
            return found

        monkeypatch.setattr(SharedVisitors, "find", find_before_the_other)
        assert (await d.get("/c/one?sub5=x", ip="192.0.2.2")).host == "a.example.test"
        by_subs = {(click.sub5, click.unique_click) for click in (await d.stored())[1:]}
        assert by_subs == {(None, 1), ("x", 0)}
        assert await rollup_check.check(d.database) == []


async def test_clicks_of_one_address_are_counted_across_processes(postgres_url: str) -> None:
    async with click_deployment(postgres_url) as d, click_deployment(postgres_url, create="") as other:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        await other.clicks.refresh()
        for n in range(66):
            await (d, other)[n % 2].get("/c/one", ip="192.0.2.1")
        # Each learns of the other's clicks with the batch it commits, so of the last one a click later.
        assert sum(click.bot == Bot.BURST for click in await d.stored()) in {5, 6}


async def test_visitors_and_bursts_are_known_after_a_restart(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await d.offer("b")
        await d.campaign("one", {"a": 1, "b": 1})
        first = {n: (await d.get("/c/one", ip=f"192.0.2.{n}")).host for n in range(1, 20)}
        for _ in range(40):
            await d.get("/c/one", ip="192.0.3.1")
    async with click_deployment(upgraded_url, create="") as d:
        again = {n: (await d.get("/c/one", ip=f"192.0.2.{n}")).host for n in range(1, 20)}
        for _ in range(22):
            await d.get("/c/one", ip="192.0.3.1")
        stored = await d.stored()
    assert again == first
    assert sum(click.unique_click for click in stored) == 20
    assert sum(click.bot == Bot.BURST for click in stored) == 2


async def test_machines_use_up_no_cap(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("full", cap=1, cap_event="click", cap_period="week")
        await d.offer("rest")
        await d.campaign("one", {"full": 1, "rest": 0})
        for _ in range(3):
            await d.get("/c/one", method="HEAD", ip="192.0.2.9")
        assert (await d.get("/c/one", ip="192.0.2.1")).host == "full.example.test"
        assert (await d.get("/c/one", ip="192.0.2.2")).host == "rest.example.test"


async def test_a_cap_on_first_deposits_shuts_the_offer_when_they_are_there(upgraded_url: str) -> None:
    from storage.clicks import caps

    async with click_deployment(upgraded_url) as d:
        full = await d.offer("full", cap=1, cap_event="first_deposit", cap_period="month")
        await d.offer("rest")
        await d.campaign("one", {"full": 1, "rest": 0})
        assert (await d.get("/c/one", ip="192.0.2.1")).host == "full.example.test"
        async with d.database.begin() as tx:
            assert await caps.count(tx, full, "registration", d.runtime.clock()) is None
            assert await caps.count(tx, full, "first_deposit", d.runtime.clock()) == 1
        assert (await d.get("/c/one", ip="192.0.2.2")).host == "rest.example.test"
        async with d.database.begin() as tx:
            assert await caps.count(tx, full, "first_deposit", d.runtime.clock(), by=-1) == 0
            assert await caps.used(tx, full, d.runtime.clock()) == (0, 1)
        d.clicks.writer.full.clear()
        assert (await d.get("/c/one", ip="192.0.2.3")).host == "full.example.test"


async def test_without_an_open_offer_visitors_see_the_fallback_the_site_or_a_neutral_page(
    sqlite_url: str,
) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("off", status="paused")
        site = await d.site("wall", "off")
        await d.campaign("one", {"off": 1}, fallback_url="https://back.example.test/?c={click_id}&k={campaign}")
        await d.campaign("two", {"off": 1}, site_id=site, direct=True)
        await d.campaign("three", {"off": 1})
        await d.campaign("four", {})
        first = await d.get("/c/one", ip="192.0.2.1")
        assert (first.host, first.query["k"]) == ("back.example.test", "one")
        assert (await d.get("/c/two", ip="192.0.2.1")).location.startswith("https://track.example.test/s/wall?click=")
        closed = await d.get("/c/three", ip="192.0.2.1")
        assert (closed.status, closed.location) == (200, "")
        assert b"off.example.test" not in closed.body
        assert (await d.get("/c/four", ip="192.0.2.1")).status == 404
        assert [click.reason for click in await d.stored()] == [
            Reason.FALLBACK, Reason.SITE, Reason.PAUSED, Reason.FAILED,
        ]  # fmt: skip


async def test_visitors_of_a_paused_site_go_to_its_offers(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("off", status="paused")
        await d.offer("a")
        site = await d.site("wall", "off", "a", status="paused")
        await d.campaign("one", {}, site_id=site)
        assert (await d.get("/c/one")).host == "a.example.test"


async def test_a_paused_campaign_still_sends_its_visitors_on(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1}, status="paused")
        await d.campaign("two", {"a": 1}, status="paused", fallback_url="https://back.example.test/")
        assert (await d.get("/c/one")).host == "a.example.test"
        assert (await d.get("/c/two")).host == "back.example.test"
        assert {click.reason for click in await d.stored()} == {Reason.PAUSED}


async def test_a_shut_offer_of_a_site_goes_on_to_the_sites_next(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("off", status="paused")
        await d.offer("next")
        site = await d.site("wall", "off", "next")
        await d.campaign("one", {}, site_id=site)
        word = (await d.get("/c/one", ip="192.0.2.1")).query["click"]
        assert (await d.get(f"/go/wall/off?click={word}", ip="192.0.2.1")).host == "next.example.test"
        assert (await d.get("/go/wall/off", ip="192.0.2.1")).host == "next.example.test"


async def test_a_returning_visitor_keeps_the_offer_unless_the_campaign_says_otherwise(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await d.offer("b")
        await d.campaign("bound", {"a": 1, "b": 1})
        await d.campaign("free", {"a": 1, "b": 1}, binding=False)
        for code, kinds in (("bound", 1), ("free", 2)):
            first = await d.get(f"/c/{code}", ip="192.0.2.1")
            again = [await d.get(f"/c/{code}", ip=f"192.0.3.{n}", cookie=first.cookie) for n in range(25)]
            assert len({item.host for item in again} | {first.host}) == kinds


async def test_cost_comes_from_the_link_or_is_fixed_or_uploaded(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await d.campaign("link", {"a": 1})
        await d.campaign("fixed", {"a": 1}, cost_model="fixed", cost=20_000, currency="USD")
        await d.campaign("daily", {"a": 1}, cost_model="daily")
        for code in (
            "link?cost=0.123456&currency=usd",
            "link?cost=abc",
            "link?cost=-1",
            "link?cost=1e3",
            "link?cost=0,5",
        ):
            await d.get(f"/c/{code}", ip="192.0.2.1")
        await d.get("/c/fixed?cost=9", ip="192.0.2.1")
        await d.get("/c/daily?cost=9", ip="192.0.2.1")
        stored = await d.stored()
        assert [click.extra for click in stored[:4]] == [None, {"cost": "abc"}, {"cost": "-1"}, None]
        assert [(click.cost, click.currency) for click in stored] == [
            (123_456, "USD"), (None, None), (None, None), (1_000_000_000, "EUR"), (500_000, "EUR"), (20_000, "USD"),
            (None, None),
        ]  # fmt: skip


async def test_whatever_breaks_the_visitor_is_sent_on_and_the_click_kept(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})

        def broken(_text: str) -> Agent:
            raise RuntimeError("table is gone")

        d.clicks._clients._agents.of = broken  # type: ignore[method-assign, assignment]
        assert (await d.get("/c/one", ip="192.0.2.1")).host == "a.example.test"
        assert [click.reason for click in await d.stored()] == [Reason.FAILED]
        assert d.clicks.health()["click_failures"] == 1


async def test_the_cookie_is_rewritten_when_the_offer_changes_and_only_then(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        a = await d.offer("a")
        b = await d.offer("b")
        await d.campaign("one", {"a": 1, "b": 0})
        first = await d.get("/c/one", ip="192.0.2.1")
        assert f"-{a};" in first.cookies[0]
        assert (await d.get("/c/one", ip="192.0.2.1", cookie=first.cookie)).cookies == []
        async with d.database.begin() as tx:
            await tx.execute(update(offers).where(offers.c.id == a).values(status="paused"))
            await config_version.bump(tx)
        await d.clicks.refresh()
        moved = await d.get("/c/one", ip="192.0.2.1", cookie=first.cookie)
        assert moved.host == "b.example.test"
        assert moved.cookie == first.cookie.replace(f"-{a}", f"-{b}")


async def test_only_a_visitor_sent_to_the_site_carries_the_click_in_a_cookie(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        site = await d.site("wall", "a")
        await d.campaign("through", {}, site_id=site)
        await d.campaign("direct", {"a": 1}, site_id=site, direct=True)
        assert "cf_click=" in (await d.get("/c/through", ip="192.0.2.1")).cookie
        assert "cf_click=" not in (await d.get("/c/direct", ip="192.0.2.2")).cookie


async def test_with_nothing_open_the_team_is_told_once_where_the_campaign_may_be_seen(
    upgraded_url: str,
) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("off", status="paused")
        site = await d.site("wall", "off")
        await d.campaign("closed", {"off": 1})
        now = d.runtime.clock()
        async with d.database.begin() as tx:
            for name, limit in (("all", None), ("theirs", ["closed"]), ("others", ["another"])):
                room = await rooms.bind(
                    tx, team_id=d.runtime.team_id, face="slack", workspace="T", room=name, title=name, private=False,
                    now=now,
                )  # fmt: skip
                new = {"team_id": d.runtime.team_id, "room_id": room.id, "every": "day", "at": "09:00"}
                more = {"timezone": "UTC", "campaigns": limit, "next_at": now, "created_at": now}
                await tx.execute(insert(subscriptions).values(**new, **more))
        for n in range(3):
            assert (await d.get("/c/closed", ip=f"192.0.2.{n}")).status == 200
        answer = await d.get("/go/wall/off", ip="192.0.2.9")
        assert (answer.status, answer.location) == (200, "")
        titles = sorted(await told(d, 3))
        assert [title.split()[1:3] for title in titles] == [["Campaign", "closed"]] * 2 + [["Site", "wall"]]
        assert [(click.offer_id, click.reason) for click in await d.stored()] == [(0, Reason.PAUSED)] * 4
        assert site


async def test_offers_that_stand_in_rules_only_are_told_of_too_and_again_when_closed_once_more(
    sqlite_url: str,
) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("off", status="paused")
        await d.campaign("ruled", {}, rules=[{"if": {}, "offers": ["off"]}])
        await d.campaign("empty", {})
        now = d.runtime.clock()
        async with d.database.begin() as tx:
            room = await rooms.bind(
                tx, team_id=d.runtime.team_id, face="slack", workspace="T", room="r", title="r", private=False, now=now
            )
            new = {"team_id": d.runtime.team_id, "room_id": room.id, "every": "day", "at": "09:00"}
            more = {"timezone": "UTC", "next_at": now, "created_at": now}
            await tx.execute(insert(subscriptions).values(**new, **more))
        answer = await d.get("/c/ruled", ip="192.0.2.1")
        assert (answer.status, answer.location) == (200, "")
        assert (await d.get("/c/empty", ip="192.0.2.1")).status == 404
        titles = await told(d, 2)
        assert "ruled has nothing open" in titles[0]
        assert "empty leads nowhere" in titles[1]
        for status in ("active", "paused"):
            async with d.database.begin() as tx:
                await tx.execute(update(offers).where(offers.c.code == "off").values(status=status))
                await config_version.bump(tx)
            await d.clicks.refresh()
            await d.clicks._closed.tell(d.clicks.state.plans)
            await d.get("/c/ruled", ip="192.0.2.2")
        assert len(await told(d, 3)) == 3
        assert [click.reason for click in await d.stored()] == [
            Reason.PAUSED, Reason.FAILED, Reason.CHOSEN, Reason.PAUSED
        ]  # fmt: skip


async def told(d: ClickDeployment, count: int) -> list[str]:
    """Titles of the messages that are queued, once there are so many."""

    async def queued() -> list[str]:
        rows = await d.rows(messages, messages.c.id)
        return [row.message["title"] for row in rows] if len(rows) >= count else []

    return list(await eventually(queued, f"{count} messages"))


async def test_rules_in_words_ask_for_what_a_request_says_and_simulations_agree(
    upgraded_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "city.mmdb"
    berlin = mapping(("names", mapping(("en", text("Berlin")))))
    division = mapping(("iso_code", text("BE")), ("names", mapping(("en", text("Land Berlin")))))
    country = mapping(("iso_code", text("DE")))
    record = mapping(("country", country), ("city", berlin), ("subdivisions", b"\x01\x04" + division))
    file.write_bytes(database(24, record=record, kind="Test-City"))
    async with click_deployment(upgraded_url, geoip_file=str(file)) as d:
        for code in ("net", "search", "city", "bots", "again", "zone", "rest"):
            await d.offer(code)
        rules = (
            "ip=192.0.2.0/28 -> net; search=google -> search; city=berlin and region=DE-BE and sub1=berlin -> city; "
            "bot -> bots; sub2=zone-?* -> zone; returning and not country=FR -> again"
        )
        await say(d, f'campaign create one offers=rest binding=no rules="{rules}"')
        await d.clicks.refresh()
        visits: list[tuple[str, dict[str, str], str]] = [
            ("net", {"ip": "192.0.2.7"}, "ip=192.0.2.7"),
            ("search", {"ip": "1.1.1.1", "referer": "https://www.google.de/"}, "referrer=https://www.google.de/"),
            ("city", {"ip": "1.1.1.2"}, "city=Berlin region=BE,DE-BE sub1=berlin"),
            ("bots", {"ip": "1.1.1.3", "agent": "Googlebot/2.1"}, "device=bot"),
            ("zone", {"ip": "1.1.1.4"}, "sub2=zone-7"),
            ("rest", {"ip": "1.1.1.5"}, ""),
            ("again", {"ip": "1.1.1.5"}, "returning=yes"),
        ]
        for offer, request, words in visits:
            path = "/c/one?sub1=berlin" if offer == "city" else "/c/one?sub2=zone-7" if offer == "zone" else "/c/one"
            assert (await d.get(path, **request)).host == f"{offer}.example.test", offer
            simulation = await say(d, f"simulate click one {words}")
            assert simulation.offer == offer, simulation.steps
        steps = (await say(d, "simulate click one city=Berlin region=BE")).steps
        assert any("rule 3" in step and "region=de-be fails" in step for step in steps)


async def test_a_rotation_is_tried_before_it_is_saved(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        for code in ("rest", "news", "full"):
            await d.offer(code)
        await say(d, 'campaign create one offers=rest rules="country=FR -> rest"')
        stored = await say(d, "campaign show one")
        rules = "country=DE -> news:3,full:1; device=tablet -> full"
        tried = await say(d, f'simulate click one country=DE rules="{rules}" offers=rest:2,news:1')
        assert tried.rule == 1
        assert {chance.offer: chance.percent for chance in tried.chances} == {"news": 75, "full": 25}
        others = await say(d, f'simulate click one country=AT rules="{rules}" offers=rest:2,news:1')
        assert others.rule is None
        assert {chance.offer: chance.percent for chance in others.chances} == {"rest": 66.6667, "news": 33.3333}
        nothing = await say(d, "simulate click one rules=none offers=none")
        assert [(chance.offer, chance.percent) for chance in nothing.chances] == [(None, 100)]
        await say(d, "offer pause full")
        left = await say(d, f'simulate click one country=DE rules="{rules}"')
        assert [(chance.offer, chance.percent) for chance in left.chances] == [("news", 100)]
        with pytest.raises(Refused, match="did you mean 'news'") as refused:
            await say(d, 'simulate click one rules="country=DE -> newz"')
        assert refused.value.field == "rules"
        assert await say(d, "campaign show one") == stored
        emptied = await say(d, "campaign edit one rules=none offers=none")
        assert (emptied.rules, emptied.offers) == ([], [])
        taken_back = await say(d, "undo")
        assert taken_back is not None
        assert await say(d, "campaign show one") == stored


async def test_city_and_region_are_refused_where_the_file_has_none(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        with pytest.raises(Refused, match="CASINOFLUX_GEOIP_FILE"):
            await say(d, 'campaign create one offers=a rules="city=Berlin -> a"')
