"""Days that moved are merged anew, whole: touch marks read first, cells recomputed, marks deleted last."""

from collections.abc import Iterable
from datetime import date, datetime
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.asked import Asked
from storage.day_facts import catalogue, day_facts
from storage.engine import Database
from storage.ledger.cells import Cell
from storage.ledger.merge import merge_day
from storage.tables import accounts, conversions, merged, offers, touched

#: Days merged in one transaction: a long backfill must not hold up clicks.
BATCH = 4

_encoder = msgspec.json.Encoder()


async def settle_all(database: Database, zone: ZoneInfo, now: datetime) -> int:
    """Merge every touched day of every team; returns how many there were. `now` is unused but by the job's contract."""
    count = 0
    while True:
        async with database.read() as tx:
            waiting = (await tx.execute(select(touched.c.team_id).limit(1))).first()
        if waiting is None:
            return count
        async with database.begin() as tx:
            done = await settle(tx, zone)
        if not done:
            return count
        count += done


async def settle(tx: AsyncConnection, zone: ZoneInfo, *, limit: int = BATCH) -> int:
    """Merge up to `limit` touched days; returns how many were.

    Marks are read first and only those read are deleted: a fact committed meanwhile leaves a mark of its own.
    """
    t = touched.c
    last = (await tx.execute(select(func.max(t.id)))).scalar_one_or_none()
    if last is None:
        return 0
    days = select(t.team_id, t.day).where(t.id <= last).distinct().order_by(t.day.desc()).limit(limit)
    found = (await tx.execute(days)).all()
    for row in found:
        await merge_again(tx, row.team_id, row.day, zone)
        await tx.execute(delete(touched).where(t.team_id == row.team_id, t.day == row.day, t.id <= last))
    return len(found)


async def merge_again(tx: AsyncConnection, team_id: int, day: date, zone: ZoneInfo) -> None:
    """Recompute a day's cells and keep them."""
    await note_postbacks(tx, team_id, day)
    cells = await cells_of(tx, Asked(team_id=team_id, zone=zone), day)
    packed = _encoder.encode(cells)
    kept = upsert(merged).values(team_id=team_id, day=day, cells=packed)
    await tx.execute(kept.on_conflict_do_update(index_elements=["team_id", "day"], set_={"cells": packed}))


async def cells_of(tx: AsyncConnection, asked: Asked, day: date) -> list[Cell]:
    """A day's cells, merged now."""
    facts = await day_facts(tx, asked, day)
    return merge_day(facts, await catalogue(tx, asked.team_id), asked.grain)


async def note_postbacks(tx: AsyncConnection, team_id: int, day: date) -> None:
    """Remember since which report day accounts and offers are measured by postbacks."""
    c = conversions.c
    that_day = c.team_id == team_id, c.day == day, c.account_id.is_not(None)
    seen = (await tx.execute(select(c.account_id, c.offer_id).where(*that_day).distinct())).all()
    for table, ids in ((accounts, {row.account_id for row in seen}), (offers, {row.offer_id for row in seen})):
        t = table.c
        later = t.id.in_(ids), or_(t.postbacks_since.is_(None), t.postbacks_since > day)
        if ids and (await tx.execute(select(t.id).where(*later))).first():
            await tx.execute(update(table).where(*later).values(postbacks_since=day))


async def touch(tx: AsyncConnection, team_id: int, days: Iterable[date]) -> None:
    """Mark days as moved; part of the transaction that moves them."""
    marks = [{"team_id": team_id, "day": day} for day in sorted(set(days))]
    if marks:
        await tx.execute(insert(touched), marks)
