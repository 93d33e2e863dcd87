"""Buttons in both chats: pressed twice, by several people at once, with an undo under each change."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select

from bot.slack.actions import used
from storage.ledger.facts import Role
from storage.tables import audits
from tests.bot.chatting import Chatting
from tests.bot.conftest import Chat
from tests.waiting import eventually


async def shown_in(chats: Chatting, text: str) -> list[Any]:
    """The bot's messages on Telegram with these words."""
    return [message for message in await chats.standing() if text in message.get("text", "")]


async def changes(chats: Chatting, command: str) -> int:
    async with chats.database.read() as tx:
        return int((await tx.execute(select(func.count()).where(audits.c.command == command))).scalar_one())


def button(shown: Any, label: str) -> str:
    elements = [e for b in shown["blocks"] if b["type"] == "actions" for e in b["elements"]]
    return str(next(e["value"] for e in elements if e["text"]["text"] == label))


@pytest.mark.parametrize("people", [1, 4])
async def test_a_button_on_slack_pressed_at_once_is_done_once(chat: Chat, people: int) -> None:
    async with chat() as chats:
        users = [f"U{n}" for n in range(people)]
        for user in users:
            await chats.flux(f"join {await chats.invite(Role.OWNER)}", user=user)
        await chats.flux("source add name=Push", user="U0")
        await chats.flux("campaign create name=Spring source=push fallback_url=https://example.com/", user="U0")
        card = (await chats.calls(chats.slack, "chat.postMessage", "response"))[-1]
        message = {"ts": "5.000005", "text": "", "blocks": card["blocks"]}
        pressed = button(card, "Copy")
        await asyncio.gather(*(
            chats.on(chats.slack, "press", value=pressed, message=message, user=user) for user in users * (4 // people)
        ))  # fmt: skip
        await chats.slack_answered()
        assert await changes(chats, "campaign copy") == 1
        posted = [c for c in await chats.calls(chats.slack, "chat.postMessage") if "Spring copy" in c["text"]]
        assert len(posted) == 1


async def test_a_button_on_telegram_pressed_twice_is_done_once_and_undone_by_a_button(chat: Chat) -> None:
    async with chat() as chats:
        await chats.tell(f"/start {await chats.invite()}")
        await chats.tell("/campaign create name=Spring fallback_url=https://example.com/")
        card = (await chats.standing())[-1]
        await asyncio.gather(chats.press(card, "Pause"), chats.press(card, "Pause"))

        paused = await eventually(lambda: shown_in(chats, "· paused"), "the paused card")
        assert await changes(chats, "campaign pause") == 1
        await chats.press(paused[-1], "Undo")
        await eventually(lambda: changes(chats, "undo"), "the undo")
        assert len(await shown_in(chats, "· paused")) == 1
        assert await changes(chats, "campaign resume") == 1


async def test_a_button_on_telegram_pressed_by_four_people_at_once_is_done_once(chat: Chat) -> None:
    group, people = -1007, (42, 43, 44, 45)
    async with chat() as chatting:
        for user in people:
            await chatting.tell(f"/start {await chatting.invite()}", chat=user, user=user)
        await chatting.tell("/join", chat=group)
        card = await chatting.tell("/campaign create name=Spring fallback_url=https://example.com/", chat=group)
        await asyncio.gather(*(chatting.press(card, "Pause", chat=group, user=user) for user in people))

        async def answered() -> bool:
            return len(await chatting.calls(chatting.telegram, "answerCallbackQuery")) == len(people)

        await eventually(answered, "an answer to each press")
        assert await changes(chatting, "campaign pause") == 1
        paused = [message for message in await chatting.standing(group) if "· paused" in message.get("text", "")]
        assert len(paused) == 1
        answers = [call.get("text", "") for call in await chatting.calls(chatting.telegram, "answerCallbackQuery")]
        assert sum("Another member has just pressed it" in text for text in answers) == len(people) - 1


async def test_several_are_paused_on_telegram_with_one_confirmation_and_one_undo(chat: Chat) -> None:
    async with chat() as chats:
        await chats.tell(f"/start {await chats.invite()}")
        for name in ("Alpha", "Beta"):
            await chats.tell(f"/campaign create name={name} fallback_url=https://example.com/")
        question = await chats.tell("/campaign pause alpha,beta")
        assert "Pauses 2 campaigns: Alpha (alpha), Beta (beta)." in question["text"]
        await asyncio.gather(chats.press(question, "Confirm"), chats.press(question, "Confirm"))
        done = await eventually(lambda: shown_in(chats, "2 campaigns paused"), "both to be paused")
        await chats.press(done[-1], "Undo")
        await eventually(lambda: changes(chats, "undo"), "the undo")
        assert len(await shown_in(chats, "2 campaigns paused")) == 1
        (answered,) = await shown_in(chats, "Pauses 2 campaigns")
        assert "reply_markup" not in answered
        assert (await changes(chats, "campaign pause"), await changes(chats, "campaign resume")) == (1, 1)


def test_an_answered_question_on_slack_keeps_no_button_of_the_other_answer() -> None:
    verbs = ("confirm", "cancel")
    keys = [{"type": "button", "action_id": verb, "value": f"{verb} abc"} for verb in verbs]
    message = {"text": "Confirm", "blocks": [{"type": "actions", "elements": keys}]}
    shown = used(message, keys[0] | {"text": {"text": "Confirm"}}, "U1")
    assert [block["type"] for block in shown["blocks"]] == ["context"]


async def test_a_mistyped_name_or_command_is_offered_corrected(chat: Chat) -> None:
    async with chat() as chats:
        await chats.tell(f"/start {await chats.invite()}", chat=77)
        await chats.tell('/campaign create name="Казино Вулкан" fallback_url=https://example.com/', chat=77)
        answer = await chats.tell('/campaign show "казино вулкн"', chat=77)
        assert "did you mean Казино Вулкан (" in answer["text"]
        label = answer["reply_markup"]["inline_keyboard"][0][0]["text"]
        assert label.startswith("campaign show campaign=")
        await chats.press(answer, label, chat=77)
        await eventually(lambda: _shown(chats), "the card")
        wrong = await chats.tell("/campain list", chat=77)
        assert wrong["reply_markup"]["inline_keyboard"][0][0]["text"] == "campaign list"
        assert "reply_markup" not in await chats.tell("/campaign show zzzzzz", chat=77)


async def test_a_name_with_another_beside_it_is_offered_alone_where_one_is_taken(chat: Chat) -> None:
    async with chat() as chats:
        await chats.tell(f"/start {await chats.invite()}")
        await chats.tell("/source add name=Push")
        await chats.tell("/source add name=Native")
        answer = await chats.tell("/campaign create name=X source=push,zz")
        assert answer["reply_markup"]["inline_keyboard"] == [
            [{"text": "campaign create name=X source=push", "callback_data": "=campaign create name=X source=push"}]
        ]


async def _shown(chats: Chatting) -> bool:
    return sum("Campaign Казино Вулкан" in message.get("text", "") for message in await chats.standing(77)) == 2
