"""Members: one-time codes, roles, the last owner."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update

from bot.commands.members import join_team
from bot.core.command import parse, run
from bot.core.context import Actor, Room
from storage.catalogue import teams
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.people import tokens
from storage.people.tokens import Kind
from storage.tables import identities, rooms
from tests.bot.asking import Asker, asking


async def joins(
    say: Asker, code: str | None, user: str, name: str = "Anna", room: str = "C1", face: Any = "slack"
) -> Any:
    where = Room(face=face, workspace="T1" if face == "slack" else "", room=room, user=user)
    async with say.database.begin() as tx:
        return await join_team(tx, say.now, where, name=name, code=code)


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
        outcomes = await asyncio.gather(*(joins(say, code, f"U{n}") for n in range(4)), return_exceptions=True)
        assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 1


async def test_an_invitation_lapses_after_a_day(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:
        code = (await say("member invite role=viewer"))["code"]
        say.later(hours=24)
        with pytest.raises(Refused, match="older than a day"):
            await joins(say, code, "U1")


async def test_the_last_owner_stays_and_stays_owner(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:
        await joins(say, (await say("member invite role=owner"))["code"], "U1")
        with pytest.raises(Refused, match="only owner"):
            await say.sure("member remove anna")
        with pytest.raises(Refused, match="only owner"):
            await say("member role anna viewer")
        await joins(say, (await say("member invite role=owner"))["code"], "U2", "Bob")
        assert (await say("member role anna viewer"))["role"] == "viewer"


async def test_who_was_removed_is_a_stranger_until_invited_again(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:
        await joins(say, (await say("member invite role=buyer"))["code"], "U1")
        await say.sure("member remove anna")
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
        assert [member["name"] for member in (await say("member list"))["items"]] == ["Анна", "Анна 2", "Анна 3"]


async def test_campaigns_limit_buyers_and_viewers_and_must_exist(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:
        with pytest.raises(Refused, match="not an owner"):
            await say("member invite role=owner campaigns=x")
        await say("campaign create name=mine")
        viewer = await joins(say, (await say("member invite role=viewer campaigns=mine"))["code"], "U9")
        assert (viewer.role, viewer.campaigns) == (Role.VIEWER, ["mine"])
        with pytest.raises(Refused, match="no campaign 'x'") as fault:
            await say("member invite role=buyer campaigns=x")
        assert fault.value.field == "campaigns"


async def test_a_room_of_another_team_is_not_joined(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:
        await joins(say, (await say("member invite role=viewer"))["code"], "U1")
        async with say.database.begin() as tx:
            from sqlalchemy import insert

            from storage.tables import rooms, teams

            other = await tx.execute(
                insert(teams).values(name="Other", code="other", created_at=say.now).returning(teams.c.id)
            )
            place = {"face": "slack", "workspace": "T1", "room": "C9", "created_at": say.now}
            await tx.execute(insert(rooms).values(team_id=other.scalar_one(), **place))
        with pytest.raises(Refused, match="another team"):
            await joins(say, None, "U1", room="C9")


async def link(say: Asker, member_id: int) -> str:
    actor = Actor(team_id=say.team_id, name="anna", role=Role.VIEWER, member_id=member_id)
    code: str = (await say.ask("member link", actor)).result.code
    return code


async def test_one_person_on_both_chats_is_one_member(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:
        anna = await joins(say, (await say("member invite role=owner"))["code"], "U1")
        code = await link(say, anna.id)
        linked = await joins(say, code, "42", "Anna T", "42", "telegram")
        assert (linked.id, linked.role) == (anna.id, Role.OWNER)
        with pytest.raises(Refused, match="unknown, used or older"):
            await joins(say, code, "43", "Eve", "43", "telegram")
        assert [member["code"] for member in (await say("member list"))["items"]] == ["anna"]


async def test_who_was_two_members_becomes_the_one_who_may_more(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:
        viewer = await joins(say, (await say("member invite role=viewer"))["code"], "U1")
        owner = await joins(say, (await say("member invite role=owner"))["code"], "42", "Anna T", "42", "telegram")
        assert owner.id != viewer.id
        assert (await joins(say, await link(say, owner.id), "U1")).role is Role.OWNER
        assert [(member["code"], member["role"]) for member in (await say("member list"))["items"]] == [
            ("anna-t", "owner")
        ]
        with pytest.raises(Refused, match="only owner"):
            await say.sure("member remove anna-t")


async def test_a_link_gives_its_maker_no_rights_of_who_takes_it_up(opened: Callable[[], Any]) -> None:
    """A viewer sends an owner their link: one press of Start would have made the viewer an owner."""
    async with asking(opened) as say:
        for name in ("c1", "c2"):
            await say(f"campaign create name={name}")
        makers = [
            await joins(say, (await say(f"member invite {rights}"))["code"], f"U{n}", f"Maker {n}")
            for n, rights in enumerate(("role=viewer", "role=buyer campaigns=c1", "role=buyer campaigns=c1,c2"))
        ]
        takers = (("role=owner", (0, 1, 2)), ("role=buyer", (0, 1, 2)), ("role=buyer campaigns=c2", (0, 1)),
                  ("role=viewer", (1, 2)))  # fmt: skip
        for n, (rights, refusing) in enumerate(takers):
            await joins(say, (await say(f"member invite {rights}"))["code"], f"T{n}", f"Taker {n}")
            for maker in refusing:
                with pytest.raises(Refused, match="you may do more here than Maker"):
                    await joins(say, await link(say, makers[maker].id), f"T{n}")
        assert (await joins(say, await link(say, makers[2].id), "T2")).campaigns == ["c1", "c2"]


async def test_who_was_removed_from_a_team_may_join_another(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:
        async with say.database.begin() as tx:
            other = Asker(say.database, (await teams.add(tx, "Others", say.now)).id)
        await joins(say, (await say("member invite role=owner"))["code"], "U0", "Boss")
        await joins(say, (await say("member invite role=buyer"))["code"], "U1", room="D1")
        code = (await other("member invite role=viewer"))["code"]
        with pytest.raises(Refused, match="ask its owner to remove you first"):
            await joins(other, code, "U1", room="D2")
        await say.sure("member remove anna")
        assert (await joins(other, code, "U1", room="D2")).role is Role.VIEWER
        assert [member["code"] for member in (await other("member list"))["items"]] == ["anna"]


async def test_a_room_that_was_only_named_is_the_team_whose_member_writes_there_first(
    opened: Callable[[], Any],
) -> None:
    """One team names the chat of another one's member before that one has written: it keeps no one out."""
    async with asking(opened) as say:
        async with say.database.begin() as tx:
            other = Asker(say.database, (await teams.add(tx, "Others", say.now)).id)
        await say("digest subscribe channel=telegram:4711")
        await say("alert add ftd channel=telegram:4711")
        await say('automation add "tell when clicks > 5" channel=telegram:4711')
        bound = await joins(other, (await other("member invite role=owner"))["code"], "4711", "Eve", "4711", "telegram")
        assert (bound.team_id, bound.bound) == (other.team_id, True)
        for noun in ("digest", "alert"):
            assert (await say(f"{noun} list"))["items"] == []
        (stopped,) = (await say("automation list"))["items"]
        assert (stopped["status"], stopped["channel"]) == ("stopped", "terminal")
        with pytest.raises(Refused, match="belongs to another team"):
            await say("digest subscribe channel=telegram:4711")


