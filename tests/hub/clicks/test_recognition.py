"""Who counts as the same visitor: for how long, of what, and which offers those see who return."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from storage.ledger.clicks.click_id import instant_of
from storage.ledger.errors import Refused
from storage.ledger.facts import Reason
from storage.tables import facts
from tests.bot.commands.test_clicks import say, shown_message
from tests.hub.clicks.click_deployment import ClickDeployment, click_deployment

START = datetime(2026, 9, 1, 8, 0, tzinfo=UTC)


def at(d: ClickDeployment, hours: float) -> None:
    """Set the clock of the click path."""
    moment = START + timedelta(hours=hours)
    d.clicks.state.seconds = moment.timestamp
    d.clicks.writer._clock = lambda: moment


async def uniques(d: ClickDeployment) -> list[int]:
    return [click.unique_click for click in await d.stored()]


async def campaign(d: ClickDeployment, words: str, *, offers: str = "a") -> Any:
    made = await say(d, f"campaign create {words} offers={offers}")
    await d.clicks.refresh()
    return made


@pytest.mark.parametrize("by_cookie", [True, False])
async def test_a_visitor_is_new_again_after_the_campaigns_period(upgraded_url: str, by_cookie: bool) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        assert (await campaign(d, "one unique_period=2h")).unique_period == "2h"
        cookie = ""
        for hours in (0, 1.5, 2.1, 3.9, 4.2):
            at(d, hours)
            answer = await d.get("/c/one", ip="192.0.2.1", **({"cookie": cookie} if by_cookie and cookie else {}))
            if answer.cookies:
                assert "Max-Age=7200" in answer.cookies[0]
                cookie = answer.cookie
        assert await uniques(d) == [1, 0, 1, 0, 1]


@pytest.mark.parametrize("by_cookie", [True, False])
async def test_a_visitor_is_known_for_24_hours_over_midnight(upgraded_url: str, by_cookie: bool) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await campaign(d, "one")
        cookie = ""
        for n, hours in enumerate((0, 23.9, 24.2)):
            at(d, hours)
            d.runtime.clock = lambda moment=START + timedelta(hours=hours): moment  # type: ignore[misc]
            await d.clicks._rotate_keys()
            if by_cookie:
                answer = await d.get("/c/one", ip=f"192.0.2.{n}", cookie=cookie)
                cookie = cookie or answer.cookie
            else:
                await d.get("/c/one", ip="192.0.2.1")
        assert await uniques(d) == [1, 0, 1]


async def test_a_period_of_days_holds_by_cookie(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await campaign(d, "one unique_period=30d")
        at(d, 0)
        cookie = (await d.get("/c/one", ip="192.0.2.1")).cookie
        for hours, ip in ((29 * 24, "192.0.2.2"), (31 * 24, "192.0.2.3")):
            at(d, hours)
            await d.get("/c/one", ip=ip, cookie=cookie)
        assert await uniques(d) == [1, 0, 1]


@pytest.mark.parametrize("scope", ["site", "team"])
@pytest.mark.parametrize("by_cookie", [True, False])
async def test_a_visitor_of_one_campaign_is_not_new_to_another_of_the_scope(
    upgraded_url: str, scope: str, by_cookie: bool
) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await d.offer("b")
        await d.site("wall", "a", "b")
        where = "site=wall direct=yes" if scope == "site" else ""
        await campaign(d, f"one unique_scope={scope} {where}", offers="a,b")
        await campaign(d, f"two unique_scope={scope} {where}", offers="a,b")
        await campaign(d, "apart")
        cookies = ""
        for code in ("one", "two", "apart", "one", "two"):
            more = {"cookie": cookies} if by_cookie and cookies else {}
            answer = await d.get(f"/c/{code}", ip="192.0.2.1", **more)
            cookies = "; ".join(filter(None, (cookies, answer.cookie)))
        assert await uniques(d) == [1, 0, 1, 0, 0]
        stored = await d.stored()
        for n, code in enumerate(("one", "two")):  # what they keep stays the campaign's own
            assert stored[n].offer_id == stored[n + 3].offer_id, code
            assert stored[n + 3].reason == Reason.BOUND


async def test_scopes_and_unseen_offers_are_known_after_a_restart(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        for code in ("a", "b", "c"):
            await d.offer(code)
        for code in ("one", "two"):
            await campaign(d, f"{code} unique_scope=team smart_rotation=yes", offers="a,b,c")
        hosts = [(await d.get(f"/c/{code}", ip="192.0.2.1")).host for code in ("one", "one", "two")]
    async with click_deployment(upgraded_url, create="") as d:
        hosts.insert(2, (await d.get("/c/one", ip="192.0.2.1")).host)
        assert len(set(hosts[:3])) == 3
        assert await uniques(d) == [1, 0, 0, 0]
        more = [(await d.get("/c/two", ip="192.0.2.1")).host for _ in range(2)]
        assert len({hosts[3], *more}) == 3


@pytest.mark.parametrize("by_cookie", [True, False])
async def test_who_returns_sees_offers_they_have_not_seen_until_all_are(upgraded_url: str, by_cookie: bool) -> None:
    async with click_deployment(upgraded_url) as d:
        for code in ("a", "b", "c", "off", "never"):
            await d.offer(code, **({"status": "paused"} if code == "off" else {}))
        await campaign(d, "one smart_rotation=yes", offers="a:100,b:1,c:1,off:1,never:0")
        for n in range(4):
            cookie, hosts = "", []
            for _ in range(5):
                more = {"cookie": cookie} if by_cookie and cookie else {}
                answer = await d.get("/c/one", ip=f"192.0.2.{n}", **more)
                hosts.append(answer.host.split(".")[0])
                cookie = answer.cookie or cookie
            assert set(hosts[:3]) == {"a", "b", "c"}
            assert set(hosts[3:]) <= {"a", "b", "c"}
        reasons = Counter(click.reason for click in await d.stored())
        assert reasons[Reason.UNSEEN] == 8
        assert sum(await uniques(d)) == 4


async def test_a_crowd_of_one_visitor_sees_different_offers(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        for code in ("a", "b", "c"):
            await d.offer(code)
        await campaign(d, "one smart_rotation=yes", offers="a,b,c")
        answers = await asyncio.gather(*(d.get("/c/one", ip="192.0.2.1") for _ in range(3)))
        assert len({answer.host for answer in answers}) == 3
        assert sum(await uniques(d)) == 1


async def test_a_rules_offers_too_are_those_not_seen_yet(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        for code in ("a", "b", "rest"):
            await d.offer(code)
        await say(d, 'campaign create one offers=rest smart_rotation=yes rules="device=mobile -> a,b"')
        await d.clicks.refresh()
        hosts = [(await d.get("/c/one", ip="192.0.2.1")).host for _ in range(2)]
        assert set(hosts) == {"a.example.test", "b.example.test"}
        simulation = await say(d, "simulate click one saw=a")
        assert (simulation.offer, simulation.reason) == ("b", "unseen")
        assert (await say(d, "simulate click one saw=a,b")).reason == "chosen"
        assert (await say(d, "click log outcome=unseen")).items[0].reason == "unseen"


async def test_machines_are_never_unique_and_get_no_cookie(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await d.offer("b")
        await campaign(d, "one unique_scope=team smart_rotation=yes", offers="a,b")
        await d.get("/c/one", ip="192.0.2.1", agent="Googlebot/2.1")
        assert (await d.get("/c/one", ip="192.0.2.1", agent="Googlebot/2.1")).cookies == []
        assert await uniques(d) == [0, 0]


@pytest.mark.parametrize(
    ("words", "field", "message"),
    [
        ("unique_period=soon", "unique_period", "not a length of time"),
        ("unique_period=400d", "unique_period", "not a length of time"),
        ("unique_scope=planet", "unique_scope", "one of campaign, site, team"),
        ("unique_scope=site", "unique_scope", "has no site"),
        ("site=wall smart_rotation=yes", "smart_rotation", "direct=true first"),
        ("pacing=even", "pacing", "no budget of the day"), ("budget_day=5 pacing=fast", "pacing", "one of even, usual"),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_refused_at_its_field(sqlite_url: str, words: str, field: str, message: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await d.site("wall", "a")
        with pytest.raises(Refused, match=message) as caught:
            await say(d, f"campaign create one offers=a {words}")
        assert caught.value.field == field


async def test_a_card_says_who_counts_as_the_same_and_undo_sets_it_back(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await campaign(d, "one")
        edited = await say(d, "campaign edit one unique_period=12h unique_scope=team smart_rotation=yes")
        assert (edited.unique_period, edited.unique_scope, edited.smart_rotation) == ("12h", "team", True)
        card = str(await shown_message(d, "campaign show one"))
        assert "new to any campaign of the team for 12 hours" in card
        assert "go on to offers they have not seen" in card
        await say(d, "undo")
        shown = await say(d, "campaign show one")
        assert (shown.unique_period, shown.unique_scope, shown.smart_rotation) == (None, None, False)


async def test_click_ids_and_daily_keys_follow_a_clock_that_was_wrong(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await campaign(d, "one")
        for n, hours in enumerate((0, 24 * 400, 0)):
            at(d, hours)
            d.runtime.clock = lambda moment=START + timedelta(hours=hours): moment  # type: ignore[misc]
            await d.clicks._follow()
            await d.get("/c/one", ip=f"192.0.2.{n}")
        assert [instant_of(click.id).date() for click in await d.stored()] == [
            START.date(), START.date(), (START + timedelta(days=400)).date(),
        ]  # fmt: skip
        keys = [fact.name for fact in await d.rows(facts) if fact.name.startswith("visitor_key:")]
        assert keys == [f"visitor_key:{START.date()}"]
