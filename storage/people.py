"""How members are known on each chat: a platform's user is one person of one team."""

from datetime import datetime

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import members
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.members import Invite, Member
from storage.tables import identities
from storage.tables import members as members_table


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
    """The member behind a platform's user; None for a stranger. One who was removed is told by `removed_at`."""
    query = (
        select(members_table, identities.c.member_id)
        .join(identities, identities.c.member_id == members_table.c.id)
        .where(identities.c.face == face, identities.c.workspace == workspace, identities.c.user == user)
    )
    found = (await tx.execute(query)).one_or_none()
    return None if found is None else msgspec.convert(found, Person, from_attributes=True)


async def join(
    tx: AsyncConnection, code: str, *, face: str, workspace: str, user: str, name: str, now: datetime
) -> tuple[Invite, Member]:
    """Take up an invitation as this person. Raises Refused for a bad code, or a member of another team.

    Who is a member already keeps the higher of both roles.
    """
    found = await members.take_up(tx, now, code)
    known = await who(tx, face, workspace, user)
    if known is not None and known.team_id != found.team_id:
        raise Refused("you are a member of another team here: ask its owner to remove you first", field="code")
    if known is not None and known.removed_at is not None:
        return found, await members.readmit(tx, known.member_id, found)
    if known is not None:
        member = await members.get(tx, known.member_id)
        if known.role.includes(found.role):
            return found, member
        return found, await members.set_role(tx, member, found.role, found.campaigns)
    member = await members.add(tx, found, name=name, now=now)
    address = {"face": face, "workspace": workspace, "user": user}
    made = upsert(identities).values(team_id=found.team_id, member_id=member.id, **address)
    taken = await tx.execute(made.on_conflict_do_nothing(index_elements=list(address)))
    if not taken.rowcount:
        raise Refused("you have just joined by another message", field="code")
    return found, member
