"""Members: one-time codes, roles, the last owner."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from bot.context import Room
from bot.joining import join
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from tests.bot.asking import Asker, asking


async def joins(say: Asker, code: str | None, user: str, name: str = "Anna", room: str = "C1") -> Any:
    where = Room(face="slack", workspace="T1", room=room, user=user)
    async with say.database.begin() as tx:
        return await join(tx, say.now, where, name=name, code=code)


async def test_an_invitation_works_once(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:
        made = await say("member invite role=buyer")
        assert len(made["code"]) <= 64
        assert made["link"] is None
        assert made["expires_at"].startswith("2026-11-23T12:00")
        joined = await joins(say, made["code"], "U1")
        assert (joined.role, joined.bound) == (Role.BUYER, True)
        with pytest.raises(Refused, match="unknown, used or older"):
            await joins(say, made["code"], "U2", "Bob")


async def test_of_two_who_use_a_code_at_once_one_gets_in(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:
        code = (await say("member invite role=viewer"))["code"]
        found = await asyncio.gather(*(joins(say, code, f"U{n}") for n in range(4)), return_exceptions=True)
        assert sum(not isinstance(one, Exception) for one in found) == 1


async def test_an_invitation_lapses_after_a_day(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:
        code = (await say("member invite role=viewer"))["code"]
        say.later(hours=24)
        with pytest.raises(Refused, match="older than a day"):
            await joins(say, code, "U1")


async def test_the_last_owner_stays_and_stays_owner(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:
        await joins(say, (await say("member invite role=owner"))["code"], "U1")
        for words in ("member remove anna", "member role anna viewer"):
            with pytest.raises(Refused, match="only owner"):
                await say(words)
        await joins(say, (await say("member invite role=owner"))["code"], "U2", "Bob")
        assert (await say("member role anna viewer"))["role"] == "viewer"


async def test_who_was_removed_is_a_stranger_until_invited_again(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:
        await joins(say, (await say("member invite role=buyer"))["code"], "U1")
        await say("member remove anna")
        assert (await say("member list"))["items"] == []
        with pytest.raises(Refused, match="members of a team only"):
            await joins(say, None, "U1")
        again = await joins(say, (await say("member invite role=viewer"))["code"], "U1")
        assert (again.code, again.role) == ("anna", Role.VIEWER)


async def test_a_member_who_takes_up_a_lower_invitation_loses_nothing(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:
        await joins(say, (await say("member invite role=buyer"))["code"], "U1")
        assert (await joins(say, (await say("member invite role=viewer"))["code"], "U1")).role is Role.BUYER
        assert (await joins(say, (await say("member invite role=owner"))["code"], "U1")).role is Role.OWNER


async def test_names_that_are_taken_get_a_number(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:
        for user in ("U1", "U2", "U3"):
            await joins(say, (await say("member invite role=viewer"))["code"], user, "Анна")
        assert [one["name"] for one in (await say("member list"))["items"]] == ["Анна", "Анна 2", "Анна 3"]


async def test_campaigns_limit_buyers_only_and_must_exist(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:
        with pytest.raises(Refused, match="limit a buyer"):
            await say("member invite role=viewer campaigns=x")
        with pytest.raises(Refused, match="no campaign 'x'") as fault:
            await say("member invite role=buyer campaigns=x")
        assert fault.value.field == "campaigns"


async def test_a_room_of_another_team_is_not_joined(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:
        await joins(say, (await say("member invite role=viewer"))["code"], "U1")
        async with say.database.begin() as tx:
            from sqlalchemy import insert

            from storage.tables import rooms, teams

            other = await tx.execute(insert(teams).values(name="Other", created_at=say.now).returning(teams.c.id))
            place = {"face": "slack", "workspace": "T1", "room": "C9", "created_at": say.now}
            await tx.execute(insert(rooms).values(team_id=other.scalar_one(), **place))
        with pytest.raises(Refused, match="another team"):
            await joins(say, None, "U1", room="C9")
