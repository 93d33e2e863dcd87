"""A counter of configuration changes: every process looks at it to refresh what it keeps in memory."""

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.direct_sqlite import SyncConnection
from storage.tables import changes


async def bump(tx: AsyncConnection) -> None:
    """Something configured has changed; part of the transaction that changes it."""
    await tx.execute(update(changes).where(changes.c.id == 1).values(n=changes.c.n + 1))


async def current(tx: AsyncConnection) -> int:
    """How many changes there have been."""
    if isinstance(tx, SyncConnection):  # it is asked many times a second
        return int(tx.fetch("SELECT n FROM changes WHERE id = 1", ())[0][0])
    return int((await tx.execute(_CURRENT)).scalar_one())


_CURRENT = select(changes.c.n).where(changes.c.id == 1)
