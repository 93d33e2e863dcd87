"""Syncs as rows: asked for, claimed under a lease, running, done. Accounts know when the next one is due."""

from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row, Text, and_, cast, exists, func, insert, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db import leases
from storage.tables import MEASURES, accounts, revenue, sync_runs
from storage.tables import leases as held

LEASE = timedelta(seconds=60)
#: After how long a sync that failed for a passing reason is tried again, by how often it has failed in a row.
PAUSES = (timedelta(minutes=10), timedelta(minutes=30), timedelta(hours=1), timedelta(hours=3))

OPEN = ("queued", "running")


async def queue(
    tx: AsyncConnection,
    *,
    team_id: int,
    account_id: int,
    now: datetime,
    first: date | None = None,
    last: date | None = None,
    again: int | None = None,
) -> int:
    """Ask for a sync of a window (none: the rolling one); the same asked for twice and not begun is one.

    It is then asked for now: who begins it at this moment either knows that, or has it asked for once more.
    """
    same = and_(
        sync_runs.c.account_id == account_id, sync_runs.c.state == "queued",
        sync_runs.c.from_day.is_not_distinct_from(first), sync_runs.c.to_day.is_not_distinct_from(last),
        sync_runs.c.again.is_not_distinct_from(again),
    )  # fmt: skip
    waiting = (await tx.execute(select(func.min(sync_runs.c.id)).where(same))).scalar()
    asked_again = update(sync_runs).where(sync_runs.c.id == waiting, same).values(requested_at=now)
    if waiting is not None and (await tx.execute(asked_again)).rowcount:
        return int(waiting)
    made = await tx.execute(
        insert(sync_runs)
        .values(team_id=team_id, account_id=account_id, requested_at=now, from_day=first, to_day=last, again=again,
                state="queued")
        .returning(sync_runs.c.id)
    )  # fmt: skip
    return int(made.scalar_one())


async def is_work(tx: AsyncConnection, now: datetime) -> bool:
    """Whether a sync is due, asked for, or left behind by a process that died."""
    due = exists().where(accounts.c.paused_at.is_(None), accounts.c.next_sync_at <= now)
    return bool((await tx.execute(select(or_(due, exists().where(_claimable(now)))))).scalar())


async def queue_due(tx: AsyncConnection, now: datetime) -> None:
    """Queue the rolling sync of every account whose time has come."""
    query = select(accounts).where(accounts.c.paused_at.is_(None), accounts.c.next_sync_at <= now)
    for row in (await tx.execute(query)).all():
        await queue(tx, team_id=row.team_id, account_id=row.id, now=now)
        after = next_due(now, ZoneInfo(row.timezone), row.sync_hour)
        await tx.execute(update(accounts).where(accounts.c.id == row.id).values(next_sync_at=after))


async def claim(tx: AsyncConnection, holder: str, now: datetime) -> Row[Any] | None:
    """The next run to do, now ours: one per account at a time, across all processes."""
    query = select(sync_runs).where(_claimable(now)).order_by(sync_runs.c.id).limit(20)
    for run in (await tx.execute(query)).all():
        if await leases.acquire(tx, _lease(run.account_id), f"{holder}:{run.id}", now=now, good_for=LEASE):
            begun = {"state": "running", "started_at": now, "rows": 0, "revisions": 0, "restated": 0}
            mine = update(sync_runs).where(sync_runs.c.id == run.id, sync_runs.c.state.in_(OPEN))
            asked = (await tx.execute(mine.values(**begun).returning(sync_runs.c.requested_at))).scalar()
            if asked is None:  # done by another process meanwhile
                await leases.release(tx, f"{holder}:{run.id}")
                continue
            attempt = {"last_attempt_at": max(now, asked)}  # it may have been asked for since `now` was read
            await tx.execute(update(accounts).where(accounts.c.id == run.account_id).values(attempt))
            return run
    return None


def _claimable(now: datetime) -> Any:
    """Queued for an account that no process works on, or running under a lease that has lapsed."""
    name = literal("sync:", Text) + cast(sync_runs.c.account_id, Text)
    busy = exists().where(held.c.name == name, leases.holds(now, LEASE))
    return and_(sync_runs.c.state.in_(OPEN), ~busy)


def _lease(account_id: int) -> str:
    return f"sync:{account_id}"


async def renew(tx: AsyncConnection, run: Row[Any], holder: str, now: datetime) -> bool:
    """Keep a run ours; False when another process has taken it over."""
    return await leases.acquire(tx, _lease(run.account_id), f"{holder}:{run.id}", now=now, good_for=LEASE)


async def reached(tx: AsyncConnection, run_id: int, day: date, *, rows: int, revisions: int, restated: int) -> None:
    """A part of the window is stored; its counts are added."""
    counts = {
        "rows": sync_runs.c.rows + rows,
        "revisions": sync_runs.c.revisions + revisions,
        "restated": sync_runs.c.restated + restated,
    }
    await tx.execute(update(sync_runs).where(sync_runs.c.id == run_id).values(reached_day=day, **counts))


