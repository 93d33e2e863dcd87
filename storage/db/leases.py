"""One runner at a time: a lease per job, taken over when it lapses."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, delete, not_, or_
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.tables import leases

APART = 2  # lengths of a lease: the clocks of two machines differ by one at most


async def acquire(tx: AsyncConnection, name: str, holder: str, *, now: datetime, good_for: timedelta) -> bool:
    """Take or renew a lease; False while another holder has it.

    A lease that ends further ahead than any clock can explain has lapsed: it was taken before the clock was set back.
    """
    statement = upsert(leases).values(name=name, holder=holder, until=now + good_for)
    statement = statement.on_conflict_do_update(
        index_elements=["name"],
        set_={"holder": holder, "until": now + good_for},
        where=or_(leases.c.holder == holder, not_(holds(now, good_for))),
    )
    return (await tx.execute(statement.returning(leases.c.holder))).first() is not None


def holds(now: datetime, good_for: timedelta) -> Any:
    """The condition that a lease of that length has not lapsed."""
    return and_(leases.c.until >= now, leases.c.until <= now + good_for * APART)


async def release(tx: AsyncConnection, holder: str) -> None:
    """Let others run at once what this process ran."""
    await tx.execute(delete(leases).where(leases.c.holder == holder))
