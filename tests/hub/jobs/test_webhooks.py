"""Webhooks: what happens is told once, signed, to those who may know it, and tried again."""

import hmac
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from sqlalchemy import select, update

from bot.core.context import Actor
from hub.jobs import alerts, digests
from hub.jobs import outbound as outbound_job
from hub.runtime.runtime import Runtime
from hub.runtime.settings import read_settings
from storage.clicks.queries import ensure_codec
from storage.db.rotation import rotate
from storage.db.secrets import Box
from storage.ledger.errors import Forbidden, Missing, Refused
from storage.ledger.facts import Role
from storage.outbound.forwarding import forward
from storage.tables import members, outbound, webhooks
from tests.bot.asking import Asker, asking
from tests.connectors.web import Request, Web, answer, serving
from tests.storage.scene import build

Opened = Callable[[], Any]


def hub_of(say: Asker, *, private: str = "1") -> Runtime:
    settings = read_settings({"CASINOFLUX_SECRET_KEY": "k", "CASINOFLUX_ALLOW_PRIVATE_HOSTS": private})
    return Runtime(
        settings=settings, database=say.database, box=Box("k"), ports=say.ports, team_id=say.team_id,
        clock=lambda: say.now,
    )  # fmt: skip


@asynccontextmanager
async def scene(opened: Opened, *, status: int = 200) -> AsyncIterator[tuple[Asker, Web]]:
    """A team with two campaigns and an offer, and a receiver on loopback."""

    def answering(_request: Request) -> bytes:
        return answer("thanks", status=status)

    async with asking(opened) as say, serving(answering) as web:
        async with say.database.begin() as tx:
            await ensure_codec(tx)
        await say.account()
        await say("offer add casino=Lucky account=main url=https://brand.example.test/?s={click_id} tag=spring")
        await say("campaign create name=Spring offers=lucky-spring")
        await say("campaign create name=Autumn offers=lucky-spring")
        yield say, web


async def convert(say: Asker, campaign: str, event: str = "first_deposit") -> None:
    await say(f"conversion add campaign={campaign} event={event} offer=lucky-spring amount=50 currency=EUR")


def verify(request: Request, secret: str) -> Any:
    """As Standard Webhooks says a receiver does it; the payload."""
    name, at = request.headers["webhook-id"], request.headers["webhook-timestamp"]
    signed = f"{name}.{at}.".encode() + request.body
    expected = b64encode(hmac.new(b64decode(secret.removeprefix("whsec_")), signed, sha256).digest()).decode()
    assert request.headers["webhook-signature"] == f"v1,{expected}"
    assert request.headers["content-type"] == "application/json"
    return msgspec.json.decode(request.body)


async def test_a_conversion_is_told_once_and_signed(opened: Opened) -> None:
    async with scene(opened) as (say, web):
        made = await say(f'webhook add {web.url}/in events=conversion name="Our BI"')
        assert made["secret"].startswith("whsec_")
        assert "secret" not in {key for key, value in (await say("webhook show 'Our BI'")).items() if value}
        await convert(say, "spring")
        hub = hub_of(say)
        await outbound_job.tick(hub)
        await outbound_job.tick(hub)
        (request,) = web.asked
        told = verify(request, made["secret"])
        assert (request.method, request.path, told["type"]) == ("POST", "/in", "conversion.first_deposit")
        data = told["data"]
        assert (data["amount"], data["currency"], data["status"]) == (50_000_000, "EUR", "approved")
        assert data["campaign"] == {"code": "spring", "name": "Spring"}
        assert data["offer"]["code"] == "lucky-spring"
        (call,) = (await say("webhook log"))["items"]
        assert (call["event"], call["state"], call["status"], call["answer"]) == (
            "first_deposit",
            "sent",
            200,
            "thanks",
        )
        assert call["key"] == request.headers["webhook-id"]
        assert (await say("postback sent"))["items"] == []


async def test_filters_pauses_and_limits_decide_who_is_told(opened: Opened) -> None:
    async with scene(opened) as (say, web):
        await say(f"webhook add {web.url}/autumn events=all campaigns=Autumn")
        await say(f"webhook add {web.url}/deposits events=deposit")
        await say(f"webhook add {web.url}/paused")
        await say("webhook pause webhook-3")
        limited: dict[str, Any] = {"role": Role.BUYER, "campaigns": ("spring",)}
        mine = await say(f"webhook add {web.url}/limited", **limited)
        assert "sync" not in mine["events"]
        with pytest.raises(Forbidden, match="whole accounts"):
            await say(f"webhook add {web.url}/x events=sync", **limited)
        with pytest.raises(Forbidden):
            await say("webhook show webhook-1", **limited)
        assert [item["code"] for item in (await say("webhook list", **limited))["items"]] == ["webhook-4"]
        await convert(say, "spring")
        await convert(say, "autumn")
        await outbound_job.tick(hub_of(say))
        assert sorted(request.path for request in web.asked) == ["/autumn", "/limited"]
        assert [verify_type(request) for request in web.asked] == ["conversion.first_deposit"] * 2
        assert {item["webhook"] for item in (await say("webhook log", **limited))["items"]} == {"webhook-4"}


