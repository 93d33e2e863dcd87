"""Reads from storage what a digest tells, and builds its message."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.core.message import Message
from bot.core.serving import restated_offers, serving
from bot.digests import message as digest
from bot.digests.message import (
    CHART_DAYS,
    LOOK_BACK,
    Attention,
    ChangedFigure,
    DigestFacts,
    DigestRequest,
    changed,
    chart_days,
    full_command,
    healthy_words,
    movers,
    pending,
    period_name,
    sync_words,
    unassigned_words,
    unmatched_words,
    usual,
    vanished,
)
from bot.render.figures import plural
from storage.alerts import attention
from storage.alerts.attention import AccountHealth
from storage.catalogue import offer_checks
from storage.ledger.facts import POSTBACK_ONLY
from storage.ledger.schedule import Every
from storage.reports.forecast import Forecast, forecast
from storage.reports.merged_report import ReportQuery
from storage.reports.report_in_helper import ReportInHelper, report_of
from storage.revenue import restatements
from storage.tables import campaigns, offers, sites

Key = tuple[int, date, date, Every, tuple[str, ...] | None]


class _RecentEvents(msgspec.Struct, frozen=True):
    """What is new since the last digest of one subscription."""

    restated: tuple[ChangedFigure, ...]
    vanished: tuple[str, ...]
    attention: tuple[Attention, ...]


@dataclass(slots=True)
class Shared:
    """Kept while several digests are made of one moment: most of them tell the same."""

    standing: dict[Key, DigestFacts] = field(default_factory=dict)
    news: dict[tuple[Key, datetime], _RecentEvents] = field(default_factory=dict)
    messages: dict[tuple[Key, _RecentEvents, str, bool], Message] = field(default_factory=dict)


def cached_message(request: DigestRequest, shared: Shared) -> Message | None:
    """The digest message if the same one was built before, without a query."""
    key = _key(request)
    news = shared.news.get((key, request.told_until))
    return None if news is None else shared.messages.get((key, news, request.late, request.full))


def _key(request: DigestRequest) -> Key:
    return request.team_id, request.first, request.last, request.every, request.campaigns


async def build(
    tx: AsyncConnection,
    request: DigestRequest,
    shared: Shared | None = None,
    *,
    in_helper: ReportInHelper | None = None,
) -> Message:
    """The digest message as it would be sent now; large reports are asked of `in_helper`."""
    shared = shared or Shared()
    key = _key(request)
    if key not in shared.standing:
        shared.standing[key] = await _standing(tx, request, in_helper)
    standing = shared.standing[key]
    if (key, request.told_until) not in shared.news:
        shared.news[key, request.told_until] = await _news(tx, request)
    news = shared.news[key, request.told_until]
    kind = key, news, request.late, request.full
    if kind not in shared.messages:
        shared.messages[kind] = digest.message(msgspec.structs.replace(
            standing, restated=news.restated, vanished=news.vanished, late=request.late,
            attention=standing.attention + news.attention, full_command=full_command(request),
        ))  # fmt: skip
    return shared.messages[kind]


async def _standing(tx: AsyncConnection, request: DigestRequest, in_helper: ReportInHelper | None) -> DigestFacts:
    by = await dimension(tx, request.team_id)
    chart_since = request.last - timedelta(days=CHART_DAYS - 1)
    report = await report_of(tx, _query(request, request.first, request.last, (by,)), in_helper)
    before = await report_of(tx, _query(request, *_days_before(request.first), ("day", by)), in_helper)
    days = await report_of(tx, _query(request, chart_since, request.last, ("day",)), in_helper)
    ids = await _account_ids(tx, request)
    span = [request.last - timedelta(days=n) for n in range(LOOK_BACK)]
    health = await attention.accounts_health(tx, request.team_id, span, ids)
    unmatched = await attention.unmatched(
        tx, request.team_id, since=midnight(request.first, request), until=_end(request), ids=ids
    )
    n_days = (request.last - request.first).days + 1
    top, bottom = movers(report, before, by, n_days=n_days)
    waiting = tuple(pending(account) for account in health if account.provisional and account.platform != POSTBACK_ONLY)
    return DigestFacts(
        name=period_name(request), range=f"{request.first}..{request.last}", by=(by,), report=report,
        usual=usual(before, n_days=n_days), days=chart_days(days, request.last), top=top, bottom=bottom,
        pending=waiting, expected=await _expected(tx, request, in_helper) if waiting else None,
        attention=(
            *await _attention(tx, request, health, ids), *unmatched_words(unmatched), *unassigned_words(report),
        ),
        offer_names=await _offer_names(tx, request.team_id) if waiting else {},
        unmatched=unmatched, has_accounts=bool(health), healthy=healthy_words(health, request),
    )  # fmt: skip


async def _offer_names(tx: AsyncConnection, team_id: int) -> dict[str, str]:
    rows = await tx.execute(select(offers.c.code, offers.c.name).where(offers.c.team_id == team_id))
    return {row.code: row.name for row in rows}


async def _news(tx: AsyncConnection, request: DigestRequest) -> _RecentEvents:
    own = restated_offers(request.team_id, request.campaigns)
    restated = await restatements.since(tx, request.team_id, request.told_until, offer_ids=own)
    return _RecentEvents(
        tuple(changed(row) for row in restated),
        tuple(vanished(row) for row in restated if row.vanished),
        tuple(await _deliveries(tx, request)) if request.campaigns is None else (),
    )


async def dimension(tx: AsyncConnection, team_id: int) -> str:
    """By campaign; a team without campaigns (fast launch) thinks in sites, one without sites in offers."""
    for name, table in (("campaign", campaigns), ("site", sites)):
        if (await tx.execute(select(table.c.id).where(table.c.team_id == team_id).limit(1))).first():
            return name
    return "offer"


def _query(request: DigestRequest, first: date, last: date, by: tuple[str, ...] = ()) -> ReportQuery:
    return ReportQuery(
        team_id=request.team_id, first=first, last=last, by=by, timezone=request.deployment.timezone,
        currency=request.deployment.currency, campaigns=request.campaigns,
    )  # fmt: skip


async def _expected(tx: AsyncConnection, request: DigestRequest, in_helper: ReportInHelper | None) -> Forecast:
    """What the days still pending may bring."""
    first = min(request.first, request.last - timedelta(days=LOOK_BACK - 1))
    return await forecast(tx, _query(request, first, request.last), in_helper, now=request.now)


def _days_before(first: date) -> tuple[date, date]:
    return first - timedelta(days=LOOK_BACK), first - timedelta(days=1)


async def _account_ids(tx: AsyncConnection, request: DigestRequest) -> set[int] | None:
    if request.campaigns is None:
        return None
    return await attention.account_ids_of(tx, request.team_id, request.campaigns)


def midnight(day: date, request: DigestRequest) -> datetime:
    return datetime.combine(day, time(), request.deployment.zone)


def _end(request: DigestRequest) -> datetime:
    return midnight(request.last + timedelta(days=1), request)


async def attention_of(tx: AsyncConnection, request: DigestRequest) -> list[Attention]:
    """What needs attention: syncs, held reports, vanished figures, unmatched postbacks, tags, dead links, domains,
    deliveries."""
    ids = await _account_ids(tx, request)
    health = await attention.accounts_health(tx, request.team_id, [request.first], ids)
    since = midnight(request.first, request)
    unmatched = await attention.unmatched(tx, request.team_id, since=since, until=_end(request), ids=ids)
    recent = await _news(tx, request)
    withdrawn = [Attention(level="warning", text=f"vanished: {text}") for text in recent.vanished]
    return [
        *await _attention(tx, request, health, ids), *withdrawn, *unmatched_words(unmatched), *recent.attention,
    ]  # fmt: skip


async def _attention(
    tx: AsyncConnection, request: DigestRequest, health: Sequence[AccountHealth], ids: set[int] | None
) -> list[Attention]:
    lines = list(sync_words(health, request.now))
    for row in await attention.suspects(tx, request.team_id, ids):
        why = f" ({row.reason})" if request.campaigns is None else ""
        text = f"{row.name}: suspect report held back{why}: sync confirm {row.code} or sync discard {row.code}"
        lines.append(Attention(level="error", text=text))
    own = None if request.campaigns is None else serving(request.team_id, request.campaigns, "offer")
    for row in await attention.untagged(tx, request.team_id, own):
        text = f"offer {row.offer} has no tag, and {row.account} has several segments: it pulls in other deals' numbers"
        lines.append(Attention(level="warning", text=text, about="offers"))
    for row in await offer_checks.faults(tx, request.team_id, own):
        if row.fault:
            text = f"the link of offer {row.name} leads nowhere: {row.fault}"
            lines.append(Attention(level="error", text=text, about="offers"))
    if request.campaigns is None:
        for fault in await attention.domain_faults(tx, request.team_id, request.last + timedelta(days=30)):
            lines.append(Attention(level="error" if fault.down else "warning", text=fault.text, about="domains"))
    return lines


async def _deliveries(tx: AsyncConnection, request: DigestRequest) -> list[Attention]:
    lines = []
    if n := await attention.dead_letters(tx, request.team_id, request.told_until):
        text = f"{plural(n, 'conversion')} could not be delivered to a traffic source"
        lines.append(Attention(level="error", text=text, about="deliveries"))
    for room in await attention.lost_rooms(tx, request.team_id, request.told_until):
        text = f"we may no longer write to {room}: its digest has stopped"
        lines.append(Attention(level="warning", text=text, about="digests"))
    return lines
