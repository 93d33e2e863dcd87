"""Caps of offers: how many clicks, registrations or first deposits fit in a day, week or month of the platform."""

from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import case, func, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.clicks.click_id import first_id_at
from storage.ledger.dates import monday_of
from storage.ledger.errors import CasinoFluxError
from storage.tables import accounts, cap_counts, click_rollup, clicks, conversions, offers, outgoing
from storage.tables.types import EPOCH_DAY


def period_of(at: datetime, period: str, zone: ZoneInfo) -> date:
    """First day of the cap period that `at` falls in, by the platform's calendar; weeks begin on Monday."""
    day = at.astimezone(zone).date()
    if period == "week":
        return monday_of(day)
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
    result = await tx.execute(
        select(cap_counts.c.n).where(
            cap_counts.c.offer_id == offer_id, cap_counts.c.event == capped.cap_event, cap_counts.c.period == period
        )
    )
    return int(result.scalar_one_or_none() or 0), int(capped.cap)


async def recount(tx: AsyncConnection, offer_id: int, at: datetime, report_zone: ZoneInfo) -> None:
    """Count from the facts how much of a cap is used in the period of `at`: for one that is new or was changed.

    Call it in the transaction that changes the cap: what happened before then was counted for another cap, or for none.
    """
    capped = await _cap(tx, offer_id)
    if capped is None:
        return
    zone = ZoneInfo(capped.timezone)
    period = period_of(at, capped.cap_period or "day", zone)
    start = datetime.combine(period, time(), zone)
    if capped.cap_event == "click":
        n = await _clicks(tx, capped.team_id, offer_id, start=start, report_zone=report_zone)
    else:
        n = await _conversions(tx, capped.team_id, offer_id, start=start, event=capped.cap_event)
    statement = upsert(cap_counts).values(offer_id=offer_id, event=capped.cap_event, period=period, n=n)
    key = ["offer_id", "event", "period"]
    await tx.execute(statement.on_conflict_do_update(index_elements=key, set_={"n": n}))


async def recount_account(tx: AsyncConnection, account_id: int, at: datetime, report_zone: ZoneInfo) -> None:
    """The same for all capped offers of an account whose time zone has changed: their periods begin elsewhere now."""
    query = select(offers.c.id).where(offers.c.account_id == account_id, offers.c.cap.is_not(None))
    for offer_id in list((await tx.execute(query)).scalars()):
        await recount(tx, offer_id, at, report_zone)


async def _conversions(tx: AsyncConnection, team_id: int, offer_id: int, *, start: datetime, event: str) -> int:
    c = conversions.c
    counted = c.is_ftd if event == "first_deposit" else c.event == event
    mine = c.team_id == team_id, c.offer_id == offer_id, c.day >= start.date() - timedelta(days=1)
    query = select(func.count()).where(*mine, counted, c.status != "reversed", c.occurred_at >= start)
    return int((await tx.execute(query)).scalar_one())


async def _clicks(tx: AsyncConnection, team_id: int, offer_id: int, *, start: datetime, report_zone: ZoneInfo) -> int:
    """People sent to an offer: by roll-up, and raw for the part of an hour that a period of another zone begins with.

    A click that a site's visitor took on to the offer is in the roll-up twice, as a click and as an outgoing one.
    """
    local = start.astimezone(report_zone)
    hour = (local.date() - EPOCH_DAY).days * 24 + local.hour + bool(local.minute)
    r, c, o = click_rollup.c, clicks.c, outgoing.c
    from_campaigns = func.sum(case((r.campaign_id != 0, r.outgoing), else_=0))
    rolled = select(func.sum(r.clicks) + from_campaigns).where(
        r.team_id == team_id, r.offer_id == offer_id, r.hour >= hour
    )
    since = first_id_at(start)
    twice = (
        select(func.count(o.click_id.distinct()))
        .join(clicks, c.id == o.click_id)
        .where(o.id >= since, c.id >= since, o.offer_id == offer_id, c.offer_id == offer_id, o.bot == 0, c.bot == 0)
        .where(c.campaign_id != 0)
    )
    n = int((await tx.execute(rolled)).scalar_one() or 0) - int((await tx.execute(twice)).scalar_one())
    if local.minute:
        n += await _in_part(tx, offer_id, since, first_id_at(start + timedelta(minutes=60 - local.minute)))
    return n


async def _in_part(tx: AsyncConnection, offer_id: int, since: int, until: int) -> int:
    """People sent to an offer by clicks with ids in a range."""
    total = 0
    for table in (clicks, outgoing):
        of_people = table.c.offer_id == offer_id, table.c.bot == 0, table.c.id >= since, table.c.id < until
        # A click straight from a site has no outgoing row, one of a campaign's visitor has.
        result = await tx.execute(select(func.count()).select_from(table).where(*of_people))
        total += int(result.scalar_one())
    return total


async def _cap(tx: AsyncConnection, offer_id: int) -> Any:
    columns = offers.c.team_id, offers.c.cap, offers.c.cap_event, offers.c.cap_period, accounts.c.timezone
    statement = select(*columns)
    joined = statement.join_from(offers, accounts, offers.c.account_id == accounts.c.id)
    return (await tx.execute(joined.where(offers.c.id == offer_id, offers.c.cap.is_not(None)))).one_or_none()
