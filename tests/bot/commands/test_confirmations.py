"""What destroys asks first, names the loss, and changes nothing until it is confirmed."""

from collections.abc import Callable
from typing import Any

import pytest

from storage.ledger.errors import Missing
from storage.ledger.facts import Role
from tests.bot.asking import Asker, asking

Opened = Callable[[], Any]
OFFER = "offer add casino=Lucky account=main tag=a name=lucky url=https://a.example.test/?s={click_id}"


async def question(say: Asker, words: str) -> str:
    return str((await say(words))["consequence"])


async def test_the_question_names_the_loss_and_nothing_happens_before_the_answer(opened: Opened) -> None:
    async with asking(opened) as say:
        await say.account()
        await say(OFFER)
        assert "its offers (1) stays pending" in await question(say, "account pause main")
        assert (await say("account show main"))["status"] == "active"
        await say("token create grafana viewer")
        assert "grafana is refused" in await question(say, "token revoke grafana")
        assert (await say("token list"))["items"][0]["revoked_at"] is None
        await say("campaign create spring offers=lucky")
        asked = await say("offer edit lucky url=https://b.example.test/?s={click_id}")
        assert "Visitors of spring go to the new address" in asked["consequence"]
        assert (await say("offer show lucky"))["url"].startswith("https://a.")
        with pytest.raises(Missing):
            await say(f"confirm {asked['confirm']}", role=Role.BUYER)
        await say(f"confirm {asked['confirm']}")
        assert (await say("offer show lucky"))["url"].startswith("https://b.")


async def test_an_offer_that_no_campaign_sends_to_changes_at_once(opened: Opened) -> None:
    async with asking(opened) as say:
        await say.account()
        await say(OFFER)
        assert (await say("offer edit lucky url=https://b.example.test/?s={click_id}"))["code"] == "lucky"
