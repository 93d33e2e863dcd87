"""Raw click detail expires; what a click id says of its revenue, and the roll-ups, never do."""

from datetime import UTC, date, datetime, timedelta

from sqlalchemy import ColumnElement, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue import teams
from storage.clicks import partitions
from storage.db.engine import Database
from storage.ledger.clicks.click_id import first_id_at
from storage.tables import click_bursts, click_links, clicks, outgoing, site_views, sites, user_agents, visitors
from storage.tables.types import EPOCH_DAY

KEPT_FROM = "clicks_kept_from"
"""Name of the fact that tells the first report hour whose raw clicks are all there; db check looks no further back."""

_CHUNK = 20_000  # rows of one transaction, so that no visitor waits for it
_COPIED = ("id", "team_id", "campaign_id", "site_id", "offer_id", "source_id", "hour", "country", "source_click_id")


async def drop(database: Database, now: datetime, *, days: int) -> int:
    """Let clicks older than `days` whole UTC days expire; returns how many."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first_kept = today - timedelta(days=days)
    expired = 0
    if not database.sqlite:
        expired += await _drop_days(database, first_kept.date())
    while moved := await _expire_some(database, first_id_at(first_kept)):
        expired += moved
    return expired


async def _drop_days(database: Database, day: date) -> int:
    """Whole partitions at once."""
    async with database.read() as tx:
        old = await partitions.before(tx, day)
    expired = 0
    for name in old:
        async with database.begin() as tx:
            first, end = partitions.bounds(partitions.day_of(name))
            expired += await _expire(tx, first, end - 1, delete_rows=False)
            await partitions.drop(tx, name)
    return expired


async def _expire_some(database: Database, before: int) -> int:
    async with database.begin() as tx:
        oldest = select(clicks.c.id).where(clicks.c.id < before).order_by(clicks.c.id).limit(_CHUNK).subquery()
        last = (await tx.execute(select(func.max(oldest.c.id)))).scalar_one()
        return 0 if last is None else await _expire(tx, 0, last, delete_rows=True)


async def _expire(tx: AsyncConnection, first: int, last: int, *, delete_rows: bool) -> int:
    """Keep the links of clicks from `first` to `last`, let the rest go."""
    expired = clicks.c.id.between(first, last)
    count, hour = (await tx.execute(select(func.count(), func.max(clicks.c.hour)).where(expired))).one()
    await tx.execute(delete(outgoing).where(outgoing.c.id <= last))
    if count:
        await _store_links(tx, expired)
        kept_from = int(await teams.fact(tx, KEPT_FROM) or 0)
        await teams.store_fact(tx, KEPT_FROM, str(max(kept_from, hour + 1)))
    if delete_rows:
        await tx.execute(delete(clicks).where(expired))
    return int(count)


async def _store_links(tx: AsyncConnection, expired: ColumnElement[bool]) -> None:
    joined = select(*(clicks.c[name] for name in _COPIED), user_agents.c.device).join_from(
        clicks, user_agents, clicks.c.user_agent_id == user_agents.c.id, isouter=True
    )
    await tx.execute(insert(click_links).from_select([*_COPIED, "device"], joined.where(expired)))


async def drop_views(database: Database, now: datetime, *, days: int) -> int:
    """Let what sites' beacons reported more than `days` whole UTC days ago expire; returns how many views.

    Visits and outgoing clicks stay in the roll-ups, conversions with their click ids.
    """
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first_kept = today - timedelta(days=days)
    async with database.read() as tx:
        site_ids = (await tx.execute(select(sites.c.id))).scalars().all()
    return sum([await _expire_views(database, site_id, first_kept) for site_id in site_ids])


async def _expire_views(database: Database, site_id: int, first_kept: datetime) -> int:
    """One site's, along its index of days; local days begin up to a day before or after UTC's."""
    v = site_views.c
    latest = (first_kept.date() - EPOCH_DAY).days
    old = select(v.id).where(v.site_id == site_id, v.day <= latest, v.at < first_kept).limit(_CHUNK)
    expired, chunk = 0, _CHUNK
    while chunk == _CHUNK:
        async with database.begin() as tx:
            chunk = (await tx.execute(delete(site_views).where(v.id.in_(old)))).rowcount
        expired += chunk
    return expired


async def forget_visitors(database: Database, now: datetime) -> None:
    """Visitors last seen over a day ago are new again, and old bursts are over; a few thousand rows at a time."""
    async with database.begin() as tx:
        await tx.execute(delete(click_bursts).where(click_bursts.c.began < int(now.timestamp()) - 3600))
    before = first_id_at(now - timedelta(hours=24))
    place = -1
    while place is not None:
        async with database.begin() as tx:
            span = select(visitors.c.id).where(visitors.c.id > place).order_by(visitors.c.id).limit(_CHUNK).subquery()
            last = (await tx.execute(select(func.max(span.c.id)))).scalar_one()
            if last is not None:
                within = visitors.c.id > place, visitors.c.id <= last
                await tx.execute(delete(visitors).where(*within, visitors.c.click_id < before))
            place = last
