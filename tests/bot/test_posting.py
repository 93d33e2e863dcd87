"""What the platforms answer to deliveries, over real HTTP: limits, lost rooms, moved groups, refused blocks."""

from typing import Any

from sqlalchemy import select, update

from bot.core.message import Chart, File, Message, Series, Table, Text
from storage.chat import messages, rooms
from storage.tables import messages as table
from storage.tables import rooms as rooms_table
from tests.bot.chatting import Chatting
from tests.bot.conftest import Chat
from tests.waiting import eventually


async def queued(chats: Chatting, face: str, room: str, message: Message, key: str = "k") -> None:
    """A message from the outbox, delivered once."""
    async with chats.database.begin() as tx:
        place = await rooms.bind(
            tx, team_id=chats.runtime.team_id, face=face, workspace="T0STANDIN" if face == "slack" else "", room=room,
            title=room, private=False, now=chats.runtime.clock(),
        )  # fmt: skip
        await messages.queue(
            tx, team_id=chats.runtime.team_id, room_id=place.id, key=key, message=message, now=chats.runtime.clock()
        )
    await chats.chats.deliver()
    await chats.chats.delivery.drain()


async def outcome(chats: Chatting, key: str = "k") -> Any:
    async with chats.database.read() as tx:
        return (await tx.execute(select(table).where(table.c.key == key))).one()


async def lost(chats: Chatting, room: str) -> bool:
    async with chats.database.read() as tx:
        rows = await tx.execute(select(rooms_table.c.lost_at).where(rooms_table.c.room == room))
    return rows.scalar_one() is not None


async def test_a_digest_reaches_both_chats(chat: Chat) -> None:
    async with chat() as chats:
        await queued(chats, "slack", "C0A", Message("Yesterday: 18 FTDs"), "a")
        await queued(chats, "telegram", "-100", Message("Yesterday: 18 FTDs"), "b")
        assert (await outcome(chats, "a")).state == (await outcome(chats, "b")).state == "sent"
        assert (await outcome(chats, "b")).posted_as.isdigit()


async def test_rate_limits_are_honoured(chat: Chat) -> None:
    async with chat() as chats:
        await chats.on(chats.slack, "fail", method="chat.postMessage", status=429, retry_after=7)
        await chats.on(
            chats.telegram, "fail", method="sendMessage", code=429, description="Too Many Requests: retry after 9",
            parameters={"retry_after": 9},
        )  # fmt: skip
        before = chats.runtime.clock()
        await queued(chats, "slack", "C0A", Message("a"), "a")
        await queued(chats, "telegram", "-100", Message("b"), "b")
        for key, seconds in (("a", 7), ("b", 9)):
            row = await outcome(chats, key)
            assert row.state == "queued"
            assert (row.next_at - before).total_seconds() >= seconds
            assert (row.next_at - chats.runtime.clock()).total_seconds() <= seconds


async def test_closed_rooms_are_lost(chat: Chat) -> None:
    async with chat() as chats:
        await chats.on(chats.slack, "fail", method="chat.postMessage", error="is_archived")
        await chats.on(
            chats.telegram, "fail", method="sendMessage", code=403, description="Forbidden: bot was blocked by the user"
        )
        await queued(chats, "slack", "C0A", Message("a"), "a")
        await queued(chats, "telegram", "77", Message("b"), "b")
        assert await lost(chats, "C0A")
        assert await lost(chats, "77")
        assert (await outcome(chats, "a")).state == (await outcome(chats, "b")).state == "dead"


async def test_a_bot_that_is_thrown_out_loses_the_room_and_is_welcome_again(chat: Chat) -> None:
    async with chat() as chats:
        await queued(chats, "telegram", "-100", Message("a"))
        await chats.on(chats.telegram, "member", chat=-100, status="kicked")
        await eventually(lambda: lost(chats, "-100"), "the room to be lost")
        await chats.on(chats.telegram, "member", chat=-100, status="member")

        async def bound_again() -> bool:
            return not await lost(chats, "-100")

        await eventually(bound_again, "the room to be found again")


