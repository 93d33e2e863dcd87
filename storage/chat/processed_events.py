"""What a chat face has handled already: a request, an event or an update counts once, in whatever process."""

from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.tables import handled

RETENTION = timedelta(days=2)  # Telegram repeats an update it got no answer to for up to 24 hours


async def first_time(tx: AsyncConnection, now: datetime, *keys: str) -> bool:
    """Whether none of these was handled before; they are from now on."""
    fresh = 0
    for key in dict.fromkeys(keys):
        statement = upsert(handled).values(key=key, at=now).on_conflict_do_nothing(index_elements=["key"])
        fresh += (await tx.execute(statement)).rowcount
    return fresh == len(set(keys))


async def before(tx: AsyncConnection, key: str) -> bool:
    """Whether this was handled before."""
    return (await tx.execute(select(handled.c.key).where(handled.c.key == key))).first() is not None


async def forget(tx: AsyncConnection, now: datetime) -> None:
    """Drop what is too old to come again."""
    await tx.execute(delete(handled).where(handled.c.at < now - RETENTION))
