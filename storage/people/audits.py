"""The audit trail: every change, who made it, where, and what it changed."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import and_, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.tables import audits


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One change. `arguments` come masked."""

    team_id: int
    actor: str
    face: str
    room: str
    command: str
    arguments: dict[str, Any]
    entity: str | None = None
    entity_id: int | None = None
    before: Any = None
    after: Any = None


class Recorded(Entry, frozen=True, kw_only=True):
    id: int
    at: datetime


async def record(tx: AsyncConnection, now: datetime, entry: Entry) -> Recorded:
    """Store a change; returns it with its number."""
    row = {name: getattr(entry, name) for name in entry.__struct_fields__}
    row["before"], row["after"] = (msgspec.to_builtins(row[name]) for name in ("before", "after"))
    stored = await tx.execute(insert(audits).values(at=now, **row).returning(audits.c.id))
    return Recorded(id=stored.scalar_one(), at=now, **row)


async def get(tx: AsyncConnection, team_id: int, number: int) -> Recorded | None:
    """A team's change by its number."""
    query = select(audits).where(audits.c.team_id == team_id, audits.c.id == number)
    row = (await tx.execute(query)).one_or_none()
    return Recorded(**row._mapping) if row else None


async def since(tx: AsyncConnection, change: Recorded) -> list[Recorded]:
    """Later changes of the same entity, and every undo since then."""
    same = and_(audits.c.entity == change.entity, audits.c.entity_id == change.entity_id)
    later = audits.c.team_id == change.team_id, audits.c.id > change.id
    query = select(audits).where(*later, or_(same, audits.c.command == "undo")).order_by(audits.c.id)
    return [Recorded(**row._mapping) for row in await tx.execute(query)]


async def latest_of(tx: AsyncConnection, team_id: int, actor: str, *, limit: int) -> list[Recorded]:
    """What one actor has done, the latest first, without refusals and what was taken back."""
    query = select(audits).where(audits.c.team_id == team_id, audits.c.actor == actor)
    rows = await tx.execute(query.order_by(audits.c.id.desc()).limit(limit))
    own = [Recorded(**row._mapping) for row in rows]
    if not own:
        return []
    undone = select(audits.c.after).where(
        audits.c.team_id == team_id, audits.c.command == "undo", audits.c.id > own[-1].id
    )
    taken = {number for after in (await tx.execute(undone)).scalars() if after for number in after["audit_ids"]}
    return [entry for entry in own if entry.id not in taken and "refused" not in entry.arguments]


async def page(tx: AsyncConnection, team_id: int, *, limit: int, after: int | None = None) -> list[Recorded]:
    """Latest first; `after` is the id of the last one seen."""
    query = select(audits).where(audits.c.team_id == team_id).order_by(audits.c.id.desc()).limit(limit)
    if after is not None:
        query = query.where(audits.c.id < after)
    return [Recorded(**row._mapping) for row in await tx.execute(query)]