def verify_type(request: Request) -> str:
    return str(msgspec.json.decode(request.body)["type"])


async def test_a_webhook_has_the_rights_its_creator_has_now(opened: Opened) -> None:
    async with scene(opened) as (say, web):
        await say("member invite role=buyer")
        async with say.database.begin() as tx:
            member = (await tx.execute(members.insert().values(
                team_id=say.team_id, name="Bo", code="bo", role="buyer", created_at=say.now
            ).returning(members.c.id))).scalar_one()  # fmt: skip
        actor = Actor(team_id=say.team_id, name="Bo", role=Role.BUYER, member_id=member)
        await say.ask(f"webhook add {web.url}/bo events=conversion", actor)
        async with say.database.begin() as tx:
            await tx.execute(update(members).values(campaigns=["autumn"]))
        await convert(say, "spring")
        async with say.database.begin() as tx:
            await tx.execute(update(members).values(removed_at=say.now))
        await convert(say, "autumn")
        await outbound_job.tick(hub_of(say))
        assert web.asked == []
        assert (await say("webhook show webhook-1"))["stopped_why"] == "its creator is no member any more"
        await say("webhook resume webhook-1")
        await convert(say, "autumn", "deposit")
        await outbound_job.tick(hub_of(say))
        assert [verify_type(request) for request in web.asked] == ["conversion.deposit"]


async def test_alerts_and_digests_are_told_as_they_are_posted(opened: Opened) -> None:
    async with scene(opened) as (say, web):
        await say(f"webhook add {web.url}/in events=alert,digest")
        await say("alert add ftd channel=slack:C0123456")
        await say("digest subscribe at=12:01 channel=slack:C0123456")
        hub = hub_of(say)
        await alerts.notice(hub)
        say.later(minutes=2)
        await convert(say, "spring")
        assert await alerts.notice(hub) == 1
        assert await digests.tick(hub) == 1
        await alerts.notice(hub)
        await outbound_job.tick(hub)
        told = {verify_type(request): msgspec.json.decode(request.body)["data"] for request in web.asked}
        assert set(told) == {"alert.event", "digest"}
        assert len(web.asked) == 2
        assert told["alert.event"]["alert"] == "alert-1"
        assert "FTD" in told["alert.event"]["text"]
        assert told["digest"]["title"].startswith("Sat 21 Nov")


async def test_what_fails_is_tried_again_given_up_and_sent_again_on_demand(opened: Opened) -> None:
    async with scene(opened, status=500) as (say, web):
        await say(f"webhook add {web.url}/in events=conversion")
        assert (await say("webhook test webhook-1"))["queued"] == 1
        hub = hub_of(say)
        for _ in range(6):
            await outbound_job.tick(hub)
            say.later(hours=20)
        (call,) = (await say("webhook log webhook-1 state=dead"))["items"]
        assert (call["event"], call["attempts"], call["error"]) == ("test", 6, "answered 500")
        assert len({request.headers["webhook-id"] for request in web.asked}) == 1
        with pytest.raises(Missing, match="webhook log"):
            await say("webhook resend webhook-1 999")
        assert (await say("postback resend"))["queued"] == 0
        assert (await say("webhook resend webhook-1"))["queued"] == 1
        await say.sure("webhook remove webhook-1")
        await outbound_job.tick(hub)
        assert len(web.asked) == 6, "what a removed webhook was still to be told is dropped"


async def test_private_addresses_wrong_words_and_too_many_are_refused(opened: Opened) -> None:
    async with scene(opened) as (say, web):
        await say(f"webhook add {web.url}/in")
        await say("webhook test webhook-1")
        await outbound_job.tick(hub_of(say, private="0"))
        (call,) = (await say("webhook log"))["items"]
        assert (call["state"], web.asked) == ("dead", [])
        assert "private or loopback" in call["error"]
        with pytest.raises(Refused, match="events: no 'clicks'"):
            await say("webhook add https://a.example.test events=clicks")
        with pytest.raises(Refused, match="url"):
            await say("webhook add ftp://a.example.test")
        with pytest.raises(Forbidden):
            await say("webhook add https://a.example.test", role=Role.VIEWER)
        async with say.database.begin() as tx:
            row = (await tx.execute(select(webhooks))).one()._asdict()
            del row["id"]
            await tx.execute(webhooks.insert(), [row] * 49)
        with pytest.raises(Refused, match="50 webhooks"):
            await say("webhook add https://a.example.test")


