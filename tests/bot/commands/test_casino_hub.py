"""The casino hub: reviewed facts of a brand as another team's first draft, where the operator switches it on."""

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from storage.catalogue import teams
from storage.ledger.errors import Missing, Refused
from storage.ledger.facts import Role
from tests.bot.asking import NOON, Asker, asking
from tests.bot.commands.test_undo import picture

Opened = Callable[[], Any]
OFFER = 'offer add casino="{0}" account=main tag={1}-tag url=https://{1}.example.test/?aff={1}77&s={{click_id}}'
FACTS = ("bonus", "free_spins", "wagering", "payment_methods", "markets", "licence", "terms_url", "logo")


@asynccontextmanager
async def two_teams(opened: Opened, *, hub: bool = True) -> AsyncIterator[tuple[Asker, Asker]]:
    """Red has an entry of Lucky Star with every field filled; Blue has none yet."""
    async with asking(opened) as red:
        async with red.database.begin() as tx:
            blue = Asker(red.database, (await teams.add(tx, "Blue", NOON)).id)
        for team in (red, blue):
            team.deployment = msgspec.structs.replace(team.deployment, casino_hub=hub)
        await red.account("main")
        await red(OFFER.format("Lucky Star", "red"))
        await red.tell(
            "casino edit", casino="lucky-star", bonus="200 % of Red", free_spins="50", wagering="35x",
            payment_methods=["Visa", "Skrill"], markets=["DE"], licence="MGA/B2C/1",
            terms_url="https://lucky.example/terms?btag=red77#red",
        )  # fmt: skip
        await red.tell("casino logo", casino="lucky-star", image=base64.b64encode(picture("red")).decode())
        await blue("account add postback_only name=main")
        yield red, blue


async def test_a_first_draft_holds_what_another_team_has_reviewed_and_nothing_else(opened: Opened) -> None:
    async with two_teams(opened) as (red, blue):
        await red("casino review lucky-star")
        added = await blue(OFFER.format("LUCKY star", "blue"))
        assert "check it with casino show lucky-star" in " ".join(added["warnings"])
        drafted = await blue("casino show lucky-star")
        logo = (await red("casino show lucky-star"))["logo"]
        assert {name: drafted[name] for name in FACTS} == {
            "bonus": None, "free_spins": None, "wagering": None, "payment_methods": ["Visa", "Skrill"], "markets": [],
            "licence": "MGA/B2C/1", "terms_url": "https://lucky.example/terms", "logo": logo,
        }  # fmt: skip
        assert (drafted["name"], drafted["status"]) == ("LUCKY star", "draft")
        answers = str((added, drafted, await blue("casino hub"))).lower()
        assert [word for word in ("red", "200 %") if word in answers.replace("reviewed", "")] == []


async def test_nothing_is_offered_before_the_review_or_while_it_is_switched_off(opened: Opened) -> None:
    async with two_teams(opened) as (_, blue):
        await blue(OFFER.format("Lucky Star", "blue"))
        assert (await blue("casino show lucky-star"))["licence"] is None
        assert (await blue("casino hub"))["items"] == []
        with pytest.raises(Missing, match="no team has reviewed"):
            await blue("casino fill lucky-star")


async def test_the_operator_switches_it_on(opened: Opened) -> None:
    async with two_teams(opened, hub=False) as (red, blue):
        await red("casino review lucky-star")
        await blue(OFFER.format("Lucky Star", "blue"))
        assert (await blue("casino show lucky-star"))["licence"] is None
        for words in ("casino hub", "casino hub lucky-star", "casino fill lucky-star"):
            with pytest.raises(Refused, match="CASINOFLUX_CASINO_HUB=1"):
                await blue(words)


async def test_an_entry_is_filled_where_it_is_empty_and_taken_back(opened: Opened) -> None:
    async with two_teams(opened) as (red, blue):
        await blue(OFFER.format("Lucky Star", "blue"))
        await blue("casino edit lucky-star licence=Curacao")
        await red("casino review lucky-star")
        filled = await blue("casino fill lucky-star", role=Role.BUYER)
        assert (filled["licence"], filled["payment_methods"], filled["status"]) == (
            "Curacao", ["Visa", "Skrill"], "draft",
        )  # fmt: skip
        await blue("undo", role=Role.BUYER)
        again = await blue("casino show lucky-star")
        assert (again["payment_methods"], again["terms_url"], again["logo"]) == ([], None, None)
        await blue("casino review lucky-star")
        with pytest.raises(Refused, match="reviewed"):
            await blue("casino fill lucky-star")


async def test_the_hub_lists_brands_of_others_in_pages(opened: Opened) -> None:
    async with two_teams(opened) as (red, blue):
        for name in ("Ace", "Bingo", "Crown"):
            await red(OFFER.format(name, name.lower()))
            await red(f"casino review {name.lower()} licence=L-{name}")
        first = await blue("casino hub limit=2")
        assert [casino["name"] for casino in first["items"]] == ["Ace", "Bingo"]
        rest = await blue(f"casino hub limit=2 after={first['next']}")
        assert ([casino["name"] for casino in rest["items"]], rest["next"]) == (["Crown"], None)
        assert (await blue("casino hub ACE"))["items"][0]["licence"] == "L-Ace"
        assert (await red("casino hub"))["items"] == []


async def test_an_address_on_a_teams_domain_is_not_offered(opened: Opened) -> None:
    async with two_teams(opened) as (red, blue):
        await red("site create name=wall market=DE offers=lucky-star-red-tag")
        await red("domain add red-team.example.test site=wall")
        await red.tell(
            "casino review", casino="lucky-star", terms_url="https://www.red-team.example.test/terms",
            logo="https://red-team.example.test/logo.png",
        )  # fmt: skip
        brand = (await blue("casino hub lucky-star"))["items"][0]
        assert (brand["terms_url"], brand["logo"], brand["licence"]) == (None, None, "MGA/B2C/1")
