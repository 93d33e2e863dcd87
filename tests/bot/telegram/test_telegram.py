"""Telegram over real HTTP, with the real SDK, against a stand-in that checks limits and markup."""

from typing import Any

import httpx

from storage.ledger.facts import Role
from tests.bot.chatting import Chatting, eventually
from tests.bot.conftest import Chat

GROUP = -1001


async def joined(one: Chatting, role: Role = Role.OWNER, **body: Any) -> Any:
    return await one.tell(f"/start {await one.invite(role)}", **body)


async def latest(one: Chatting, holding: str, chat: int = 42) -> Any:
    async def found() -> Any:
        return next((m for m in reversed(await one.standing(chat)) if holding in m.get("text", "")), None)

    return await eventually(found, f"a message with {holding!r}")


async def test_a_person_joins_and_commands_are_answered(chat: Chat) -> None:
    async with chat() as one:
        assert "Welcome, Anna" in (await joined(one))["text"]
        assert "anna" in (await one.tell("/member list"))["text"]
        assert "anna" in (await one.tell("member list"))["text"]


async def test_the_webhook_and_the_command_lists_are_set_at_the_start(chat: Chat) -> None:
    async with chat() as one:
        hook = (await one.telegram.get("/_control/webhook")).json()
        assert hook["url"] == f"{one.url}/telegram/webhook"
        assert hook["secret_token"] == "hook"


async def test_an_invitation_links_to_the_bot(chat: Chat) -> None:
    async with chat() as one:
        await joined(one)
        told = await one.tell("/member invite role=buyer")
        assert "https://t.me/casinoflux_standin_bot?start=" in str(told["reply_markup"])


async def test_a_wrong_or_missing_secret_is_refused(chat: Chat) -> None:
    async with chat() as one, httpx.AsyncClient() as client:
        for headers in ({}, {"X-Telegram-Bot-Api-Secret-Token": "wrong"}):
            answer = await client.post(f"{one.url}/telegram/webhook", json={"update_id": 1}, headers=headers)
            assert answer.status_code == 401
        right = {"X-Telegram-Bot-Api-Secret-Token": "hook"}
        for body in (b"no json", b"null", b"[]"):
            answer = await client.post(f"{one.url}/telegram/webhook", content=body, headers=right)
            assert answer.status_code == 400


async def test_the_same_update_is_handled_once(chat: Chat) -> None:
    async with chat() as one:
        await joined(one)
        said = {
            "message_id": 9000, "date": 1, "text": "/source add name=Once",
            "from": {"id": 42, "is_bot": False, "first_name": "A"}, "chat": {"id": 42, "type": "private"},
        }  # fmt: skip
        for _ in range(2):
            assert (await one.on(one.telegram, "update", update_id=777, message=said))["status"] == 200
        await latest(one, "Once")
        await one.tell("/source add name=Twice")  # answered after whatever came before it
        assert len([m for m in await one.standing() if "Once" in m.get("text", "")]) == 1


async def test_missing_fields_are_asked_for_in_turn_with_buttons(chat: Chat) -> None:
    async with chat() as one:
        await joined(one)
        await one.tell('/account add platform=postback_only name="Main" timezone=UTC currency=EUR')
        asked = await one.tell("/offer add casino=Lucky")
        assert "Account" in asked["text"]
        await one.press(asked, "Main")
        asked = await latest(one, "URL")
        assert asked["message_id"]
        again = await one.tell("ftp://nonsense")
        assert "⛔" in again["text"]
        done = await one.tell("https://lucky.example.test/?c={click_id}")
        assert "Lucky" in done["text"]
        assert ("Lucky",) in await one.names("casinos")


async def test_a_dialogue_survives_a_restart_and_can_be_cancelled(chat: Chat) -> None:
    async with chat() as one:
        await joined(one)
        await one.tell("/source add")
        assert "Cancelled" in (await one.tell("/cancel"))["text"]
        assert await one.names("sources") == []
        await one.tell("/source add")
    async with chat() as one:
        told = await one.tell("After All")
        assert "After All" in told["text"]
        assert ("After All",) in await one.names("sources")


async def test_a_button_of_a_question_that_is_over_says_so(chat: Chat) -> None:
    async with chat() as one:
        await joined(one)
        asked = await one.tell("/source add")
        keys = [key for row in asked["reply_markup"]["inline_keyboard"] for key in row]
        await one.tell("/cancel")
        await one.on(one.telegram, "press", data=keys[-1]["callback_data"], message_id=asked["message_id"], chat=42)
        answered = await eventually(lambda: one.calls(one.telegram, "answerCallbackQuery"), "a toast")
        assert answered[-1]["text"] == "This question is over."


async def test_a_stranger_gets_one_polite_line_per_command_and_nothing_else(chat: Chat) -> None:
    async with chat() as one:
        await joined(one)
        await joined(one, Role.BUYER, chat=GROUP, user=7, name="Bob")
        before = len(await one.standing(GROUP))
        told = await one.tell("/source list", chat=GROUP, user=666, name="Eve")
        assert "members of a team only" in told["text"]
        await one.on(one.telegram, "say", text="hello everybody", chat=GROUP, user=666)
        await one.on(one.telegram, "say", text="/source@another_bot list", chat=GROUP, user=666)
        await one.tell("/source list", chat=GROUP, user=7, name="Bob")  # answered after whatever came before it
        assert len(await one.standing(GROUP)) == before + 2


