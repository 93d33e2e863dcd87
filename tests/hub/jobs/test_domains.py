"""A domain from its first command to live, each obstacle named with its fix."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from connectors.domains.lookup import Lookup
from connectors.http import Answer, Http
from hub.jobs import domains
from hub.jobs.domains import Tools
from storage.db import tasks
from storage.db.secrets import Box
from storage.ledger.errors import Refused
from storage.tables import domains as domain_table
from storage.tables import registrars
from tests.hub.asgi import fetch
from tests.hub.sites.test_sites import Team, at_work, published
from tests.standins.dns import NameServer

NAME = "brand.example.test"
RDAP = b"""{"objectClassName": "domain", "ldhName": "example.test", "status": ["active"],
  "events": [{"eventAction": "registration", "eventDate": "2020-10-15T00:00:00Z"},
             {"eventAction": "expiration", "eventDate": "2026-10-15T10:00:00Z"}],
  "nameservers": [{"objectClassName": "nameserver", "ldhName": "NS.HOST.TEST"}]}"""


WARNED = b'{"matches": [{"threatType": "SOCIAL_ENGINEERING", "threat": {"url": "http://brand.example.test/"}}]}'


class Here(Http):
    """Reaches every name on one loopback port, as if its DNS led there; `open` is whether anybody listens."""

    def __init__(self, port: int) -> None:
        super().__init__(allow_private=True)
        self.port = port

    async def get(self, url: str, **options: Any) -> Answer:
        parts = urlsplit(url)
        if parts.hostname == "rdap.org":
            return Answer(status=200, headers={}, body=RDAP)
        target = f"http://127.0.0.1:{self.port}{parts.path}"
        return await super().get(target, headers={"Host": parts.hostname or ""}, **options)


@asynccontextmanager
async def listening(team: Team) -> AsyncIterator[int]:
    """The team's sites on a loopback port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        host = next(line[6:] for line in lines if line.lower().startswith("host: "))
        path = lines[0].split()[1]
        if path.startswith("/safebrowsing"):
            writer.write(b"HTTP/1.1 200 X\r\nconnection: close\r\n\r\n" + WARNED)
            await writer.drain()
            writer.close()
            return
        response = await fetch(team.sites, path, host=host)
        head = f"HTTP/1.1 {response.status} X\r\ncontent-length: {len(response.body)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + response.body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def tools(port: int, names: NameServer) -> Tools:
    return Tools(Here(port), Lookup([names.address], port=names.address[1], allow_private=True))


async def step(team: Team, tools: Tools) -> Any:
    await team.say(f"domain verify {NAME}")
    assert await domains.tick(team.runtime, tools) == 1
    return await team.say(f"domain show {NAME}")


async def test_a_domain_goes_live_and_says_on_the_way_what_it_waits_for(opened: Callable[[], Any]) -> None:
    async with at_work(opened) as team, NameServer({("ns.host.test", "A"): ["127.0.0.1"]}) as names:
        await published(team)
        result = await team.say(f"domain add https://{NAME.upper()}/ site=top")
        assert (result.name, result.status, result.site) == (NAME, "added", "top")
        assert [(record.type, record.value) for record in result.records] == [("CNAME", "track.example.test")]
        nowhere = tools(1, names)
        result = await step(team, nowhere)
        assert "not registered" in _verification(result).detail
        names.records[("example.test", "NS")] = ["ns.host.test"]
        assert "know no address" in _verification(await step(team, nowhere)).detail
        names.records[(NAME, "A")] = ["192.0.2.9"]
        result = await step(team, nowhere)
        assert "leads to 192.0.2.9" in _verification(result).detail
        assert "Replace its records" in _verification(result).fix
        async with listening(team) as port:
            result = await step(team, tools(port, names))
        assert result.status == "live"
        assert [step.state for step in result.steps][-2:] == ["done", "skipped"]
        assert (await team.get("/", host=NAME)).status == 200
        assert await team.sites.is_our_host(NAME)
        result = await step(team, nowhere)
        assert (result.status, result.health["ok"]) == ("live", False)
        assert "does not answer" in result.health["faults"][0]


