"""Nothing of ours reaches a private address: neither by a redirect, nor by a name that changes its mind (rebinding).

127.0.0.1 plays a public server here, and 127.0.0.2 the private one that must never be asked.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import select

from connectors import guard
from connectors.http import Http
from hub.jobs import health_checks, offer_links
from hub.jobs import outbound as outbound_job
from hub.runtime import registrars
from hub.runtime.settings import Settings
from storage.ledger.errors import ConnectorError
from storage.outbound import delivery_log
from storage.tables import outbound as table
from tests.connectors.web import Web, answer, serving
from tests.hub.jobs.test_outbound import template, told

PORKBUN = {"kind": "porkbun", "credentials": {"api_key": "k", "secret_key": "s"}}


@pytest.fixture(autouse=True)
def one_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "is_public", lambda address: address == "127.0.0.1")


@asynccontextmanager
async def redirecting() -> AsyncIterator[tuple[Web, Web]]:
    """A public server that redirects to a private one, and that one."""
    async with serving(lambda _: answer("{}"), host="127.0.0.2") as private:
        to_private = {"location": private.url + "/secret"}
        async with serving(lambda _: answer(status=307, headers=to_private)) as public:
            yield public, private


@asynccontextmanager
async def rebinding(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[str, Web]]:
    """A name that is public when first asked about and private from then on, and the private server."""
    async with serving(lambda _: answer("{}"), host="127.0.0.2") as private:
        port = int(private.url.rpartition(":")[2])
        answers = iter(["127.0.0.1"])

        async def resolve(_host: object, asked_port: int, **_: object) -> list[Any]:
            address = next(answers, "127.0.0.2")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, asked_port))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        yield f"http://rebind.example.test:{port}", private


async def test_a_postback_is_not_delivered_past_a_redirect_to_a_private_address(opened: Callable[[], Any]) -> None:
    async with (
        redirecting() as (public, private),
        told(opened, {"registration": template(public.url)}, private=False) as (
            runtime,
            scene,
            _,
        ),
    ):
        async with runtime.database.begin() as tx:
            await scene.post(tx, f"click_id={await scene.click(tx)}&event=reg")
        await outbound_job.tick(runtime)
        assert len(public.asked) == 1
        assert private.asked == []
        async with runtime.database.read() as tx:
            assert (await tx.execute(select(table))).one().state != "sent"
            assert (await delivery_log.history(tx, scene.team_id))[0].state != "sent"


async def test_a_postback_to_a_name_that_changes_its_mind_reaches_no_private_address(
    opened: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        rebinding(monkeypatch) as (url, private),
        told(opened, {"registration": template(url)}, private=False) as (
            runtime,
            scene,
            clock,
        ),
    ):
        async with runtime.database.begin() as tx:
            await scene.post(tx, f"click_id={await scene.click(tx)}&event=reg")
        for _ in range(3):
            await outbound_job.tick(runtime)
            async with runtime.database.read() as tx:
                row = (await tx.execute(select(table))).one()
            clock.now = max(clock.now, row.next_at or clock.now)
        assert (private.asked, row.state) == ([], "dead")


async def test_an_offers_link_is_not_followed_to_a_private_address(monkeypatch: pytest.MonkeyPatch) -> None:
    async with redirecting() as (public, private), Http(first_wait=0.01) as http:
        fault = await offer_links.fault_of(http, f"{public.url}/?s={{click_id}}")
        assert "private or loopback" in (fault or "")
        assert private.asked == []
    async with rebinding(monkeypatch) as (url, private), Http(first_wait=0.01) as http:
        assert await offer_links.fault_of(http, url)
        assert private.asked == []


async def test_a_registrar_is_not_asked_at_a_private_address(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(secret_key="k" * 32)
    async with redirecting() as (public, private):
        with pytest.raises(ConnectorError):
            await registrars.quotes(settings, {**PORKBUN, "options": {"base_url": public.url}}, ["brand.com"])
        assert (len(public.asked), private.asked) == (1, [])
    async with rebinding(monkeypatch) as (url, private):
        with pytest.raises(ConnectorError):
            await registrars.quotes(settings, {**PORKBUN, "options": {"base_url": url}}, ["brand.com"])
        assert private.asked == []


async def test_a_certificate_is_not_looked_at_on_a_private_address() -> None:
    async with serving(lambda _: answer(), host="127.0.0.2") as private:
        assert await health_checks.certificate_until("127.0.0.2", int(private.url.rpartition(":")[2])) is None
        with pytest.raises(guard.PrivateAddress):
            await guard.public_addresses("127.0.0.2", 443)
