"""Digests and alerts name their room by its title: closed, renamed and upgraded rooms are followed in both chats."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from hub.runtime.ports import HubPorts
from storage.tables import rooms
from tests.bot.asking import Asker, asking
from tests.bot.chatting import Chatting
from tests.bot.conftest import Chat
from tests.waiting import eventually

GROUP = -1007


async def titled(chatting: Chatting, title: str) -> bool:
    async with chatting.database.read() as tx:
        return (await tx.execute(select(rooms.c.id).where(rooms.c.title == title))).first() is not None


async def heard(chatting: Chatting, **message: Any) -> None:
    await chatting.on(chatting.telegram, "update", message={"message_id": 9, "date": 1} | message)


def group(chat: int, title: str) -> dict[str, Any]:
    return {"id": chat, "type": "supergroup", "title": title}


async def test_a_group_on_telegram_is_named_by_its_title_when_renamed_and_upgraded(chat: Chat) -> None:
    async with chat() as chatting:
        await chatting.tell(f"/start {await chatting.invite()}")
        await chatting.tell("/join", chat=GROUP)
        assert f"Room: Group {GROUP}" in (await chatting.tell("/digest subscribe", chat=GROUP))["text"]
        await heard(chatting, chat=group(GROUP, "Buyers"), new_chat_title="Buyers")
        await eventually(lambda: titled(chatting, "Buyers"), "the new title")
        shown = await chatting.tell("/digest list")
        assert "Buyers" in shown["text"]
        await heard(chatting, chat=group(-1009, "Buyers"), migrate_from_chat_id=GROUP)
        assert "Buyers" in (await chatting.tell("/digest list"))["text"]

        async def moved() -> bool:
            async with chatting.database.read() as tx:
                return (await tx.execute(select(rooms.c.title).where(rooms.c.room == "-1009"))).scalar() == "Buyers"

        await eventually(moved, "the new id")


async def test_a_channel_on_slack_is_named_by_its_title_and_lost_when_archived(chat: Chat) -> None:
    async with chat() as chatting:
        await chatting.flux(f"join {await chatting.invite()}")
        shown = await chatting.flux("digest subscribe")
        assert "#general" in str(shown["blocks"])
        renamed = {"type": "channel_rename", "channel": {"id": "C0GENERAL", "name": "buyers", "created": 1}}
        await chatting.on(chatting.slack, "event", event=renamed)
        await eventually(lambda: titled(chatting, "buyers"), "the new title")
        assert "#buyers" in str((await chatting.flux("digest list", channel="D0ANNA"))["blocks"])
        await chatting.on(
            chatting.slack, "event", event={"type": "channel_archive", "channel": "C0GENERAL", "user": "U0"}
        )

        async def lost() -> bool:
            return "lost" in str((await chatting.flux("digest list", channel="D0ANNA"))["blocks"])

        await eventually(lost, "the room to be lost")


async def test_the_name_of_a_channel_that_no_request_told_is_asked_for(chat: Chat) -> None:
    async with chat() as chatting:
        await chatting.flux(f"join {await chatting.invite()}", channel_name="privategroup")
        assert await titled(chatting, "general")
        assert not await titled(chatting, "privategroup")


async def test_a_room_that_was_never_heard_from_is_named_by_its_title_when_a_digest_or_alert_is_put_there(
    chat: Chat,
) -> None:
    async with chat() as chatting:
        await chatting.flux(f"join {await chatting.invite()}")
        digest = await chatting.flux("digest subscribe channel=slack:C0NEVER")
        assert "#general" in str(digest["blocks"])
        assert "C0NEVER" not in str(digest["blocks"])
        alert = await chatting.flux('alert add "ftd < 50% of 7d avg" channel=telegram:-100777')
        assert "Group -100777" in str(alert["blocks"])


async def test_a_room_named_in_a_shell_is_asked_for_its_title_and_followed(chat: Chat) -> None:
    """No bot runs in a shell; it knows the tokens all the same."""
    async with chat() as chatting:
        await chatting.flux(f"join {await chatting.invite()}")
        say = Asker(chatting.database, chatting.runtime.team_id)
        say.ports = HubPorts(chatting.runtime.settings)
        await say("digest subscribe channel=slack:C0NEVER")
        assert "#general" in say.shown
        assert (await say('alert add "ftd < 50% of 7d avg" channel=telegram:-100777'))["room"] == "Group -100777"
        added = await say('automation add "pause campaign when roi < -50% over 7d" channel=telegram:-100778')
        assert added["room"] == "Group -100778"
        renamed = {"type": "channel_rename", "channel": {"id": "C0NEVER", "name": "buyers", "created": 1}}
        await chatting.on(chatting.slack, "event", event=renamed)
        await eventually(lambda: titled(chatting, "buyers"), "the new title")
        assert "#buyers" in str((await say("digest list"))["items"])


async def test_where_no_token_is_set_a_room_is_named_by_its_id(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:
        assert (await say("digest subscribe channel=slack:C0NEVER"))["room"].endswith("C0NEVER")
        assert (await say("digest subscribe channel=telegram:-100777"))["room"].endswith("-100777")


async def test_a_room_whose_title_is_not_told_is_named_by_its_id(chat: Chat) -> None:
    async with chat() as chatting:
        await chatting.flux(f"join {await chatting.invite()}")
        await chatting.on(chatting.slack, "fail", method="conversations.info", error="channel_not_found", times=2)
        assert "C0SECRET" in str((await chatting.flux("digest subscribe channel=slack:C0SECRET"))["blocks"])
        await chatting.on(chatting.telegram, "fail", method="getChat", description="Bad Request: chat not found")
        assert "-100888" in str((await chatting.flux("digest subscribe channel=telegram:-100888"))["blocks"])
