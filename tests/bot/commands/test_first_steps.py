"""A fresh team is led from an account to its first campaign."""

from collections.abc import Callable
from typing import Any

import pytest

from storage.ledger.facts import Role
from tests.bot.asking import asking

Opened = Callable[[], Any]


@pytest.mark.parametrize("line", ["stats", "best campaign this week", "campaign list", "site list", "account list"])
async def test_an_empty_team_is_led_to_its_first_account(opened: Opened, line: str) -> None:
    async with asking(opened) as say:
        await say(line)
        assert "1 connect an affiliate platform" in say.shown
        assert "Connect an account: account add" in say.shown
        assert "Add an offer" not in say.shown


async def test_each_step_shows_the_next_ones(opened: Opened) -> None:
    async with asking(opened) as say:
        await say.account()
        await say("stats")
        assert "✓ connect an affiliate platform" in say.shown
        assert "Add an offer: offer add" in say.shown
        assert "account add" not in say.shown
        await say("offer add casino=Lucky account=main url=https://a.example.test/")
        await say("campaign list")
        for step in ("Make a site: site create", "Start a campaign: campaign create"):
            assert step in say.shown
        await say("campaign create name=spring offers=lucky")
        await say("stats")
        assert "nothing happened" in say.shown
        await say("site list")
        assert "Make a site" not in say.shown


async def test_who_may_not_take_a_step_is_told_who_may(opened: Opened) -> None:
    async with asking(opened) as say:
        await say("stats", role=Role.VIEWER)
        assert "ask an owner of the team" in say.shown


async def test_a_list_that_a_filter_leaves_empty_says_so(opened: Opened) -> None:
    async with asking(opened) as say:
        await say("campaign create name=spring")
        await say("campaign list status=paused")
        assert say.shown.startswith("No campaign fits: campaign list status=paused")
        assert "All campaigns: campaign list" in say.shown
