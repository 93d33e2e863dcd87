"""Clicks counted by placement: each click once, in the order of their ids, some seconds after it came."""

import time
from collections.abc import Collection
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import case, func, literal, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.engine import Database
from storage.ledger.automations.placements import DAYS, PlacementClicks
from storage.ledger.clicks.click_id import first_id_at, instant_of
from storage.tables import clicks, placement_counts, placement_cursors
from storage.tables.types import EPOCH_DAY

_LAG = timedelta(seconds=15)  # a click is stored within a second of its id
_FRESH = timedelta(minutes=10)
_SLICE = timedelta(hours=1)  # clicks read at once
_PATIENCE = 15.0  # seconds of one run: what is left waits for the next
_COUNTS = ("clicks", "unique_clicks", "bot_clicks", "cost")


async def count_new(database: Database, team_id: int, subs: Collection[str], now: datetime) -> None:
    """Count what came since the last time; of a sub id that is asked for first, of some weeks."""
    end = time.monotonic() + _PATIENCE
    for sub in sorted(subs):
        while time.monotonic() < end and await _count_slice(database, team_id, sub, now - _LAG):
            pass


async def _count_slice(database: Database, team_id: int, sub: str, until: datetime) -> bool:
    """Count an hour of clicks, read apart from the transaction that keeps them; whether there are more."""
    last = first_id_at(until)
    async with database.read() as tx:
        before = await _cursor(tx, team_id, sub)
        start = before if before is not None else first_id_at(until - timedelta(days=DAYS))
        c = clicks.c
        following = select(c.id).where(c.id >= start, c.id < last, c.team_id == team_id).order_by(c.id).limit(1)
        first = (await tx.execute(following)).scalar()
        end = last if first is None else min(last, first_id_at(instant_of(first) + _SLICE))
        rows = [] if first is None else await _aggregated(tx, team_id, sub, first, end)
    if end <= start:
        return False
    async with database.begin() as tx:
        if await _cursor(tx, team_id, sub) != before:
            return False  # another process has counted them
        await _add(tx, rows)
        moved = upsert(placement_cursors).values(team_id=team_id, sub=sub, counted_until=end)
        await tx.execute(moved.on_conflict_do_update(index_elements=["team_id", "sub"], set_={"counted_until": end}))
    return end < last


async def _cursor(tx: AsyncConnection, team_id: int, sub: str) -> int | None:
    at = placement_cursors.c
    query = select(at.counted_until).where(at.team_id == team_id, at.sub == sub)
    counted_until: int | None = (await tx.execute(query)).scalar_one_or_none()
    return counted_until


async def _aggregated(tx: AsyncConnection, team_id: int, sub: str, first: int, last: int) -> list[dict[str, Any]]:
    c = clicks.c
    human = case((c.bot == 0, 1), else_=0)
    day = (c.hour // 24).label("day")
    currency = case((c.cost.is_(None), literal("")), else_=func.coalesce(c.currency, "")).label("currency")
    keys = day, c.campaign_id, c.source_id, c[sub].label("placement"), currency
    query = (
        select(
            *keys, func.sum(human).label("clicks"), func.sum(human * c.unique_click).label("unique_clicks"),
            func.sum(1 - human).label("bot_clicks"), func.sum(human * func.coalesce(c.cost, 0)).label("cost"),
        )
        .where(c.id >= first, c.id < last, c.team_id == team_id, c[sub].is_not(None))
        .group_by(*keys)
    )  # fmt: skip
    return [
        {"team_id": team_id, "sub": sub, **{name: int(row._mapping[name]) for name in ("day", *_COUNTS)},
         "campaign_id": row.campaign_id, "source_id": row.source_id, "placement": row.placement,
         "currency": row.currency}
        for row in await tx.execute(query)
    ]  # fmt: skip


async def _add(tx: AsyncConnection, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    statement = upsert(placement_counts)
    added = {name: placement_counts.c[name] + statement.excluded[name] for name in _COUNTS}
    keyed = [column.name for column in placement_counts.primary_key.columns]
    await tx.execute(statement.on_conflict_do_update(index_elements=keyed, set_=added), rows)


async def counted(
    tx: AsyncConnection, team_id: int, subs: Collection[str], first: date, last: date
) -> list[PlacementClicks]:
    """What is counted of those days, by sub id."""
    p = placement_counts.c
    days = (first - EPOCH_DAY).days, (last - EPOCH_DAY).days
    query = select(placement_counts).where(p.team_id == team_id, p.sub.in_(sorted(subs)), p.day.between(*days))
    return [_counted(row) for row in await tx.execute(query)]


def _counted(row: Any) -> PlacementClicks:
    return PlacementClicks(
        day=row.day, campaign=row.campaign_id, source=row.source_id, sub=row.sub, placement=row.placement,
        currency=row.currency, clicks=row.clicks, unique_clicks=row.unique_clicks, bot_clicks=row.bot_clicks,
        cost=row.cost,
    )  # fmt: skip


async def ready(tx: AsyncConnection, team_id: int, now: datetime) -> frozenset[str]:
    """Sub ids whose clicks are counted up to some minutes ago."""
    at = placement_cursors.c
    query = select(at.sub).where(at.team_id == team_id, at.counted_until >= first_id_at(now - _FRESH))
    return frozenset((await tx.execute(query)).scalars())
