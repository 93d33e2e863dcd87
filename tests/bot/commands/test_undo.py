"""undo takes back the last reversible change, and says when there is none."""

import asyncio
import base64
import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from PIL import Image as Pillow

from bot.core.context import Actor
from storage.db import leases
from storage.ledger.errors import Forbidden, Refused
from storage.ledger.facts import Role
from tests.bot.asking import Asker, asking

Opened = Callable[[], Any]


async def set_up(say: Asker) -> None:
    await say.account()
    await say("offer add casino=Lucky account=main tag=one url=https://lucky.example.test/?s={click_id} cap=5")
    await say("campaign create c1 offers=lucky-one cost=0.05")


async def test_pauses_and_edits_are_taken_back_one_by_one(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        await say("campaign edit c1 cost=0.10 offers=lucky-one:7")
        await say("offer pause lucky-one")
        first = await say("undo")
        assert (first["undone"], first["with"]) == ("offer pause", "offer resume")
        assert "Undone: offer pause" in say.shown
        assert (await say("offer show lucky-one"))["status"] == "active"
        assert (await say("undo"))["undone"] == "campaign edit"
        assert (await say("campaign show c1"))["offers"] == ["lucky-one:1"]


async def test_an_edit_is_set_back_field_by_field(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        await say("campaign edit c1 cost=0.10 offers=lucky-one:7")
        await say("undo")
        shown = await say("campaign show c1")
        assert (shown["cost"], shown["offers"]) == (50_000, ["lucky-one:1"])


async def test_what_was_empty_is_emptied_again(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        await say("campaign edit c1 fallback_url=https://back.example.test/")
        await say("undo")
        assert (await say("campaign show c1"))["fallback_url"] is None


async def test_what_cannot_be_taken_back_is_said(opened: Opened) -> None:
    async with asking(opened) as say:
        with pytest.raises(Refused, match="no change of yours"):
            await say("undo")
        await set_up(say)
        with pytest.raises(Refused, match="campaign create"):
            await say("undo")


async def test_costs_payments_and_rates_are_taken_back(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        await say("spend add c1 yesterday 20.25 EUR")
        await say("spend add c1 yesterday 30 EUR")
        assert (await say("undo"))["result"]["amount"] == 20_250_000
        assert (await say("undo"))["result"]["amount"] == 0
        await say("payment add main 100.50")
        await say("undo")
        assert sorted(payment["amount"] for payment in (await say("payment list"))["items"]) == [
            -100_500_000,
            100_500_000,
        ]
        await say("rate set BRL 0.17")
        await say("rate set BRL 0.18")
        await say("undo")
        assert [rate["rate"] for rate in (await say("rate list BRL"))["items"]] == ["0.17"]
        await say("undo")
        assert (await say("rate list BRL"))["items"] == []


async def test_a_change_is_taken_back_once_however_often_at_one_moment(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        await say("payment add main 7")
        await say("payment add main 100.50")
        number = (await say("audit"))["items"][0]["id"]
        claim = f"undo:{number}", "another process"
        async with say.database.begin() as tx:
            assert await leases.acquire(tx, *claim, now=say.now, good_for=timedelta(minutes=1))
        for line in ("undo", f"undo {number}"):
            with pytest.raises(Refused, match="is being undone"):
                await say(line)
        async with say.database.begin() as tx:
            await leases.release(tx, "another process")
        answers = await asyncio.gather(*(say(f"undo {number}") for _ in range(8)), return_exceptions=True)
        assert sum(isinstance(answer, Refused) for answer in answers) == 7, answers
        amounts = sorted(payment["amount"] for payment in (await say("payment list"))["items"])
        assert amounts == [-100_500_000, 7_000_000, 100_500_000]
        await say("undo")
        assert -7_000_000 in [payment["amount"] for payment in (await say("payment list"))["items"]]


async def test_texts_and_what_was_empty_are_set_back(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        await say("site create name=wall market=DE offers=lucky-one intro=First")
        await say.tell("site edit", site="wall", headline="Hello", intro="Second", faq=["Who? | We."])
        await say("casino edit lucky bonus=100 licence=MGA payment_methods=Visa markets=DE")
        await say("undo")
        casino = await say("casino show lucky")
        assert [casino[name] for name in ("bonus", "licence", "payment_methods", "markets")] == [None, None, [], []]
        await say("undo")
        assert (await say("site show wall"))["texts"] == {"intro": "First"}


async def test_what_cannot_be_taken_back_does_not_hide_what_was_before_it(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        await say("offer pause lucky-one")
        await say("source add name=later")
        assert (await say("undo"))["undone"] == "offer pause"
        with pytest.raises(Refused, match="source add"):
            await say("undo")


async def test_a_logo_and_a_sites_picture_are_taken_back(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        await say("site create name=wall market=DE offers=lucky-one")
        for colour in ("red", "blue"):
            sent = base64.b64encode(picture(colour)).decode()
            await say.tell("casino logo", casino="lucky", image=sent)
            await say.tell("site image", site="wall", image=sent, alt=colour)
        blue = (await say("site show wall"))["texts"]["image"]
        await say("undo")
        red = (await say("site show wall"))["texts"]["image"]
        assert (red["alt"], blue["alt"]) == ("red", "blue")
        assert (await say("casino show lucky"))["logo"] == blue["src"]
        await say("undo")
        assert (await say("casino show lucky"))["logo"] == red["src"]
        await say("undo")
        await say("undo")
        assert "image" not in (await say("site show wall"))["texts"]
        assert (await say("casino show lucky"))["logo"] is None


def picture(colour: str) -> bytes:
    out = io.BytesIO()
    Pillow.new("RGB", (60, 40), colour).save(out, "PNG")
    return out.getvalue()


async def test_what_was_made_by_mistake_is_put_away_by_its_button(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        owner = Actor(team_id=say.team_id, name="the-owner", role=Role.OWNER)
        for line, listed in (
            ("source add Push", "source list"),
            ("site create wall market=DE offers=lucky-one", "site list"),
            ("account add postback_only name=other timezone=UTC currency=EUR", "account list"),
        ):
            before = [item["code"] for item in (await say(listed))["items"]]
            made = await say.ask(line, owner)
            assert len((await say(listed))["items"]) == len(before) + 1
            assert made.change is not None
            await say(f"undo {made.change.id}")
            assert [item["code"] for item in (await say(listed))["items"]] == before, line
            assert len((await say(f"{listed} status=archived"))["items"]) == 1


async def test_what_others_do_and_what_is_refused_hides_no_change(opened: Opened) -> None:
    async with asking(opened) as say:
        buyer: dict[str, Any] = {"role": Role.BUYER}
        await say("source add push", **buyer)
        await say("group add own", **buyer)
        for n in range(60):
            await say(f"group add g{n}")
        for _ in range(3):
            with pytest.raises(Forbidden):
                await say("member remove anna", **buyer)
        assert (await say("undo", **buyer))["undone"] == "group add"
        with pytest.raises(Refused, match="your last change, 'source add', cannot be undone"):
            await say("undo", **buyer)
