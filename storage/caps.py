"""Caps of offers: how many clicks, registrations or first deposits fit in a day, week or month of the platform."""

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.errors import CasinoFluxError
from storage.tables import accounts, cap_counts, offers


def period_of(at: datetime, period: str, zone: ZoneInfo) -> date:
    """First day of the cap period that `at` falls in, by the platform's calendar; weeks begin on Monday."""
    day = at.astimezone(zone).date()
    if period == "week":
        return day - timedelta(days=day.weekday())
    if period == "month":
        return day.replace(day=1)
    if period != "day":
        raise CasinoFluxError(f"no cap period {period!r}: there is day, week, month")
    return day


async def count(tx: AsyncConnection, offer_id: int, event: str, at: datetime, by: int = 1) -> int | None:
    """Count one more (`by=-1`: one less) `registration` or `first_deposit` that happened at `at`.

    Counts only what the offer caps; returns how much of the cap is used now, None if the event is not capped. Call it
    in the transaction that accepts or reverses the conversion. Clicks are counted by the writer.
    """
    capped = await _cap(tx, offer_id)
    if capped is None or capped.cap_event != event:
        return None
    period = period_of(at, capped.cap_period or "day", ZoneInfo(capped.timezone))
    statement = upsert(cap_counts).values(offer_id=offer_id, event=event, period=period, n=by)
    moved = await tx.execute(
        statement.on_conflict_do_update(
            index_elements=["offer_id", "event", "period"], set_={"n": cap_counts.c.n + statement.excluded.n}
        ).returning(cap_counts.c.n)
    )
    return int(moved.scalar_one())


async def used(tx: AsyncConnection, offer_id: int, at: datetime) -> tuple[int, int] | None:
    """How much of the offer's cap is used in the period of `at`, and the cap; None without a cap."""
    capped = await _cap(tx, offer_id)
    if capped is None:
        return None
    period = period_of(at, capped.cap_period or "day", ZoneInfo(capped.timezone))
    found = await tx.execute(
        select(cap_counts.c.n).where(
            cap_counts.c.offer_id == offer_id, cap_counts.c.event == capped.cap_event, cap_counts.c.period == period
        )
    )
    return int(found.scalar_one_or_none() or 0), int(capped.cap)


async def _cap(tx: AsyncConnection, offer_id: int) -> Any:
    statement = select(offers.c.cap, offers.c.cap_event, offers.c.cap_period, accounts.c.timezone)
    joined = statement.join_from(offers, accounts, offers.c.account_id == accounts.c.id)
    return (await tx.execute(joined.where(offers.c.id == offer_id, offers.c.cap.is_not(None)))).one_or_none()
