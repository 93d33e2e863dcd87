"""Reports as they are kept: proof of what was fetched, what became of it, and the days it settled."""

from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.bulk_sql import Lookup
from storage.ledger.dates import day_bounds, days_between
from storage.ledger.errors import Refused
from storage.ledger.facts import Report
from storage.revenue.row_diff import Origin
from storage.tables import revenue_reports, settled_days, sync_runs


class StandingAnswer(msgspec.Struct, frozen=True):
    """An answer that is recorded whole, with nothing recorded of its days since."""

    digest: str
    rows: int


async def latest_answer(tx: AsyncConnection, account_id: int, first: date, last: date) -> StandingAnswer | None:
    """The answer that all figures of exactly these days come from; None if they come from several."""
    r = revenue_reports.c
    query = select(r.from_day, r.to_day, r.digest, r.rows).where(
        r.account_id == account_id, r.from_day <= last, r.to_day >= first, r.state.in_(("merged", "confirmed"))
    )
    row = (await tx.execute(query.order_by(r.id.desc()).limit(1))).first()
    if row is None or row.digest is None or (row.from_day, row.to_day) != (first, last):
        return None
    return StandingAnswer(row.digest, row.rows)


async def record_same(
    tx: AsyncConnection, *, team_id: int, account_id: int, report: Report, now: datetime, zone: ZoneInfo
) -> None:
    """Record that the known answer came once more: no figure moves, but days have gone by. Raises Refused if it is
    not the known one any more."""
    last_known = await latest_answer(tx, account_id, report.first, report.last)
    if last_known is None or last_known.digest != report.digest:
        raise Refused("the figures were changed by another sync while they were fetched: sync again")
    await supersede(tx, account_id, report, fetched_at=now)
    settled = await settled_of(tx, account_id, report)
    origin = Origin(team_id=team_id, account_id=account_id, run_id=None, now=now)
    await settle_days(tx, origin, (report.first, report.last), zone=zone, before=now, settled=settled)


async def newest(tx: AsyncConnection, account_id: int) -> int | None:
    """The account's latest report: who finds another one than before knows that figures may have moved."""
    ((report_id,),) = await _NEWEST.rows(tx, [account_id])
    return None if report_id is None else int(report_id)


_NEWEST = Lookup(select(func.max(revenue_reports.c.id)), revenue_reports.c.account_id)


async def store(
    tx: AsyncConnection,
    origin: Origin,
    report: Report,
    proof: bytes,
    *,
    state: str,
    at: datetime,
    reason: str | None = None,
    packed: bytes | None = None,
) -> int:
    """Keep the answer as it came at that moment; `packed` are the rows of one that waits for a decision."""
    values = {
        "team_id": origin.team_id, "account_id": origin.account_id, "run_id": origin.run_id, "fetched_at": at,
        "from_day": report.first, "to_day": report.last, "state": state, "reason": reason, "raw": proof,
        "parsed": packed,
    }  # fmt: skip
    made = await tx.execute(insert(revenue_reports).values(values).returning(revenue_reports.c.id))
    return int(made.scalar_one())


async def supersede(tx: AsyncConnection, account_id: int, report: Report, *, fetched_at: datetime) -> None:
    """A report of the same days takes the place of earlier ones that wait for a decision."""
    r = revenue_reports.c
    overlaps = r.from_day <= report.last, r.to_day >= report.first, r.fetched_at <= fetched_at
    supersession = update(revenue_reports).where(r.account_id == account_id, r.state == "suspect", *overlaps)
    await tx.execute(supersession.values(state="superseded", parsed=None))


async def decide(tx: AsyncConnection, report_id: int, state: str) -> None:
    """End the wait of a held report. Raises Refused if it is held no more."""
    r = revenue_reports.c
    decided = update(revenue_reports).where(r.id == report_id, r.state == "suspect")
    if (await tx.execute(decided.values(state=state, parsed=None))).rowcount == 0:
        raise _no_more_held()


