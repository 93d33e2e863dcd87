"""Telegram over real HTTP, with the real SDK, against a stand-in that checks limits and markup."""

from typing import Any

import httpx

from storage.ledger.facts import Role
from tests.bot.chatting import Chatting
from tests.bot.conftest import Chat
from tests.waiting import eventually

GROUP = -1001


async def joined(chats: Chatting, role: Role = Role.OWNER, **body: Any) -> Any:
    return await chats.tell(f"/start {await chats.invite(role)}", **body)


async def latest(chats: Chatting, holding: str, chat: int = 42) -> Any:
    async def holding_message() -> Any:
        return next((m for m in reversed(await chats.standing(chat)) if holding in m.get("text", "")), None)

    return await eventually(holding_message, f"a message with {holding!r}")


async def test_a_person_joins_and_commands_are_answered(chat: Chat) -> None:
    async with chat() as chats:
        assert "Welcome, Anna" in (await joined(chats))["text"]
        assert "anna" in (await chats.tell("/member list"))["text"]
        assert "anna" in (await chats.tell("member list"))["text"]


async def test_the_webhook_and_the_command_lists_are_set_at_the_start(chat: Chat) -> None:
    async with chat() as chats:
        hook = (await chats.telegram.get("/_control/webhook")).json()
        assert hook["url"] == f"{chats.url}/telegram/webhook"
        assert hook["secret_token"] == "hook"


async def test_an_invitation_links_to_the_bot(chat: Chat) -> None:
    async with chat() as chats:
        await joined(chats)
        answer = await chats.tell("/member invite role=buyer")
        assert "https://t.me/casinoflux_standin_bot?start=" in str(answer["reply_markup"])


async def test_a_wrong_or_missing_secret_is_refused(chat: Chat) -> None:
    async with chat() as chats, httpx.AsyncClient(timeout=60) as client:
        for headers in ({}, {"X-Telegram-Bot-Api-Secret-Token": "wrong"}):
            answer = await client.post(f"{chats.url}/telegram/webhook", json={"update_id": 1}, headers=headers)
            assert answer.status_code == 401
        right = {"X-Telegram-Bot-Api-Secret-Token": "hook"}
        for body in (b"no json", b"null", b"[]"):
            answer = await client.post(f"{chats.url}/telegram/webhook", content=body, headers=right)
            assert answer.status_code == 400


async def test_the_same_update_is_handled_once(chat: Chat) -> None:
    async with chat() as chats:
        await joined(chats)
        message = {
            "message_id": 9000, "date": 1, "text": "/source add name=Once",
            "from": {"id": 42, "is_bot": False, "first_name": "A"}, "chat": {"id": 42, "type": "private"},
        }  # fmt: skip
        for _ in range(2):
            assert (await chats.on(chats.telegram, "update", update_id=777, message=message))["status"] == 200
        await latest(chats, "Once")
        await chats.tell("/source add name=Twice")  # answered after whatever came before it
        assert len([m for m in await chats.standing() if "Once" in m.get("text", "")]) == 1


async def test_missing_fields_are_asked_for_in_turn_with_buttons(chat: Chat) -> None:
    async with chat() as chats:
        await joined(chats)
        await chats.tell('/account add platform=postback_only name="Main" timezone=UTC currency=EUR')
        question = await chats.tell("/offer add casino=Lucky")
        assert "Account" in question["text"]
        await chats.press(question, "Main")
        question = await latest(chats, "URL")
        assert question["message_id"]
        again = await chats.tell("ftp://nonsense")
        assert "⛔" in again["text"]
        done = await chats.tell("https://lucky.example.test/?c={click_id}")
        assert "Lucky" in done["text"]
        assert ("Lucky",) in await chats.names("casinos")


async def test_a_dialogue_survives_a_restart_and_can_be_cancelled(chat: Chat) -> None:
    async with chat() as chats:
        await joined(chats)
        await chats.tell("/source add")
        assert "Cancelled" in (await chats.tell("/cancel"))["text"]
        assert await chats.names("sources") == []
        await chats.tell("/source add")
    async with chat() as chats:
        answer = await chats.tell("After All")
        assert "After All" in answer["text"]
        assert ("After All",) in await chats.names("sources")


async def test_a_button_of_a_question_that_is_over_says_so(chat: Chat) -> None:
    async with chat() as chats:
        await joined(chats)
        question = await chats.tell("/source add")
        keys = [key for row in question["reply_markup"]["inline_keyboard"] for key in row]
        await chats.tell("/cancel")
        await chats.on(
            chats.telegram, "press", data=keys[-1]["callback_data"], message_id=question["message_id"], chat=42
        )
        answered = await eventually(lambda: chats.calls(chats.telegram, "answerCallbackQuery"), "a toast")
        assert answered[-1]["text"].startswith("This question is over")


async def test_a_stranger_gets_one_polite_line_per_command_and_nothing_else(chat: Chat) -> None:
    async with chat() as chats:
        await joined(chats)
        await joined(chats, Role.BUYER, chat=GROUP, user=7, name="Bob")
        before = len(await chats.standing(GROUP))
        answer = await chats.tell("/source list", chat=GROUP, user=666, name="Eve")
        assert "members of a team only" in answer["text"]
        await chats.on(chats.telegram, "say", text="hello everybody", chat=GROUP, user=666)
        await chats.on(chats.telegram, "say", text="/source@another_bot list", chat=GROUP, user=666)
        await chats.tell("/source list", chat=GROUP, user=7, name="Bob")  # answered after whatever came before it
        assert len(await chats.standing(GROUP)) == before + 2


