"""Days of clicks on PostgreSQL: a partition each, made ahead; SQLite has the one table."""

from datetime import date, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.clicks.click_id import EPOCH, first_id_at, instant_of

AHEAD = 3  # days
_LOCK = 7_215_309_002  # one process makes partitions at a time


async def ensure(tx: AsyncConnection, now: datetime) -> None:
    """Have partitions for today and the next days (UTC, as ids are); part of a write transaction."""
    if tx.dialect.name != "postgresql":
        return
    await tx.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    existing = set(await names(tx))
    for ahead in range(AHEAD + 1):
        day = now.astimezone(EPOCH.tzinfo).date() + timedelta(days=ahead)
        if name_of(day) not in existing:
            await _make(tx, day)


async def ensure_between(tx: AsyncConnection, first: int, last: int) -> None:
    """Have partitions for all days between two clicks, those included; part of a write transaction."""
    day, end = (instant_of(number).date() for number in (first, last))
    existing = set(await names(tx))
    while day <= end:
        if name_of(day) not in existing:
            await _make(tx, day)
        day += timedelta(days=1)


async def names(tx: AsyncConnection) -> list[str]:
    """Partitions there are, by name; the default one left out."""
    result = await tx.execute(
        text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'clicks'::regclass")
    )
    return sorted(name for name in result.scalars() if name != "clicks_default")


async def before(tx: AsyncConnection, day: date) -> list[str]:
    """Partitions of days before `day`, oldest first."""
    return [name for name in await names(tx) if name < name_of(day)]


async def drop(tx: AsyncConnection, name: str) -> None:
    """Drop a day with all its rows."""
    await tx.execute(text(f'DROP TABLE "{name}"'))


def day_of(name: str) -> date:
    return datetime.strptime(name, "clicks_%Y%m%d").replace(tzinfo=EPOCH.tzinfo).date()


def name_of(day: date) -> str:
    return f"clicks_{day:%Y%m%d}"


def bounds(day: date) -> tuple[int, int]:
    """Ids of a UTC day: from, and up to but without."""
    start = datetime(day.year, day.month, day.day, tzinfo=EPOCH.tzinfo)
    return first_id_at(start), first_id_at(start + timedelta(days=1))


async def _make(tx: AsyncConnection, day: date) -> None:
    """A day's partition; clicks that the default partition took in meanwhile move into it."""
    name, (first, end) = name_of(day), bounds(day)
    await tx.execute(text(f"CREATE TABLE {name} (LIKE clicks INCLUDING ALL)"))
    await tx.execute(text("LOCK TABLE clicks_default IN ACCESS EXCLUSIVE MODE"))
    moved = f"WITH moved AS (DELETE FROM clicks_default WHERE id >= {first} AND id < {end} RETURNING *)"  # noqa: S608
    await tx.execute(text(f"{moved} INSERT INTO {name} SELECT * FROM moved"))  # noqa: S608
    await tx.execute(text(f"ALTER TABLE clicks ATTACH PARTITION {name} FOR VALUES FROM ({first}) TO ({end})"))
