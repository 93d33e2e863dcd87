"""The outbox: in order per room, at the platforms' pace, never twice, lost rooms told to the owners."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import OperationalError

from bot import delivery
from bot.core.message import Message
from bot.delivery import Delivery, Lost, RetryLater, Sender, Unsendable
from bot.slack.post import SlackSender
from storage.catalogue import teams
from storage.chat import messages, rooms
from storage.chat.messages import Queued
from storage.chat.rooms import RoomRow
from storage.db.engine import Database
from storage.ledger.errors import CasinoFluxError
from storage.ledger.facts import Role
from storage.people import members, people
from storage.tables import messages as table
from storage.tables import subscriptions

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
LOCKED = OperationalError("INSERT INTO presses VALUES (?)", {}, sqlite3.OperationalError("database is locked"))


class Chat:
    """Remembers what was posted; fails as it is told."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, str]] = []
        self.faults: dict[str, list[Exception]] = {}
        self.under: list[str | None] = []

    async def post(self, item: Queued, message: Message, *, under: str | None) -> str:
        await asyncio.sleep(0)
        if waiting := self.faults.get(item.room):
            raise waiting.pop(0)
        self.posted.append((item.room, message.title))
        self.under.append(under)
        return f"ts-{len(self.posted)}"


class Post:
    """A team with rooms, a chat that can be told to fail, a clock to move."""

    def __init__(self, database: Database, team_id: int) -> None:
        self.database, self.team_id, self.now = database, team_id, NOW
        self.chat = Chat()
        self.delivery = self.another()

    def another(self) -> Delivery:
        """A deliverer as in another process."""
        chats: dict[str, Sender] = {"slack": self.chat}
        return Delivery(self.database, lambda: self.now, lambda: chats)

    async def room(self, name: str) -> RoomRow:
        async with self.database.begin() as tx:
            return await rooms.bind(
                tx, team_id=self.team_id, face="slack", workspace="T1", room=name, title=name, private=False, now=NOW
            )

    async def queue(self, room: RoomRow, key: str, **more: Any) -> bool:
        async with self.database.begin() as tx:
            message = Message(key)
            return await messages.queue(
                tx, team_id=self.team_id, room_id=room.id, key=key, message=message, now=self.now, **more
            )

    async def run(self) -> None:
        """One round without waiting for the rooms' pace."""
        self.delivery._free_at.clear()
        self.delivery._allowance = float(delivery.PER_SECOND)
        await self.delivery.tick()
        await self.delivery.drain()

    async def state(self, key: str) -> str:
        async with self.database.read() as tx:
            return str((await tx.execute(select(table.c.state).where(table.c.key == key))).scalar_one())


@asynccontextmanager
async def posting(opened: Callable[[], Any]) -> AsyncIterator[Post]:
    async with opened() as database:
        async with database.begin() as tx:
            team_id = await teams.first(tx, NOW)
        yield Post(database, team_id)


async def test_messages_of_a_room_are_posted_in_order_and_once(opened: Callable[[], Any]) -> None:
    async with posting(opened) as outbox:
        room, other = await outbox.room("C1"), await outbox.room("C2")
        assert await outbox.queue(room, "a")
        assert not await outbox.queue(room, "a")
        await outbox.queue(room, "b")
        await outbox.queue(other, "c")
        for _ in range(4):
            await outbox.run()
        assert [title for name, title in outbox.chat.posted if name == "C1"] == ["a", "b"]
        assert ("C2", "c") in outbox.chat.posted
        assert len(outbox.chat.posted) == 3


async def test_two_processes_never_post_one_message_twice(opened: Callable[[], Any]) -> None:
    async with posting(opened) as outbox:
        for n in range(12):
            await outbox.queue(await outbox.room(f"C{n}"), f"m{n}")
        deliverers = [outbox.another() for _ in range(4)]
        await asyncio.gather(*(each.tick() for each in deliverers))
        await asyncio.gather(*(each.drain() for each in deliverers))
        assert sorted(title for _, title in outbox.chat.posted) == sorted(f"m{n}" for n in range(12))


