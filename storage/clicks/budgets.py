"""Budgets of campaigns: how much of the day's and of the whole budget clicks have used up, in micro-units."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db import config_version
from storage.db.engine import Database
from storage.ledger.pacing import USUAL
from storage.tables import budget_counts, campaigns, click_rollup
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


async def learn_hours(tx: AsyncConnection, team_id: int, campaign_id: int, today: date) -> bool:
    """Store how many clicks the campaign had in each hour of the day, the last 28 days before a report day; whether
    that has changed."""
    r, first = click_rollup.c, (today - EPOCH_DAY).days * 24
    query = select(r.hour, func.sum(r.clicks)).where(
        r.team_id == team_id, r.campaign_id == campaign_id, r.hour >= first - 28 * 24, r.hour < first
    )  # fmt: skip
    hours = [0] * 24
    for hour, clicks in await tx.execute(query.group_by(r.hour)):
        hours[hour % 24] += int(clicks)
    changed = update(campaigns).where(campaigns.c.id == campaign_id).values(usual_hours=hours)
    hours_before = (await tx.execute(select(campaigns.c.usual_hours).where(campaigns.c.id == campaign_id))).scalar_one()
    if hours_before != hours:
        await tx.execute(changed)
    return bool(hours_before != hours)


async def learn_all_hours(database: Database, zone: ZoneInfo, now: datetime) -> None:
    """The same for every campaign whose budget follows the usual hours."""
    c = campaigns.c
    async with database.begin() as tx:
        paced = await tx.execute(select(c.team_id, c.id).where(c.pacing == USUAL, c.status == "active"))
        today = now.astimezone(zone).date()
        if any([await learn_hours(tx, row.team_id, row.id, today) for row in paced]):
            await config_version.bump(tx)


async def used(tx: AsyncConnection, campaign_id: int, period: date) -> int:
    """How much is used of a report day's budget; of the whole one with EPOCH_DAY."""
    c = budget_counts.c
    query = select(c.n).where(c.campaign_id == campaign_id, c.period == period)
    return int((await tx.execute(query)).scalar_one_or_none() or 0)
