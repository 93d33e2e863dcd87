"""What all named entities share: paging by id, and the codes that ids stand for."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row, Select, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.errors import Refused

MAX_PAGE = 500


async def page(
    tx: AsyncConnection, query: Select[Any], key: Any, *, limit: int, after: str | int | None, latest: bool = False
) -> tuple[Sequence[Row[Any]], str | None]:
    """Rows of a query in the order of `key`, or against it, and the cursor of the next page (None: that was all)."""
    if not 1 <= limit <= MAX_PAGE:
        raise Refused(f"limit: between 1 and {MAX_PAGE}", field="limit")
    last = cursor(after)
    if last is not None:
        query = query.where(key < last if latest else key > last)
    rows = (await tx.execute(query.order_by(key.desc() if latest else key).limit(limit + 1))).all()
    more = len(rows) > limit
    rows = rows[:limit]
    return rows, str(rows[-1]._mapping[key.name]) if more else None


def cursor(after: str | int | None) -> int | None:
    """`next` of the page before as a number. Raises Refused."""
    if after is None:
        return None
    if not str(after).isdecimal() or len(str(after)) > 18:
        raise Refused("after: not a cursor of this list: take `next` of the page before", field="after")
    return int(after)


class Label(NamedTuple):
    """What machines and people call an entity."""

    code: str
    name: str


async def labels(tx: AsyncConnection, table: Table, team_id: int) -> dict[int, Label]:
    """Code and name by id of all the team's entities of a kind."""
    query = select(table.c.id, table.c.code, table.c.name).where(table.c.team_id == team_id)
    return {id_: Label(code, name) for id_, code, name in (await tx.execute(query)).all()}


async def codes(
    tx: AsyncConnection, table: Table, team_id: int, ids: Collection[int] | None = None
) -> dict[int, str]:  # fmt: skip
    """Code by id of the team's entities of a kind: all of them, or those of some ids."""
    query = select(table.c.id, table.c.code).where(table.c.team_id == team_id)
    if ids is not None:
        if not ids:
            return {}
        query = query.where(table.c.id.in_(ids))
    return dict((await tx.execute(query)).all())
