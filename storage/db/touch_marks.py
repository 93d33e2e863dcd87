"""Touch marks: report days whose merged rows are out of date. Appended by every fact, consumed by `settle`."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.dates import days_between
from storage.tables import click_rollup, revenue, teams, touched
from storage.tables.types import day_of_hour

_being_written: Counter[tuple[int, date]] = Counter()


@contextmanager
def being_written(team_id: int, first: date, last: date) -> Iterator[None]:
    """While a report is written to these days, batch by batch, this process does not settle them between two batches.

    Their marks stay, so that reports merge them when they are read and a process that dies leaves nothing unmerged.
    """
    days = [(team_id, day) for day in days_between(first, last)]
    _being_written.update(days)
    try:
        yield
    finally:
        _being_written.subtract(days)
        for day in days:
            if not _being_written[day]:
                del _being_written[day]


def days_being_written() -> tuple[tuple[int, date], ...]:
    """Team and day of all days that this process is writing to."""
    return tuple(_being_written)


async def touch_latest(tx: AsyncConnection, *, since: date | None = None) -> None:
    """Mark each team's last days with clicks: a writer that was killed may have owed their mark (one a second).

    `since`: only of teams that have clicks on or after that day.
    """
    for team_id in (await tx.execute(select(teams.c.id))).scalars().all():
        last = select(func.max(click_rollup.c.hour)).where(click_rollup.c.team_id == team_id)
        hour = (await tx.execute(last)).scalar_one_or_none()
        if hour is not None:
            day = day_of_hour(hour)
            if since is not None and day < since:
                continue
            await touch(tx, team_id, (day, day - timedelta(days=1)))


async def touch(tx: AsyncConnection, team_id: int, days: Iterable[date]) -> None:
    """Mark days as moved; part of the transaction that moves them."""
    marks = [{"team_id": team_id, "day": day} for day in sorted(set(days))]
    if marks:
        await tx.execute(insert(touched), marks)


async def touch_campaign(tx: AsyncConnection, team_id: int, code: str, now: datetime) -> None:
    """A campaign's offers have changed: today's revenue may be allocated otherwise, and rows with its code are its."""
    around = {now.date() + timedelta(days=n) for n in (-1, 0, 1)}  # whatever the report time zone
    waiting = select(revenue.c.day).where(revenue.c.team_id == team_id, revenue.c.day.in_(around)).distinct()
    named = await days_named(tx, team_id, code)
    await touch(tx, team_id, [*named, *(await tx.execute(waiting)).scalars()])


async def days_named(tx: AsyncConnection, team_id: int, code: str) -> list[date]:
    """The days with revenue that came back with a campaign's code, whatever its case; found by an index."""
    r = revenue.c
    ends = [select(end(r.day)).where(r.team_id == team_id).scalar_subquery() for end in (func.min, func.max)]
    first, last = (await tx.execute(select(*ends))).one()
    if first is None:
        return []
    # Days are named one by one, as the index needs them: within each the code is looked up.
    mine = r.team_id == team_id, r.day.in_(days_between(first, last)), func.lower(r.sub) == code.lower()
    return list((await tx.execute(select(r.day).where(*mine).distinct())).scalars())