async def check_held(tx: AsyncConnection, report_id: int) -> None:
    """Raises Refused if the report is held no more."""
    state = (await tx.execute(select(revenue_reports.c.state).where(revenue_reports.c.id == report_id))).scalar_one()
    if state != "suspect":
        raise _no_more_held()


async def renew_held(tx: AsyncConnection, report_id: int) -> int:
    """Make a held report the account's latest, so that whoever records another one sees that figures move.

    Returns its new id. Raises Refused if it is held no more.
    """
    columns = [column for column in revenue_reports.c if not column.primary_key]
    held = select(*columns).where(revenue_reports.c.id == report_id)
    copied = insert(revenue_reports).from_select([column.name for column in columns], held)
    new_id = (await tx.execute(copied.returning(revenue_reports.c.id))).scalar_one()
    await decide(tx, report_id, "superseded")
    return int(new_id)


def _no_more_held() -> Refused:
    return Refused(
        "a newer report or another decision has taken the place of this one: see sync status", field="account"
    )


async def settled_of(tx: AsyncConnection, account_id: int, report: Report) -> set[date]:
    s = settled_days.c
    query = select(s.day).where(s.account_id == account_id, s.day.between(report.first, report.last))
    return set((await tx.execute(query)).scalars())


async def settle_days(
    tx: AsyncConnection,
    origin: Origin,
    window: tuple[date, date],
    *,
    zone: ZoneInfo,
    before: datetime,
    settled: AbstractSet[date],
) -> None:
    """Days of the window that were over in the platform's zone when it was asked are settled from now on."""
    first, last = window
    days = days_between(first, last)
    over = [day for day in days if day not in settled and day_bounds(day, zone)[1].astimezone(UTC) <= before]
    rows = [
        {"account_id": origin.account_id, "day": day, "team_id": origin.team_id, "settled_at": origin.now}
        for day in over
    ]
    if rows:
        await tx.execute(upsert(settled_days).on_conflict_do_nothing(), rows)


async def resettle(tx: AsyncConnection, account: Row[Any], zone: ZoneInfo) -> None:
    """The account's days end elsewhere in another zone: of the latest ones, settle again those that had been over.

    A day is settled if a sync that asked for it began after its end; of an upload only its own moment counts.
    """
    s = settled_days.c
    since = ((account.last_success_at or account.created_at) - _LATEST).date()
    mine = s.account_id == account.id, s.day >= since
    settled = {row.day: row.settled_at for row in await tx.execute(select(s.day, s.settled_at).where(*mine))}
    runs = await _done(tx, account.id)
    for day in sorted(set(settled).union(*(run.days for run in runs))):
        end = day_bounds(day, zone)[1].astimezone(UTC)
        if day < since or (day in settled and settled[day] >= end):
            continue
        at = min((run.at for run in runs if day in run.days and run.at >= end), default=None)
        await tx.execute(delete(settled_days).where(s.account_id == account.id, s.day == day))
        if at is not None:
            row = {"account_id": account.id, "day": day, "team_id": account.team_id, "settled_at": at}
            await tx.execute(insert(settled_days).values(row))


_LATEST = timedelta(days=12)  # of days settled long after their end no zone makes a difference: 26 hours at most


class _Done(msgspec.Struct, frozen=True):
    """A sync that came to its end: when it began, and the latest days it asked for."""

    at: datetime
    days: frozenset[date]


async def _done(tx: AsyncConnection, account_id: int) -> list[_Done]:
    r = sync_runs.c
    query = select(r.started_at, r.from_day, r.to_day).where(
        r.account_id == account_id, r.state == "done", r.again.is_(None)
    )
    runs = []
    for row in await tx.execute(query.order_by(r.id.desc()).limit(20)):
        today = row.started_at.date()
        first = max(row.from_day or today - _LATEST / 2, today - _LATEST)
        last = min(row.to_day or today, today)
        days = frozenset(days_between(first, last))
        runs.append(_Done(row.started_at, days))
    return runs
