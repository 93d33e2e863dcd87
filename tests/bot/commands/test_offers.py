"""Offers by command, on both databases."""

from collections.abc import Callable
from typing import Any

import pytest

from storage.ledger.errors import Forbidden, Missing, Refused
from storage.ledger.facts import Role
from tests.bot.asking import asking

Opened = Callable[[], Any]
ADD = 'offer add casino="Lucky Star" account=main url=https://lucky.example.test/?s={click_id}'


async def test_a_deal_is_recorded_with_its_casino(opened: Opened) -> None:
    async with asking(opened) as say:
        await say.account()
        offer = await say(
            f"{ADD} tag=Spring markets=de,AT cap=50 cap_event=registration deal='CPA 120'".replace("'", '"')
        )
        assert (offer["code"], offer["casino"], offer["account"]) == ("lucky-star-spring", "lucky-star", "main")
        assert (offer["markets"], offer["cap"], offer["cap_period"]) == (["DE", "AT"], 50, "day")
        assert (await say("casino list"))["items"][0]["status"] == "draft"
        assert await say("offer show lucky-star-spring") == offer
        assert await say(f"offer show {offer['id']}") == offer
        assert "Spring" in say.shown


async def test_a_second_untagged_deal_is_refused_unless_forced(opened: Opened) -> None:
    async with asking(opened) as say:
        await say.account()
        await say(f"{ADD} tag=spring")
        with pytest.raises(Refused, match="several segments") as caught:
            await say(ADD)
        assert caught.value.field == "tag"
        forced = await say(f"{ADD} force=true")
        assert "pulls in" in forced["warnings"][0]
        assert "no tag" in (await say("offer show lucky-star-spring"))["warnings"][0]


@pytest.mark.parametrize(
    ("more", "field"),
    [("tag=SPRING", "tag"), ("tag=x account=nope", "account"), ("tag=x markets=Germany", "markets"),
     ("tag=x cap=-1", "cap"), ("tag=x cap_event=deposit cap=1", "cap_event"), ("tag=x alternative=nope", "alternative"),
     ("tag=x url=https://{click_id}.example.test", "url"), ("tag=x url=https://a.example.test/?x={clickid}", "url"),
     ('tag=x name="Lucky Star spring"', "name")],
)  # fmt: skip
async def test_faults_are_told_at_their_field(opened: Opened, more: str, field: str) -> None:
    async with asking(opened) as say:
        await say.account()
        await say(f"{ADD} tag=spring")
        words = {word.partition("=")[0] for word in more.split()}
        remaining = [w for w in ADD.replace('"Lucky Star"', "lucky-star").split() if w.partition("=")[0] not in words]
        with pytest.raises(Refused) as caught:
            await say(" ".join(remaining) + " " + more)
        assert caught.value.field == field


async def test_a_link_without_the_click_id_is_warned_about(opened: Opened) -> None:
    async with asking(opened) as say:
        await say.account()
        offer = await say("offer add casino=Wild account=main url=https://wild.example.test/ tag=w")
        assert "{click_id}" in offer["warnings"][0]


async def test_offers_are_paused_edited_and_listed(opened: Opened) -> None:
    async with asking(opened) as say:
        await say.account()
        for n in range(3):
            await say(f"{ADD} tag=t{n}")
        assert (await say("offer pause lucky-star-t1"))["status"] == "paused"
        assert [o["code"] for o in (await say("offer list status=paused"))["items"]] == ["lucky-star-t1"]
        first = await say("offer list limit=2")
        rest = await say(f"offer list limit=2 after={first['next']}")
        assert [len(first["items"]), len(rest["items"]), rest["next"]] == [2, 1, None]
        edited = await say("offer edit lucky-star-t0 tag=t9 cap=5 alternative=lucky-star-t2")
        assert (edited["tag"], edited["cap"], edited["alternative"]) == ("t9", 5, "lucky-star-t2")
        assert (await say("offer resume lucky-star-t1"))["status"] == "active"


async def test_a_viewer_cannot_change_and_nothing_missing_is_made_up(opened: Opened) -> None:
    async with asking(opened) as say:
        await say.account()
        with pytest.raises(Forbidden, match="buyer"):
            await say(f"{ADD} tag=spring", role=Role.VIEWER)
        with pytest.raises(Missing, match="no offer"):
            await say("offer show nothing")
        assert (await say("offer list"))["items"] == []
