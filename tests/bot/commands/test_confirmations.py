"""What destroys asks first, names the loss, and changes nothing until it is confirmed."""

from collections.abc import Callable
from typing import Any

import pytest

from storage.catalogue import teams
from storage.ledger.errors import Missing, Refused
from storage.ledger.facts import Role
from tests.bot.asking import NOON, Asker, asking
from tests.bot.commands.test_members import joins

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
        confirmation = await say("offer edit lucky url=https://b.example.test/?s={click_id}")
        assert "Visitors of spring go to the new address" in confirmation["consequence"]
        assert (await say("offer show lucky"))["url"].startswith("https://a.")
        with pytest.raises(Missing):
            await say(f"confirm {confirmation['confirm']}", role=Role.BUYER)
        await say(f"confirm {confirmation['confirm']}")
        assert (await say("offer show lucky"))["url"].startswith("https://b.")


async def test_an_offer_that_no_campaign_sends_to_changes_at_once(opened: Opened) -> None:
    async with asking(opened) as say:
        await say.account()
        await say(OFFER)
        assert (await say("offer edit lucky url=https://b.example.test/?s={click_id}"))["code"] == "lucky"


async def test_an_offers_url_asks_whichever_way_visitors_reach_it(opened: Opened) -> None:
    async with asking(opened) as say:
        await say.account()
        for name in ("direct", "ruled", "spare", "shown", "free"):
            await say(
                f"offer add casino={name} account=main tag={name} name={name} url=https://a.example.test/?s={{click_id}}"
            )
            await say(
                f"casino review {name} bonus=x licence=MGA terms_url=https://a.example.test/terms payment_methods=Visa"
            )
        await say("offer edit direct alternative=spare")
        await say("site create wall market=DE offers=shown")
        await say("site publish wall")
        await say.tell(
            "campaign create", name="one", offers=["direct"], rules=[{"if": {"country": ["DE"]}, "offers": ["ruled"]}]
        )
        await say("campaign create two site=wall")
        for name, reached in (("direct", "one"), ("ruled", "one"), ("spare", "one"), ("shown", "two, site wall")):
            confirmation = await say(f"offer edit {name} url=https://b.example.test/?s={{click_id}}")
            assert f"Visitors of {reached} go to the new address" in confirmation["consequence"], name
        assert "confirm" not in await say("offer edit free url=https://b.example.test/?s={click_id}")
        await say("campaign pause one")
        assert "confirm" not in await say("offer edit direct url=https://b.example.test/?s={click_id}")


async def test_a_question_is_answered_by_its_own_team_and_person_once_within_ten_minutes(opened: Opened) -> None:
    async with asking(opened) as say:
        async with say.database.begin() as tx:
            other = Asker(say.database, (await teams.add(tx, "Other", NOON)).id)
        await say.account()
        await say("token create grafana viewer")
        code = (await say("token revoke grafana"))["confirm"]
        for who in (other, say):
            for word in ("confirm", "cancel"):
                with pytest.raises(Missing):
                    await who(f"{word} {code}", role=Role.OWNER if who is other else Role.BUYER)
        await say(f"confirm {code}")
        with pytest.raises(Refused, match="already"):
            await say(f"confirm {code}")
        late = (await say("account pause main"))["confirm"]
        say.later(minutes=11)
        with pytest.raises(Refused, match="older than ten minutes"):
            await say(f"confirm {late}")
        assert (await say("account show main"))["status"] == "active"


@pytest.mark.parametrize(
    ("words", "loss"),
    [
        ("member remove anna", "Anna (buyer) loses access at once, everywhere"),
        ("token revoke grafana", "Whatever uses the token grafana is refused"),
        ("registrar remove np", "login np is forgotten; 0 of your domains"),
        ("alert remove 1", "alert"),
        ("account pause main", "stays pending"),
        ("domain remove gone.example.test", "gone.example.test"),
    ],
)
async def test_every_command_that_destroys_names_what_is_lost(opened: Opened, words: str, loss: str) -> None:
    async with asking(opened) as say:
        await say.account()
        await joins(say, (await say("member invite role=buyer"))["code"], "U1")
        await say("token create grafana viewer")
        await say("registrar add np porkbun api_key=a secret_key=b")
        await say("alert add ftd channel=terminal")
        await say("domain add gone.example.test")
        answer = await say(words)
        assert loss.lower() in answer["consequence"].lower()
        assert f"confirm {answer['confirm']}" in say.shown
        unchanged = [await say(f"{noun} list") for noun in ("member", "registrar", "alert", "account", "domain")]
        assert all(page["items"] for page in unchanged)
        assert "confirm" not in await say(f"confirm {answer['confirm']}")
