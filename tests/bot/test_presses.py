"""Buttons in both chats: pressed twice, by several people at once, with an undo under each change."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select

from storage.ledger.facts import Role
from storage.tables import audits
from tests.bot.chatting import Chatting, eventually
from tests.bot.conftest import Chat


async def found(one: Chatting, text: str) -> list[Any]:
    """The bot's messages on Telegram with these words."""
    return [message for message in await one.standing() if text in message.get("text", "")]


async def changes(one: Chatting, command: str) -> int:
    async with one.database.read() as tx:
        return int((await tx.execute(select(func.count()).where(audits.c.command == command))).scalar_one())


def button(shown: Any, label: str) -> str:
    found = [e for b in shown["blocks"] if b["type"] == "actions" for e in b["elements"]]
    return str(next(e["value"] for e in found if e["text"]["text"] == label))


@pytest.mark.parametrize("people", [1, 4])
async def test_a_button_on_slack_pressed_at_once_is_done_once(chat: Chat, people: int) -> None:
    async with chat() as one:
        users = [f"U{n}" for n in range(people)]
        for user in users:
            await one.flux(f"join {await one.invite(Role.OWNER)}", user=user)
        await one.flux("source add name=Push", user="U0")
        await one.flux("campaign create name=Spring source=push fallback_url=https://example.com/", user="U0")
        card = (await one.calls(one.slack, "chat.postMessage", "response"))[-1]
        message = {"ts": "5.000005", "text": "", "blocks": card["blocks"]}
        pressed = button(card, "Copy")
        await asyncio.gather(*(
            one.on(one.slack, "press", value=pressed, message=message, user=user) for user in users * (4 // people)
        ))  # fmt: skip
        await one.slack_answered()
        assert await changes(one, "campaign copy") == 1
        posted = [c for c in await one.calls(one.slack, "chat.postMessage") if "Spring copy" in c["text"]]
        assert len(posted) == 1


async def test_a_button_on_telegram_pressed_twice_is_done_once_and_undone_by_a_button(chat: Chat) -> None:
    async with chat() as one:
        await one.tell(f"/start {await one.invite()}")
        await one.tell("/campaign create name=Spring fallback_url=https://example.com/")
        card = (await one.standing())[-1]
        await asyncio.gather(one.press(card, "Pause"), one.press(card, "Pause"))

        paused = await eventually(lambda: found(one, "· paused"), "the paused card")
        assert await changes(one, "campaign pause") == 1
        await one.press(paused[-1], "Undo")
        await eventually(lambda: changes(one, "undo"), "the undo")
        assert len(await found(one, "· paused")) == 1
        assert await changes(one, "campaign resume") == 1


async def test_several_are_paused_on_telegram_with_one_confirmation_and_one_undo(chat: Chat) -> None:
    async with chat() as one:
        await one.tell(f"/start {await one.invite()}")
        for name in ("Alpha", "Beta"):
            await one.tell(f"/campaign create name={name} fallback_url=https://example.com/")
        question = await one.tell("/campaign pause alpha,beta")
        assert "Pauses 2 campaigns: Alpha (alpha), Beta (beta)." in question["text"]
        await asyncio.gather(one.press(question, "Confirm"), one.press(question, "Confirm"))
        done = await eventually(lambda: found(one, "2 campaigns paused"), "both to be paused")
        await one.press(done[-1], "Undo")
        await eventually(lambda: changes(one, "undo"), "the undo")
        assert len(await found(one, "2 campaigns paused")) == 1
        assert (await changes(one, "campaign pause"), await changes(one, "campaign resume")) == (1, 1)


async def test_a_mistyped_name_or_command_is_offered_mended(chat: Chat) -> None:
    async with chat() as one:
        await one.tell(f"/start {await one.invite()}", chat=77)
        await one.tell('/campaign create name="Казино Вулкан" fallback_url=https://example.com/', chat=77)
        told = await one.tell('/campaign show "казино вулкн"', chat=77)
        assert "did you mean Казино Вулкан (" in told["text"]
        label = told["reply_markup"]["inline_keyboard"][0][0]["text"]
        assert label.startswith("campaign show campaign=")
        await one.press(told, label, chat=77)
        await eventually(lambda: _shown(one), "the card")
        wrong = await one.tell("/campain list", chat=77)
        assert wrong["reply_markup"]["inline_keyboard"][0][0]["text"] == "campaign list"
        assert "reply_markup" not in await one.tell("/campaign show zzzzzz", chat=77)


async def _shown(one: Chatting) -> bool:
    return sum("Campaign Казино Вулкан" in message.get("text", "") for message in await one.standing(77)) == 2
