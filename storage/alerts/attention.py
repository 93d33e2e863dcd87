"""What of a team's set-up needs a hand: failing syncs, suspect reports, untagged offers, dead letters, lost rooms."""

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, Select, func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.facts import WITHOUT_API
from storage.tables import (
    accounts,
    alerts,
    campaign_offers,
    campaigns,
    domains,
    offers,
    outbound,
    postbacks,
    revenue,
    revenue_reports,
    rooms,
    settled_days,
    subscriptions,
)

STALE = timedelta(hours=36)


class AccountHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How an account's figures come in; `provisional` are the days asked about that are not settled."""

    id: int
    code: str
    name: str
    platform: str
    timezone: str
    created_at: datetime
    error: str | None
    paused_why: str | None
    paused: bool
    last_success_at: datetime | None
    next_sync_at: datetime | None
    warnings: tuple[str, ...] = ()
    provisional: tuple[date, ...] = ()

    @property
    def fetched(self) -> bool:
        return self.platform not in WITHOUT_API

    def stale(self, now: datetime, after: timedelta = STALE) -> bool:
        """No figures for a day and a half, although they should come by themselves."""
        return self.fetched and not self.paused and (self.last_success_at or self.created_at) < now - after


async def account_ids_of(tx: AsyncConnection, team_id: int, codes: Collection[str]) -> set[int]:
    """Accounts that the offers of those campaigns are on."""
    query = (
        select(offers.c.account_id)
        .join(campaign_offers, campaign_offers.c.offer_id == offers.c.id)
        .join(campaigns, campaigns.c.id == campaign_offers.c.campaign_id)
        .where(campaigns.c.team_id == team_id, campaigns.c.code.in_(list(codes)))
    )
    return set((await tx.execute(query.distinct())).scalars())


async def accounts_health(
    tx: AsyncConnection, team_id: int, days: Collection[date], ids: Collection[int] | None
) -> list[AccountHealth]:
    """Every account with offers, and which of the days it has not settled."""
    with_offers = select(offers.c.account_id).where(offers.c.team_id == team_id)
    query = select(accounts).where(accounts.c.team_id == team_id, accounts.c.id.in_(with_offers))
    rows = (await tx.execute(query.where(_within(accounts.c.id, ids)).order_by(accounts.c.code))).all()
    settled = select(settled_days.c.account_id, settled_days.c.day).where(
        settled_days.c.team_id == team_id, settled_days.c.day.in_(list(days))
    )
    settled_keys = {(row.account_id, row.day) for row in await tx.execute(settled)}
    return [_health(row, tuple(day for day in sorted(days) if (row.id, day) not in settled_keys)) for row in rows]


def _health(row: Row[Any], provisional: tuple[date, ...]) -> AccountHealth:
    return AccountHealth(
        id=row.id, code=row.code, name=row.name, platform=row.platform, timezone=row.timezone,
        created_at=row.created_at, error=row.error, paused_why=row.paused_why, paused=row.paused_at is not None,
        last_success_at=row.last_success_at, next_sync_at=row.next_sync_at,
        warnings=tuple(row.sync_warnings or ()), provisional=provisional,
    )  # fmt: skip


def _within(column: Any, ids: Collection[int] | None) -> ColumnElement[bool]:
    return true() if ids is None else column.in_(list(ids))


async def unmatched(
    tx: AsyncConnection, team_id: int, *, since: datetime, until: datetime, ids: Collection[int] | None = None
) -> int:
    """Postbacks received in between whose click is not known."""
    query = select(func.count()).where(
        postbacks.c.team_id == team_id, postbacks.c.outcome == "unmatched", postbacks.c.received_at >= since,
        postbacks.c.received_at < until, _within(postbacks.c.account_id, ids),
    )  # fmt: skip
    return int((await tx.execute(query)).scalar_one())


async def suspects(tx: AsyncConnection, team_id: int, ids: Collection[int] | None = None) -> Sequence[Any]:
    """(code, name, reason, fetched_at) of reports held as suspect."""
    query = (
        select(accounts.c.code, accounts.c.name, accounts.c.id, revenue_reports.c.reason, revenue_reports.c.fetched_at)
        .join(accounts, accounts.c.id == revenue_reports.c.account_id)
        .where(revenue_reports.c.team_id == team_id, revenue_reports.c.state == "suspect")
    )
    return (await tx.execute(query.where(_within(accounts.c.id, ids)).order_by(accounts.c.code))).all()


SYNC_ALERTS = ("sync failed", "sync stale")