async def test_a_domain_that_was_just_bought_is_not_called_unregistered(opened: Callable[[], Any]) -> None:
    async with at_work(opened) as team, NameServer({}) as names:
        await published(team)
        await team.say(f"domain add {NAME} site=top")
        async with team.runtime.database.begin() as tx:
            row = (await tx.execute(select(domain_table))).one()
            state = {**row.state, "quote": {"name": NAME, "price": 9_000_000, "currency": "EUR"}}
            await tx.execute(update(domain_table).values(state=state))
        detail = _verification(await step(team, tools(1, names))).detail
        assert "is bought" in detail
        assert "not registered" not in detail


async def test_a_live_domain_is_watched(opened: Callable[[], Any]) -> None:
    async with at_work(opened) as team, NameServer({}) as names, listening(team) as port:
        await published(team)
        await team.say(f"domain add {NAME} site=top")
        here = tools(port, names)
        assert (await step(team, here)).status == "live"
        result = await step(team, here)
        assert result.health["ok"]
        assert result.registered_until == date(2026, 10, 15)
        assert result.health["faults"] == ["its registration ends on 15 Oct 2026: renew it at the registrar"]
        await team.say(
            f"registrar add google kind=safe_browsing api_key=k base_url=http://127.0.0.1:{port}/safebrowsing"
        )
        result = await step(team, here)
        assert not result.health["ok"]
        assert result.health["error"].startswith(f"browsers warn of {NAME} (social engineering)")


async def test_a_key_that_cannot_be_read_stops_no_check_of_a_domain(opened: Callable[[], Any]) -> None:
    async with at_work(opened) as team, NameServer({}) as names, listening(team) as port:
        await published(team)
        await team.say(f"domain add {NAME} site=top")
        here = tools(port, names)
        assert (await step(team, here)).status == "live"
        await team.say("registrar add google kind=safe_browsing api_key=k base_url=http://127.0.0.1:1/")
        async with team.runtime.database.begin() as tx:
            elsewhere = Box("another key").seal({"api_key": "k"})
            await tx.execute(update(registrars).values(credentials_secret=elsewhere))
        assert (await step(team, here)).health["ok"]
        assert not (await step(team, tools(1, names))).health["ok"], "that it is away is noticed"


async def test_a_step_that_fails_is_logged_once_a_minute_and_named_until_one_succeeds(
    opened: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "monitor", tasks.TaskMonitor())
    async with at_work(opened) as team, NameServer({}) as names:
        await team.say(f"domain add {NAME}")

        async def fails(*_arguments: object) -> dict[str, Any]:
            raise KeyError("quote")

        with monkeypatch.context() as broken, capture_logs() as lines:
            broken.setattr(domains, "verify", fails)
            for _ in range(3):
                await step(team, tools(1, names))
        assert [line["event"] for line in lines if "domain" in str(line)] == ["a background task failed"]
        assert f"domain {NAME}" in tasks.monitor.failing()
        await step(team, tools(1, names))
        assert tasks.monitor.failing() == {}


async def test_dead_name_servers_are_told_and_asked_again(opened: Callable[[], Any]) -> None:
    async with at_work(opened) as team, NameServer({}) as names:
        await team.say(f"domain add {NAME}")
        names.transport.close()
        result = await step(team, tools(1, names))
        assert "does not answer" in _verification(result).detail
        assert result.next_step_at is not None


async def test_a_spare_domain_takes_over_and_old_links_follow(opened: Callable[[], Any]) -> None:
    async with at_work(opened) as team:
        await published(team)
        await team.say(f"domain add {NAME} site=top")
        await team.say("domain add spare.example.test")
        moved = await team.say(f"domain move {NAME} to=spare.example.test")
        assert (moved.name, moved.site) == ("spare.example.test", "top")
        response = await team.get("/terms?click=ABC", host=NAME)
        assert (response.status, response.header("location")) == (302, "https://spare.example.test/terms?click=ABC")
        assert (await team.get("/", host="spare.example.test")).status == 200


