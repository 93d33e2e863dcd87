"""Sites as a visitor gets them: preview, live domain, compliance pages, click ids carried on."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import insert, update

import bot.commands  # noqa: F401
from bot.core.command import Answer, parse, run
from bot.core.context import Actor, Context, Deployment
from hub.requests.hosts import normal_host
from hub.runtime.ports import HubPorts
from hub.runtime.runtime import Runtime
from hub.runtime.settings import Settings
from hub.sites.handler import Sites
from storage.catalogue import teams
from storage.db import config_version
from storage.db.engine import Database
from storage.db.secrets import Box
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.tables import accounts, casinos, domains, offers
from tests.hub.asgi import Got, fetch

NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)
PUBLIC = "http://track.example.test"
CLICK = "01HZX3MN8PQR7"


class Team:
    """A team at work: commands on one side, its sites on the other."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime, self.sites = runtime, Sites(runtime)

    async def say(self, text: str) -> Any:
        command, arguments = parse(text)
        answer: Answer = await run(command, arguments, Context(
            database=self.runtime.database, deployment=Deployment(public_url=PUBLIC),
            actor=Actor(team_id=self.runtime.team_id, name="anna", role=Role.OWNER), face="shell",
            ports=self.runtime.ports, box=self.runtime.box, clock=lambda: NOW,
        ))  # fmt: skip
        await self.sites.refresh()
        return answer.result

    async def get(self, path: str, host: str = "track.example.test", **more: Any) -> Got:
        return await fetch(self.sites, path, host=host, **more)

    async def go_live(self, host: str, site_id: int) -> None:
        async with self.runtime.database.begin() as tx:
            row = {"team_id": self.runtime.team_id, "name": host, "code": host.replace(".", "-"), "created_at": NOW}
            await tx.execute(insert(domains).values(**row, site_id=site_id, status="live", state={}))
            await config_version.bump(tx)
        await self.sites.refresh()


@asynccontextmanager
async def at_work(opened: Callable[[], Any]) -> AsyncIterator[Team]:
    async with opened() as database:
        async with database.begin() as tx:
            team_id = await teams.first(tx, NOW)
            await two_offers(tx, team_id)
        team = Team(new_runtime(database, team_id))
        await team.sites.refresh()
        yield team


def new_runtime(database: Database, team_id: int) -> Runtime:
    settings = Settings(secret_key="0" * 64, public_url=PUBLIC)
    return Runtime(
        settings=settings, database=database, box=Box("0" * 64), ports=HubPorts(settings), team_id=team_id,
        clock=lambda: NOW,
    )  # fmt: skip


async def two_offers(tx: Any, team_id: int) -> None:
    mine = {"team_id": team_id, "created_at": NOW}
    account = insert(accounts).values(
        **mine, name="Main", code="main", platform="affilka", timezone="UTC", currency="EUR", options={},
        postback_key="k",
    ).returning(accounts.c.id)  # fmt: skip
    account_id = (await tx.execute(account)).scalar_one()
    for name in ("Lucky Star", "Wild Win"):
        code = name.lower().replace(" ", "-")
        entry: dict[str, Any] = {"name": name, "code": code, "status": "draft", "payment_methods": [], "markets": []}
        made = await tx.execute(insert(casinos).values(**mine, **entry).returning(casinos.c.id))
        await tx.execute(insert(offers).values(
            **mine, name=name, code=code, casino_id=made.scalar_one(), account_id=account_id,
            url="https://casino.example.test/?c={click_id}", markets=[], status="active",
        ))  # fmt: skip


async def test_a_draft_shows_as_preview_with_a_banner(opened: Callable[[], Any]) -> None:
    async with at_work(opened) as team:
        site = await team.say('site create name="Top Casinos" market=DE offers=wild-win,lucky-star')
        assert (site.code, site.locale, site.theme, site.status) == ("top-casinos", "de", "offer-wall", "draft")
        assert site.preview_url.startswith(f"{PUBLIC}/s/top-casinos~")
        preview = site.preview_url.removeprefix(PUBLIC)
        for unsigned in ("/s/top-casinos", "/s/top-casinos~", preview[:-1], preview[:-1] + "x", "/s/nothing"):
            assert (await team.get(unsigned)).text == (await team.get("/s/no-site")).text
        response = await team.get(preview)
        assert response.status == 200
        assert (await team.get(f"{preview}/privacy")).status == 200
        assert "Vorschau" in response.text
        assert response.text.index("Wild Win") < response.text.index("Lucky Star")
        assert '<html lang="de"' in response.text
        assert "18+" in response.text
        assert response.header("x-robots-tag") == "noindex, nofollow"