async def test_a_rate_limit_is_waited_for_and_keeps_the_order(opened: Callable[[], Any]) -> None:
    async with posting(opened) as outbox:
        room = await outbox.room("C1")
        await outbox.queue(room, "a")
        await outbox.queue(room, "b")
        outbox.chat.faults["C1"] = [RetryLater("rate limited", 30)]
        await outbox.run()
        outbox.now += timedelta(seconds=29)
        await outbox.run()
        assert outbox.chat.posted == []
        outbox.now += timedelta(seconds=2)
        await outbox.run()
        await outbox.run()
        assert [title for _, title in outbox.chat.posted] == ["a", "b"]


async def test_what_may_have_arrived_is_not_posted_again(opened: Callable[[], Any]) -> None:
    async with posting(opened) as outbox:
        room = await outbox.room("C1")
        await outbox.queue(room, "a")
        outbox.chat.faults["C1"] = [Unsendable("no answer")]
        await outbox.run()
        outbox.now += timedelta(days=1)
        await outbox.run()
        assert outbox.chat.posted == []
        assert await outbox.state("a") == "dead"


async def test_a_message_whose_process_died_is_given_up_and_the_next_is_posted(opened: Callable[[], Any]) -> None:
    async with posting(opened) as outbox:
        room = await outbox.room("C1")
        await outbox.queue(room, "a")
        await outbox.queue(room, "b")
        async with outbox.database.begin() as tx:
            assert len(await messages.claim(tx, outbox.now, faces=["slack"], busy=[], limit=9)) == 1
        await outbox.run()
        assert outbox.chat.posted == []
        outbox.now += messages.CLAIM + timedelta(seconds=1)
        await outbox.run()
        await outbox.run()
        assert outbox.chat.posted == [("C1", "b")]
        assert await outbox.state("a") == "dead"


async def test_temporary_failures_end_at_last(opened: Callable[[], Any]) -> None:
    async with posting(opened) as outbox:
        await outbox.queue(await outbox.room("C1"), "a")
        outbox.chat.faults["C1"] = [RetryLater("down")] * 30
        for _ in range(len(delivery.BACK_OFF) + 2):
            await outbox.run()
            outbox.now += timedelta(hours=5)
        assert await outbox.state("a") == "dead"


async def test_a_lost_room_ends_its_subscriptions_and_the_owners_are_told(opened: Callable[[], Any]) -> None:
    async with posting(opened) as outbox:
        room = await outbox.room("C1")
        async with outbox.database.begin() as tx:
            code, _ = await members.invite(tx, team_id=outbox.team_id, role=Role.OWNER, campaigns=None, now=NOW)
            await people.join(tx, code, face="slack", workspace="T1", user="U1", name="Anna", now=NOW)
            await tx.execute(insert(subscriptions).values(
                team_id=outbox.team_id, room_id=room.id, every="day", at="09:00", timezone="UTC", next_at=NOW,
                created_at=NOW,
            ))  # fmt: skip
        await outbox.queue(room, "a")
        await outbox.queue(room, "b")
        outbox.chat.faults["C1"] = [Lost("Slack says is_archived")]
        await outbox.run()
        await outbox.run()
        assert outbox.chat.posted == [("U1", "I can no longer write to C1 on Slack")]
        assert (await outbox.state("a"), await outbox.state("b")) == ("dead", "dead")
        async with outbox.database.read() as tx:
            assert (await tx.execute(select(subscriptions.c.disabled_at))).scalar_one() is not None


async def test_an_answer_stands_under_the_message_it_answers(opened: Callable[[], Any]) -> None:
    async with posting(opened) as outbox:
        room = await outbox.room("C1")
        await outbox.queue(room, "alert")
        await outbox.queue(room, "resolved", answers="alert")
        await outbox.run()
        await outbox.run()
        assert outbox.chat.under == [None, "ts-1"]