async def test_a_group_of_no_team_yet_is_bound_by_a_members_join(chat: Chat) -> None:
    async with chat() as chats:
        await joined(chats)
        assert "/join" in (await chats.tell("/source list", chat=GROUP))["text"]
        assert "team's now" in (await chats.tell("/join@casinoflux_standin_bot", chat=GROUP))["text"]
        assert "No" in (await chats.tell("/source list", chat=GROUP))["text"]


async def test_a_topic_is_answered_in_the_topic(chat: Chat) -> None:
    async with chat() as chats:
        await joined(chats)
        await chats.tell("/join", chat=GROUP, thread=5)
        assert (await chats.tell("/source list", chat=GROUP, thread=5))["message_thread_id"] == 5


async def test_an_upgraded_group_keeps_its_room(chat: Chat) -> None:
    async with chat() as chats:
        await joined(chats)
        await chats.tell("/join", chat=GROUP)
        person = {"id": 42, "is_bot": False, "first_name": "A"}
        moved = {
            "message_id": 9001, "date": 1, "from": person, "migrate_to_chat_id": -2002,
            "chat": {"id": GROUP, "type": "group", "title": "G"},
        }  # fmt: skip
        await chats.on(chats.telegram, "update", message=moved)
        assert "No" in (await chats.tell("/source list", chat=-2002))["text"]


async def test_a_pressed_button_runs_as_the_presser_and_the_message_says_who(chat: Chat) -> None:
    async with chat() as chats:
        await joined(chats)
        await chats.tell('/account add platform=postback_only name="Main" timezone=UTC currency=EUR')
        made = await chats.tell("/offer add casino=Lucky account=main url=https://x.example.test/?c={click_id}")
        keys = [key for row in made["reply_markup"]["inline_keyboard"] for key in row]
        pause = next(key for key in keys if "pause" in key["callback_data"])
        await chats.on(
            chats.telegram, "press", data=pause["callback_data"], message_id=made["message_id"], chat=42, user=666
        )
        toast = await eventually(lambda: chats.calls(chats.telegram, "answerCallbackQuery"), "a toast")
        assert "members of a team only" in toast[-1]["text"]
        await chats.press(made, pause["text"])
        marked = await latest(chats, f"✔ {pause['text']} · Anna")
        assert marked["message_id"] == made["message_id"]


async def test_polling_works_without_a_webhook_secret(chat: Chat) -> None:
    async with chat(TELEGRAM_WEBHOOK_SECRET="") as chats:
        assert "Welcome" in (await joined(chats))["text"]


async def test_names_stand_as_typed_whatever_markup_they_hold(chat: Chat) -> None:
    async with chat() as chats:
        await joined(chats)
        answer = await chats.tell('/source add name="<b>x</b> & @everyone مرحبا"')
        assert "<b>x</b> & @everyone مرحبا" in answer["text"]


async def test_a_credential_typed_in_a_dialogue_is_removed_from_the_chat(chat: Chat) -> None:
    async with chat() as chats:
        await joined(chats)
        question = await chats.tell("/account add base_url=http://127.0.0.1:1 test=false")
        await chats.press(question, "affilka")
        question = await latest(chats, "Token")
        assert question["message_id"]
        await chats.on(chats.telegram, "say", text="secret-token-1", chat=42)
        deleted = await eventually(lambda: chats.calls(chats.telegram, "deleteMessage"), "the message to go")
        assert deleted
        made = await latest(chats, "affilka")
        assert "secret-token-1" not in str(await chats.standing())
        assert made


async def test_an_invitation_made_in_a_group_is_told_to_its_maker_alone(chat: Chat) -> None:
    async with chat() as chats:
        await joined(chats)
        await chats.tell("/join", chat=GROUP)
        answer = await chats.tell("/member invite role=buyer", chat=GROUP)
        assert "sent it to your own chat" in answer["text"]
        assert "/start" in (await latest(chats, "On Telegram"))["text"]
        assert "On Telegram" not in str(await chats.standing(GROUP))
        await chats.on(
            chats.telegram, "fail", method="sendMessage", code=403, chat="42", description="Forbidden: no chat"
        )
        answer = await chats.tell("/token create name=x role=viewer", chat=GROUP)
        assert "press Start" in answer["text"]


async def test_an_argument_of_ten_thousand_characters_is_refused(chat: Chat) -> None:
    async with chat() as chats:
        await joined(chats)
        assert "3,000" in (await chats.tell(f"/source add name={'x' * 4000}"))["text"]


async def test_an_unknown_command_gets_the_nearest(chat: Chat) -> None:
    async with chat() as chats:
        await joined(chats)
        assert "did you mean 'source list'" in (await chats.tell("/source lisst"))["text"]


async def test_what_cannot_be_taken_back_is_asked_first(chat: Chat) -> None:
    async with chat() as chats:
        await joined(chats)
        await chats.tell("/domain add name=bonus.example.test")
        question = await chats.tell("/domain remove bonus.example.test")
        assert await chats.names("domains") == [("bonus.example.test",)]
        await chats.press(question, "Confirm")

        async def removed() -> bool:
            return await chats.names("domains") == []

        await eventually(removed, "the domain to go")
        marked = await latest(chats, "✔ Confirm · Anna")
        assert marked["message_id"] == question["message_id"]


async def test_one_person_may_try_ten_codes_a_minute_and_others_join_meanwhile(chat: Chat) -> None:
    async with chat() as chatting:
        await joined(chatting)
        code = await chatting.invite(Role.BUYER)
        for n in range(10):
            assert "too many" not in (await chatting.tell(f"/join guess{n}", chat=43, user=43))["text"]
        assert (
            "too many codes were tried: try again in"
            in (await chatting.tell(f"/join {code}", chat=43, user=43))["text"]
        )
        assert "Welcome, Bob" in (await chatting.tell(f"/join {code}", chat=44, user=44, name="Bob"))["text"]
