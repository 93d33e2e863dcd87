"""Names of entities in any script and letter case: found, unique, kept as typed."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from storage.ledger.errors import CasinoFluxError, Missing, Refused
from tests.bot.asking import asking
from tests.bot.commands.test_members import joins

Opened = Callable[[], Any]
NAMES = {
    "Казино": "казино",
    "ÜBERGRÖSSE": "übergröße",
    "Ελληνικά ΣΠΟΡ": "ελληνικά σπορ",
    "Łódź": "łódź",
    "Spring": "SPRING",
}


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_is_found_and_taken_in_any_letter_case(opened: Opened, name: str) -> None:
    other = NAMES[name]
    async with asking(opened) as say:
        await say.account()
        made = await say.tell("campaign create", name=name)
        assert made.name == name
        shown = await say.tell("campaign show", campaign=other)
        assert (shown.name, shown.id) == (name, made.id)
        with pytest.raises(Refused, match="is taken") as refused:
            await say.tell("campaign create", name=other)
        assert refused.value.field == "name"
        renamed = await say.tell("campaign edit", campaign=name, name=other)
        assert (renamed.name, renamed.id) == (other, made.id)
        with pytest.raises(Missing):
            await say.tell("campaign show", campaign=f"{other} 2")


async def test_a_casino_is_not_made_twice_for_its_letter_case(opened: Opened) -> None:
    async with asking(opened) as say:
        await say.account()
        for casino, tag in (("Казино Удача", "один"), ("казино удача", "ДВА")):
            await say.tell(
                "offer add", casino=casino, account="main", tag=tag, url="https://a.example.test/?c={click_id}"
            )
        assert [casino["name"] for casino in (await say("casino list"))["items"]] == ["Казино Удача"]
        assert [offer["name"] for offer in (await say("offer list"))["items"]] == [
            "Казино Удача один",
            "Казино Удача ДВА",
        ]


async def test_names_given_by_default_are_free_in_any_letter_case(opened: Opened) -> None:
    async with asking(opened) as say:
        await say.tell("account add", platform="postback_only", name="POSTBACKS ONLY")
        assert (await say("account add postback_only"))["name"] == "Postbacks only 2"


async def test_of_several_who_give_one_name_at_once_one_has_it_and_nothing_fails(opened: Opened) -> None:
    async with asking(opened) as say:
        await say.account()
        sources = await asyncio.gather(*(say("source add name=Push") for _ in range(4)), return_exceptions=True)
        assert sorted(type(answer).__name__ for answer in sources) == ["Refused"] * 3 + ["dict"]
        url = "url=https://a.example.test/?s={click_id}"
        await asyncio.gather(*(say(f"offer add casino=Fresh account=main tag=t{n} group=East {url}") for n in range(4)))
        assert [item["code"] for item in (await say("casino list"))["items"]] == ["fresh"]
        assert [item["name"] for item in (await say("group list"))["items"]] == ["East"]
        codes = [(await say("member invite role=buyer"))["code"] for _ in range(4)]
        await asyncio.gather(*(joins(say, code, f"U{n}") for n, code in enumerate(codes)))
        assert len({item["code"] for item in (await say("member list"))["items"]}) == 4


async def test_what_several_make_at_once_is_made_once_or_refused_in_words(opened: Opened) -> None:
    async with asking(opened) as say:
        await say("site create name=wall market=DE")
        await say("campaign create name=c1")
        for line in (
            "domain add one.example.test site=wall", 'view save Weekly "stats 7d by campaign"',
            "rate set USDT 0.95 day=2026-11-01", "placement block z1 campaign=c1 sub=sub1",
            "spend add c1 yesterday 5 EUR",
            "note Seen campaign=c1", "group add East", "digest subscribe channel=terminal",
            "alert add ftd channel=terminal campaign=c1", "webhook add https://hooks.example.test/a name=Hook",
        ):  # fmt: skip
            answers = await asyncio.gather(*(say(line) for _ in range(3)), return_exceptions=True)
            faults = [answer for answer in answers if isinstance(answer, BaseException)]
            assert all(isinstance(fault, CasinoFluxError) for fault in faults), (line, faults)
            assert len(faults) < 3, (line, faults)