async def test_a_room_gets_one_message_a_second_at_most(opened: Callable[[], Any]) -> None:
    async with posting(opened) as outbox:
        room = await outbox.room("C1")
        await outbox.queue(room, "a")
        await outbox.queue(room, "b")
        began = time.monotonic()
        for _ in range(3):
            await outbox.delivery.tick()
            await outbox.delivery.drain()
        assert len(outbox.chat.posted) <= 1 + int(time.monotonic() - began)


@pytest.mark.slow
async def test_many_at_once_go_no_faster_than_telegram_allows(opened: Callable[[], Any]) -> None:
    async with posting(opened) as outbox:
        for n in range(60):
            await outbox.queue(await outbox.room(f"C{n}"), f"m{n}")
        assert delivery.GENTLE <= await outbox.delivery.tick() <= delivery.PER_SECOND
        assert await outbox.delivery.tick() <= delivery.PER_SECOND // 2
        await outbox.delivery.drain()


async def test_what_no_one_will_send_is_given_up_and_what_is_over_forgotten(opened: Callable[[], Any]) -> None:
    async with posting(opened) as outbox:
        await outbox.queue(await outbox.room("C1"), "slack")
        async with outbox.database.begin() as tx:
            for face in ("terminal", "telegram"):
                room = await rooms.bind(
                    tx, team_id=outbox.team_id, face=face, workspace="", room=face, title="", private=False, now=NOW
                )
                await messages.queue(
                    tx, team_id=outbox.team_id, room_id=room.id, key=face, message=Message("x"), now=NOW
                )
        await tidied(outbox, faces={"slack"})
        assert [await outbox.state(key) for key in ("slack", "telegram", "terminal")] == ["queued", "queued", "dead"]
        outbox.now += timedelta(days=2)
        await tidied(outbox, faces={"slack"})
        assert [await outbox.state(key) for key in ("slack", "telegram")] == ["queued", "dead"]
        outbox.now += timedelta(days=30)
        await tidied(outbox, faces={"slack"})
        async with outbox.database.read() as tx:
            assert (await tx.execute(select(table.c.key))).scalars().all() == ["slack"]


async def tidied(outbox: Post, faces: set[str]) -> None:
    async with outbox.database.begin() as tx:
        await messages.expire_unreachable(tx, outbox.now, faces)
        await messages.forget(tx, outbox.now)


async def test_a_message_whose_token_could_not_be_read_is_tried_again(opened: Callable[[], Any]) -> None:
    async with posting(opened) as outbox:
        failures: list[Exception] = [LOCKED, CasinoFluxError("the secret cannot be read: was the key changed?")]

        async def client_for(_workspace: str) -> Any:
            raise failures.pop(0)

        async def draw(_chart: Any) -> bytes | None:
            return None

        await outbox.queue(await outbox.room("C1"), "a")
        slack: dict[str, Sender] = {"slack": SlackSender(client_for, draw)}
        outbox.delivery = Delivery(outbox.database, lambda: outbox.now, lambda: slack)
        while failures:
            await outbox.run()
            assert await outbox.state("a") == "queued"
            outbox.now += timedelta(minutes=1)
        outbox.delivery = outbox.another()
        outbox.now += timedelta(minutes=1)
        await outbox.run()
        assert outbox.chat.posted == [("C1", "a")]


async def test_no_reason_holds_sql(opened: Callable[[], Any]) -> None:
    async with posting(opened) as outbox:
        await outbox.queue(await outbox.room("C1"), "a")
        outbox.chat.faults["C1"] = [LOCKED]
        await outbox.run()
        async with outbox.database.read() as tx:
            state, why = (await tx.execute(select(table.c.state, table.c.error))).one()
        assert (state, why) == ("dead", "OperationalError: database is locked")
