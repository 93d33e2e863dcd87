"""The audit trail: every change, who made it, where, and what it changed."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import insert, select
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


async def record(tx: AsyncConnection, now: datetime, entry: Entry) -> None:
    row = {name: getattr(entry, name) for name in entry.__struct_fields__}
    row["before"], row["after"] = (msgspec.to_builtins(row[name]) for name in ("before", "after"))
    await tx.execute(insert(audits).values(at=now, **row))


async def page(tx: AsyncConnection, team_id: int, *, limit: int, after: int | None = None) -> list[Recorded]:
    """Latest first; `after` is the id of the last one seen."""
    query = select(audits).where(audits.c.team_id == team_id).order_by(audits.c.id.desc()).limit(limit)
    if after is not None:
        query = query.where(audits.c.id < after)
    return [Recorded(**row._mapping) for row in await tx.execute(query)]