async def test_the_click_travels_on_to_every_offer(opened: Callable[[], Any]) -> None:
    async with at_work(opened) as team:
        await published(team)
        response = await team.get(f"/s/top?click={CLICK}&utm=x")
        assert f'href="/go/top/wild-win?click={CLICK}"' in response.text
        assert f'href="/go/top/lucky-star?click={CLICK}"' in response.text
        assert 'rel="nofollow sponsored noopener"' in response.text
        for forged in ("%22%3E%3Cscript%3E", "a" * 33, "../x"):
            assert 'href="/go/top/wild-win"' in (await team.get(f"/s/top?click={forged}")).text


async def test_publishing_is_refused_with_the_list_of_what_is_missing(opened: Callable[[], Any]) -> None:
    async with at_work(opened) as team:
        await team.say("site create name=Top market=DE offers=wild-win,lucky-star")
        with pytest.raises(Refused, match=r"Wild Win is not reviewed.*Lucky Star is not reviewed") as caught:
            await team.say("site publish top")
        assert caught.value.field == "site"
        await team.say("casino review lucky-star")
        await team.say("casino review wild-win markets=SE")
        with pytest.raises(Refused, match="may not be shown in DE"):
            await team.say("site publish top")
        await team.say("casino edit wild-win markets=all")
        assert (await team.say("site publish top")).status == "published"
        assert "Vorschau" not in (await team.get("/s/top")).text
        with pytest.raises(Refused, match="it has no offers"):
            await team.say("site edit top offers=[]")


async def test_a_live_domain_serves_its_site_and_nothing_of_the_hub(opened: Callable[[], Any]) -> None:
    async with at_work(opened) as team:
        site = await published(team)
        await team.go_live("casino.example.test", site.id)
        for host in ("casino.example.test", "CASINO.example.test:443", "casino.example.test."):
            response = await team.get("/", host=host)
            assert (response.status, "Lucky Star" in response.text) == (200, True)
            assert team.sites.owns(response.scope)
        for page in ("terms", "privacy", "responsible-gambling"):
            response = await team.get(f"/{page}", host="casino.example.test")
            assert response.status == 200
            assert 'href="/terms"' in response.text
        robots = await team.get("/robots.txt", host="casino.example.test")
        assert "Sitemap: https://casino.example.test/sitemap.xml" in robots.text
        assert (
            "<loc>https://casino.example.test/terms</loc>"
            in (await team.get("/sitemap.xml", host="casino.example.test")).text
        )
        missing = await team.get("/cockpit", host="casino.example.test")
        assert missing.status == 404
        assert await team.sites.is_our_host("Casino.Example.test.")
        assert not await team.sites.is_our_host("other.example.test")


async def test_hosts_of_no_one_get_a_neutral_answer(opened: Callable[[], Any]) -> None:
    async with at_work(opened) as team:
        for host in ("other.example.test", "casino.example.test@evil.test", "*.example.test", "a..b", "a b.test"):
            response = await team.get("/", host=host)
            assert (response.status, team.sites.owns(response.scope)) == (404, True)
            assert "CasinoFlux" not in response.text
        for host in ("track.example.test", "track.example.test:8000", "127.0.0.1:8000", "[::1]:8000", "localhost", ""):
            assert not team.sites.owns((await team.get("/", host=host)).scope)


async def test_a_paused_site_leaves_its_domain(opened: Callable[[], Any]) -> None:
    async with at_work(opened) as team:
        site = await published(team)
        await team.go_live("casino.example.test", site.id)
        await team.say("site pause top")
        assert (await team.get("/", host="casino.example.test")).status == 404
        assert (await team.get("/s/top")).status == 200