async def test_a_secret_is_kept_encrypted_and_follows_a_new_key(opened: Opened) -> None:
    async with scene(opened) as (say, web):
        made = await say(f"webhook add {web.url}/in?token=very-secret-token-1")
        assert "very-secret-token-1" not in str((await say("webhook list"))["items"])
        async with say.database.begin() as tx:
            await rotate(tx, Box("new,k"))
            row = (await tx.execute(select(webhooks))).one()
        assert made["secret"] not in str(row)
        assert Box("new").open(row.secret) == {"webhook_secret": made["secret"]}
        async with say.database.read() as tx:
            assert (await tx.execute(select(outbound))).first() is None


async def test_a_postback_is_told_with_its_click_as_pending_as_approved_and_as_reversed(opened: Opened) -> None:
    async with asking(opened) as say:
        async with say.database.begin() as tx:
            await ensure_codec(tx)
            real_time = await build(tx)
            click_id = await real_time.click(tx)
        await say("webhook add https://hooks.example.test")
        real_time.forward = forward
        for status in ("pending", "approved", "approved", "rejected"):
            async with say.database.begin() as tx:
                query = f"click_id={click_id}&event=deposit&txn_id=T1&amount=10&currency=EUR&status={status}"
                await real_time.post(tx, query, now=say.now)
        async with say.database.read() as tx:
            rows = (await tx.execute(select(outbound).order_by(outbound.c.id))).all()
        told = [msgspec.json.decode(row.request["webhook"]["body"]) for row in rows]
        assert [(of["type"], of["data"]["status"]) for of in told] == [
            ("conversion.deposit", "pending"), ("conversion.deposit", "approved"),
            ("conversion.reversal", "reversed"),
        ]  # fmt: skip
        assert {of["data"]["click_id"] for of in told} == {click_id}
        assert {row.state for row in rows} == {"queued"}


async def test_an_edit_changes_what_it_names_for_what_is_queued_too(opened: Opened) -> None:
    async with scene(opened, status=500) as (say, failing), serving(lambda _request: answer("thanks")) as web:
        made = await say(f"webhook add {failing.url}/wrong?key=s3cret events=conversion name=BI")
        await convert(say, "spring")
        hub = hub_of(say)
        await outbound_job.tick(hub)
        assert len(failing.asked) == 1
        edited = await say(f"webhook edit BI url={web.url}/right")
        assert (edited["url"], edited["events"], edited["status"]) == (f"{web.url}/right", made["events"], "active")
        say.later(minutes=5)
        await outbound_job.tick(hub)
        assert [verify(request, made["secret"])["type"] for request in web.asked] == ["conversion.first_deposit"]
        await say("webhook edit BI events=deposit,sync")
        await convert(say, "spring", "registration")
        await convert(say, "spring", "deposit")
        await outbound_job.tick(hub)
        assert [verify_type(request) for request in web.asked][1:] == ["conversion.deposit"]
        await say("webhook edit BI status=paused name=Ours")
        await convert(say, "spring", "deposit")
        await outbound_job.tick(hub)
        assert (len(web.asked), len(failing.asked)) == (2, 1)
        await say("webhook edit Ours status=active")
        assert (await say("undo"))["undone"] == "webhook edit"
        assert (await say("webhook show Ours"))["status"] == "paused"
        assert "s3cret" not in str(await say("audit"))


async def test_an_edit_is_refused_at_its_field_and_keeps_to_the_editors_rights(opened: Opened) -> None:
    async with scene(opened) as (say, web):
        await say(f"webhook add {web.url}/in events=all campaigns=spring")
        await say(f"webhook add {web.url}/all events=conversion")
        for words, field in (
            ("url=ftp://x.example.test", "url"), ("events=sale", "events"), ("", "webhook"), ("status=off", "status"),
        ):  # fmt: skip
            with pytest.raises(Refused) as refused:
                await say(f"webhook edit webhook-1 {words}")
            assert refused.value.field == field
        limited: dict[str, Any] = {"role": Role.BUYER, "campaigns": ("spring",)}
        with pytest.raises(Forbidden):
            await say("webhook edit webhook-2 name=Mine", **limited)
        with pytest.raises(Forbidden, match="whole accounts"):
            await say("webhook edit webhook-1 events=sync", **limited)
        edited = await say(f"webhook edit webhook-1 url={web.url}/mine", **limited)
        assert edited["campaigns"] == ["spring"]
        await convert(say, "autumn")
        await outbound_job.tick(hub_of(say))
        assert [request.path for request in web.asked] == ["/all"]
        with pytest.raises(Forbidden):
            await say("webhook edit webhook-1 name=x", role=Role.VIEWER)
