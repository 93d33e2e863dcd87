"""Changing a JSON column key by key: what another transaction wrote meanwhile stays."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection


async def change_keys(
    tx: AsyncConnection, column: Column[Any], row_id: int, *, before: Mapping[str, Any], after: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the keys that differ between `before`, as it was read, and `after`; returns the whole as stored now.

    The row is read again and locked, so `before` may be old: a request over the network may have come in between.
    """
    table_id = column.table.c.id
    query = select(column).where(table_id == row_id).with_for_update()
    stored = dict((await tx.execute(query)).scalar_one_or_none() or {})
    for name in before.keys() - after.keys():
        stored.pop(name, None)
    stored |= {name: value for name, value in after.items() if name not in before or before[name] != value}
    await tx.execute(update(column.table).where(table_id == row_id).values({column.name: stored}))
    return stored
