"""The daily key under which addresses are hashed: random, replaced every day, gone after two."""

import secrets
from collections.abc import Mapping
from datetime import date, timedelta

from sqlalchemy import delete, not_, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.clicks.visitor import Keys
from storage.tables import facts

_PREFIX = "visitor_key:"
_OURS = facts.c.name.startswith(_PREFIX, autoescape=True)


async def keys(tx: AsyncConnection, today: date) -> Keys:
    """Today's key, made if need be in this write transaction, and yesterday's; older ones are deleted.

    So are those of days to come, which a clock that was wrong has left; another machine's may be a little ahead.
    """
    name = _name(today)
    await tx.execute(upsert(facts).values(name=name, value=secrets.token_hex(32)).on_conflict_do_nothing())
    stored = await _stored(tx)
    first, last = _name(today - timedelta(days=1)), _name(today + timedelta(days=1))
    if any(not first <= name <= last for name in stored):
        await tx.execute(delete(facts).where(_OURS, not_(facts.c.name.between(first, last))))
    return _keys(stored, today)


async def read_keys(tx: AsyncConnection, today: date) -> Keys:
    """The same where nothing can be written: a key of today that is not stored yet is this process's alone."""
    stored = await _stored(tx)
    stored.setdefault(_name(today), secrets.token_hex(32))
    return _keys(stored, today)


def _name(day: date) -> str:
    return _PREFIX + day.isoformat()


async def _stored(tx: AsyncConnection) -> dict[str, str]:
    return {row.name: row.value for row in await tx.execute(select(facts.c.name, facts.c.value).where(_OURS))}


def _keys(stored: Mapping[str, str], today: date) -> Keys:
    yesterday = stored.get(_name(today - timedelta(days=1)))
    return Keys(today, bytes.fromhex(stored[_name(today)]), bytes.fromhex(yesterday) if yesterday else None)
