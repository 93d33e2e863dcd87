"""What a conversion is forwarded as: postbacks to its traffic source, and calls of the team's webhooks."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.clicks import queries
from storage.ledger.facts import Event
from storage.outbound import webhooks
from storage.outbound.queue import event_of, queue
from storage.outbound.webhooks import Announcement
from storage.postbacks.conversion_rows import Change
from storage.tables import campaigns, conversions, offers

Named = Mapping[int, dict[str, str]]


class ConversionEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A conversion that webhooks are notified of, with the columns of its row."""

    number: int
    team_id: int
    event: str
    row: Mapping[str, Any]


async def forward(tx: AsyncConnection, changes: Sequence[Change], webhooks_listen: bool) -> None:
    """Queue what follows from conversions that were made or changed, in their transaction. Nothing is queued twice.

    `webhooks_listen`: False if their teams have no active webhooks.
    """
    await queue(tx, changes)
    due = [(change, event) for change in changes if (event := event_of(change)) is not None]
    if not due or not webhooks_listen:
        return
    events = [
        ConversionEvent(number=change.id, team_id=change.account.team_id, event=event, row=change.row or {})
        for change, event in due
    ]
    await _notify_webhooks(tx, events, max(change.derived.received_at for change, _ in due))


async def forward_recorded(tx: AsyncConnection, team_id: int, numbers: Sequence[int], now: datetime) -> None:
    """Notify webhooks of conversions without a click, which no traffic source could place."""
    if not numbers or not await webhooks.receivers(tx, [team_id], now):
        return
    rows = (await tx.execute(select(conversions).where(conversions.c.id.in_(numbers)))).mappings()
    events = [
        ConversionEvent(number=row["id"], team_id=team_id, row=dict(row),
             event=Event.FIRST_DEPOSIT.value if row["is_ftd"] else str(row["event"]))
        for row in rows
    ]  # fmt: skip
    await _notify_webhooks(tx, events, now)


async def _notify_webhooks(tx: AsyncConnection, events: Sequence[ConversionEvent], now: datetime) -> None:
    listening = await webhooks.receivers(tx, {event.team_id for event in events}, now)
    if not listening:
        return
    named = {
        "campaign": await _named(tx, campaigns, {event.row["campaign_id"] or 0 for event in events}),
        "offer": await _named(tx, offers, {event.row["offer_id"] or 0 for event in events}),
    }
    codec = await queries.codec(tx)
    await webhooks.notify(tx, listening, [_announcement(event, named, codec) for event in events], now)


async def _named(tx: AsyncConnection, table: Table, ids: Collection[int]) -> Named:
    query = select(table.c.id, table.c.code, table.c.name).where(table.c.id.in_(set(ids) - {0}))
    return {row.id: {"code": row.code, "name": row.name} for row in await tx.execute(query)}


def _announcement(source: ConversionEvent, named: Mapping[str, Named], codec: Any) -> Announcement:
    row, event = source.row, source.event
    campaign = named["campaign"].get(row["campaign_id"])
    data = {
        "conversion": source.number, "event": event, "status": row["status"], "amount": row["amount"],
        "currency": row["currency"], "occurred_at": row["occurred_at"].isoformat(), "txn_id": row["txn_id"],
        "click_id": codec.encode(row["click_id"]) if row["click_id"] else None, "country": row["country"] or None,
        "campaign": campaign, "offer": named["offer"].get(row["offer_id"]),
    }  # fmt: skip
    return Announcement(
        team_id=source.team_id, event=event, type=f"conversion.{event}", data=data, conversion_id=source.number,
        key=f"c{source.number}_{event}_{row['status']}", campaigns=() if campaign is None else (campaign["code"],),
    )  # fmt: skip
