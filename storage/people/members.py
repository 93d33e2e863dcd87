"""Members of a team, their roles, and the one-time codes that invite them."""

import re
import secrets
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue import names
from storage.db.secrets import token_hash
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.people import tokens
from storage.tables import identities, invites, members

_MENTION = re.compile(r"<@([UW][A-Z0-9]+)(?:\|[^>]*)?>")
_NOT_MEMBERS = {"shell", "unknown"}  # what the audit trail calls an operator, and one who was turned away
INVITE_GOOD_FOR = timedelta(hours=24)


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A person in chat. `campaigns` are the codes a buyer or viewer is limited to; null: all."""

    id: int
    name: str
    code: str
    role: Role
    campaigns: list[str] | None = None
    created_at: datetime


class Invite(msgspec.Struct, frozen=True, kw_only=True):
    """An invitation as taken up: whose team it is to, and as what."""

    team_id: int
    role: Role
    campaigns: list[str] | None


def shown(row: Row[tuple[object, ...]]) -> Member:
    return msgspec.convert(row, Member, from_attributes=True)


async def invite(
    tx: AsyncConnection, *, team_id: int, role: Role, campaigns: list[str] | None, now: datetime, made_by: str = ""
) -> tuple[str, datetime]:
    """A new one-time code and when it lapses; only its hash is kept."""
    code = secrets.token_urlsafe(18)
    expires_at = now + INVITE_GOOD_FOR
    await tx.execute(insert(invites).values(
        team_id=team_id, created_at=now, code_hash=token_hash(code), role=role.value, campaigns=campaigns,
        expires_at=expires_at, made_by=made_by,
    ))  # fmt: skip
    return code, expires_at


async def redeem_invite(tx: AsyncConnection, now: datetime, code: str) -> Invite:
    """Use an invitation up. Raises Refused for an unknown, used or old one, without saying which."""
    good = invites.c.code_hash == token_hash(code), invites.c.used_at.is_(None), invites.c.expires_at > now
    used = (await tx.execute(update(invites).where(*good).values(used_at=now).returning(invites))).one_or_none()
    if used is None:
        raise Refused("this invitation is unknown, used or older than a day: ask an owner for a new one", field="code")
    return Invite(team_id=used.team_id, role=Role(used.role), campaigns=used.campaigns)


async def add(tx: AsyncConnection, invite: Invite, *, name: str, now: datetime) -> Member:
    """A new member; a name that is taken gets a number."""
    name = await names.free_name(tx, members, invite.team_id, name.strip()[:100] or "Member")
    reserved = names.slug(name) in _NOT_MEMBERS
    code = await names.code_for(tx, members, invite.team_id, f"member {name}" if reserved else name)
    values = {"name": name, "code": code, "role": invite.role.value, "campaigns": invite.campaigns}
    made = insert(members).values(team_id=invite.team_id, created_at=now, **values).returning(members)
    return shown((await tx.execute(made)).one())


async def get(tx: AsyncConnection, member_id: int) -> Member:
    """A member by an id we hold ourselves."""
    return shown(await names.by_id(tx, members, member_id))


async def find(tx: AsyncConnection, team_id: int, word: str) -> Member:
    """The member of that code, name or id, or mentioned on Slack. Raises Missing at `member`; one who was removed is
    missing too."""
    if mentioned := _MENTION.fullmatch(word.strip()):
        query = select(identities.c.member_id).where(
            identities.c.team_id == team_id, identities.c.face == "slack", identities.c.user == mentioned[1]
        )
        word = str((await tx.execute(query.limit(1))).scalar() or word)
    row = await names.find(tx, members, team_id, word, field="member")
    if row.removed_at is not None:
        raise Refused(f"{row.name} was removed: invite them again", field="member")
    return shown(row)


async def set_role(tx: AsyncConnection, member: Member, role: Role, campaigns: list[str] | None) -> Member:
    """Change what a member may do. Raises Refused for the last owner."""
    if role is not Role.OWNER:
        await _require_an_owner(tx, member)
    change = update(members).where(members.c.id == member.id).values(role=role.value, campaigns=campaigns)
    return shown((await tx.execute(change.returning(members))).one())


async def readmit(tx: AsyncConnection, member_id: int, invite: Invite) -> Member:
    """A member who was removed comes back, as what the new invitation says."""
    values = {"role": invite.role.value, "campaigns": invite.campaigns, "removed_at": None}
    return shown(
        (await tx.execute(update(members).where(members.c.id == member_id).values(**values).returning(members))).one()
    )


async def remove(tx: AsyncConnection, member: Member, now: datetime) -> Member:
    """Take a member's access away, at once and everywhere: sessions, and tokens and invitations they made, also with
    such a token. Messages to their own chats are ended by `storage.chat.rooms.end_own`.

    Raises Refused for the last owner.
    """
    await _require_an_owner(tx, member)
    change = update(members).where(members.c.id == member.id).values(removed_at=now).returning(members)
    row = (await tx.execute(change)).one()
    await tokens.revoke_sessions(tx, member.id, now)
    makers = await tokens.revoke_made_by(tx, row.team_id, member.code, now)
    unused = invites.c.team_id == row.team_id, invites.c.made_by.in_(makers), invites.c.used_at.is_(None)
    await tx.execute(delete(invites).where(*unused))
    return shown(row)


async def _require_an_owner(tx: AsyncConnection, member: Member) -> None:
    if member.role is not Role.OWNER:
        return
    mine = await tx.execute(select(members.c.team_id).where(members.c.id == member.id))
    # Owners are locked in the order of their ids, so that two who remove each other at once do not both succeed.
    owners = (
        select(members.c.id)
        .where(members.c.team_id == mine.scalar_one(), members.c.role == Role.OWNER.value)
        .where(members.c.removed_at.is_(None))
        .order_by(members.c.id)
        .with_for_update()
    )
    if len((await tx.execute(owners)).all()) <= 1:
        raise Refused(f"{member.name} is the only owner: make another member an owner first", field="member")


async def count(tx: AsyncConnection, team_id: int) -> int:
    """How many members there are now."""
    here = members.c.team_id == team_id, members.c.removed_at.is_(None)
    return int((await tx.execute(select(func.count()).select_from(members).where(*here))).scalar_one())
