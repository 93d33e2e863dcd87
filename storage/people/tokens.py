"""What signs a request in: API tokens, sessions of the cockpit, and the links that begin one. Kept as hashes."""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec
from sqlalchemy import ColumnElement, Row, bindparam, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.secrets import new_token, token_hash
from storage.ledger.facts import Role
from storage.tables import members, tokens

SESSION_GOOD_FOR = timedelta(hours=12)  # after the last use
SESSION_LONGEST = timedelta(days=7)  # after signing in, however much it is used
LINK_GOOD_FOR = timedelta(minutes=10)
_RENEWED_AFTER = timedelta(hours=1)
_KEPT = timedelta(days=7)  # sessions that ended stay in the list


class Kind(StrEnum):
    API = "api"
    SESSION = "session"
    LINK = "link"


class Token(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    name: str
    code: str
    role: Role
    created_at: datetime
    revoked_at: datetime | None = None
    kind: Kind = Kind.API
    expires_at: datetime | None = None
    used_at: datetime | None = None

    def state(self, now: datetime) -> str:
        """`active`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """For whom a session is opened: a member, an API token, or the shell (neither)."""

    team_id: int
    name: str
    role: Role
    member_id: int | None = None
    token_id: int | None = None


class Holder(Identity, frozen=True, kw_only=True):
    """Whom a token speaks for now. `id` is the token's own; `token_id` the API token's it depends on."""

    id: int
    campaigns: tuple[str, ...] | None = None
    created_at: datetime
    expires_at: datetime | None = None
    used_at: datetime | None = None


def shown(row: Row[tuple[object, ...]]) -> Token:
    """The token of a row, without its secret."""
    fields = {name: row._mapping[name] for name in Token.__struct_fields__}
    return msgspec.convert(fields, Token)


async def add(
    tx: AsyncConnection, *, team_id: int, now: datetime, name: str, code: str, role: Role, token: str,
    expires_at: datetime | None = None, made_by: str | None = None,
) -> Token:  # fmt: skip
    """Store an API token's hash. `made_by` is the maker's name in the audit trail."""
    created = await tx.execute(insert(tokens).values(
        team_id=team_id, created_at=now, name=name, code=code, role=role.value, token_hash=token_hash(token),
        expires_at=expires_at, made_by=made_by,
    ).returning(tokens))  # fmt: skip
    return shown(created.one())


async def add_link(tx: AsyncConnection, identity: Identity, now: datetime) -> tuple[str, datetime]:
    """A code that signs this identity in to the cockpit once, and when it expires."""
    await _delete_ended(tx, now)
    return await _add(tx, identity, Kind.LINK, now, now + LINK_GOOD_FOR), now + LINK_GOOD_FOR


async def add_session(tx: AsyncConnection, identity: Identity, now: datetime) -> str:
    """Open a session; returns the secret that its cookie holds."""
    return await _add(tx, identity, Kind.SESSION, now, now + SESSION_GOOD_FOR)


async def _add(tx: AsyncConnection, identity: Identity, kind: Kind, now: datetime, expires_at: datetime) -> str:
    secret, suffix = new_token(), secrets.token_hex(4)
    await tx.execute(insert(tokens).values(
        team_id=identity.team_id, created_at=now, kind=kind.value, token_hash=token_hash(secret),
        name=f"{kind.value} of {identity.name} {suffix}", code=f"{kind.value}-{suffix}", role=identity.role.value,
        expires_at=expires_at, used_at=now, member_id=identity.member_id, parent_id=identity.token_id,
    ))  # fmt: skip
    return secret


async def _delete_ended(tx: AsyncConnection, now: datetime) -> None:
    old_link = (tokens.c.kind == Kind.LINK.value) & (tokens.c.expires_at < now)
    old_session = (tokens.c.kind == Kind.SESSION.value) & (tokens.c.expires_at < now - _KEPT)
    await tx.execute(delete(tokens).where(or_(old_link, old_session)))


_PARENT = tokens.alias("parent")
_HOLDER = (
    select(
        tokens, members.c.code.label("member_code"), members.c.role.label("member_role"),
        members.c.campaigns.label("member_campaigns"), _PARENT.c.code.label("parent_code"),
    )
    .outerjoin(members, members.c.id == tokens.c.member_id)
    .outerjoin(_PARENT, _PARENT.c.id == tokens.c.parent_id)
    .where(
        tokens.c.token_hash == bindparam("hash"), tokens.c.kind == bindparam("kind"), tokens.c.revoked_at.is_(None),
        or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > bindparam("now")), members.c.removed_at.is_(None),
        _PARENT.c.revoked_at.is_(None), or_(_PARENT.c.expires_at.is_(None), _PARENT.c.expires_at > bindparam("now")),
    )
)  # fmt: skip


async def holder(tx: AsyncConnection, token: str, now: datetime, kind: Kind = Kind.API) -> Holder | None:
    """Whom a token of this kind speaks for; None if it is unknown, revoked or expired, or what it depends on is."""
    values = {"hash": token_hash(token), "kind": kind.value, "now": now}
    row = (await tx.execute(_HOLDER, values)).one_or_none()
    return None if row is None else _holder(row)


def _holder(row: Row[tuple[object, ...]]) -> Holder:
    fields = row._mapping
    campaigns = fields["member_campaigns"]
    token_id = fields["id"] if fields["kind"] == Kind.API.value else fields["parent_id"]
    token_code = fields["code"] if fields["kind"] == Kind.API.value else fields["parent_code"]
    return Holder(
        id=fields["id"], team_id=fields["team_id"], role=Role(fields["member_role"] or fields["role"]),
        name=fields["member_code"] or (f"token:{token_code}" if token_id else "shell"), member_id=fields["member_id"],
        token_id=token_id, campaigns=None if campaigns is None else tuple(campaigns), created_at=fields["created_at"],
        expires_at=fields["expires_at"], used_at=fields["used_at"],
    )  # fmt: skip


async def use_link(tx: AsyncConnection, code: str, now: datetime) -> tuple[Holder, str] | None:
    """Use up a link: whom it signs in, and the secret of the new session. None for an unknown, used or old one."""
    link = await holder(tx, code, now, Kind.LINK)
    if link is None:
        return None
    used = await tx.execute(update(tokens).where(tokens.c.id == link.id, tokens.c.revoked_at.is_(None)).values(
        revoked_at=now,
    ))  # fmt: skip
    return (link, await add_session(tx, link, now)) if used.rowcount else None


def renewal(session: Holder, now: datetime) -> datetime | None:
    """Until when a session in use is to be kept; None while it needs no renewal (it is written once an hour)."""
    if session.used_at is not None and now - session.used_at < _RENEWED_AFTER:
        return None
    return min(now + SESSION_GOOD_FOR, session.created_at + SESSION_LONGEST)


async def renew(tx: AsyncConnection, token_id: int, *, now: datetime, expires_at: datetime | None) -> None:
    """Keep the time of the last use, and the new end."""
    await tx.execute(update(tokens).where(tokens.c.id == token_id).values(used_at=now, expires_at=expires_at))


async def revoke(tx: AsyncConnection, token_id: int, now: datetime) -> Token:
    """End a token or session, and the sessions made with it, which depend on it."""
    changed = update(tokens).where(tokens.c.id == token_id).values(revoked_at=now).returning(tokens)
    return shown((await tx.execute(changed)).one())


async def revoke_sessions(tx: AsyncConnection, member_id: int, now: datetime) -> None:
    """End the sessions and links of a member."""
    await tx.execute(
        update(tokens).where(tokens.c.member_id == member_id, tokens.c.revoked_at.is_(None)).values(revoked_at=now)
    )


async def made_by(tx: AsyncConnection, team_id: int, maker: str, now: datetime) -> list[Token]:
    """The API tokens that go back to a member and still hold."""
    makers = await _makers(tx, team_id, maker)
    unexpired = or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now)
    holds = *_made_by(team_id, makers), tokens.c.revoked_at.is_(None), unexpired
    return [shown(row) for row in await tx.execute(select(tokens).where(*holds))]


async def revoke_made_by(tx: AsyncConnection, team_id: int, maker: str, now: datetime) -> list[str]:
    """End the API tokens that a member made, and those made with them; returns the member and what such tokens are
    called in the audit trail."""
    makers = await _makers(tx, team_id, maker)
    unexpired = or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now)
    ended = tokens.c.revoked_at.is_(None), unexpired
    await tx.execute(update(tokens).where(*_made_by(team_id, makers), *ended).values(revoked_at=now))
    return makers


async def _makers(tx: AsyncConnection, team_id: int, maker: str) -> list[str]:
    """A member, and every token that goes back to them, as the audit trail calls them."""
    makers, latest = [maker], [maker]
    while latest:
        made = await tx.execute(select(tokens.c.code).where(*_made_by(team_id, latest)))
        latest = [name for code in made.scalars() if (name := f"token:{code}") not in makers]
        makers += latest
    return makers


def _made_by(team_id: int, makers: Sequence[str]) -> list[ColumnElement[bool]]:
    return [tokens.c.team_id == team_id, tokens.c.made_by.in_(makers), tokens.c.kind == Kind.API.value]