async def test_a_moved_group_gets_its_message_under_its_new_id(chat: Chat) -> None:
    async with chat() as chats:
        await chats.on(
            chats.telegram, "fail", method="sendMessage", code=400, chat="-100",
            description="Bad Request: group chat was upgraded to a supergroup chat",
            parameters={"migrate_to_chat_id": -200},
        )  # fmt: skip
        await queued(chats, "telegram", "-100", Message("a"))
        chats.chats.delivery._free_at.clear()
        await chats.chats.deliver()
        await chats.chats.delivery.drain()
        assert (await outcome(chats)).state == "sent"
        assert [m["text"] for m in await chats.standing(-200)] == ["a"]


async def test_blocks_that_slack_refuses_are_sent_in_plainer_ones(chat: Chat) -> None:
    async with chat() as chats:
        await chats.on(chats.slack, "fail", method="chat.postMessage", error="invalid_blocks")
        await queued(chats, "slack", "C0A", Message("a", (Table(("x",), (("1",),)),)))
        sent = await chats.calls(chats.slack, "chat.postMessage")
        assert [block["type"] for block in sent[-1]["blocks"]] == ["header", "section"]
        assert (await outcome(chats)).state == "sent"


async def test_an_answer_that_never_comes_is_not_asked_for_again(chat: Chat) -> None:
    async with chat() as chats:
        await chats.on(chats.telegram, "fail", method="sendMessage", code=502, description="Bad Gateway")
        await queued(chats, "telegram", "-100", Message("a"))
        assert (await outcome(chats)).state == "queued"


async def test_files_and_charts_come_along(chat: Chat) -> None:
    async with chat() as chats:
        days = tuple(f"2026-10-{n:02}" for n in range(1, 31))
        chart = Chart("FTD", days, (Series("FTD", tuple(float(n) for n in range(30))),))
        message = Message("Export", (Text("see"), chart, File("clicks.csv", "a,b\n1,2\n")))
        await queued(chats, "slack", "C0A", message, "a")
        await queued(chats, "telegram", "-100", message, "b")
        assert len(await chats.calls(chats.slack, "files.completeUploadExternal")) == 2
        assert len(await chats.calls(chats.telegram, "sendPhoto")) == 1
        assert len(await chats.calls(chats.telegram, "sendDocument")) == 1


async def test_an_upload_that_slack_refuses_is_said_in_the_room(chat: Chat) -> None:
    async with chat() as chatting:
        await chatting.on(chatting.slack, "fail", method="files.getUploadURLExternal", error="missing_scope")
        await queued(chatting, "slack", "C0A", Message("Export", (File("clicks.csv", "a,b\n1,2\n"),)))
        messages = [sent["text"] for sent in await chatting.calls(chatting.slack, "chat.postMessage")]
        assert messages == ["Export", "⚠️ clicks.csv could not be uploaded: Slack says missing_scope."]


async def test_a_private_upload_that_slack_refuses_is_said_to_who_asked(chat: Chat) -> None:
    async with chat() as chatting:
        await chatting.flux(f"join {await chatting.invite()}")
        await chatting.flux("campaign create name=spring")
        await chatting.on(chatting.slack, "fail", method="conversations.open", error="missing_scope")
        await chatting.flux("stats 7d csv=true")
        (answer,) = await eventually(lambda: chatting.calls(chatting.slack, "chat.postEphemeral"), "the reason")
        assert "could not be uploaded: Slack says missing_scope" in answer["text"]


async def test_a_private_file_comes_in_the_persons_own_chat(chat: Chat) -> None:
    async with chat() as chatting:
        await chatting.flux(f"join {await chatting.invite()}")
        await chatting.flux("stats 7d csv=true")
        (opened,) = await eventually(lambda: chatting.calls(chatting.slack, "conversations.open"), "the person's chat")
        (sent,) = await eventually(lambda: chatting.calls(chatting.slack, "files.completeUploadExternal"), "the file")
        assert sent["channel_id"] == f"D{opened['users']}"


async def test_a_room_heard_from_again_is_not_lost(chat: Chat) -> None:
    async with chat() as chats:
        await chats.tell(f"/start {await chats.invite()}")
        async with chats.database.begin() as tx:
            await tx.execute(update(rooms_table).values(lost_at=chats.runtime.clock()))
        await chats.tell("/help")
        assert not await lost(chats, "42")


async def test_tokens_never_stand_in_errors(chat: Chat) -> None:
    async with chat() as chats:
        await chats.on(chats.telegram, "fail", method="sendMessage", code=400, description="Bad Request: some fault")
        await queued(chats, "telegram", "-100", Message("a"))
        assert "stand-in-token" not in (await outcome(chats)).error
