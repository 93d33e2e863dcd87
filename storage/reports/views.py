"""Saved views: reports that a team looks at again, by name."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, Select, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue import names
from storage.ledger.errors import Refused
from storage.tables import views

MOST = 200  # of a team


class SavedView(msgspec.Struct, frozen=True, kw_only=True):
    """A saved view; `query` is the query of the report's address."""

    id: int
    name: str
    code: str
    query: str
    created_at: datetime


async def save(
    tx: AsyncConnection, team_id: int, name: str, query: str, now: datetime
) -> tuple[SavedView, SavedView | None]:
    """Save a view under a name, in place of the one it had, which is returned too. Raises Refused at `name`."""
    here = views.c.team_id == team_id
    existing = (await tx.execute(select(views).where(here, views.c.name == name))).first()
    if existing is not None:
        await tx.execute(update(views).where(views.c.id == existing.id).values(query=query))
        return msgspec.structs.replace(shown(existing), query=query), shown(existing)
    if ((await tx.execute(select(func.count()).select_from(views).where(here))).scalar_one()) >= MOST:
        raise Refused(f"name: a team has at most {MOST} views: remove one first", field="name")
    values: dict[str, Any] = {
        "team_id": team_id, "name": name, "code": await names.code_for(tx, views, team_id, name), "query": query,
        "created_at": now,
    }  # fmt: skip
    view_id = (await tx.execute(insert(views).values(values).returning(views.c.id))).scalar_one()
    return SavedView(id=view_id, **{key: value for key, value in values.items() if key != "team_id"}), None


def of_team(team_id: int) -> Select[Any]:
    return select(views).where(views.c.team_id == team_id)


async def find(tx: AsyncConnection, team_id: int, word: str) -> SavedView:
    """By code, name or id. Raises Missing at `view`."""
    return shown(await names.find(tx, views, team_id, word, field="view"))


async def remove(tx: AsyncConnection, view_id: int) -> None:
    await tx.execute(delete(views).where(views.c.id == view_id))


def shown(row: Row[Any]) -> SavedView:
    return SavedView(id=row.id, name=row.name, code=row.code, query=row.query, created_at=row.created_at)