async def counts_of(tx: AsyncConnection, run_id: int) -> dict[str, int]:
    """How many rows a run has read, and what came of them."""
    r = sync_runs.c
    row = (await tx.execute(select(r.rows, r.revisions, r.restated).where(r.id == run_id))).one()
    return dict(row._mapping)


async def done(tx: AsyncConnection, run: Row[Any], holder: str, now: datetime, *, suspect: str | None = None) -> None:
    """The run is over and its figures stored, or held as suspect."""
    state = "suspect" if suspect else "done"
    await _end(tx, run, holder, {"state": state, "finished_at": now, "error": suspect})
    values = {"error": None} if suspect else {"error": None, "last_success_at": now}
    await tx.execute(update(accounts).where(accounts.c.id == run.account_id).values(**values))


async def failed(
    tx: AsyncConnection,
    run: Row[Any],
    holder: str,
    now: datetime,
    *,
    error: str,
    permanent: bool,
    wait: timedelta = timedelta(0),
) -> None:
    """The run failed: a permanent fault pauses the account, another one is tried again after a while."""
    await _end(tx, run, holder, {"state": "failed", "finished_at": now, "error": error})
    values: dict[str, Any] = {"error": error}
    if permanent:
        values |= {"paused_at": now, "paused_why": error}
    else:
        soon = now + max(wait, PAUSES[min(await _failures(tx, run.account_id), len(PAUSES)) - 1])
        due = (await tx.execute(select(accounts.c.next_sync_at).where(accounts.c.id == run.account_id))).scalar_one()
        values["next_sync_at"] = soon if due is None else min(due, soon)
    await tx.execute(update(accounts).where(accounts.c.id == run.account_id).values(**values))


async def give_up(tx: AsyncConnection, run: Row[Any], holder: str) -> None:
    """Put a run back in the queue, free for anybody."""
    mine = update(sync_runs).where(sync_runs.c.id == run.id, sync_runs.c.state == "running")
    await tx.execute(mine.values(state="queued"))
    await leases.release(tx, f"{holder}:{run.id}")


async def _end(tx: AsyncConnection, run: Row[Any], holder: str, values: dict[str, Any]) -> None:
    await tx.execute(update(sync_runs).where(sync_runs.c.id == run.id).values(**values))
    await leases.release(tx, f"{holder}:{run.id}")


async def _failures(tx: AsyncConnection, account_id: int) -> int:
    """How often in a row the account's syncs have failed, this one included."""
    query = select(sync_runs.c.state).where(sync_runs.c.account_id == account_id, sync_runs.c.state.not_in(OPEN))
    states = (await tx.execute(query.order_by(sync_runs.c.id.desc()).limit(len(PAUSES)))).scalars().all()
    return next((n for n, state in enumerate(states) if state != "failed"), len(states)) or 1


def next_due(now: datetime, zone: ZoneInfo, hour: int) -> datetime:
    """The next time the platform's figures of yesterday are expected to be ready."""
    local = now.astimezone(zone)
    today = datetime.combine(local.date(), time(hour), zone)
    later = today if today > local else datetime.combine(local.date() + timedelta(days=1), time(hour), zone)
    return later.astimezone(now.tzinfo)


def rolling(today: date, last_success: date | None) -> tuple[date, date]:
    """The days a daily sync asks for: the last week; in the first ten days of a month all of the last one too.

    After an outage it reaches back to a week before the last success.
    """
    first = today - timedelta(days=7)
    if today.day <= 10:
        first = min(first, (today.replace(day=1) - timedelta(days=1)).replace(day=1))
    if last_success is not None:
        first = min(first, last_success - timedelta(days=7))
    return first, today


async def complete_until(tx: AsyncConnection, account_id: int, zone: ZoneInfo) -> date | None:
    """The day of the last sync that reached its own today; one of an old range on demand leaves gaps after it."""
    done = sync_runs.c.account_id == account_id, sync_runs.c.state == "done", sync_runs.c.again.is_(None)
    query = select(sync_runs.c.to_day, sync_runs.c.started_at).where(*done).order_by(sync_runs.c.id.desc()).limit(100)
    for row in await tx.execute(query):
        begun: date = row.started_at.astimezone(zone).date()
        if row.to_day is None or row.to_day >= begun:
            return begun
    return None


async def measured(tx: AsyncConnection, account_id: int, window: tuple[date, date]) -> set[str]:
    """Measures that stand in the account's figures of those days."""
    query = select(*(func.count(revenue.c[name]).label(name) for name in MEASURES)).where(
        revenue.c.account_id == account_id, revenue.c.day.between(*window), revenue.c.withdrawn.is_(False)
    )
    row = (await tx.execute(query)).one()
    return {name for name in MEASURES if row._mapping[name]}