async def test_a_group_of_no_team_yet_is_bound_by_a_members_join(chat: Chat) -> None:
    async with chat() as one:
        await joined(one)
        assert "/join" in (await one.tell("/source list", chat=GROUP))["text"]
        assert "team's now" in (await one.tell("/join@casinoflux_standin_bot", chat=GROUP))["text"]
        assert "No" in (await one.tell("/source list", chat=GROUP))["text"]


async def test_a_topic_is_answered_in_the_topic(chat: Chat) -> None:
    async with chat() as one:
        await joined(one)
        await one.tell("/join", chat=GROUP, thread=5)
        assert (await one.tell("/source list", chat=GROUP, thread=5))["message_thread_id"] == 5


async def test_an_upgraded_group_keeps_its_room(chat: Chat) -> None:
    async with chat() as one:
        await joined(one)
        await one.tell("/join", chat=GROUP)
        person = {"id": 42, "is_bot": False, "first_name": "A"}
        moved = {
            "message_id": 9001, "date": 1, "from": person, "migrate_to_chat_id": -2002,
            "chat": {"id": GROUP, "type": "group", "title": "G"},
        }  # fmt: skip
        await one.on(one.telegram, "update", message=moved)
        assert "No" in (await one.tell("/source list", chat=-2002))["text"]


async def test_a_pressed_button_runs_as_the_presser_and_the_message_says_who(chat: Chat) -> None:
    async with chat() as one:
        await joined(one)
        await one.tell('/account add platform=postback_only name="Main" timezone=UTC currency=EUR')
        made = await one.tell("/offer add casino=Lucky account=main url=https://x.example.test/?c={click_id}")
        keys = [key for row in made["reply_markup"]["inline_keyboard"] for key in row]
        pause = next(key for key in keys if "pause" in key["callback_data"])
        await one.on(
            one.telegram, "press", data=pause["callback_data"], message_id=made["message_id"], chat=42, user=666
        )
        toast = await eventually(lambda: one.calls(one.telegram, "answerCallbackQuery"), "a toast")
        assert "members of a team only" in toast[-1]["text"]
        await one.press(made, pause["text"])
        marked = await latest(one, f"✔ {pause['text']} · Anna")
        assert marked["message_id"] == made["message_id"]


async def test_polling_works_without_a_webhook_secret(chat: Chat) -> None:
    async with chat(TELEGRAM_WEBHOOK_SECRET="") as one:
        assert "Welcome" in (await joined(one))["text"]


async def test_names_stand_as_typed_whatever_markup_they_hold(chat: Chat) -> None:
    async with chat() as one:
        await joined(one)
        told = await one.tell('/source add name="<b>x</b> & @everyone مرحبا"')
        assert "<b>x</b> & @everyone مرحبا" in told["text"]


async def test_a_credential_typed_in_a_dialogue_is_removed_from_the_chat(chat: Chat) -> None:
    async with chat() as one:
        await joined(one)
        asked = await one.tell("/account add base_url=http://127.0.0.1:1 test=false")
        await one.press(asked, "affilka")
        asked = await latest(one, "Token")
        assert asked["message_id"]
        await one.on(one.telegram, "say", text="secret-token-1", chat=42)
        deleted = await eventually(lambda: one.calls(one.telegram, "deleteMessage"), "the message to go")
        assert deleted
        made = await latest(one, "affilka")
        assert "secret-token-1" not in str(await one.standing())
        assert made


async def test_an_invitation_made_in_a_group_is_told_to_its_maker_alone(chat: Chat) -> None:
    async with chat() as one:
        await joined(one)
        await one.tell("/join", chat=GROUP)
        told = await one.tell("/member invite role=buyer", chat=GROUP)
        assert "sent it to your own chat" in told["text"]
        assert "/start" in (await latest(one, "On Telegram"))["text"]
        assert "On Telegram" not in str(await one.standing(GROUP))
        await one.on(one.telegram, "fail", method="sendMessage", code=403, chat="42", description="Forbidden: no chat")
        told = await one.tell("/token create name=x role=viewer", chat=GROUP)
        assert "press Start" in told["text"]


async def test_an_argument_of_ten_thousand_characters_is_refused(chat: Chat) -> None:
    async with chat() as one:
        await joined(one)
        assert "3,000" in (await one.tell(f"/source add name={'x' * 4000}"))["text"]


async def test_an_unknown_command_gets_the_nearest(chat: Chat) -> None:
    async with chat() as one:
        await joined(one)
        assert "did you mean 'source list'" in (await one.tell("/source lisst"))["text"]


async def test_what_cannot_be_taken_back_is_asked_first(chat: Chat) -> None:
    async with chat() as one:
        await joined(one)
        await one.tell("/domain add name=bonus.example.test")
        question = await one.tell("/domain remove bonus.example.test")
        assert await one.names("domains") == [("bonus.example.test",)]
        await one.press(question, "Confirm")

        async def gone() -> bool:
            return await one.names("domains") == []

        await eventually(gone, "the domain to go")
        marked = await latest(one, "✔ Confirm · Anna")
        assert marked["message_id"] == question["message_id"]
