"""How members are known on each chat: a platform's user is one person of one team."""

import secrets
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.secrets import token_hash
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.people import members
from storage.people.members import Invite, Member
from storage.tables import confirmations, identities
from storage.tables import members as members_table

LINK_GOOD_FOR = timedelta(hours=1)
_LINK = "member link"


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Who a platform's user is to us."""

    team_id: int
    member_id: int
    name: str
    code: str
    role: Role
    campaigns: list[str] | None = None
    removed_at: datetime | None = None


async def who(tx: AsyncConnection, face: str, workspace: str, user: str) -> Person | None:
    """The member behind a platform's user; None for a stranger. `removed_at` is set for one who was removed."""
    query = (
        select(members_table, identities.c.member_id)
        .join(identities, identities.c.member_id == members_table.c.id)
        .where(identities.c.face == face, identities.c.workspace == workspace, identities.c.user == user)
    )
    row = (await tx.execute(query)).one_or_none()
    return None if row is None else msgspec.convert(row, Person, from_attributes=True)


async def join(
    tx: AsyncConnection, code: str, *, face: str, workspace: str, user: str, name: str, now: datetime
) -> tuple[Invite, Member]:
    """Take up an invitation, or a member's own link, as this person. Raises Refused for a bad code, or a member of
    another team.

    Who is a member already keeps the higher of both roles; one who was removed from another team begins here.
    """
    person = await who(tx, face, workspace, user)
    address = {"face": face, "workspace": workspace, "user": user}
    linked = await _linked(tx, now, code)
    if linked is not None:
        return await _link(tx, linked, person, address=address, now=now)
    invite = await members.redeem_invite(tx, now, code)
    _same_team(person, invite.team_id)
    person = await _moved_away(tx, person, invite.team_id)
    if person is not None and person.removed_at is not None:
        return invite, await members.readmit(tx, person.member_id, invite)
    if person is not None:
        member = await members.get(tx, person.member_id)
        if person.role.includes(invite.role):
            return invite, member
        return invite, await members.set_role(tx, member, invite.role, invite.campaigns)
    member = await members.add(tx, invite, name=name, now=now)
    await _identify(tx, invite.team_id, member.id, address)
    return invite, member


async def link(tx: AsyncConnection, *, team_id: int, member_id: int, now: datetime) -> tuple[str, datetime]:
    """A one-time code by which the member is known on another chat as well, and when it lapses; only its hash is
    kept, beside other questions that one person answers once."""
    code = secrets.token_urlsafe(18)
    link = {"actor": f"#{member_id}", "command": _LINK, "arguments": {"member": member_id}}
    values = {"code": token_hash(code), "expires_at": now + LINK_GOOD_FOR, **link}
    await tx.execute(insert(confirmations).values(team_id=team_id, **values))
    return code, now + LINK_GOOD_FOR


async def _linked(tx: AsyncConnection, now: datetime, code: str) -> int | None:
    """Use a link up: whose it is; None for a code that is no link (any more)."""
    c = confirmations.c
    good = c.code == token_hash(code), c.command == _LINK, c.used_at.is_(None), c.expires_at > now
    used = update(confirmations).where(*good).values(used_at=now).returning(c.arguments)
    arguments = (await tx.execute(used)).scalar_one_or_none()
    return None if arguments is None else int(arguments["member"])


async def _link(
    tx: AsyncConnection, member_id: int, person: Person | None, *, address: dict[str, str], now: datetime
) -> tuple[Invite, Member]:
    """Make the person the member. Who was another member until now goes over to it with all that one was known as."""
    row = (await tx.execute(select(members_table).where(members_table.c.id == member_id))).one()
    if row.removed_at is not None:
        raise Refused("the member of this link was removed: ask an owner for an invitation", field="code")
    _same_team(person, row.team_id)
    person = await _moved_away(tx, person, row.team_id)
    member = members.shown(row)
    if person is None:
        await _identify(tx, row.team_id, member_id, address)
    elif person.member_id != member_id:
        if person.removed_at is None:
            _refuse_more_rights(member, person)
            await members.remove(tx, await members.get(tx, person.member_id), now)
        mine = identities.c.member_id == person.member_id
        await tx.execute(update(identities).where(mine).values(member_id=member_id))
    return Invite(team_id=row.team_id, role=member.role, campaigns=member.campaigns), member


def _refuse_more_rights(member: Member, person: Person) -> None:
    """Whoever made the link gets no rights that only the person who takes it up has: one press may be a trick."""
    limited = member.campaigns is not None and not (
        person.campaigns is not None and set(person.campaigns) <= set(member.campaigns)
    )
    if limited or not member.role.includes(person.role):
        raise Refused(
            f"you may do more here than {member.name}, whose link this is: if that is you, say member link here and "
            "its code there, or ask an owner to give both the same role",
            field="code",
        )


def _same_team(person: Person | None, team_id: int) -> None:
    if person is not None and person.team_id != team_id and person.removed_at is None:
        raise Refused("you are a member of another team here: ask its owner to remove you first", field="code")


async def _moved_away(tx: AsyncConnection, person: Person | None, team_id: int) -> Person | None:
    """The person, unless they were removed from another team: then they are unknown, there and here."""
    if person is None or person.team_id == team_id:
        return person
    await tx.execute(delete(identities).where(identities.c.member_id == person.member_id))
    return None


async def _identify(tx: AsyncConnection, team_id: int, member_id: int, address: dict[str, str]) -> None:
    made = upsert(identities).values(team_id=team_id, member_id=member_id, **address)
    taken = await tx.execute(made.on_conflict_do_nothing(index_elements=list(address)))
    if not taken.rowcount:
        raise Refused("you have just joined by another message", field="code")
