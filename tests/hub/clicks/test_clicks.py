"""A click on a tracking link: redirected to a configured place, on disk before the answer, counted honestly."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import update

from hub.clicks.responses import Added
from storage.catalogue import teams
from storage.clicks import queries as stored_clicks
from storage.clicks.bursts import BurstCounter
from storage.ledger.facts import Bot, Reason
from storage.tables import click_rollup, clicks, faults, outgoing, touched, user_agents
from tests.hub.clicks.click_deployment import IPHONE, WINDOWS, ClickDeployment, click_deployment


async def test_a_click_is_stored_and_sent_on_with_its_id(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        source = await d.source("fb", click_id="fbclid", cost="bid", sub1="ad")
        await d.offer("lucky", url="https://lucky.example.test/p?c={click_id}&s={sub1}&x={source_click_id}&o={offer}")
        await d.campaign("spring", {"lucky": 1}, source_id=source)
        answer = await d.get("/c/spring?fbclid=abc&bid=0.35&ad=red%20one&other=1", ip="8.8.8.8")
        assert answer.status == 302
        assert answer.headers["cache-control"] == "no-store"
        assert answer.query["s"] == "red one"
        assert answer.query["x"] == "abc"
        assert answer.query["o"] == "lucky"
        [click] = await d.stored()
        assert d.clicks.state.codec.decode(answer.query["c"].upper()) == click.id
        assert (click.source_click_id, click.cost, click.currency, click.sub1) == ("abc", 350_000, "EUR", "red one")
        assert (click.country, click.unique_click, click.bot, click.extra) == ("US", 1, Bot.NO, {"other": "1"})
        assert len(click.ip_hash) == len(click.visitor) == 8
        [row] = await d.rows(click_rollup)
        assert (row.clicks, row.unique_clicks, row.bot_clicks, row.cost, row.device) == (1, 1, 0, 350_000, "mobile")
        assert await d.count(touched) == 1
        async with d.database.read() as tx:
            link = await stored_clicks.link(tx, click.id)
        assert link is not None
        assert (link.offer_id, link.device, link.subs[0]) == (d.made["lucky"], "mobile", "red one")


async def test_whatever_is_answered_without_a_task_has_the_headers_of_every_answer(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("lucky")
        await d.offer("rest", status="paused")
        await d.campaign("open", {"lucky": 1})
        await d.campaign("closed", {"rest": 1})
        opened = await taken(d, "open")
        assert (opened["status"], header(opened, b"location")[:26]) == (302, b"https://lucky.example.test")
        assert header(opened, b"set-cookie").startswith(b"cf%d=" % d.made["campaign open"])
        closed = await taken(d, "closed")
        assert (closed["status"], header(closed, b"content-type")[:9]) == (200, b"text/html")
        assert (await taken(d, "closed", method="HEAD"))["status"] == 200
        monkeypatch.setattr(d.clicks._factory, "click", lambda *_: 1 / 0)
        assert (await taken(d, "open"))["status"] == 302


async def test_a_click_under_two_host_names_is_taken_under_none(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("lucky")
        await d.campaign("open", {"lucky": 1})
        assert await taken(d, "open", (b"host", HOST), (b"host", HOST))
        assert not await taken(d, "open", (b"host", HOST), (b"host", b"stranger.example.test"))
        assert not await taken(d, "open", (b"host", b"stranger.example.test"))
        assert len(await d.stored()) == 1


HOST = b"track.example.test"


async def taken(d: ClickDeployment, code: str, *hosts: tuple[bytes, bytes], method: str = "GET") -> dict[str, Any]:
    """How the answer to a click begins that is taken without a task; empty if it is not."""
    headers = [(b"user-agent", IPHONE.encode()), *(hosts or [(b"host", HOST)])]
    scope = {"method": method, "path": f"/c/{code}", "query_string": b"", "headers": headers, "client": ("::1", 50000)}
    sent: list[dict[str, Any]] = []
    complete = asyncio.Event()

    def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if len(sent) == 2 or "lines" in message:
            complete.set()

    if not d.clicks.try_fast_path(scope, send, Added(((b"x-always", b"yes"),))):
        return {}
    await complete.wait()
    start = sent[0]
    if "lines" in start:  # a redirect in one message
        lines = [*(line.encode("ascii", "ignore") for line in start["lines"]), *start["rest"].splitlines()]
        start["headers"] = [tuple(line.split(b": ", 1)) for line in lines]
    assert header(start, b"x-always") == b"yes"
    return start


def header(start: dict[str, Any], wanted: bytes) -> bytes:
    """The only value of a header."""
    [value] = [value for name, value in start["headers"] if name == wanted]
    return bytes(value)


async def test_an_unknown_code_is_a_404_page_and_counted(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        for path in ("/c/nothing", "/c/nothing", "/c/", "/go/x/y", "/go/x"):
            assert (await d.get(path)).status == 404
        await d.clicks.writer.stop()
        assert {(row.kind, row.subject, row.n) for row in await d.rows(faults)} >= {("unknown_code", "nothing", 2)}


async def test_a_visitor_is_unique_once_a_day_by_cookie_or_else_by_hash(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        await d.campaign("two", {"a": 1})
        first = await d.get("/c/one", ip="192.0.2.1")
        await d.get("/c/one", ip="192.0.2.1")  # same address and browser
        await d.get("/c/one", ip="192.0.2.2", cookie=first.cookie)  # moved, but has the cookie
        await d.get("/c/one", ip="192.0.2.1", agent=WINDOWS)  # another browser
        await d.get("/c/two", ip="192.0.2.1")  # another campaign
        assert [click.unique_click for click in await d.stored()] == [1, 0, 0, 1, 1]


async def test_uniqueness_and_binding_survive_a_restart(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await d.offer("b")
        await d.campaign("one", {"a": 1, "b": 1})
        firsts = [await d.get("/c/one", ip=f"192.0.2.{n}") for n in range(20)]
        await d.clicks.stop()
        await d.clicks.start()
        again = [await d.get("/c/one", ip=f"192.0.2.{n}") for n in range(20)]
        assert [item.host for item in again] == [first.host for first in firsts]
        stored = await d.stored()
        assert [click.unique_click for click in stored] == [1] * 20 + [0] * 20
        assert {click.reason for click in stored[20:]} == {Reason.BOUND}


async def test_machines_are_redirected_flagged_and_counted_apart(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        assert (await d.get("/c/one", method="HEAD", ip="192.0.2.1")).status == 302
        await d.get("/c/one", agent="Googlebot/2.1 (+http://www.google.com/bot.html)", ip="192.0.2.2")
        await d.get("/c/one", agent="TelegramBot (like TwitterBot)", ip="192.0.2.3")
        await d.get("/c/one", ip="192.0.2.4", sec_purpose="prefetch;prerender")
        await d.get("/c/one", ip="192.0.2.4")
        kinds = [click.bot for click in await d.stored()]
        assert kinds == [Bot.HEAD, Bot.CRAWLER, Bot.PREVIEW, Bot.PREFETCH, Bot.NO]
        rows = await d.rows(click_rollup)
        assert (sum(row.clicks for row in rows), sum(row.bot_clicks for row in rows)) == (1, 4)


async def test_more_than_sixty_clicks_a_minute_from_one_address_are_a_machines(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        for _ in range(62):
            await d.get("/c/one", ip="192.0.2.1")
        assert [click.bot for click in await d.stored()] == [Bot.NO] * 60 + [Bot.BURST] * 2


async def test_a_site_gets_the_click_and_its_link_takes_it_on_to_the_offer(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a", url="https://a.example.test/?c={click_id}&s={sub1}&w={site}&k={campaign}")
        await d.offer("b")
        site = await d.site("wall", "a", "b")
        await d.campaign("one", {}, site_id=site)
        landed = await d.get("/c/one?sub1=x&cost=0.10", ip="192.0.2.1")
        assert landed.location.startswith("https://track.example.test/s/wall?click=")
        word = landed.query["click"]
        onward = await d.get(f"/go/wall/a?click={word}", ip="192.0.2.1")
        assert (onward.host, onward.query) == ("a.example.test", {"c": word, "s": "x", "w": "wall", "k": "one"})
        await d.get("/go/wall/b", ip="192.0.2.1", cookie=landed.cookie)
        [click] = await d.stored()
        assert click.offer_id == d.made["a"]
        assert [row.offer_id for row in await d.rows(outgoing, outgoing.c.id)] == [d.made["a"], d.made["b"]]
        await d.clicks.writer.stop()
        rows = {(row.offer_id, row.currency): row for row in await d.rows(click_rollup) if row.clicks or row.outgoing}
        assert {key: (row.clicks, row.unique_clicks, row.outgoing, row.cost) for key, row in rows.items()} == {
            (d.made["a"], "EUR"): (1, 1, 0, 100_000),
            (d.made["a"], ""): (0, 0, 1, 0),
            (d.made["b"], ""): (0, 0, 1, 0),
        }


async def test_a_site_without_campaign_makes_clicks_of_its_own(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await d.site("wall", "a")
        answer = await d.get("/go/wall/a", ip="192.0.2.1")
        again = await d.get("/go/wall/a?click=zzzzzzzzzzzzz", ip="192.0.2.1")
        assert answer.host == again.host == "a.example.test"
        stored = await d.stored()
        assert [(c.campaign_id, c.offer_id, c.unique_click) for c in stored] == [
            (0, d.made["a"], 1),
            (0, d.made["a"], 0),
        ]


async def test_macros_a_source_left_are_missing_and_counted_as_its_fault(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        source = await d.source("pop", click_id="sid")
        await d.campaign("one", {"a": 1}, source_id=source)
        await d.get("/c/one?sid=%24%7BSUBID%7D&cost={cost}&sub1=[zone]&sub2=##x##&sub3=__y__&sub4=a{b}")
        [click] = await d.stored()
        assert (click.source_click_id, click.cost, click.sub1, click.sub2, click.sub3, click.sub4) == (
            None, None, None, None, None, "a{b}",
        )  # fmt: skip
        await d.clicks.writer.stop()
        counted = {row.subject for row in await d.rows(faults) if row.kind == "macro"}
        assert counted == {"pop:sid", "pop:cost", "pop:sub1", "pop:sub2", "pop:sub3"}


async def test_a_user_agent_is_stored_once(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        for agent in (IPHONE, WINDOWS, IPHONE):
            await d.get("/c/one", agent=agent, ip="192.0.2.1")
        assert await d.count(user_agents) == 2


async def test_a_click_of_another_team_is_not_taken_on_to_an_offer(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        campaign_id = await d.campaign("two", {}, site_id=await d.site("wall", "a"))
        word = (await d.get("/c/two")).query["click"]
        async with d.database.begin() as tx:
            other = await teams.add(tx, "Other", d.runtime.clock())
            await tx.execute(update(clicks).values(team_id=other.id))
        assert (await d.get(f"/go/wall/a?click={word}", ip="192.0.2.5")).host == "a.example.test"
        assert await d.count(outgoing) == 0
        assert [row.campaign_id for row in await d.stored()] == [campaign_id, 0]


async def test_what_a_machine_clicked_stays_a_machines_when_a_person_takes_it_on(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await d.campaign("two", {}, site_id=await d.site("wall", "a"))
        word = (await d.get("/c/two", agent="Googlebot/2.1 (+http://www.google.com/bot.html)")).query["click"]
        await d.get(f"/go/wall/a?click={word}", ip="192.0.2.5")
        assert [row.bot != 0 for row in await d.rows(outgoing)] == [True]
        assert [row.offer_id for row in await d.stored()] == [0]


def test_many_clicks_of_an_address_are_a_machines_only_within_a_minute() -> None:
    slow, quick = BurstCounter(), BurstCounter()
    assert {slow.count(b"address", 1_000 + 2 * n) for n in range(200)} == {Bot.NO}
    assert [quick.count(b"address", 1_000 + n / 2) for n in range(62)] == [Bot.NO] * 60 + [Bot.BURST] * 2
