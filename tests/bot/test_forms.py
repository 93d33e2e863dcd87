"""What both chats do the same: a campaign with weighted offers made in a form; one person is one member."""

import json
import re
from typing import Any

from sqlalchemy import delete, select

from storage.ledger.facts import Role
from storage.tables import campaign_offers, offers
from tests.bot.chatting import Chatting, eventually
from tests.bot.conftest import Chat
from tests.bot.telegram.test_telegram import latest


async def ready(one: Chatting, say: Any) -> None:
    await say("account add platform=postback_only name=Main timezone=UTC currency=EUR")
    for tag in ("one", "two"):
        await say(f"offer add casino=Lucky account=main tag={tag} url=https://lucky.example.test/?s={{click_id}}")


async def with_key(one: Chatting, label: str) -> Any:
    """The message that has this button, once there is one."""

    async def found() -> Any:
        keys = [(m, k) for m in await one.standing() for row in m.get("reply_markup", {}).get("inline_keyboard", [])
                for k in row]  # fmt: skip
        return next((m for m, key in reversed(keys) if key["text"].removeprefix("✓ ") == label), None)

    return await eventually(found, f"a button {label}")


async def weights(one: Chatting) -> list[int]:
    async with one.database.read() as tx:
        return list((await tx.execute(select(campaign_offers.c.weight).order_by(campaign_offers.c.position))).scalars())


async def test_offers_are_chosen_and_weighed_in_slacks_modal(chat: Chat) -> None:
    async with chat() as one:
        await one.flux(f"join {await one.invite()}")
        await ready(one, one.flux)
        opened = await one.flux("campaign create")
        blocks = {block["block_id"]: block for block in opened["view"]["blocks"] if block["type"] == "input"}
        assert blocks["offers"]["element"]["type"] == "multi_static_select"
        assert {option["value"] for option in blocks["offers"]["element"]["options"]} == {"lucky-one", "lucky-two"}
        view = (await one.on(one.slack, "views"))[-1]
        values: dict[str, Any] = {"name": "Spring", "offers": ["lucky-two", "lucky-one"], "weights": "3"}
        wrong = await one.on(one.slack, "submit", view=view, values=values)
        assert set(json.loads(wrong["body"])["errors"]) == {"weights"}
        await one.on(one.slack, "submit", view=view, values=values | {"weights": "3, 1"})
        shown = await eventually(lambda: one.calls(one.slack, "chat.postMessage"), "the campaign")
        assert "lucky-two:3, lucky-one:1" in json.dumps(shown)
        assert await weights(one) == [3, 1]


async def test_offers_are_chosen_and_weighed_in_telegrams_dialogue(chat: Chat) -> None:
    async with chat() as one:
        await one.tell(f"/start {await one.invite()}")
        await ready(one, lambda text: one.tell(f"/{text}"))
        await one.tell("/campaign create")
        for step in ("Optional…", "Offers", "Lucky two", "Lucky one", "Done", "Optional…", "Weights"):
            await one.press(await with_key(one, step), step)
        await latest(one, "one for each offer")
        asked = await one.tell("3,1")
        assert "Name" in asked["text"]
        assert "lucky-two:3, lucky-one:1" in (await one.tell("Spring"))["text"]
        assert await weights(one) == [3, 1]


async def test_one_person_links_both_chats(chat: Chat) -> None:
    async with chat() as one:
        await one.flux(f"join {await one.invite()}")
        told = await one.flux("member link")
        assert told["response_type"] == "ephemeral"
        code = re.search(r"/start ([\w-]+)", json.dumps(told))
        assert code
        assert "Welcome, anna: you are an owner" in (await one.tell(f"/start {code[1]}"))["text"]
        assert await one.names("members") == [("anna",)]
        await one.tell("/source add name=FromTelegram")
        assert "anna" in json.dumps((await one.flux("audit"))["blocks"])


async def test_a_bare_noun_shows_what_can_be_done_at_a_press(chat: Chat) -> None:
    async with chat() as one:
        await one.flux(f"join {await one.invite()}")
        told = await one.flux("source")
        assert "Source: what there is" in told["text"]
        values = [e["value"] for b in told["blocks"] if b["type"] == "actions" for e in b["elements"] if "value" in e]
        assert values == ["source add", "source edit", "source list", "source show"]
        await one.on(one.slack, "press", value="source add", message={"blocks": told["blocks"]}, hidden=True)
        assert await eventually(lambda: one.calls(one.slack, "views.open"), "a form")


async def test_who_names_nothing_of_what_could_be_given_is_asked(chat: Chat) -> None:
    async with chat() as one:
        await one.flux(f"join {await one.invite()}")
        await one.flux("campaign create name=spring")
        opened = await one.flux("campaign edit spring")
        blocks = {block["block_id"]: block for block in opened["view"]["blocks"] if block["type"] == "input"}
        assert blocks["campaign"]["element"]["initial_option"]["value"] == "spring"
        view = (await one.on(one.slack, "views"))[-1]
        wrong = await one.on(one.slack, "submit", view=view, values={})
        assert "nothing to change" in str(json.loads(wrong["body"])["errors"])
        assert "view" in await one.flux("alert add")
        await one.tell(f"/start {await one.invite()}")
        assert "which of these" in (await one.tell("/campaign edit spring"))["text"]
        await one.press(await with_key(one, "Name"), "Name")
        await latest(one, "campaign edit · Name")
        assert "Summer" in (await one.tell("Summer"))["text"]


async def test_settings_tell_what_a_chat_is_sent(chat: Chat) -> None:
    async with chat() as one:
        await one.tell(f"/start {await one.invite()}")
        await one.tell("/digest subscribe at=08:00")
        told = (await one.tell("/settings"))["text"]
        assert "Anna" in told or "anna, owner" in told
        assert "Daily 08:00" in told


async def test_people_and_channels_may_be_mentioned_on_slack(chat: Chat) -> None:
    async with chat() as one:
        await one.flux(f"join {await one.invite()}")
        await one.flux(f"join {await one.invite(Role.VIEWER)}", user="U0BOB", user_name="bob")
        assert "bob (bob) · buyer" in (await one.flux("member role <@U0BOB|bob> buyer"))["text"]
        assert "no member" in (await one.flux("member role <@U0EVE> buyer"))["text"]
        told = json.dumps(await one.flux("digest subscribe channel=<#C0OTHER|general>"))
        assert "slack:C0OTHER" in told


async def test_a_form_sent_in_after_its_offer_is_gone_says_so_at_the_field(chat: Chat) -> None:
    async with chat() as one:
        await one.flux(f"join {await one.invite()}")
        await ready(one, one.flux)
        await one.flux("offer edit lucky-one")
        view = (await one.on(one.slack, "views"))[-1]
        async with one.database.begin() as tx:
            await tx.execute(delete(offers).where(offers.c.code == "lucky-one"))
        wrong = await one.on(one.slack, "submit", view=view, values={"tag": "new"})
        assert "no offer 'lucky-one'" in json.loads(wrong["body"])["errors"]["offer"]
