"""What both chats do the same: a campaign with weighted offers made in a form; one person is one member."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, select

from storage.ledger.facts import Role
from storage.tables import campaign_offers, offers, spend
from tests.bot.chatting import Chatting
from tests.bot.conftest import Chat
from tests.bot.telegram.test_telegram import latest
from tests.standins.slack_limits import check_view
from tests.waiting import eventually


async def ready(say: Any) -> None:
    await say("account add platform=postback_only name=Main timezone=UTC currency=EUR")
    for tag in ("one", "two"):
        await say(f"offer add casino=Lucky account=main tag={tag} url=https://lucky.example.test/?s={{click_id}}")


async def with_key(chats: Chatting, label: str) -> Any:
    """The message that has this button, once there is one."""

    async def with_button() -> Any:
        keys = [(m, k) for m in await chats.standing() for row in m.get("reply_markup", {}).get("inline_keyboard", [])
                for k in row]  # fmt: skip
        return next((m for m, key in reversed(keys) if key["text"].removeprefix("✓ ") == label), None)

    return await eventually(with_button, f"a button {label}")


async def weights(chats: Chatting) -> list[int]:
    async with chats.database.read() as tx:
        return list((await tx.execute(select(campaign_offers.c.weight).order_by(campaign_offers.c.position))).scalars())


async def test_offers_are_chosen_and_weighed_in_slacks_modal(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        await ready(chats.flux)
        opened = await chats.flux("campaign create")
        blocks = {block["block_id"]: block for block in opened["view"]["blocks"] if block["type"] == "input"}
        assert blocks["offers"]["element"]["type"] == "multi_static_select"
        assert {option["value"] for option in blocks["offers"]["element"]["options"]} == {"lucky-one", "lucky-two"}
        view = (await chats.on(chats.slack, "views"))[-1]
        values: dict[str, Any] = {"name": "Spring", "offers": ["lucky-two", "lucky-one"], "weights": "3"}
        wrong = await chats.on(chats.slack, "submit", view=view, values=values)
        assert set(json.loads(wrong["body"])["errors"]) == {"weights"}
        await chats.on(chats.slack, "submit", view=view, values=values | {"weights": "3, 1"})
        shown = await eventually(lambda: chats.calls(chats.slack, "chat.postMessage"), "the campaign")
        assert "Lucky two (lucky-two:3), Lucky one (lucky-one:1)" in json.dumps(shown)
        assert await weights(chats) == [3, 1]


async def test_offers_are_chosen_and_weighed_in_telegrams_dialogue(chat: Chat) -> None:
    async with chat() as chats:
        await chats.tell(f"/start {await chats.invite()}")
        await ready(lambda text: chats.tell(f"/{text}"))
        await chats.tell("/campaign create")
        for step in ("Optional…", "Offers", "Lucky two", "Lucky one", "Done", "Optional…", "Weights"):
            await chats.press(await with_key(chats, step), step)
        await latest(chats, "one for each offer")
        question = await chats.tell("3,1")
        assert "Name" in question["text"]
        assert "Lucky two (lucky-two:3), Lucky one (lucky-one:1)" in (await chats.tell("Spring"))["text"]
        assert await weights(chats) == [3, 1]


async def test_one_person_links_both_chats(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        answer = await chats.flux("member link")
        assert answer["response_type"] == "ephemeral"
        code = re.search(r"/start ([\w-]+)", json.dumps(answer))
        assert code
        assert "Welcome, anna: you are an owner" in (await chats.tell(f"/start {code[1]}"))["text"]
        assert await chats.names("members") == [("anna",)]
        await chats.tell("/source add name=FromTelegram")
        assert "anna" in json.dumps((await chats.flux("audit"))["blocks"])


async def test_a_day_is_chosen_by_a_button_in_both_chats(chat: Chat) -> None:
    async with chat() as chatting:
        await chatting.flux(f"join {await chatting.invite()}")
        await chatting.flux("campaign create name=Spring")
        await chatting.flux("spend add spring")
        view = (await chatting.on(chatting.slack, "views"))[-1]
        yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
        await chatting.on(
            chatting.slack, "choose", view=view, values={"amount": "12"}, block="day-day", button="yesterday"
        )
        (filled,) = await eventually(lambda: chatting.calls(chatting.slack, "views.update"), "the day to be filled in")
        inputs = {b["block_id"]: b["element"] for b in filled["view"]["blocks"] if b["type"] == "input"}
        assert (inputs["day"]["initial_date"], inputs["amount"]["initial_value"]) == (yesterday, "12")
        check_view(filled["view"])
        await chatting.tell(f"/start {await chatting.invite()}")
        question = await chatting.tell("/spend add campaign=spring amount=7")
        assert [key["text"] for row in question["reply_markup"]["inline_keyboard"] for key in row][:2] == [
            "Today", "Yesterday",
        ]  # fmt: skip
        await chatting.press(question, "Yesterday")
        await latest(chatting, "Spend of Spring on")
        async with chatting.database.read() as tx:
            assert (await tx.execute(select(spend.c.day, spend.c.amount))).all() == [
                (datetime.fromisoformat(yesterday).date(), 7_000_000)
            ]


async def test_a_bare_noun_shows_what_can_be_done_at_a_press(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        answer = await chats.flux("source")
        assert "Source: what there is" in answer["text"]
        values = [e["value"] for b in answer["blocks"] if b["type"] == "actions" for e in b["elements"] if "value" in e]
        assert values == [f"source {verb}" for verb in ("add", "archive", "edit", "list", "restore", "show")]
        await chats.on(chats.slack, "press", value="source add", message={"blocks": answer["blocks"]}, hidden=True)
        assert await eventually(lambda: chats.calls(chats.slack, "views.open"), "a form")


async def test_who_names_nothing_of_what_could_be_given_is_asked(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        await chats.flux("campaign create name=spring")
        opened = await chats.flux("campaign edit spring")
        blocks = {block["block_id"]: block for block in opened["view"]["blocks"] if block["type"] == "input"}
        assert blocks["campaign"]["element"]["initial_options"][0]["value"] == "spring"
        view = (await chats.on(chats.slack, "views"))[-1]
        wrong = await chats.on(chats.slack, "submit", view=view, values={})
        assert "nothing to change" in str(json.loads(wrong["body"])["errors"])
        assert "view" in await chats.flux("alert add")
        await chats.tell(f"/start {await chats.invite()}")
        assert "which of these" in (await chats.tell("/campaign edit spring"))["text"]
        await chats.press(await with_key(chats, "Name"), "Name")
        await latest(chats, "campaign edit · Name")
        assert "Summer" in (await chats.tell("Summer"))["text"]


async def test_settings_tell_what_a_chat_is_sent(chat: Chat) -> None:
    async with chat() as chats:
        await chats.tell(f"/start {await chats.invite()}")
        await chats.tell("/digest subscribe at=08:00")
        text = (await chats.tell("/settings"))["text"]
        assert "Anna" in text or "anna, owner" in text
        assert "Daily 08:00" in text


async def test_people_and_channels_may_be_mentioned_on_slack(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        await chats.flux(f"join {await chats.invite(Role.VIEWER)}", user="U0BOB", user_name="bob")
        assert "bob (bob) · buyer" in (await chats.flux("member role <@U0BOB|bob> buyer"))["text"]
        assert "no member" in (await chats.flux("member role <@U0EVE> buyer"))["text"]
        answer = json.dumps(await chats.flux("digest subscribe channel=<#C0OTHER|general>"))
        assert "#general" in answer, "the room is named by its title"


async def test_a_form_sent_in_after_its_offer_is_gone_says_so_at_the_field(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        await ready(chats.flux)
        await chats.flux("offer edit lucky-one")
        view = (await chats.on(chats.slack, "views"))[-1]
        async with chats.database.begin() as tx:
            await tx.execute(delete(offers).where(offers.c.code == "lucky-one"))
        wrong = await chats.on(chats.slack, "submit", view=view, values={"tag": "new"})
        assert "no offer 'lucky-one'" in json.loads(wrong["body"])["errors"]["offer"]


async def test_what_is_archived_is_chosen_only_to_be_restored(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        for line in ("source add name=kept", "source add name=gone", "source archive gone"):
            await chats.flux(line)
        for verb, offered in (("edit", ["kept"]), ("restore", ["gone"])):
            opened = await chats.flux(f"source {verb}")
            blocks = {block["block_id"]: block for block in opened["view"]["blocks"] if block["type"] == "input"}
            assert [option["value"] for option in blocks["source"]["element"]["options"]] == offered
