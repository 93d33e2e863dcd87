"""What chats remember, on both databases: once processed_events, dialogues, buttons, rooms that move."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, select

from storage.catalogue import teams
from storage.chat import dialogues, processed_events, rooms
from storage.chat.dialogues import Dialogue
from storage.db.engine import Database
from storage.tables import subscriptions

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
HERE = {"face": "telegram", "room": "1/", "user": "42"}


async def bound(database: Database, room: str) -> int:
    async with database.begin() as tx:
        team_id = await teams.first(tx, NOW)
        made = await rooms.bind(
            tx, team_id=team_id, face="telegram", workspace="", room=room, title="", private=False, now=NOW
        )
    return made.id


async def test_a_key_is_fresh_once(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        assert await processed_events.first_time(tx, NOW, "a", "b")
        assert not await processed_events.first_time(tx, NOW, "b", "c")
        assert await processed_events.before(tx, "c")
        await processed_events.forget(tx, NOW + timedelta(days=3))
        assert await processed_events.first_time(tx, NOW, "a")


async def test_a_person_has_one_dialogue_per_room_until_it_lapses(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        for command in ("offer add", "source add"):
            await dialogues.store(tx, Dialogue(command=command, state={"n": 1}, at=NOW, **HERE))
        result = await dialogues.load(tx, NOW, **HERE)
        assert result is not None
        assert (result.command, result.state) == ("source add", {"n": 1})
        assert await dialogues.load(tx, NOW + timedelta(days=2), **HERE) is None
        assert await dialogues.drop(tx, **HERE)
        assert not await dialogues.drop(tx, **HERE)


async def test_a_buttons_command_is_found_by_its_short_id(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        for _ in range(2):
            await dialogues.store_presses(tx, NOW, ["offer add " + "x" * 100])
        assert await dialogues.pressed(tx, dialogues.press_id("offer add " + "x" * 100)) == "offer add " + "x" * 100
        assert await dialogues.pressed(tx, "unknown") is None


async def test_a_moved_group_keeps_its_subscriptions_even_if_its_new_id_was_met_first(
    opened: Callable[[], Any],
) -> None:
    async with opened() as database:
        old, new = await bound(database, "-1"), await bound(database, "-2")
        async with database.begin() as tx:
            team_id = await teams.first(tx, NOW)
            for room_id in (old, new):
                own = {"team_id": team_id, "room_id": room_id, "next_at": NOW, "created_at": NOW}
                await tx.execute(insert(subscriptions).values(every="day", at="09:00", timezone="UTC", **own))
            await rooms.migrate(tx, "telegram", old="-1", new="-2")
            await rooms.migrate(tx, "telegram", old="-1", new="-2")
            result = await rooms.find(tx, "telegram", "", "-2")
            assert result is not None
            stored = (await tx.execute(select(subscriptions.c.room_id))).scalars().all()
            assert list(stored) == [result.id, result.id]
            assert await rooms.find(tx, "telegram", "", "-1") is None
