"""API tokens: shown once, kept as a hash."""

from datetime import datetime

import msgspec
from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.secrets import token_hash
from storage.ledger.facts import Role
from storage.tables import tokens


class Token(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    name: str
    code: str
    role: Role
    created_at: datetime
    revoked_at: datetime | None = None


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a token speaks for."""

    team_id: int
    name: str
    role: Role


def shown(row: Row[tuple[object, ...]]) -> Token:
    fields = row._mapping
    return Token(**{name: fields[name] for name in Token.__struct_fields__} | {"role": Role(fields["role"])})


async def add(
    tx: AsyncConnection, *, team_id: int, now: datetime, name: str, code: str, role: Role, token: str
) -> Token:
    values = {"name": name, "code": code, "role": role.value, "token_hash": token_hash(token)}
    made = await tx.execute(insert(tokens).values(team_id=team_id, created_at=now, **values).returning(tokens))
    return shown(made.one())


async def holder(tx: AsyncConnection, token: str) -> Holder | None:
    """Whom a token speaks for; None if it is unknown or revoked."""
    query = select(tokens).where(tokens.c.token_hash == token_hash(token), tokens.c.revoked_at.is_(None))
    row = (await tx.execute(query)).one_or_none()
    return None if row is None else Holder(team_id=row.team_id, name=f"token:{row.code}", role=Role(row.role))


async def revoke(tx: AsyncConnection, token_id: int, now: datetime) -> Token:
    changed = update(tokens).where(tokens.c.id == token_id).values(revoked_at=now).returning(tokens)
    return shown((await tx.execute(changed)).one())
