"""Conversions recorded or put right by hand: their own mark, the same rules, the same history."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.errors import Missing
from storage.ledger.facts import SUBS, Event, Status
from storage.ledger.postbacks.decoding import Decoded
from storage.ledger.postbacks.postback import Signal
from storage.postbacks import conversion_rows
from storage.postbacks.conversions import ConversionProcessor, Received, receive
from storage.postbacks.postback_accounts import PostbackAccount
from storage.postbacks.requests import PostbackRequest
from storage.tables import conversion_states, conversions


class ManualConversion(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says of a conversion. `amount` is in micro-units."""

    event: Event
    occurred_at: datetime
    status: Status = Status.APPROVED
    amount: int | None = None
    currency: str | None = None
    txn_id: str | None = None
    player_id: str | None = None


class OfCampaign(msgspec.Struct, frozen=True, kw_only=True):
    """A conversion whose click is not known, and the campaign's row."""

    conversion: ManualConversion
    campaign: Row[Any]
    offer_id: int
    account_id: int | None


async def add_to_clicks(
    tx: AsyncConnection,
    processor: ConversionProcessor,
    conversions_of: Sequence[tuple[PostbackAccount, str, ManualConversion]],
) -> list[Received]:
    """Record conversions of clicks, as if the platform had sent them; they stand in the log as MANUAL."""
    arrivals = [_arrival(processor, account, manual, click) for account, click, manual in conversions_of]
    return await receive(tx, arrivals, processor)


def _arrival(
    processor: ConversionProcessor,
    account: PostbackAccount,
    manual: ManualConversion,
    click: str | None,
    corrects: int | None = None,
) -> PostbackRequest:
    shown = {
        "click_id": click, "event": manual.event.value, "status": manual.status.value, "amount": manual.amount,
        "currency": manual.currency, "txn_id": manual.txn_id, "player_id": manual.player_id, "corrects": corrects,
        "occurred_at": manual.occurred_at.isoformat(), "at": processor.now.isoformat(),
    }  # fmt: skip
    pairs = tuple((name, str(value)) for name, value in shown.items() if value is not None)
    decoded = Decoded(pairs=pairs)
    signal = Signal(
        event=manual.event, status=manual.status, click=click, player_id=manual.player_id, txn_id=manual.txn_id,
        amount=manual.amount, currency=manual.currency if manual.amount is not None else None,
        occurred_at=manual.occurred_at, time_given=True, marks=() if corrects else ("manual",),
    )  # fmt: skip
    return PostbackRequest(
        account=account, received_at=processor.now, method="MANUAL", query=urlencode(pairs).encode(), content_type="",
        body=b"", decoded=decoded, digest=decoded.digest, signal=signal, origin="manual", corrects=corrects,
    )  # fmt: skip


async def add_to_campaigns(
    tx: AsyncConnection, team_id: int, now: datetime, zone: ZoneInfo, manual: Sequence[OfCampaign]
) -> list[int]:
    """Record conversions whose clicks are not known; their ids. Ask first which are `recorded` already."""
    rows = []
    for each in manual:
        conversion, campaign = each.conversion, each.campaign
        rows.append({
            "team_id": team_id, "account_id": each.account_id, "campaign_id": campaign.id,
            "site_id": campaign.site_id or 0, "offer_id": each.offer_id, "source_id": campaign.source_id or 0,
            "country": None, "device": None, "subs": (None,) * len(SUBS), "click_id": None,
            "player_id": conversion.player_id, "event": conversion.event, "txn_id": conversion.txn_id,
            "status": conversion.status, "is_ftd": conversion.event is Event.FIRST_DEPOSIT,
            "amount": conversion.amount, "currency": conversion.currency, "occurred_at": conversion.occurred_at,
            "received_at": now, "day": conversion.occurred_at.astimezone(zone).date(), "visit_day": None,
            "marks": ["manual"], "origin": "manual",
        })  # fmt: skip
    return await conversion_rows.add(tx, rows, now) if rows else []


Transaction = tuple[int | None, str, str | None]
"""Account, event, transaction id."""


async def recorded(
    tx: AsyncConnection, team_id: int, manual: Sequence[OfCampaign], earlier: set[Transaction] | None = None
) -> list[bool]:
    """For each conversion whether its transaction is recorded already, or is that of an earlier one of these.

    `earlier` holds the transactions of earlier batches, and takes these.
    """
    transactions = {each.conversion.txn_id for each in manual if each.conversion.txn_id is not None}
    columns = conversions.c.account_id, conversions.c.event, conversions.c.txn_id
    query = select(*columns).where(conversions.c.team_id == team_id, conversions.c.txn_id.in_(transactions))
    known = set() if earlier is None else earlier
    if transactions:
        known.update((row.account_id, row.event, row.txn_id) for row in await tx.execute(query))
    answers = []
    for each in manual:
        key = each.account_id, each.conversion.event, each.conversion.txn_id
        answers.append(each.conversion.txn_id is not None and key in known)
        known.add(key)
    return answers


async def find(tx: AsyncConnection, team_id: int, number: int) -> Row[Any]:
    """A conversion of the team. Raises Missing."""
    query = select(conversions).where(conversions.c.team_id == team_id, conversions.c.id == number)
    row = (await tx.execute(query)).first()
    if row is None:
        raise Missing(f"no conversion {number}: 'click show' and 'conversion list' name them", field="conversion")
    return row


async def correct(
    tx: AsyncConnection,
    processor: ConversionProcessor,
    row: Row[Any],
    *,
    status: Status | None,
    amount: int | None,
    currency: str | None,
) -> None:
    """Put a conversion's status or amount right; what the platform sends later does not undo it."""
    new_status = Status(row.status) if status is None else status
    manual = ManualConversion(
        event=Event(row.event), occurred_at=row.occurred_at, status=new_status, txn_id=row.txn_id,
        amount=row.amount if amount is None else amount, currency=currency or row.currency, player_id=row.player_id,
    )  # fmt: skip
    if row.click_id is not None and row.account_id is not None:
        click = processor.codec.encode(row.click_id)
        await receive(
            tx, [_arrival(processor, processor.book.by_id[row.account_id], manual, click, corrects=row.id)], processor
        )
        return
    marks = sorted({*row.marks, "corrected"})
    values = {"status": new_status, "amount": manual.amount, "currency": manual.currency}
    await tx.execute(update(conversions).where(conversions.c.id == row.id).values(**values, marks=marks))
    state = {"is_ftd": row.is_ftd, "occurred_at": row.occurred_at, "day": row.day, **values}
    await tx.execute(
        insert(conversion_states).values(team_id=row.team_id, conversion_id=row.id, recorded_at=processor.now, **state)
    )
    await conversion_rows.touch(tx, {(row.team_id, row.day)})