class Meanwhile(Here):
    """A member gives a command while a check waits for the network."""

    def __init__(self, port: int, team: Team, command: str) -> None:
        super().__init__(port)
        self.team, self.command = team, command

    async def get(self, url: str, **options: Any) -> Answer:
        if self.command:
            command, self.command = self.command, ""
            await self.team.say(command)
        return await super().get(url, **options)


async def test_a_move_during_a_health_check_is_kept(opened: Callable[[], Any]) -> None:
    async with at_work(opened) as team, NameServer({}) as names, listening(team) as port:
        await published(team)
        await team.say(f"domain add {NAME} site=top")
        assert (await step(team, tools(port, names))).status == "live"
        await team.say("domain add spare.example.test")
        await team.say(f"domain verify {NAME}")
        moving = Meanwhile(port, team, f"domain move {NAME} to=spare.example.test")
        await domains.tick(team.runtime, Tools(moving, Lookup([names.address], port=names.address[1])))
        result = await team.say(f"domain show {NAME}")
        assert result.site is None
        assert result.health["ok"] is not None, "the check is kept as well"
        response = await team.get("/terms", host=NAME)
        assert (response.status, response.header("location")) == (302, "https://spare.example.test/terms")


@pytest.mark.parametrize("live", [True, False])
async def test_a_domain_attached_and_asked_for_during_a_check_is_looked_at_again(
    opened: Callable[[], Any], live: bool
) -> None:
    async with at_work(opened) as team, NameServer({}) as names, listening(team) as port:
        await published(team)
        await team.say(f"domain add {NAME} site=top")
        if live:
            assert (await step(team, tools(port, names))).status == "live"
        await team.say("domain add spare.example.test")
        await team.say(f"domain move {NAME} to=spare.example.test")
        await team.say(f"domain verify {NAME}")
        lookup = Lookup([names.address], port=names.address[1])
        attach = f"domain attach {NAME} site=top"
        await domains.tick(team.runtime, Tools(Meanwhile(port if live else 1, team, attach), lookup))
        assert (await team.say(f"domain show {NAME}")).site == "top"
        assert (await team.get("/", host=NAME)).status == 200, "it leads to its site, not on to the spare one"
        await team.say(f"domain verify {NAME}")
        verify = Meanwhile(port if live else 1, team, f"domain verify {NAME}")
        await domains.tick(team.runtime, Tools(verify, lookup))
        assert (await team.say(f"domain show {NAME}")).next_step_at <= team.runtime.clock()


async def test_a_domain_of_another_site_is_not_taken_by_mistake(opened: Callable[[], Any]) -> None:
    async with at_work(opened) as team:
        await published(team)
        await team.say("site create name=Other market=DE")
        await team.say(f"domain add {NAME} site=top")
        with pytest.raises(Refused, match="leads to site top") as caught:
            await team.say(f"domain attach {NAME} site=other")
        assert caught.value.field == "domain"
        with pytest.raises(Refused, match="is here already"):
            await team.say(f"domain add {NAME}.")
        assert (await team.say(f"domain attach {NAME} site=other move=true")).site == "other"


@pytest.mark.parametrize("name", ["*.brand.com", "brand", "192.0.2.1", "-brand.com", "a..b.com", "b/../c", "x_y.com"])
async def test_what_is_no_domain_name_is_refused(opened: Callable[[], Any], name: str) -> None:
    async with at_work(opened) as team:
        with pytest.raises(Refused) as caught:
            await team.say(f"domain add {name}")
        assert caught.value.field == "name"


async def test_letters_that_pretend_to_be_others_are_pointed_out(opened: Callable[[], Any]) -> None:
    async with at_work(opened) as team:
        result = await team.say("domain add pаypal.example.test")  # the first a is Cyrillic
        assert result.name.startswith("xn--")
        assert "CYRILLIC" in result.warnings[0]
        assert (await team.say("domain add bücher.example.test")).warnings == []


def _verification(results: Any) -> Any:
    return next(step for step in results.steps if step.name == "verification")
