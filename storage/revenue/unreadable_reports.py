"""Reports that could not be read: stored as received, read again after a fix, never written over later figures."""

import zlib
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.facts import Report
from storage.tables import revenue_reports, sync_runs

_SOUND = ("merged", "confirmed")


async def store(
    tx: AsyncConnection,
    run: Row[Any],
    *,
    window: tuple[date, date],
    raw: bytes,
    whole: bool,
    reason: str,
    now: datetime,
) -> None:
    """Keep an answer that gave no report; one that is whole can be read again after a fix."""
    state = "unreadable" if whole else "broken"
    await tx.execute(insert(revenue_reports).values(
        team_id=run.team_id, account_id=run.account_id, run_id=run.id, fetched_at=now, from_day=window[0],
        to_day=window[1], state=state, reason=reason, raw=zlib.compress(raw),
    ))  # fmt: skip


async def load(tx: AsyncConnection, report_id: int) -> tuple[Row[Any], bytes]:
    """A report that was stored unread: its row, and its bytes as received."""
    row = (await tx.execute(select(revenue_reports).where(revenue_reports.c.id == report_id))).one()
    return row, zlib.decompress(row.raw)


async def mark_read(tx: AsyncConnection, report_id: int) -> None:
    """The report could be read now, and is stored as another one."""
    change = update(revenue_reports).where(revenue_reports.c.id == report_id)
    await tx.execute(change.values(state="superseded", reason="read again"))


async def unreadable(tx: AsyncConnection, account_id: int) -> list[int]:
    """Reports of an account that could not be read, the oldest first."""
    query = select(revenue_reports.c.id).where(
        revenue_reports.c.account_id == account_id, revenue_reports.c.state == "unreadable"
    )
    return list((await tx.execute(query.order_by(revenue_reports.c.id))).scalars())


async def days_known_later(tx: AsyncConnection, answer: Row[Any], zone: ZoneInfo) -> set[date]:
    """Days of an unreadable report that a sound report fetched later has covered, changed or not."""
    days = {day for first, last in await _windows_stored_later(tx, answer) for day in _days(first, last)}
    for run in await _runs_since(tx, answer):
        if run.reached_day is None:
            continue
        begun = run.started_at.astimezone(zone).date()
        refused = await _windows_not_stored(tx, run.id)
        days |= set(_days(run.reached_day, min(run.to_day or begun, begun))) - refused
    return days & set(_days(answer.from_day, answer.to_day))


async def _windows_stored_later(tx: AsyncConnection, answer: Row[Any]) -> list[tuple[date, date]]:
    """Windows of reports that were fetched later and stored, and of later unreadable ones that were read since."""
    r = revenue_reports.c
    later = (r.fetched_at > answer.fetched_at) | ((r.fetched_at == answer.fetched_at) & (r.id > answer.id))
    stored = r.state.in_(_SOUND) & later
    read_again = (r.state == "superseded") & (r.reason == "read again") & (r.id > answer.id)
    query = select(r.from_day, r.to_day).where(r.account_id == answer.account_id, stored | read_again)
    return [(row.from_day, row.to_day) for row in await tx.execute(query)]


async def _runs_since(tx: AsyncConnection, answer: Row[Any]) -> list[Row[Any]]:
    """Syncs that fetched anything after the answer came."""
    r = sync_runs.c
    later = (r.started_at > answer.fetched_at) | ((r.started_at == answer.fetched_at) & (r.id > (answer.run_id or 0)))
    query = select(sync_runs).where(r.account_id == answer.account_id, r.again.is_(None), later)
    return list(await tx.execute(query))


async def _windows_not_stored(tx: AsyncConnection, run_id: int) -> set[date]:
    """Days of a sync whose answers were held, discarded or unreadable."""
    r = revenue_reports.c
    query = select(r.from_day, r.to_day).where(r.run_id == run_id, r.state.not_in(_SOUND))
    return {day for row in await tx.execute(query) for day in _days(row.from_day, row.to_day)}


def without_days(report: Report, days: Iterable[date]) -> list[Report]:
    """The report as one for each run of days left when `days` are taken out of it."""
    left_out = set(days)
    if not left_out:
        return [report]
    covered = [day for day in _days(report.first, report.last) if day not in left_out]
    parts: list[list[date]] = []
    for day in covered:
        if parts and parts[-1][1] + timedelta(days=1) == day:
            parts[-1][1] = day
        else:
            parts.append([day, day])
    return [
        msgspec.structs.replace(
            report, first=first, last=last, totals=None, digest="", shape=(),
            rows=tuple(row for row in report.rows if first <= row.day <= last),
        )
        for first, last in parts
    ]  # fmt: skip


def _days(first: date, last: date) -> Iterator[date]:
    for n in range((last - first).days + 1):
        yield first + timedelta(days=n)