async def test_markup_in_texts_is_shown_as_text(opened: Callable[[], Any]) -> None:
    async with at_work(opened) as team:
        await team.say("casino review lucky-star bonus=<script>alert(1)</script>")
        site = await team.say(
            'site create name="<b>x</b>" market=DE offers=lucky-star headline="<img src=x onerror=alert(1)>"'
        )
        response = await team.get(site.preview_url.removeprefix(PUBLIC))
        assert "<script>alert" not in response.text
        assert "<img src=x" not in response.text
        assert "&lt;img src=x" in response.text
        policy = response.header("content-security-policy")
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


async def test_a_page_is_small_whatever_its_theme_and_locale(opened: Callable[[], Any]) -> None:
    async with at_work(opened) as team:
        await published(team)
        for theme in ("offer-wall", "single-offer", "comparison", "review"):
            for locale in ("en", "de", "es", "pt-BR", "fi", "sv", "ja"):
                await team.say(f"site edit top theme={theme} locale={locale}")
                response = await team.get("/s/top")
                assert response.status == 200
                assert len(response.body) < 60_000
                assert "{" not in response.text.split("</style>")[1].split("<script")[0]
        zipped = await team.get("/s/top", headers={"accept-encoding": "br, gzip"})
        assert zipped.header("content-encoding") == "gzip"
        assert zipped.text == (await team.get("/s/top")).text


async def test_a_version_can_be_gone_back_to(opened: Callable[[], Any]) -> None:
    async with at_work(opened) as team:
        await published(team)
        assert (await team.say('site edit top headline="Second words" offers=wild-win')).version == 2
        back = await team.say("site rollback top 1")
        assert (back.version, back.offers) == (3, ["lucky-star", "wild-win"])
        assert "Second words" not in (await team.get("/s/top")).text
        assert [line.version for line in (await team.say("site versions top")).items] == [3, 2, 1]


async def test_a_paused_offer_leaves_the_page(opened: Callable[[], Any]) -> None:
    async with at_work(opened) as team:
        await published(team)
        async with team.runtime.database.begin() as tx:
            await tx.execute(update(offers).where(offers.c.code == "wild-win").values(status="paused"))
            await config_version.bump(tx)
        await team.sites.refresh()
        assert "Wild Win" not in (await team.get("/s/top")).text


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ("site create name=X", "market"),
        ("site create name=X market=Atlantis", "market"),
        ("site create name=X market=DE locale=klingon", "locale"),
        ("site create name=X market=DE theme=walll", "theme"),
        ("site create name=X market=DE offers=unknown", "offers"),
        ("site create name=X market=DE offers=wild-win,wild-win", "offers"),
        ('site create name=X market=DE faq="no answer"', "faq"),
        ("casino edit lucky-star logo=javascript:alert(1)", "logo"),
        ("casino edit lucky-star", "casino"),
        ("site show nothing", "site"),
    ],
)
async def test_a_fault_is_named_by_its_field(sqlite_url: str, typed: str, field: str) -> None:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Database]:
        from storage.db.schema import upgrade

        database = Database(sqlite_url)
        await upgrade(database)
        yield database
        await database.close()

    async with at_work(opened) as team:
        with pytest.raises(Refused) as caught:
            await team.say(typed)
        assert caught.value.field == field


def test_host_names_are_compared_as_dns_does() -> None:
    assert normal_host("BÜCHER.example.test:80") == "xn--bcher-kva.example.test"
    assert normal_host("a.test.") == "a.test"
    assert normal_host("a.test/..") is None
    assert normal_host("-a.test") is None
    assert [normal_host(f"a.test:{port}") for port in ("", "443", "65536", "99999", "x")] == ["a.test"] * 2 + [None] * 3
    assert [normal_host(host) for host in ("[::1]:80", "[::1", "[x]", "[::1]:99999")] == ["::1", None, None, None]


async def published(team: Team) -> Any:
    await team.say("site create name=Top market=DE offers=lucky-star,wild-win")
    await team.say(
        'casino review lucky-star bonus="100 % up to €200" licence=MGA terms_url=https://casino.example.test/t'
    )
    await team.say("casino review wild-win")
    return await team.say("site publish top")
