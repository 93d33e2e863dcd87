"""How each account's syncing stands: fresh, going on, failed, paused, or waiting for a decision."""

from collections.abc import Sequence
from datetime import date, datetime
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import Row, ScalarSelect, Select, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.revenue.syncs import OPEN
from storage.tables import accounts as table
from storage.tables import revenue_reports, sync_runs


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
    warnings: list[str] = []  # what the last report made the connector notice
    from_day: date | None = msgspec.field(default=None, name="from")
    to_day: date | None = msgspec.field(default=None, name="to")
    reached: date | None = None  # a running one has the days from here to `to`


async def statuses(tx: AsyncConnection, accounts: Sequence[Row[Any]]) -> list[Progress]:
    """How the syncing of those accounts stands; one statement, however many they are."""
    ids = [account.id for account in accounts]
    runs = {row.account_id: row for row in await tx.execute(_latest(), {"account_ids": ids})}
    return [_progress(account, runs.get(account.id)) for account in accounts]


@cache
def _latest() -> Select[Any]:
    """By account: its running run, else the queued one, else the last that ended well; and a held report's reason.

    Of the `account_ids` it is given. Made once: that takes longer than the query.
    """

    def latest(*states: str) -> ScalarSelect[int]:
        mine = sync_runs.c.account_id == table.c.id, sync_runs.c.state.in_(states)
        return select(func.max(sync_runs.c.id)).where(*mine).scalar_subquery()

    suspect = revenue_reports.c.account_id == table.c.id, revenue_reports.c.state == "suspect"
    ids = select(
        table.c.id.label("account_id"), latest("running").label("running"), latest("queued").label("queued"),
        latest("done", "suspect").label("ended"),
        select(func.min(revenue_reports.c.id)).where(*suspect).scalar_subquery().label("held"),
    ).where(table.c.id.in_(bindparam("account_ids", expanding=True))).subquery()  # fmt: skip
    run, counted = sync_runs.alias("run"), sync_runs.alias("counted")
    return (
        select(
            ids.c.account_id, run.c.state, run.c.from_day, run.c.to_day, run.c.reached_day, counted.c.rows,
            counted.c.revisions, counted.c.restated, revenue_reports.c.reason,
        )
        .select_from(ids)
        .outerjoin(run, run.c.id == func.coalesce(ids.c.running, ids.c.queued, ids.c.ended))
        .outerjoin(counted, counted.c.id == func.coalesce(ids.c.running, ids.c.ended))
        .outerjoin(revenue_reports, revenue_reports.c.id == ids.c.held)
    )  # fmt: skip


def _progress(account: Row[Any], latest: Row[Any] | None) -> Progress:
    going = latest.state if latest is not None and latest.state in OPEN else None
    suspect_reason = latest.reason if latest is not None else None
    return Progress(
        account=account.code, account_id=account.id, platform=account.platform,
        state=_state(account, going, suspect_reason), last_attempt_at=account.last_attempt_at,
        last_success_at=account.last_success_at, error=account.paused_why or account.error or suspect_reason,
        rows=(latest and latest.rows) or 0, revisions=(latest and latest.revisions) or 0,
        restated=(latest and latest.restated) or 0, next_run_at=None if account.paused_at else account.next_sync_at,
        from_day=latest.from_day if latest else None, to_day=latest.to_day if latest else None,
        warnings=account.sync_warnings or [], reached=latest.reached_day if latest and going == "running" else None,
    )  # fmt: skip


def _state(account: Row[Any], going: str | None, suspect_reason: str | None) -> str:
    if going is not None:
        return going
    if account.paused_at:
        return "paused"
    if account.error:
        return "failed"
    return "suspect" if suspect_reason else "idle"
