"""A domain is bought at the price that was confirmed, once, and set up at its DNS host."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from connectors.domains.lookup import Lookup
from connectors.http import Http
from hub.jobs import domains
from hub.jobs.domains import Tools
from hub.runtime.settings import Settings
from storage.ledger.errors import ConnectorError, Refused
from tests.hub.sites.test_sites import NOW, Team, at_work, published
from tests.standins.dns import NameServer
from tests.standins.registrars import RegistrarStandIn

LOGINS = {
    "cloudflare": "kind=cloudflare token=cf-token account_id=acc base_url={url}/cf",
    "porkbun": "kind=porkbun api_key=pk1_fake secret_key=sk1_fake base_url={url}/pb",
    "namecheap": "kind=namecheap api_user=anna api_key=nc-fake client_ip=192.0.2.1 base_url={url}/nc",
}


@asynccontextmanager
async def shopping(opened: Callable[[], Any], kind: str) -> AsyncIterator[tuple[Team, RegistrarStandIn, Tools]]:
    async with at_work(opened) as team, RegistrarStandIn() as shop, NameServer({}) as names:
        settings = Settings(secret_key="0" * 64, public_url="http://192.0.2.77", allow_private_hosts=True)
        team.runtime.settings = settings
        team.runtime.ports._settings = settings  # type: ignore[attr-defined]
        await published(team)
        await team.say(f"registrar add main {LOGINS[kind].format(url=shop.url)}")
        http = Http(allow_private=True, first_wait=0.01, seconds=2)
        yield team, shop, Tools(http, Lookup([names.address], port=names.address[1], allow_private=True), http_port=1)
        await http.close()


async def ticks(team: Team, tools: Tools, count: int, later: timedelta = timedelta()) -> Any:
    for n in range(count):
        team.runtime.clock = lambda at=NOW + (n + 1) * timedelta(minutes=3) + later: at  # type: ignore[misc]
        await domains.tick(team.runtime, tools)
    return await team.say("domain show brand-com")


@pytest.mark.parametrize("kind", list(LOGINS))
async def test_a_domain_is_bought_after_its_price_was_confirmed(opened: Callable[[], Any], kind: str) -> None:
    async with shopping(opened, kind) as (team, shop, tools):
        result = await team.say("domain check brand.com")
        assert (result.available, result.price, result.renewal, result.currency) == (True, 9_730_000, 10_110_000, "USD")
        assert not (await team.say("domain check taken.com")).available
        answer = await team.say("domain buy brand.com site=top")
        assert "$9.73" in answer["consequence"]
        assert shop.bought == []
        bought = await team.say(f"confirm {answer['confirm']}")
        assert bought.status == "ordered"
        domain = await ticks(team, tools, 4)
        assert shop.bought == ["brand.com"]
        assert [step.state for step in domain.steps[:3]] == ["done", "done", "done"]
        assert domain.status == "dns"
        assert str(domain.registered_until) == "2027-10-01" or kind == "namecheap"
        zone = shop.records["brand.com"]
        assert [(item["type"], item["content"]) for item in zone] == [("A", "192.0.2.77")]
        with pytest.raises(Refused, match="cannot be had"):
            await team.say("domain buy brand.com")


@pytest.mark.parametrize("kind", list(LOGINS))
async def test_a_purchase_whose_answer_is_lost_is_looked_up_and_never_repeated(sqlite_url: str, kind: str) -> None:
    async with shopping(of(sqlite_url), kind) as (team, shop, tools):
        answer = await team.say("domain buy brand.com")
        await team.say(f"confirm {answer['confirm']}")
        shop.breaks_off = True
        domain = await ticks(team, tools, 5)
        assert shop.bought == ["brand.com"]
        assert domain.steps[0].state == "done"


async def test_an_order_that_never_arrived_is_given_up_not_placed_again(sqlite_url: str) -> None:
    async with shopping(of(sqlite_url), "cloudflare") as (team, shop, tools):
        answer = await team.say("domain buy brand.com")
        await team.say(f"confirm {answer['confirm']}")
        shop.breaks_off = True
        await ticks(team, tools, 1)
        shop.bought.clear()
        domain = await ticks(team, tools, 2, timedelta(hours=1))
        assert (domain.status, domain.steps[0].state) == ("failed", "failed")
        assert "Nothing was bought" in domain.steps[0].fix
        assert sum("registrations" in call and "POST" in call for call in shop.calls) == 1


async def test_a_price_that_rose_meanwhile_is_asked_about_again(sqlite_url: str) -> None:
    async with shopping(of(sqlite_url), "porkbun") as (team, shop, _):
        answer = await team.say("domain buy brand.com")
        shop.price = 1973
        with pytest.raises(Refused, match=r"\$19\.73 now"):
            await team.say(f"confirm {answer['confirm']}")
        assert shop.bought == []


async def test_records_of_others_stay_and_ours_are_replaced(sqlite_url: str) -> None:
    async with shopping(of(sqlite_url), "namecheap") as (team, shop, tools):
        shop.records["brand.com"] = [
            {"id": "1", "name": "@", "type": "A", "content": "198.51.100.1"},
            {"id": "2", "name": "@", "type": "MX", "content": "mail.example.test."},
            {"id": "3", "name": "shop", "type": "A", "content": "198.51.100.2"},
        ]
        await team.say("domain add brand.com provider=main")
        await ticks(team, tools, 2)
        stored = {(record["name"], record["type"], record["content"]) for record in shop.records["brand.com"]}
        assert stored == {
            ("@", "MX", "mail.example.test."), ("shop", "A", "198.51.100.2"), ("@", "A", "192.0.2.77"),
        }  # fmt: skip


@pytest.mark.parametrize(
    ("login", "words"),
    [
        ("kind=cloudflare token=wrong-token account_id=acc base_url={url}/cf", "refuses the login"),
        ("kind=porkbun api_key=wrong secret_key=sk1_other base_url={url}/pb", "Invalid API key"),
        ("kind=namecheap api_user=a api_key=wrong client_ip=192.0.2.1 base_url={url}/nc", "API Key is invalid"),
    ],
)
async def test_a_refused_login_says_so_without_its_key(sqlite_url: str, login: str, words: str) -> None:
    async with shopping(of(sqlite_url), "cloudflare") as (team, shop, _):
        shown = await team.say(f"registrar add other {login.format(url=shop.url)}")
        assert b"wrong" not in msgspec.json.encode(shown)
        with pytest.raises(ConnectorError, match=words) as caught:
            await team.say("domain check brand.com registrar=other")
        assert "wrong" not in str(caught.value)


async def test_a_missing_credential_is_named(sqlite_url: str) -> None:
    async with shopping(of(sqlite_url), "cloudflare") as (team, _, _tools):
        with pytest.raises(Refused) as caught:
            await team.say("registrar add two kind=porkbun api_key=pk1_fake")
        assert caught.value.field == "secret_key"
        with pytest.raises(Refused, match="did you mean cloudflare"):
            await team.say("registrar add three kind=cloudflair token=x account_id=y")
        for login, field in (
            ("kind=cloudflare token=١٢ account_id=y", "token"),
            ("kind=porkbun api_key=k secret_key=ключ", "secret_key"),
            ('kind=namecheap api_user=anna api_key="two words" client_ip=192.0.2.1', "api_key"),
        ):  # fmt: skip
            with pytest.raises(Refused, match="copy the value from the platform") as caught:
                await team.say(f"registrar add four {login}")
            assert caught.value.field == field


def of(url: str) -> Callable[[], Any]:
    from storage.db.engine import Database
    from storage.db.schema import upgrade

    @asynccontextmanager
    async def opened() -> AsyncIterator[Database]:
        database = Database(url)
        await upgrade(database)
        yield database
        await database.close()

    return opened
