"""Counts as they happen, over any span of time: what alerts look at between two settlings."""

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import and_, case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.clicks.click_id import first_id_at, instant_of
from storage.tables import accounts, cap_counts, click_rollup, clicks, conversions, offers, outbound, postbacks
from storage.tables.types import EPOCH_DAY

Span = tuple[datetime, datetime]
"""From (included) to (left out)."""

EVENTS = {"registrations": ("registration",), "deposits": ("deposit", "first_deposit")}


class Scope(msgspec.Struct, frozen=True):
    """Whose counts: a team's, or of some of its campaigns; `zone` is the report time zone."""

    team_id: int
    zone: str
    now: datetime
    campaign_ids: tuple[int, ...] | None = None


async def counted(tx: AsyncConnection, scope: Scope, measure: str, span: Span) -> float:
    """Clicks, registrations, first_deposits or deposits of a span. Hours of clicks that the span cuts count in part."""
    if measure in {"clicks", "unique_clicks", "bot_clicks"}:
        return await _clicks(tx, scope, measure, span)
    return await _conversions(tx, scope, measure, span)


async def _conversions(tx: AsyncConnection, scope: Scope, measure: str, span: Span) -> float:
    c = conversions.c
    first, last = (instant.astimezone(ZoneInfo(scope.zone)).date() for instant in span)
    query = select(func.count()).where(
        c.team_id == scope.team_id, c.day.between(first, last), c.occurred_at >= span[0], c.occurred_at < span[1],
        c.status != "reversed",
    )  # fmt: skip
    query = query.where(c.is_ftd if measure == "first_deposits" else c.event.in_(EVENTS[measure]))
    if scope.campaign_ids is not None:
        query = query.where(c.campaign_id.in_(scope.campaign_ids))
    return int((await tx.execute(query)).scalar_one())


async def _clicks(tx: AsyncConnection, scope: Scope, measure: str, span: Span) -> float:
    if span[1] - span[0] < timedelta(hours=1) and measure != "unique_clicks":
        return await _clicks_between(tx, scope, span, bots=measure == "bot_clicks")
    first, last = hour_of(span[0], scope.zone), hour_of(span[1], scope.zone)
    column = click_rollup.c[measure]
    query = select(click_rollup.c.hour, func.sum(column)).where(*_hours(scope, first, last))
    sums = {hour: int(n) for hour, n in (await tx.execute(query.group_by(click_rollup.c.hour))).all()}
    whole = sum(n for hour, n in sums.items() if first < hour < last)
    if first == last:
        return sums.get(first, 0) * (_end_part(span[1], scope.now) - _part(span[0]))
    return whole + sums.get(first, 0) * (1 - _part(span[0])) + sums.get(last, 0) * _end_part(span[1], scope.now)


def _part(instant: datetime) -> float:
    """How much of its hour has gone."""
    return (instant.minute * 60 + instant.second) / 3600


def _end_part(instant: datetime, now: datetime) -> float:
    """The hour still running is counted as far as it has come; one long past only in part."""
    return 1.0 if now - instant < timedelta(minutes=1) else _part(instant)


async def _clicks_between(tx: AsyncConnection, scope: Scope, span: Span, *, bots: bool) -> int:
    query = select(func.count()).where(*_clicked(scope, span), clicks.c.bot != 0 if bots else clicks.c.bot == 0)
    return int((await tx.execute(query)).scalar_one())


def _clicked(scope: Scope, span: Span) -> list[Any]:
    within = [clicks.c.id >= first_id_at(span[0]), clicks.c.id < first_id_at(span[1])]
    within.append(clicks.c.team_id == scope.team_id)
    if scope.campaign_ids is not None:
        within.append(clicks.c.campaign_id.in_(scope.campaign_ids))
    return within


def _hours(scope: Scope, first: int, last: int) -> list[Any]:
    r = click_rollup.c
    within = [r.team_id == scope.team_id, r.hour.between(first, last)]
    if scope.campaign_ids is not None:
        within.append(r.campaign_id.in_(scope.campaign_ids))
    return within


