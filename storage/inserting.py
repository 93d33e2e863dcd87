"""Many rows inserted in one statement, their new ids told in the rows' order."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Table, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.straight import AtOnce


async def append(tx: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows whose ids nobody needs to know."""
    if isinstance(tx, AtOnce):
        tx.insert(table, rows)
    else:
        await tx.execute(insert(table), rows)


async def insert_many(
    tx: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]], *, told_apart_by: tuple[str, ...]
) -> list[int]:
    """Insert rows, and their ids in order.

    Databases do not promise the order of RETURNING, and asking SQLAlchemy to sort it costs a statement per row. So rows
    are recognised by `told_apart_by`; ids of rows alike in all of them are given in ascending order. Columns that are
    null in every row are left out, which most of a conversion's are.
    """
    if isinstance(tx, AtOnce):
        return tx.insert(table, rows)
    held = [name for name in rows[0] if name in told_apart_by or any(row[name] is not None for row in rows)]
    rows = [{name: row[name] for name in held} for row in rows]
    columns = (table.c.id, *(table.c[name] for name in told_apart_by))
    waiting: defaultdict[tuple[Any, ...], list[int]] = defaultdict(list)
    for row in await tx.execute(insert(table).returning(*columns), rows):
        waiting[tuple(row[1:])].append(row.id)
    for ids in waiting.values():
        ids.sort(reverse=True)
    return [waiting[tuple(row[name] for name in told_apart_by)].pop() for row in rows]