async def rooms_with_sync_alerts(tx: AsyncConnection, team_id: int, account_id: int) -> list[tuple[int, str]]:
    """(room, thread) of every digest and sync alert that covers the account; a `suspect` alert speaks for itself."""
    digests = select(subscriptions.c.room_id, subscriptions.c.thread, subscriptions.c.campaigns).where(
        subscriptions.c.team_id == team_id, subscriptions.c.disabled_at.is_(None)
    )
    armed = alerts.c.team_id == team_id, alerts.c.removed_at.is_(None)
    watches = select(alerts.c.room_id, alerts.c.thread, alerts.c.campaigns, alerts.c.kind).where(*armed)
    rows = [*await tx.execute(digests)]
    own = set()
    for row in await tx.execute(watches.where(alerts.c.kind.in_((*SYNC_ALERTS, "suspect")))):
        if row.kind != "suspect":
            rows.append(row)
        elif await _covers(tx, team_id, row.campaigns, account_id):
            own.add((row.room_id, row.thread))
    lost = set(
        (await tx.execute(select(rooms.c.id).where(rooms.c.team_id == team_id, rooms.c.lost_at.is_not(None)))).scalars()
    )
    subscribed = {(row.room_id, row.thread) for row in rows if await _covers(tx, team_id, row.campaigns, account_id)}
    return sorted(room for room in subscribed - own if room[0] not in lost)


async def _covers(tx: AsyncConnection, team_id: int, campaign_codes: Collection[str] | None, account_id: int) -> bool:
    return campaign_codes is None or account_id in await account_ids_of(tx, team_id, campaign_codes)


async def untagged(tx: AsyncConnection, team_id: int, ids: Select[tuple[int]] | None = None) -> Sequence[Any]:
    """Names (offer, account) of active offers (of these ids; None: all) without a tag on accounts with several
    segments: they pull in other deals."""
    others = offers.alias("others")
    beside = select(others.c.id).where(others.c.account_id == offers.c.account_id, others.c.id != offers.c.id)
    several = (
        select(revenue.c.account_id)
        .where(revenue.c.team_id == team_id)
        .group_by(revenue.c.account_id)
        .having(func.count(func.distinct(revenue.c.tag_key)) > 1)
    )
    query = (
        select(offers.c.name.label("offer"), accounts.c.name.label("account"))
        .join(accounts, accounts.c.id == offers.c.account_id)
        .where(offers.c.team_id == team_id, offers.c.tag_key.is_(None), offers.c.status == "active")
        .where(or_(beside.exists(), accounts.c.id.in_(several)))
    )
    if ids is not None:
        query = query.where(offers.c.id.in_(ids))
    return (await tx.execute(query.order_by(offers.c.code))).all()


async def dead_letters(tx: AsyncConnection, team_id: int, since: datetime) -> int:
    """Conversions that a traffic source would not take, since then."""
    query = select(func.count()).where(
        outbound.c.team_id == team_id,
        outbound.c.state == "dead",
        outbound.c.created_at > since,
        outbound.c.conversion_id.is_not(None),
    )
    return int((await tx.execute(query)).scalar_one())


async def lost_rooms(tx: AsyncConnection, team_id: int, since: datetime) -> list[str]:
    """Rooms lost since then, by title where they have one, else as `slack:C123`."""
    r = rooms.c
    query = select(r.face, r.room, r.title).where(r.team_id == team_id, r.lost_at > since)
    return [row.title or f"{row.face}:{row.room}" for row in await tx.execute(query.order_by(r.id))]


class DomainFault(msgspec.Struct, frozen=True):
    """What is wrong with a domain, or soon will be; `down`: visitors do not get the site."""

    text: str
    down: bool


async def domain_faults(tx: AsyncConnection, team_id: int, by: date) -> list[DomainFault]:
    """What the last look at each domain found; registrations that end by that day where no check was made."""
    query = select(domains.c.name, domains.c.registered_until, domains.c.state).where(domains.c.team_id == team_id)
    faults = []
    for row in await tx.execute(query.order_by(domains.c.name)):
        health = row.state.get("health", {})
        texts = [str(text) for text in health.get("faults", [])]
        if not texts and row.registered_until is not None and row.registered_until <= by:
            texts = [f"its registration ends on {row.registered_until:%d %b %Y}"]
        down = not health.get("ok", True)
        faults += [DomainFault(f"{row.name}: {text.removeprefix(row.name).strip()}", down) for text in texts]
    return faults
