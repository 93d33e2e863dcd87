"""`simulate click` tells what a visitor would get; `click show` tells what is stored of one who came."""

import random
import time
from typing import Any

import msgspec
import pytest

import bot.commands  # noqa: F401  registers them
from bot.core.command import Answer, parse, run
from bot.core.context import Actor, Context
from bot.core.message import Fields, Message
from bot.render.report_csv import csv_of
from hub.runtime.ports import HubPorts
from storage.clicks import click_log
from storage.ledger.errors import Forbidden, Missing, Refused
from storage.ledger.facts import Reason, Role
from storage.tables import clicks
from tests.hub.clicks.click_deployment import IPHONE, WINDOWS, ClickDeployment, click_deployment


async def say(d: ClickDeployment, line: str, actor: Actor | None = None) -> Any:
    return (await _answer(d, line, actor)).result


async def shown_message(d: ClickDeployment, line: str) -> Message:
    return (await _answer(d, line)).message


async def _answer(d: ClickDeployment, line: str, actor: Actor | None = None) -> Answer:
    actor = actor or Actor(team_id=d.runtime.team_id, name="shell", role=Role.OWNER)
    ctx = Context(
        database=d.database, deployment=d.runtime.deployment, actor=actor, face="shell",
        ports=HubPorts(d.runtime.settings),
        box=d.runtime.box, clock=d.runtime.clock,
    )  # fmt: skip
    command, arguments = parse(line)
    return await run(command, arguments, ctx)