async def test_a_channel_of_a_workspace_is_named_by_who_is_known_there(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:
        with pytest.raises(Refused, match="no member of the team is known in that Slack workspace"):
            await say("digest subscribe channel=slack:T0001/C0123")
        await joins(say, (await say("member invite role=owner"))["code"], "U1")
        async with say.database.begin() as tx:
            await tx.execute(update(identities).values(workspace="T0001"))
        assert (await say("digest subscribe channel=slack:T0001/C0123"))["channel"] == "slack:C0123"


async def test_a_role_keeps_the_limit_to_campaigns_unless_it_says_otherwise(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:
        for name in ("c1", "c2"):
            await say(f"campaign create name={name}")
        await joins(say, (await say("member invite role=buyer campaigns=c1"))["code"], "U1")
        assert (await say("member role anna viewer"))["campaigns"] == ["c1"]
        assert (await say("member role anna buyer campaigns=c2"))["campaigns"] == ["c2"]
        assert (await say("member role anna buyer campaigns=none"))["campaigns"] is None
        with pytest.raises(Refused, match="name one at least") as fault:
            await say.tell("member invite", role="buyer", campaigns=[])
        assert fault.value.field == "campaigns"


async def test_a_link_lapses_after_an_hour_and_with_its_member(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:
        await joins(say, (await say("member invite role=owner"))["code"], "U1")
        bob = await joins(say, (await say("member invite role=viewer"))["code"], "U2", "Bob")
        old, good = await link(say, bob.id), await link(say, bob.id)
        await say.sure("member remove bob")
        with pytest.raises(Refused, match="was removed"):
            await joins(say, good, "42", "Bob", "42", "telegram")
        say.later(minutes=61)
        with pytest.raises(Refused, match="unknown, used or older"):
            await joins(say, old, "42", "Bob", "42", "telegram")
        with pytest.raises(Refused, match="said by a member"):
            await say("member link")


async def test_a_removed_members_sessions_tokens_and_invitations_end(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:
        await joins(say, (await say("member invite role=owner"))["code"], "U1")
        bob = await joins(say, (await say("member invite role=owner"))["code"], "U2", "Bob")
        actor = Actor(team_id=say.team_id, name=bob.code, role=Role.OWNER, member_id=bob.id)
        own = (await say.ask("token create bobs owner", actor)).result.token
        other = (await say("token create theirs owner"))["token"]
        invited = (await say.ask("member invite role=owner", actor)).result.code
        link = (await say.ask("cockpit", actor)).result.url.rpartition("/")[2]
        async with say.database.begin() as tx:
            opened_session = await tokens.use_link(tx, link, say.now)
            assert opened_session is not None
        second = (await say.ask("cockpit", actor)).result.url.rpartition("/")[2]
        question = await say("member remove bob")
        assert "API tokens they made is refused, too: bobs." in question["consequence"]
        assert await holds(say, own)
        await say(f"confirm {question['confirm']}")
        assert not await holds(say, own)
        assert not await holds(say, opened_session[1], Kind.SESSION)
        assert not await holds(say, second, Kind.LINK)
        assert await holds(say, other)
        with pytest.raises(Refused, match="unknown, used or older"):
            await joins(say, invited, "U2", "Bob")


async def test_tokens_that_go_back_to_a_removed_member_end_with_them(opened: Callable[[], Any]) -> None:
    """A token made with a token, and an invitation made with that, are no way back."""
    async with asking(opened) as say:
        await joins(say, (await say("member invite role=owner"))["code"], "U1")
        bob = await joins(say, (await say("member invite role=owner"))["code"], "U2", "Bob")
        actor = Actor(team_id=say.team_id, name=bob.code, role=Role.OWNER, member_id=bob.id)
        first = (await say.ask("token create first owner", actor)).result
        by_first = Actor(team_id=say.team_id, name="token:first", role=Role.OWNER, token_id=first.id)
        second = (await say.ask("token create second owner", by_first)).result.token
        by_second = Actor(team_id=say.team_id, name="token:second", role=Role.OWNER, token_id=first.id)
        invited = (await say.ask("member invite role=owner", by_second)).result.code
        question = await say("member remove bob")
        assert "first, second" in question["consequence"]
        await say(f"confirm {question['confirm']}")
        assert not await holds(say, first.token)
        assert not await holds(say, second)
        with pytest.raises(Refused, match="unknown, used or older"):
            await joins(say, invited, "U3", "Eve")


async def test_a_members_name_is_none_that_the_audit_trail_has_for_others(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:
        eve = await joins(say, (await say("member invite role=owner"))["code"], "U1", "Shell")
        assert (eve.name, eve.code) == ("Shell", "member-shell")


async def notified(say: Asker) -> tuple[list[Any], list[Any], list[str]]:
    """Campaigns of the digests, and of the alerts, that members are notified by, and rooms that are lost."""
    digests = [row["campaigns"] for row in (await say("digest list"))["items"] if row["status"] == "active"]
    alerts = [row["campaigns"] for row in (await say("alert list"))["items"]]
    async with say.database.read() as tx:
        lost = [row.room for row in await tx.execute(select(rooms).where(rooms.c.lost_at.is_not(None)))]
    return digests, alerts, lost


@pytest.mark.parametrize(("face", "room", "user"), [("slack", "D7", "U7"), ("telegram", "77", "77")])
async def test_what_is_told_in_a_members_own_chat_keeps_to_what_they_may_see(
    opened: Callable[[], Any], face: Any, room: str, user: str
) -> None:
    async with asking(opened) as say:
        for name in ("spring", "autumn", "winter"):
            await say(f"campaign create {name}")
        bob = await joins(say, (await say("member invite role=buyer"))["code"], user, "Bob", "C1", face)
        own = Room(face=face, workspace="T1" if face == "slack" else "", room=room, user=user, private=True)
        ctx = say.context(Actor(team_id=say.team_id, name=bob.code, role=Role.BUYER, member_id=bob.id))
        ctx.room, ctx.face = own, face
        for line in ("digest subscribe", "digest subscribe campaigns=spring,winter", "alert add ftd campaign=winter",
                     "alert add clicks < 5"):  # fmt: skip
            command, arguments = parse(line)
            await run(command, arguments, ctx)
        await say("digest subscribe at=06:00 channel=slack:C0123456")
        await say("member role bob buyer campaigns=spring,autumn")
        digests, alerts, lost = await notified(say)
        assert (digests, alerts, lost) == ([["spring", "autumn"], ["spring"], None], [["spring", "autumn"]], [])
        await say.sure("member remove bob")
        digests, _, lost = await notified(say)
        assert (digests, lost) == ([None], [room])


async def holds(say: Asker, secret: str, kind: Kind = Kind.API) -> bool:
    async with say.database.read() as tx:
        return await tokens.holder(tx, secret, say.now, kind) is not None


async def test_a_session_lasts_twelve_hours_from_its_last_use_and_a_week_at_most(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:

        async def used() -> bool:
            async with say.database.begin() as tx:
                token = await tokens.holder(tx, secret, say.now, Kind.SESSION)
                if token is not None and (until := tokens.renewal(token, say.now)) is not None:
                    await tokens.renew(tx, token.id, now=say.now, expires_at=until)
                return token is not None

        for hours, uses in ((12.1, 0), (11.9, 14)):
            link = (await say("cockpit"))["url"].rpartition("/")[2]
            async with say.database.begin() as tx:
                entered = await tokens.use_link(tx, link, say.now)
            assert entered is not None
            secret, count = entered[1], 0
            say.later(hours=hours)
            while await used():
                count += 1
                say.later(hours=hours)
            assert count == uses


async def test_a_token_ends_on_its_day(opened: Callable[[], Any]) -> None:
    async with asking(opened) as say:
        made = await say("token create ci viewer expires=90d")
        assert made["expires_at"].startswith("2027-02-20T12:00")
        say.later(days=89, hours=23)
        assert await holds(say, made["token"])
        say.later(hours=2)
        assert not await holds(say, made["token"])
        await say("token list")
        assert "expired" in say.shown
