"""Outgoing webhooks: addresses of a team's own that receive calls about events, queued in the transaction of the event.

A call is queued with the outgoing postbacks: signed when it is sent (Standard Webhooks), tried for a day, kept in the
log. What a webhook receives is limited by the rights that its creator has now.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, Select, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.bulk_sql import Lookup
from storage.db.direct_sqlite import SyncConnection
from storage.ledger.credentials import hide_credentials
from storage.ledger.errors import Missing
from storage.ledger.facts import Role
from storage.ledger.outbound.templates import host
from storage.ledger.outbound.webhooks import WebhookCall
from storage.outbound.queue import OutboundRequest
from storage.tables import members, outbound, tokens, webhooks

#: Of a conversion.
CONVERSIONS = ("registration", "first_deposit", "deposit", "qualified", "reversal")
#: Events that a webhook may receive; the last two concern whole accounts.
EVENTS = (*CONVERSIONS, "alert", "digest", "sync", "held_report")
OF_ACCOUNTS = frozenset({"sync", "held_report"})
MAX_WEBHOOKS = 50  # of a team


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook as people see it, credentials in its address masked. `stopped_why`: why it receives nothing although it
    is active. `secret` signs its calls and is shown once."""

    id: int
    name: str
    code: str
    url: str
    events: list[str]
    campaigns: list[str] | None
    status: str  # active | paused
    made_by: str
    created_at: datetime
    stopped_why: str | None = None
    secret: str | None = None


class NewWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """`campaigns`: those it is about; `limits`: those that its creator may see. None: all."""

    team_id: int
    name: str
    url: str
    events: tuple[str, ...]
    campaigns: tuple[str, ...] | None
    secret: str  # encrypted
    role: Role
    limits: tuple[str, ...] | None
    member_id: int | None
    token_id: int | None
    made_by: str


class Receiver(msgspec.Struct, frozen=True, kw_only=True):
    """An active webhook whose creator is still here. `campaigns`: those whose events it may receive now; None: all."""

    id: int
    team_id: int
    url: str
    events: frozenset[str]
    campaigns: frozenset[str] | None

    def takes(self, event: str, campaigns: Collection[str] | None) -> bool:
        """Whether it receives an event that concerns those campaigns (None: all of the team's)."""
        if event not in self.events:
            return False
        return self.campaigns is None or (campaigns is not None and set(campaigns) <= self.campaigns)


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """An event. `key` is the same for the same event, so that no webhook receives it twice."""

    team_id: int
    event: str
    type: str
    key: str
    data: Mapping[str, Any]
    campaigns: Collection[str] | None = None
    conversion_id: int | None = None


async def add(tx: AsyncConnection, now: datetime, new: NewWebhook) -> int:
    values = msgspec.structs.asdict(new) | {
        "events": list(new.events), "role": new.role.value, "status": "active", "created_at": now,
        "campaigns": None if new.campaigns is None else list(new.campaigns),
        "limits": None if new.limits is None else list(new.limits),
    }  # fmt: skip
    return int((await tx.execute(insert(webhooks).values(**values).returning(webhooks.c.id))).scalar_one())


def _with_creators() -> Select[Any]:
    """Webhooks that are not removed, with their creators' state."""
    query = select(
        webhooks, members.c.id.label("member"), members.c.removed_at.label("left_at"),
        members.c.campaigns.label("member_campaigns"), tokens.c.revoked_at, tokens.c.expires_at,
    )  # fmt: skip
    query = query.outerjoin(members, members.c.id == webhooks.c.member_id)
    return query.outerjoin(tokens, tokens.c.id == webhooks.c.token_id).where(webhooks.c.removed_at.is_(None))


def of_team(team_id: int) -> Select[Any]:
    """The team's webhooks, for paging."""
    return _with_creators().where(webhooks.c.team_id == team_id)


async def find(tx: AsyncConnection, team_id: int, word: str, *, field: str = "webhook") -> Row[Any]:
    """By id, code (`webhook-7`) or name. Raises Missing at `field`."""
    text = word.strip().lower()
    number = text.removeprefix("webhook-").removeprefix("#")
    rows = (await tx.execute(of_team(team_id))).all()
    matches = [row for row in rows if str(row.id) == number] or [row for row in rows if row.name.casefold() == text]
    if len(matches) == 1:
        found: Row[Any] = matches[0]
        return found
    why = "several have that name, write its code" if matches else "'webhook list' shows them"
    raise Missing(f"no webhook {word!r}: {why}", field=field)


async def change(tx: AsyncConnection, webhook_id: int, **values: Any) -> None:
    """Change columns of a webhook."""
    await tx.execute(update(webhooks).where(webhooks.c.id == webhook_id).values(**values))


async def move(tx: AsyncConnection, webhook_id: int, url: str) -> None:
    """Give a webhook another address, for calls still queued too."""
    await change(tx, webhook_id, url=url)
    waiting = update(outbound).where(outbound.c.webhook_id == webhook_id, outbound.c.state.in_(("queued", "dead")))
    await tx.execute(waiting.values(host=host(url)))