async def test_a_simulation_tells_rule_offer_and_url_and_stores_nothing(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("nordic", url="https://nordic.example.test/?c={click_id}&s={sub1}")
        await d.offer("rest")
        rules = [{"if": {"country": ["SE", "FI"]}, "offers": ["nordic"]}]
        await d.campaign("one", {"rest": 1}, rules=rules)
        simulation = await say(d, "simulate click one country=se sub1=x")
        assert (simulation.rule, simulation.offer, simulation.reason) == (1, "nordic", "chosen")
        assert simulation.url == "https://nordic.example.test/?c=0123456789abcdefghjkmnp&s=x"
        other = await say(d, "simulate click one country=DE")
        assert (other.rule, other.offer, other.reason) == (None, "rest", "no_rule")
        assert any("does not match" in step for step in other.steps)
        assert await d.count(clicks) == 0


async def test_a_simulation_knows_pauses_caps_and_sites(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("full", cap=1, cap_event="click", cap_period="day")
        await d.offer("rest")
        await d.campaign("one", {"full": 1, "rest": 0})
        await d.get("/c/one", ip="192.0.2.1")
        simulation = await say(d, "simulate click one")
        assert (simulation.offer, simulation.reason) == ("rest", "capped")
        assert any("full: 1 of 1" in step for step in simulation.steps)
        await d.campaign("two", {"rest": 1})
        assert not any("full" in step for step in (await say(d, "simulate click two")).steps)
        site = await d.site("wall", "rest")
        await d.campaign("walled", {}, site_id=site)
        landing = (await say(d, "simulate click walled")).url
        assert landing == "https://track.example.test/s/wall?click=0123456789abcdefghjkmnp"


async def test_a_simulation_says_what_a_click_then_gets(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await d.offer("off", status="paused")
        await d.offer("full", cap=1, cap_event="click", cap_period="day")
        await d.campaign("fill", {"full": 1})
        await d.get("/c/fill", ip="192.0.2.99")
        wall, shut = await d.site("wall", "a"), await d.site("shut", "a", status="paused")
        rules = [{"if": {"device": "mobile"}, "offers": ["off"]}]
        kinds: dict[str, tuple[dict[str, int], dict[str, Any]]] = {
            "plain": ({"a": 1}, {}), "shut": ({"off": 1}, {}), "both": ({"full": 1, "off": 0}, {}), "none": ({}, {}),
            "paused": ({"a": 1}, {"status": "paused"}), "rules": ({"a": 1}, {"rules": rules}),
            "back": ({"off": 1}, {"fallback_url": "https://back.example.test/"}),
            "asleep": ({"a": 1}, {"fallback_url": "https://back.example.test/", "status": "paused"}),
            "to-wall": ({}, {"site_id": wall}), "off-wall": ({}, {"site_id": wall, "status": "paused"}),
            "last-wall": ({"off": 1}, {"site_id": wall, "direct": True}), "to-shut": ({}, {"site_id": shut}),
        }  # fmt: skip
        for code, (shares, more) in kinds.items():
            await d.campaign(code, shares, **more)
            simulation = await say(d, f"simulate click {code}")
            answer = await d.get(f"/c/{code}", ip="192.0.2.1")
            click = (await d.stored())[-1]
            assert (simulation.url or "").partition("?")[0] == answer.location.partition("?")[0], code
            assert simulation.reason == Reason(click.reason).name.lower(), code


async def test_a_click_is_shown_with_every_field(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        answer = await d.get(
            "/c/one?click_id=x1&sub3=z&cost=0.2&more=1", ip="8.8.8.8", referer="https://r.example.test/"
        )
        shown = await say(d, f"click show {answer.query['c'].upper()}")
        assert shown.click_id == answer.query["c"]
        assert (shown.campaign, shown.offer, shown.country, shown.device) == ("one", "a", "US", "mobile")
        assert (shown.source_click_id, shown.sub3, shown.cost, shown.extra) == ("x1", "z", 200_000, {"more": "1"})
        assert (shown.unique, shown.bot, shown.reason, shown.conversions) == (True, None, "chosen", [])
        await d.get("/c/one?cost=1500000.25&currency=IDR", ip="8.8.8.9")
        latest = d.clicks.state.codec.encode((await d.stored())[-1].id)
        [fields] = (await shown_message(d, f"click show {latest}")).blocks
        assert isinstance(fields, Fields)
        assert ("cost", "1500000.25") in fields.fields
        with pytest.raises(Missing):
            await say(d, "click show zzzzzzzzzzzzz")


async def test_the_log_has_every_stored_field_latest_first_in_pages_and_as_csv(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        await d.campaign("two", {"a": 1})
        for n in range(3):
            await d.get(f"/c/one?sub1=s{n}", ip=f"192.0.2.{n + 1}")
        await d.get("/c/two", ip="192.0.2.9")
        first = await say(d, "click log campaign=one limit=2")
        assert [click.sub1 for click in first.items] == ["s2", "s1"]
        rest = await say(d, f"click log campaign=one limit=2 after={first.next}")
        assert ([click.sub1 for click in rest.items], rest.next) == (["s0"], None)
        assert len((await say(d, "click log outcome=chosen")).items) == 4
        assert (await say(d, "click log outcome=capped")).items == []
        click = first.items[0]
        shown = await say(d, f"click show {click.click_id}")
        assert {name for name in click.__struct_fields__ if getattr(click, name) != getattr(shown, name)} == set()
        with pytest.raises(Refused, match="outcome: one of chosen"):
            await say(d, "click log outcome=lucky")
        answer = await shown_message(d, "click log campaign=one csv=true")
        lines = (csv_of(answer) or "").splitlines()
        assert len(lines) == 4
        assert {"sub1", "sub10", "user_agent", "referrer", "cost", "extra"} <= set(lines[0].split(","))


async def test_every_filter_of_the_log_finds_all_its_clicks_over_months_page_by_page(
    upgraded_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page looks at a few rows only; whatever the filter, its pages together are all the clicks there are."""
    monkeypatch.setattr(click_log, "FIRST_PIECE", 2)
    monkeypatch.setattr(click_log, "LARGEST_PIECE", 4)
    monkeypatch.setattr(click_log, "MOST_ROWS", 9)
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await d.offer("b")
        await d.campaign("busy", {"a": 1})
        await d.campaign("quiet", {"b": 1})
        chance, now = random.Random(15), time.time()
        moments = [now - chance.choice([300 * 86_400, 70 * 86_400, 40 * 3600, 90]) - 60 * n for n in range(30)]
        for n, moment in enumerate(sorted(moments)):
            d.clicks.state.seconds = lambda moment=moment: moment  # type: ignore[misc]
            code = "quiet" if n in {1, 17} else "busy"
            agent = WINDOWS if n % 5 else IPHONE
            await d.get(
                f"/c/{code}?sub1=s{n}", ip=chance.choice(["8.8.8.8", "192.0.2.7"]) if n else "8.8.8.8", agent=agent
            )
        everything = await pages(d, "click log")
        assert [click["sub1"] for click in everything] == [f"s{n}" for n in reversed(range(30))]
        filters = [("campaign", "quiet"), ("offer", "b"), ("country", "US"), ("device", "mobile"), ("outcome", "bound")]
        for name, value in filters:
            expected = [click for click in everything if click[{"outcome": "reason"}.get(name, name)] == value]
            assert expected
            assert await pages(d, f"click log {name}={value}") == expected, name
        both = [c for c in everything if c["campaign"] == "busy" and c["country"] == "US" and c["reason"] == "chosen"]
        assert await pages(d, "click log campaign=busy country=us outcome=chosen") == both


async def pages(d: ClickDeployment, line: str) -> list[dict[str, Any]]:
    items, after = [], ""
    for _ in range(100):
        page = await say(d, f"{line} limit=3{after}")
        items += [msgspec.to_builtins(click) for click in page.items]
        if page.next is None:
            return items
        after = f" after={page.next}"
    raise AssertionError("the log has no end")


async def test_the_log_of_a_member_limited_to_campaigns_has_those_only(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        for code in ("mine", "theirs"):
            await d.campaign(code, {"a": 1})
            await d.get(f"/c/{code}", ip="192.0.2.1")
        actor = Actor(team_id=d.runtime.team_id, name="m", role=Role.VIEWER, campaigns=("mine",))
        page = (await _answer(d, "click log", actor)).result
        assert [click.campaign for click in page.items] == ["mine"]
        with pytest.raises(Forbidden):
            await _answer(d, "click log campaign=theirs", actor)
