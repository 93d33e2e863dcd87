"""What the platforms answer to deliveries, over real HTTP: limits, lost rooms, moved groups, refused blocks."""

from typing import Any

from sqlalchemy import select, update

from bot.core.message import Chart, File, Message, Series, Table, Text
from storage.chat import messages, rooms
from storage.tables import messages as table
from storage.tables import rooms as rooms_table
from tests.bot.chatting import Chatting, eventually
from tests.bot.conftest import Chat


async def queued(one: Chatting, face: str, room: str, message: Message, key: str = "k") -> None:
    """A message from the outbox, delivered once."""
    async with one.database.begin() as tx:
        place = await rooms.bind(
            tx, team_id=one.runtime.team_id, face=face, workspace="T0STANDIN" if face == "slack" else "", room=room,
            title=room, private=False, now=one.runtime.clock(),
        )  # fmt: skip
        await messages.queue(
            tx, team_id=one.runtime.team_id, room_id=place.id, key=key, message=message, now=one.runtime.clock()
        )
    await one.chats.deliver()
    await one.chats.delivery.drain()


async def outcome(one: Chatting, key: str = "k") -> Any:
    async with one.database.read() as tx:
        return (await tx.execute(select(table).where(table.c.key == key))).one()


async def lost(one: Chatting, room: str) -> bool:
    async with one.database.read() as tx:
        found = await tx.execute(select(rooms_table.c.lost_at).where(rooms_table.c.room == room))
    return found.scalar_one() is not None


async def test_a_digest_reaches_both_chats(chat: Chat) -> None:
    async with chat() as one:
        await queued(one, "slack", "C0A", Message("Yesterday: 18 FTDs"), "a")
        await queued(one, "telegram", "-100", Message("Yesterday: 18 FTDs"), "b")
        assert (await outcome(one, "a")).state == (await outcome(one, "b")).state == "sent"
        assert (await outcome(one, "b")).posted_as.isdigit()


async def test_rate_limits_are_honoured(chat: Chat) -> None:
    async with chat() as one:
        await one.on(one.slack, "fail", method="chat.postMessage", status=429, retry_after=7)
        await one.on(
            one.telegram, "fail", method="sendMessage", code=429, description="Too Many Requests: retry after 9",
            parameters={"retry_after": 9},
        )  # fmt: skip
        await queued(one, "slack", "C0A", Message("a"), "a")
        await queued(one, "telegram", "-100", Message("b"), "b")
        for key, seconds in (("a", 7), ("b", 9)):
            found = await outcome(one, key)
            assert found.state == "queued"
            assert seconds - 2 < (found.next_at - one.runtime.clock()).total_seconds() <= seconds


async def test_closed_rooms_are_lost(chat: Chat) -> None:
    async with chat() as one:
        await one.on(one.slack, "fail", method="chat.postMessage", error="is_archived")
        await one.on(
            one.telegram, "fail", method="sendMessage", code=403, description="Forbidden: bot was blocked by the user"
        )
        await queued(one, "slack", "C0A", Message("a"), "a")
        await queued(one, "telegram", "77", Message("b"), "b")
        assert await lost(one, "C0A")
        assert await lost(one, "77")
        assert (await outcome(one, "a")).state == (await outcome(one, "b")).state == "dead"


async def test_a_bot_that_is_thrown_out_loses_the_room_and_is_welcome_again(chat: Chat) -> None:
    async with chat() as one:
        await queued(one, "telegram", "-100", Message("a"))
        await one.on(one.telegram, "member", chat=-100, status="kicked")
        await eventually(lambda: lost(one, "-100"), "the room to be lost")
        await one.on(one.telegram, "member", chat=-100, status="member")

        async def found() -> bool:
            return not await lost(one, "-100")

        await eventually(found, "the room to be found again")


async def test_a_moved_group_gets_its_message_under_its_new_id(chat: Chat) -> None:
    async with chat() as one:
        await one.on(
            one.telegram, "fail", method="sendMessage", code=400, chat="-100",
            description="Bad Request: group chat was upgraded to a supergroup chat",
            parameters={"migrate_to_chat_id": -200},
        )  # fmt: skip
        await queued(one, "telegram", "-100", Message("a"))
        one.chats.delivery._free_at.clear()
        await one.chats.deliver()
        await one.chats.delivery.drain()
        assert (await outcome(one)).state == "sent"
        assert [m["text"] for m in await one.standing(-200)] == ["a"]


async def test_blocks_that_slack_refuses_are_sent_in_plainer_ones(chat: Chat) -> None:
    async with chat() as one:
        await one.on(one.slack, "fail", method="chat.postMessage", error="invalid_blocks")
        await queued(one, "slack", "C0A", Message("a", (Table(("x",), (("1",),)),)))
        sent = await one.calls(one.slack, "chat.postMessage")
        assert [block["type"] for block in sent[-1]["blocks"]] == ["header", "section"]
        assert (await outcome(one)).state == "sent"


async def test_an_answer_that_never_comes_is_not_asked_for_again(chat: Chat) -> None:
    async with chat() as one:
        await one.on(one.telegram, "fail", method="sendMessage", code=502, description="Bad Gateway")
        await queued(one, "telegram", "-100", Message("a"))
        assert (await outcome(one)).state == "queued"


async def test_files_and_charts_come_along(chat: Chat) -> None:
    async with chat() as one:
        days = tuple(f"2026-10-{n:02}" for n in range(1, 31))
        chart = Chart("FTD", days, (Series("FTD", tuple(float(n) for n in range(30))),))
        message = Message("Export", (Text("see"), chart, File("clicks.csv", "a,b\n1,2\n")))
        await queued(one, "slack", "C0A", message, "a")
        await queued(one, "telegram", "-100", message, "b")
        assert len(await one.calls(one.slack, "files.completeUploadExternal")) == 2
        assert len(await one.calls(one.telegram, "sendPhoto")) == 1
        assert len(await one.calls(one.telegram, "sendDocument")) == 1


async def test_a_room_heard_from_again_is_not_lost(chat: Chat) -> None:
    async with chat() as one:
        await one.tell(f"/start {await one.invite()}")
        async with one.database.begin() as tx:
            await tx.execute(update(rooms_table).values(lost_at=one.runtime.clock()))
        await one.tell("/help")
        assert not await lost(one, "42")


async def test_tokens_never_stand_in_errors(chat: Chat) -> None:
    async with chat() as one:
        await one.on(one.telegram, "fail", method="sendMessage", code=400, description="Bad Request: some fault")
        await queued(one, "telegram", "-100", Message("a"))
        assert "stand-in-token" not in (await outcome(one)).error
