"""Saved views: reports by name, from a chat command or a page's address; taken back by undo."""

from collections.abc import Callable
from typing import Any

import pytest

from storage.ledger.errors import Refused
from tests.bot.asking import asking

Opened = Callable[[], Any]


async def test_a_view_is_saved_from_a_stats_command_and_shown_in_the_list(opened: Opened) -> None:
    async with asking(opened) as say:
        made = await say('view save Weekly "stats last week by campaign,offer sort=-commission country=DE"')
        assert made["code"] == "weekly"
        assert made["query"] == "range=last+week&by=campaign%2Coffer&sort=-commission&country=DE"
        again = await say('view save name=Weekly query="range=7d&by=day&own=Margin=profit/commission"')
        assert again["id"] == made["id"]  # the same name is replaced
        assert (await say("view list"))["items"][0]["query"] == "range=7d&by=day&own=Margin%3Dprofit%2Fcommission"
        await say("undo")
        assert (await say("view list"))["items"][0]["query"] == made["query"]
        await say("view remove weekly")
        assert (await say("view list"))["items"] == []
        await say("undo")
        assert [view["name"] for view in (await say("view list"))["items"]] == ["Weekly"]


@pytest.mark.parametrize(
    "query", ["offer list", "hello", "stats 7d by nothing", "stats gestern", "stats 7d sort=luck", "nonsense=1",
              "own=Margin=import os", "by=campaign&range=2026-13-01"],
)  # fmt: skip
async def test_a_view_that_would_show_nothing_is_refused_at_its_field(opened: Opened, query: str) -> None:
    async with asking(opened) as say:
        with pytest.raises(Refused) as refused:
            await say(f'view save name=Wrong query="{query}"')
        assert refused.value.field == "query"
