"""The daily key under which addresses are hashed: random, replaced every day, gone after two."""

import secrets
from datetime import date, timedelta

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.clicks.visitor import Keys
from storage.tables import facts

_PREFIX = "visitor_key:"


async def keys(tx: AsyncConnection, today: date) -> Keys:
    """Today's key, made if need be in this write transaction, and yesterday's; older ones are deleted."""
    name = _PREFIX + today.isoformat()
    await tx.execute(upsert(facts).values(name=name, value=secrets.token_hex(32)).on_conflict_do_nothing())
    ours = facts.c.name.startswith(_PREFIX, autoescape=True)
    stored = {row.name: row.value for row in await tx.execute(select(facts.c.name, facts.c.value).where(ours))}
    yesterday_name = _PREFIX + (today - timedelta(days=1)).isoformat()
    if any(name < yesterday_name for name in stored):
        await tx.execute(delete(facts).where(ours, facts.c.name < yesterday_name))
    yesterday = stored.get(yesterday_name)
    return Keys(today, bytes.fromhex(stored[name]), bytes.fromhex(yesterday) if yesterday else None)
