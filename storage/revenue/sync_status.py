"""How each account's syncing stands: fresh, going on, failed, paused, or waiting for a decision."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import msgspec
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.tables import revenue_reports, sync_runs

_OPEN = ("queued", "running")


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How an account's syncing stands."""

    account: str
    account_id: int
    platform: str
    state: str  # idle | queued | running | failed | paused | suspect
    last_attempt_at: datetime | None
    last_success_at: datetime | None
    error: str | None
    rows: int
    revisions: int
    restated: int
    next_run_at: datetime | None
    from_day: date | None = msgspec.field(default=None, name="from")
    to_day: date | None = msgspec.field(default=None, name="to")
    reached: date | None = None  # a running one has the days from here to `to`


async def statuses(tx: AsyncConnection, rows: Sequence[Row[Any]]) -> list[Progress]:
    """How the syncing of those accounts stands."""
    return [await _status(tx, row) for row in rows]


async def _status(tx: AsyncConnection, account: Row[Any]) -> Progress:
    mine = sync_runs.c.account_id == account.id
    latest = select(sync_runs).where(mine).order_by(sync_runs.c.id.desc()).limit(1)
    going = (await tx.execute(latest.where(sync_runs.c.state.in_(_OPEN)))).first()
    running = (await tx.execute(latest.where(sync_runs.c.state == "running"))).first()
    last = (await tx.execute(latest.where(sync_runs.c.state.in_(("done", "suspect"))))).first()
    run = running or going or last
    counted = running or last
    held = await _held(tx, account.id)
    return Progress(
        account=account.code, account_id=account.id, platform=account.platform,
        state=_state(account, going, running, held), last_attempt_at=account.last_attempt_at,
        last_success_at=account.last_success_at, error=account.paused_why or account.error or held,
        rows=counted.rows if counted else 0, revisions=counted.revisions if counted else 0,
        restated=counted.restated if counted else 0, next_run_at=None if account.paused_at else account.next_sync_at,
        from_day=run.from_day if run else None, to_day=run.to_day if run else None,
        reached=running.reached_day if running else None,
    )  # fmt: skip


async def _held(tx: AsyncConnection, account_id: int) -> str | None:
    """Why a report of the account is held as suspect; None if none is."""
    query = select(revenue_reports.c.reason).where(
        revenue_reports.c.account_id == account_id, revenue_reports.c.state == "suspect"
    )
    return (await tx.execute(query.order_by(revenue_reports.c.id).limit(1))).scalar_one_or_none()


def _state(account: Row[Any], going: Row[Any] | None, running: Row[Any] | None, held: str | None) -> str:
    if running or going:
        return "running" if running else "queued"
    if account.paused_at:
        return "paused"
    if account.error:
        return "failed"
    return "suspect" if held else "idle"