def hour_of(instant: datetime, zone: str) -> int:
    """The local report hour, counted since 1970 as the click roll-up does."""
    local = instant.astimezone(ZoneInfo(zone))
    return (local.date() - EPOCH_DAY).days * 24 + local.hour


async def last_click(tx: AsyncConnection, scope: Scope, span: Span) -> datetime | None:
    """The latest human click of a span; the roll-up is asked first, so that silence is cheap to find."""
    busy = select(func.max(click_rollup.c.hour)).where(
        *_hours(scope, hour_of(span[0], scope.zone), hour_of(span[1], scope.zone)), click_rollup.c.clicks > 0
    )
    if (await tx.execute(busy)).scalar_one() is None:
        return None
    last = select(clicks.c.id).where(*_clicked(scope, span), clicks.c.bot == 0).order_by(clicks.c.id.desc()).limit(1)
    latest = (await tx.execute(last)).scalar_one_or_none()
    return None if latest is None else instant_of(latest)


class Answers(msgspec.Struct, frozen=True):
    """Postbacks of an account over a span, and how many of them came to nothing."""

    account: str
    total: int
    failed: int


async def postback_answers(tx: AsyncConnection, team_id: int, span: Span) -> list[Answers]:
    """Per account: rejected, unmatched and unmapped ones count as failed."""
    p = postbacks.c
    bad = func.sum(case((p.outcome.in_(["rejected", "unmatched", "unmapped"]), 1), else_=0))
    query = (
        select(accounts.c.code, func.count(), bad)
        .join(accounts, accounts.c.id == p.account_id)
        .where(p.team_id == team_id, p.received_at >= span[0], p.received_at < span[1])
        .group_by(accounts.c.code)
    )
    return [Answers(code, total, int(failed or 0)) for code, total, failed in (await tx.execute(query)).all()]


async def first_deposits_since(tx: AsyncConnection, scope: Scope, since: datetime, *, today: date) -> Sequence[Any]:
    """First deposits received since then, with offer and amount."""
    c = conversions.c
    query = select(c.id, c.amount, c.currency, c.received_at, c.day, c.campaign_id, offers.c.code.label("offer")).where(
        c.team_id == scope.team_id, c.is_ftd, c.status != "reversed", c.received_at > since,
        c.day >= today - timedelta(days=3),
    )  # fmt: skip
    if scope.campaign_ids is not None:
        query = query.where(c.campaign_id.in_(scope.campaign_ids))
    return (await tx.execute(query.outerjoin(offers, offers.c.id == c.offer_id).order_by(c.id))).all()


async def dead_postbacks(tx: AsyncConnection, team_id: int, since: datetime) -> Sequence[Any]:
    """Conversions given up since then: (id, event, host)."""
    o = outbound.c
    dead = and_(o.team_id == team_id, o.state == "dead", or_(o.next_at > since, o.created_at > since))
    return (await tx.execute(select(o.id, o.event, o.host).where(dead).order_by(o.id))).all()


async def caps(tx: AsyncConnection, team_id: int, ids: Collection[int] | None) -> Sequence[Any]:
    """Capped offers: (id, code, cap, cap_event, cap_period, timezone)."""
    query = (
        select(offers.c.id, offers.c.code, offers.c.cap, offers.c.cap_event, offers.c.cap_period, accounts.c.timezone)
        .join(accounts, accounts.c.id == offers.c.account_id)
        .where(offers.c.team_id == team_id, offers.c.cap.is_not(None), offers.c.status == "active")
    )
    if ids is not None:
        query = query.where(offers.c.id.in_(list(ids)))
    return (await tx.execute(query.order_by(offers.c.id))).all()


async def cap_used(tx: AsyncConnection, offer_id: int, event: str, period: date) -> int:
    c = cap_counts.c
    query = select(c.n).where(c.offer_id == offer_id, c.event == event, c.period == period)
    return int((await tx.execute(query)).scalar_one_or_none() or 0)
