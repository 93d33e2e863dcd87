"""What traffic cost, per campaign and day: the last upload of an origin stands, earlier ones are kept."""

from datetime import date, datetime, timedelta

import msgspec
from sqlalchemy import ColumnElement, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.postbacks.conversion_rows import touch
from storage.tables import click_rollup, spend
from storage.tables.types import EPOCH_DAY


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of one campaign's traffic on one report day, in micro-units. `origin`: manual, csv, or an API's name."""

    campaign_id: int
    day: date
    amount: int
    currency: str
    origin: str = "manual"


async def record(tx: AsyncConnection, team_id: int, costs: list[Cost], now: datetime) -> int:
    """Store costs that differ from what stands; returns how many did. The same again changes nothing."""
    changed = [cost for cost in costs if await standing(tx, cost) != (cost.amount, cost.currency)]
    for cost in changed:
        moment = now
        while await _taken(tx, cost, moment):  # two uploads in one microsecond
            moment += timedelta(microseconds=1)
        row = msgspec.structs.asdict(cost)
        await tx.execute(insert(spend).values(team_id=team_id, recorded_at=moment, **row))
    await touch(tx, {(team_id, cost.day) for cost in changed})
    return len(changed)


async def standing(tx: AsyncConnection, cost: Cost) -> tuple[int, str] | None:
    """What the last upload of the same origin said."""
    query = select(spend.c.amount, spend.c.currency).where(*_same(cost)).order_by(spend.c.id.desc()).limit(1)
    row = (await tx.execute(query)).first()
    return (int(row.amount), row.currency) if row else None


async def _taken(tx: AsyncConnection, cost: Cost, moment: datetime) -> bool:
    query = select(spend.c.id).where(*_same(cost), spend.c.recorded_at == moment)
    return (await tx.execute(query)).first() is not None


def _same(cost: Cost) -> tuple[ColumnElement[bool], ...]:
    return spend.c.campaign_id == cost.campaign_id, spend.c.day == cost.day, spend.c.origin == cost.origin


async def days_without_clicks(tx: AsyncConnection, team_id: int, costs: list[Cost]) -> list[Cost]:
    """Costs of days on which the campaign had no human click: probably another campaign's, or another day's."""
    found = []
    for cost in costs:
        first = (cost.day - EPOCH_DAY).days * 24
        query = select(func.coalesce(func.sum(click_rollup.c.clicks), 0)).where(
            click_rollup.c.team_id == team_id,
            click_rollup.c.hour.between(first, first + 23),
            click_rollup.c.campaign_id == cost.campaign_id,
        )
        if cost.amount and not (await tx.execute(query)).scalar_one():
            found.append(cost)
    return found
