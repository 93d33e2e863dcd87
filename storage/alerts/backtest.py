"""What alerts are tried on before they are armed: the last weeks by the hour, failures, deposits, caps."""

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, func, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.alerts.live_counts import EVENTS, Scope, Span, hour_of, of_scope
from storage.tables import cap_counts, click_rollup, conversions, offers, outbound, sync_runs
from storage.tables.types import EPOCH

_HOUR = 3_600_000_000  # microseconds


async def by_hour(tx: AsyncConnection, scope: Scope, measure: str, span: Span) -> dict[int, int]:
    """Counts by local report hour (since 1970, as the click roll-up counts them)."""
    if measure in click_rollup.c:
        return await _clicks(tx, scope, measure, span)
    c = conversions.c
    hour = type_coerce(c.occurred_at, BigInteger) // _HOUR
    first, last = (instant.astimezone(ZoneInfo(scope.zone)).date() for instant in span)
    query = select(hour.label("hour"), func.count().label("n")).where(
        c.team_id == scope.team_id, c.day.between(first, last), c.status != "reversed",
        c.is_ftd if measure == "first_deposits" else c.event.in_(EVENTS[measure]),
    )  # fmt: skip
    if scope.campaign_ids is not None:
        query = query.where(c.campaign_id.in_(scope.campaign_ids))
    counts: dict[int, int] = {}
    for row in await tx.execute(query.group_by(hour)):
        local = hour_of(EPOCH + timedelta(hours=row.hour), scope.zone)
        counts[local] = counts.get(local, 0) + row.n
    return counts


async def _clicks(tx: AsyncConnection, scope: Scope, measure: str, span: Span) -> dict[int, int]:
    r = click_rollup.c
    hours = r.hour.between(hour_of(span[0], scope.zone), hour_of(span[1], scope.zone))
    query = select(r.hour, func.sum(r[measure])).where(r.team_id == scope.team_id, hours)
    if scope.campaign_ids is not None:
        query = query.where(r.campaign_id.in_(scope.campaign_ids))
    return {hour: int(n) for hour, n in (await tx.execute(query.group_by(r.hour))).all()}


async def sync_runs_since(
    tx: AsyncConnection, team_id: int, since: datetime, ids: Collection[int] | None
) -> Sequence[Any]:
    """Finished runs in order: account_id, state, finished_at."""
    s = sync_runs.c
    query = select(s.account_id, s.state, s.finished_at).where(s.team_id == team_id, s.finished_at >= since)
    if ids is not None:
        query = query.where(s.account_id.in_(list(ids)))
    return (await tx.execute(query.order_by(s.finished_at, s.id))).all()


async def first_deposits(tx: AsyncConnection, scope: Scope, first: date) -> Sequence[Any]:
    """Day, amount and currency of the first deposits since a day."""
    c = conversions.c
    query = select(c.day, c.amount, c.currency).where(
        c.team_id == scope.team_id, c.day >= first, c.is_ftd, c.status != "reversed"
    )  # fmt: skip
    if scope.campaign_ids is not None:
        query = query.where(c.campaign_id.in_(scope.campaign_ids))
    return (await tx.execute(query)).all()


async def dead_postbacks(tx: AsyncConnection, scope: Scope, since: datetime) -> Sequence[datetime]:
    o = outbound.c
    query = select(o.created_at).where(o.team_id == scope.team_id, o.state == "dead", o.created_at >= since)
    given_up: Sequence[datetime] = (await tx.execute(of_scope(query, scope))).scalars().all()
    return given_up


async def caps_used(tx: AsyncConnection, team_id: int, first: date, ids: Collection[int] | None) -> Sequence[Any]:
    """Period, count and cap of capped offers since a day."""
    c = cap_counts.c
    query = (
        select(c.period, c.n, offers.c.cap)
        .join(offers, (offers.c.id == c.offer_id) & (offers.c.cap_event == c.event))
        .where(offers.c.team_id == team_id, offers.c.cap > 0, c.period >= first)
    )
    if ids is not None:
        query = query.where(offers.c.id.in_(list(ids)))
    return (await tx.execute(query)).all()
