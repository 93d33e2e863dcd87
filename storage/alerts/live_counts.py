"""Counts as they happen, over any span of time: what alerts look at between two settlings."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Select, and_, bindparam, case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.clicks.click_id import first_id_at, instant_of
from storage.tables import accounts, cap_counts, click_rollup, clicks, conversions, offers, outbound, postbacks
from storage.tables.types import EPOCH_DAY

Span = tuple[datetime, datetime]
"""From (included) to (left out)."""

CLICK_MEASURES = {"clicks", "unique_clicks", "bot_clicks"}
MOST_HOURS = 500  # that a query names one by one
EVENTS = {"registrations": ("registration",), "deposits": ("deposit", "first_deposit")}


class Scope(msgspec.Struct, frozen=True):
    """Whose counts: a team's, or of some of its campaigns; `zone` is the report time zone."""

    team_id: int
    zone: str
    now: datetime
    campaign_ids: tuple[int, ...] | None = None


async def counted(tx: AsyncConnection, scope: Scope, measure: str, span: Span) -> float:
    """Clicks, registrations, first_deposits or deposits of a span. Hours of clicks that the span cuts count in part."""
    return (await counted_by_span(tx, scope, (measure,), (span,)))[measure][0]


async def counted_by_span(
    tx: AsyncConnection, scope: Scope, measures: Sequence[str], spans: Sequence[Span]
) -> dict[str, list[float]]:
    """The counts of each measure in each span, read at once."""
    clicked = [measure for measure in measures if measure in CLICK_MEASURES]
    converted = [measure for measure in measures if measure not in CLICK_MEASURES]
    counts = await _clicks(tx, scope, clicked, spans) if clicked else {}
    return counts | (await _conversions(tx, scope, converted, spans) if converted else {})


async def _conversions(
    tx: AsyncConnection, scope: Scope, measures: Sequence[str], spans: Sequence[Span]
) -> dict[str, list[float]]:
    days = [instant.astimezone(ZoneInfo(scope.zone)).date() for span in spans for instant in span]
    query = _conversions_query(tuple(measures), len(spans))
    if scope.campaign_ids is not None:
        query = query.where(conversions.c.campaign_id.in_(scope.campaign_ids))
    values = {
        f"{name}{n}": instant
        for n, span in enumerate(spans)
        for name, instant in zip(("begin", "end"), span, strict=True)
    }
    result = await tx.execute(query, {"team": scope.team_id, "first": min(days), "last": max(days), **values})
    row = iter(result.one())
    return {measure: [int(next(row)) for _ in spans] for measure in measures}


@lru_cache(maxsize=64)
def _conversions_query(measures: tuple[str, ...], spans: int) -> Select[Any]:
    """Counts of each measure in each span; made once, since SQLAlchemy takes ten milliseconds for it."""
    c = conversions.c

    def within(n: int) -> Any:
        begin, end = (bindparam(f"{name}{n}", type_=c.occurred_at.type) for name in ("begin", "end"))
        return and_(c.occurred_at >= begin, c.occurred_at < end)

    counts = [
        func.coalesce(func.sum(case((and_(_counts_as(measure), within(n)), 1))), 0)
        for measure in measures for n in range(spans)
    ]  # fmt: skip
    first, last = (bindparam(name, type_=c.day.type) for name in ("first", "last"))
    return select(*counts).where(
        c.team_id == bindparam("team", type_=c.team_id.type), c.day.between(first, last), c.status != "reversed"
    )  # fmt: skip


def _counts_as(measure: str) -> Any:
    c = conversions.c
    return c.is_ftd if measure == "first_deposits" else c.event.in_(EVENTS[measure])


async def _clicks(
    tx: AsyncConnection, scope: Scope, measures: Sequence[str], spans: Sequence[Span]
) -> dict[str, list[float]]:
    by_hour = [span for span in spans if not _is_short(span) or "unique_clicks" in measures]
    sums = await _hourly(tx, scope, measures, by_hour) if by_hour else {}
    counts: dict[str, list[float]] = {}
    for measure in measures:
        of_hours = {hour: row[measures.index(measure)] for hour, row in sums.items()}
        counts[measure] = [
            await _clicks_between(tx, scope, span, bots=measure == "bot_clicks")
            if _is_short(span) and measure != "unique_clicks"
            else _of_span(of_hours, scope, span)
            for span in spans
        ]
    return counts


def _is_short(span: Span) -> bool:
    """Shorter than the hours of the roll-up: its clicks are counted one by one."""
    return span[1] - span[0] < timedelta(hours=1)


async def _hourly(
    tx: AsyncConnection, scope: Scope, measures: Sequence[str], spans: Sequence[Span]
) -> dict[int, tuple[int, ...]]:
    """Sums of the roll-up by the hours of these spans."""
    r = click_rollup.c
    hours = {hour for span in spans for hour in range(hour_of(span[0], scope.zone), hour_of(span[1], scope.zone) + 1)}
    query = select(r.hour, *(func.sum(r[measure]) for measure in measures)).where(r.team_id == scope.team_id)
    query = query.where(
        r.hour.in_(sorted(hours)) if len(hours) <= MOST_HOURS else r.hour.between(min(hours), max(hours))
    )
    if scope.campaign_ids is not None:
        query = query.where(r.campaign_id.in_(scope.campaign_ids))
    rows = await tx.execute(query.group_by(r.hour))
    return {row[0]: tuple(int(total) for total in row[1:]) for row in rows}


def _of_span(sums: Mapping[int, int], scope: Scope, span: Span) -> float:
    """The part of the hourly sums that is in the span."""
    first, last = hour_of(span[0], scope.zone), hour_of(span[1], scope.zone)
    if first == last:
        return sums.get(first, 0) * (_end_part(span[1], scope.now) - _part(span[0]))
    whole = sum(sums.get(hour, 0) for hour in range(first + 1, last))
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


async def postback_answers(
    tx: AsyncConnection, team_id: int, span: Span, ids: Collection[int] | None = None
) -> list[Answers]:
    """Per account (of these ids; None: all): rejected, unmatched and unmapped ones count as failed."""
    p = postbacks.c
    bad = func.sum(case((p.outcome.in_(["rejected", "unmatched", "unmapped"]), 1), else_=0))
    query = (
        select(accounts.c.code, func.count(), bad)
        .join(accounts, accounts.c.id == p.account_id)
        .where(p.team_id == team_id, p.received_at >= span[0], p.received_at < span[1])
        .group_by(accounts.c.code)
    )
    if ids is not None:
        query = query.where(accounts.c.id.in_(list(ids)))
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


async def dead_postbacks(tx: AsyncConnection, scope: Scope, since: datetime) -> Sequence[Any]:
    """Conversions of the scope given up since then: (id, event, host)."""
    o = outbound.c
    dead = and_(o.team_id == scope.team_id, o.state == "dead", or_(o.next_at > since, o.created_at > since))
    rows: Sequence[Any] = (
        await tx.execute(of_scope(select(o.id, o.event, o.host).where(dead), scope).order_by(o.id))
    ).all()
    return rows


def of_scope(deliveries: Select[Any], scope: Scope) -> Select[Any]:
    """Deliveries of the conversions of a scope's campaigns."""
    if scope.campaign_ids is None:
        return deliveries
    mine = select(conversions.c.id).where(conversions.c.campaign_id.in_(scope.campaign_ids))
    return deliveries.where(outbound.c.conversion_id.in_(mine))


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
