"""Budgets of campaigns: how much of the day's and of the whole budget clicks have used up, in micro-units."""

from datetime import date

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.tables import budget_counts, click_rollup
from storage.tables.types import EPOCH_DAY


async def recount(tx: AsyncConnection, team_id: int, campaign_id: int, today: date) -> None:
    """Count from the roll-up what the clicks of the report day, and of all days, cost: for a budget that is new or
    changed. Call it in the transaction that changes the budget."""
    r = click_rollup.c
    total = select(func.coalesce(func.sum(r.cost), 0)).where(r.team_id == team_id, r.campaign_id == campaign_id)
    hour = (today - EPOCH_DAY).days * 24
    for period, query in ((today, total.where(r.hour.between(hour, hour + 23))), (EPOCH_DAY, total)):
        n = int((await tx.execute(query)).scalar_one())
        statement = upsert(budget_counts).values(campaign_id=campaign_id, period=period, n=n)
        await tx.execute(statement.on_conflict_do_update(index_elements=["campaign_id", "period"], set_={"n": n}))


async def used(tx: AsyncConnection, campaign_id: int, period: date) -> int:
    """How much is used of a report day's budget; of the whole one with EPOCH_DAY."""
    c = budget_counts.c
    query = select(c.n).where(c.campaign_id == campaign_id, c.period == period)
    return int((await tx.execute(query)).scalar_one_or_none() or 0)
