"""Answers say names as they were typed, and codes where they have to be typed."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from storage.clicks.queries import ensure_codec
from storage.ledger.facts import Role
from tests.bot.asking import Asker, asking
from tests.bot.seeding import clicked, converted, days_ago, reported

Opened = Callable[[], Any]


async def vulkan(say: Asker) -> dict[str, int]:
    """A team whose names have other codes."""
    await say.tell("account add", platform="postback_only", name="Партнёрка Один", timezone="UTC", currency="EUR")
    offer = await say.tell(
        "offer add", casino="Казино Вулкан", account="Партнёрка Один", tag="spring", url="https://a.example.test/?s=1"
    )
    await say.tell("source add", name="Push & Pop")
    site = await say.tell("site create", name="Лучшие казино", market="DE", offers=[offer.code])
    campaign = await say.tell(
        "campaign create", name="Весна 💸", offers=[f"{offer.code}:3"], source="push-pop", site=site.code, direct=True
    )
    return {"account_id": 1, "offer_id": offer.id, "campaign_id": campaign.id}


async def test_lists_and_cards_say_names_with_the_code_to_type(opened: Opened) -> None:
    async with asking(opened) as say:
        await vulkan(say)
        offer = (await say("offer list"))["items"][0]
        for shown in ("Казино Вулкан spring", offer["code"], "Партнёрка Один"):
            assert shown in say.shown
        campaign = (await say("campaign list"))["items"][0]
        for shown in ("Весна 💸", campaign["code"], "Казино Вулкан spring", "Лучшие казино", "Push & Pop"):
            assert shown in say.shown
        await say(f"campaign show {campaign['code']}")
        for shown in (f"Казино Вулкан spring ({offer['code']}:3)", "Лучшие казино (", "Push & Pop (push-pop)"):
            assert shown in say.shown
        await say(f"offer show {offer['code']}")
        assert f"Казино Вулкан ({offer['casino']})" in say.shown
        for listing in ("account list", "casino list", "site list", "source list"):
            item = (await say(listing))["items"][0]
            assert item["name"] in say.shown
            assert item["code"] in say.shown


async def test_alerts_and_digests_say_the_campaigns_names(opened: Opened) -> None:
    async with asking(opened) as say:
        await vulkan(say)
        code = (await say("campaign list"))["items"][0]["code"]
        await say.tell("alert add", rule="ftd < 50% of 7d avg", campaign=[code], channel="terminal")
        await say.tell("digest subscribe", at="09:00", campaigns=[code], channel="terminal")
        for listing in ("alert list", "digest list"):
            await say(listing)
            assert "Весна 💸" in say.shown, listing
            assert code not in say.shown, listing


async def test_why_logs_and_figures_say_names(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await vulkan(say)
        async with say.database.begin() as tx:
            await ensure_codec(tx)
        at = say.now - timedelta(days=1)
        await clicked(say, ids, days_ago(say, 1), 10)
        await converted(say, ids, at, 3, event="first_deposit", amount=50_000_000, currency="EUR")
        await reported(say, ids, days_ago(say, 1), at=say.now, first_deposits=2, commission_cpa=1_000_000)
        await reported(say, ids, days_ago(say, 2), at=say.now, tag="other", first_deposits=1)
        campaign = (await say("campaign list"))["items"][0]["code"]
        account = (await say("account list"))["items"][0]["code"]
        for command, shown in {
            f"why {campaign}": ("Why: Весна 💸", "FTDs of Казино Вулкан spring: postbacks 3, platform 2"),
            "conversion list": ("Весна 💸", "Казино Вулкан spring", "FTD"),
            "stats 7d": ("Весна 💸", "unassigned: Партнёрка Один / other"),
            "stats yesterday by casino": ("Казино Вулкан",),
            f"spend add {campaign} yesterday 12": ("Spend of Весна 💸",),
            f"simulate click {campaign}": ("Весна 💸 → Казино Вулкан spring (",),
            f"campaign link {campaign}": ("Tracking link of Весна 💸",),
            f"postback url {account}": ("Postback address of Партнёрка Один",),
        }.items():
            await say(command)
            for text in shown:
                assert text in say.shown, (command, say.shown)


async def test_a_name_that_is_nearly_right_is_named_with_its_code_and_another_is_not(opened: Opened) -> None:
    async with asking(opened) as say:
        await vulkan(say)
        with pytest.raises(Exception, match=r"did you mean Казино Вулкан \("):
            await say.tell("casino show", casino="казино вулкн")
        with pytest.raises(Exception, match="'casino list' shows them"):
            await say.tell("casino show", casino="Zzzzz")


@pytest.mark.parametrize("noun", ["campaign", "offer", "site", "source", "casino", "account"])
async def test_lists_find_words_of_names_and_codes(opened: Opened, noun: str) -> None:
    async with asking(opened) as say:
        await vulkan(say)
        item = (await say(f"{noun} list"))["items"][0]
        for words in (item["name"].split()[0].upper(), item["code"][1:], item["name"]):
            results = (await say.tell(f"{noun} list", find=words)).items
            assert [item.code for item in results] == [item["code"]], words
        assert (await say(f"{noun} find {item['name'].split()[0].lower()}"))["items"]
        assert (await say(f"{noun} find nothing-of-this"))["items"] == []
        assert f"No {noun} fits" in say.shown


async def test_more_of_a_list_keeps_what_it_was_asked_for(opened: Opened) -> None:
    async with asking(opened) as say:
        await say.account()
        for n in range(4):
            await say.tell("campaign create", name=f"Push {n}" if n < 3 else "Native")
        first = await say("campaign find push limit=2")
        assert "campaign list limit=2 find=push after=2" in say.shown
        rest = await say(f"campaign find push limit=2 after={first['next']}")
        assert [item["name"] for item in first["items"] + rest["items"]] == ["Push 0", "Push 1", "Push 2"]


async def test_a_limited_buyer_finds_only_what_is_theirs(opened: Opened) -> None:
    async with asking(opened) as say:
        for name in ("Push one", "Push two"):
            await say.tell("campaign create", name=name)
        results = await say("campaign find push", role=Role.BUYER, campaigns=("push-two",))
        assert [item["name"] for item in results["items"]] == ["Push two"]