def shown(row: Row[Any], now: datetime) -> Webhook:
    return Webhook(
        id=row.id, name=row.name, code=f"webhook-{row.id}", url=str(hide_credentials(row.url)), events=row.events,
        campaigns=row.campaigns, status=row.status, made_by=row.made_by, created_at=row.created_at,
        stopped_why=_gone(row, now),
    )  # fmt: skip


def _gone(row: Row[Any], now: datetime) -> str | None:
    """Why its creator has no rights any more; None while there are some."""
    if row.member_id is not None:
        return "its creator is no member any more" if row.member is None or row.left_at is not None else None
    if row.token_id is None:
        return None
    ended = row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now)
    return "the token that made it has ended" if ended else None


def campaigns_of(row: Row[Any]) -> frozenset[str] | None:
    """Campaigns whose events it may receive: its own, of those that its creator may see now."""
    limits = row.member_campaigns if row.member_id is not None else row.limits
    if limits is None or row.campaigns is None:
        chosen = limits if row.campaigns is None else row.campaigns
        return None if chosen is None else frozenset(chosen)
    return frozenset(row.campaigns) & frozenset(limits)


_ACTIVE = Lookup(select(webhooks.c.id).where(webhooks.c.status == "active"), webhooks.c.team_id)


async def receivers(tx: AsyncConnection, team_ids: Collection[int], now: datetime) -> list[Receiver]:
    """The active webhooks of these teams whose creators are still here."""
    if isinstance(tx, SyncConnection) and not await _ACTIVE.rows(tx, team_ids):
        return []  # without SQLAlchemy: each batch of postbacks asks, and most teams have none
    on = webhooks.c.team_id.in_(team_ids), webhooks.c.status == "active"
    return [
        Receiver(id=row.id, team_id=row.team_id, url=row.url, events=frozenset(row.events), campaigns=campaigns_of(row))
        for row in await tx.execute(_with_creators().where(*on))
        if _gone(row, now) is None
    ]


async def listening_to(
    tx: AsyncConnection, team_id: int, event: str, campaigns: Collection[str] | None, now: datetime
) -> list[Receiver]:  # fmt: skip
    """The team's webhooks that receive an event that concerns those campaigns (None: all)."""
    return [receiver for receiver in await receivers(tx, [team_id], now) if receiver.takes(event, campaigns)]


async def notify(
    tx: AsyncConnection, listening: Iterable[Receiver], announcements: Sequence[Announcement], now: datetime
) -> int:
    """Queue a call for each receiver that takes an announcement; returns how many were not queued before."""
    rows = [
        _call(receiver, announcement, now)
        for receiver in listening
        for announcement in announcements
        if announcement.team_id == receiver.team_id and receiver.takes(announcement.event, announcement.campaigns)
    ]
    if not rows:
        return 0
    queued = upsert(outbound).on_conflict_do_nothing(index_elements=["idempotency_key"])
    return int((await tx.execute(queued, rows)).rowcount)


def _call(receiver: Receiver, announcement: Announcement, now: datetime) -> dict[str, Any]:
    body = msgspec.json.encode(
        {"type": announcement.type, "timestamp": now.isoformat(), "data": announcement.data}
    ).decode()
    request = OutboundRequest(webhook=WebhookCall(url=receiver.url, body=body))
    return {
        "team_id": receiver.team_id, "webhook_id": receiver.id, "conversion_id": announcement.conversion_id,
        "event": announcement.event,
        "idempotency_key": f"msg_w{receiver.id}_{announcement.key}", "request": msgspec.to_builtins(request),
        "host": host(receiver.url), "state": "queued", "next_at": now, "created_at": now,
    }  # fmt: skip


async def remove(tx: AsyncConnection, webhook_id: int, now: datetime) -> None:
    """Remove a webhook, and its calls still queued."""
    await change(tx, webhook_id, status="paused", removed_at=now)
    waiting = update(outbound).where(outbound.c.webhook_id == webhook_id, outbound.c.state == "queued")
    await tx.execute(waiting.values(state="skipped"))


async def queue_test(tx: AsyncConnection, row: Row[Any], now: datetime, key: str) -> int:
    """Queue a call that says it is a test; returns its number in the log."""
    receiver = Receiver(id=row.id, team_id=row.team_id, url=row.url, events=frozenset({"test"}), campaigns=None)
    announcement = Announcement(
        team_id=row.team_id, event="test", type="test", key=key, data={"webhook": f"webhook-{row.id}", "name": row.name}
    )
    made = insert(outbound).values(**_call(receiver, announcement, now)).returning(outbound.c.id)
    return int((await tx.execute(made)).scalar_one())


async def resend(
    tx: AsyncConnection, team_id: int, webhook_ids: Collection[int], *, now: datetime, number: int | None
) -> int:
    """Queue one call again, or all that were given up; their ids stay the same. Raises Missing where there is none."""
    which = outbound.c.id == number if number is not None else outbound.c.state == "dead"
    again = update(outbound).where(outbound.c.team_id == team_id, outbound.c.webhook_id.in_(webhook_ids), which)
    done = (await tx.execute(again.values(state="queued", next_at=now, attempts=0, claimed_until=None))).rowcount
    if number is not None and not done:
        raise Missing(f"no call {number}: 'webhook log' lists them", field="id")
    return int(done)
