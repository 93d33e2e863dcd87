"""What traffic cost, per campaign and day: the last upload of an origin stands, earlier ones are kept."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta

import msgspec
from sqlalchemy import ColumnElement, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.postbacks.conversion_rows import touch
from storage.tables import click_rollup, spend
from storage.tables.types import days

_CHUNK = 500


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of one campaign's traffic on one report day, in micro-units. `origin`: manual, csv, or an API's name."""

    campaign_id: int
    day: date
    amount: int
    currency: str
    origin: str = "manual"


async def record(tx: AsyncConnection, team_id: int, costs: Sequence[Cost], now: datetime) -> int:
    """Store costs that differ from what stands; returns how many did. The same again changes nothing."""
    stored = await _stored(tx, costs)
    latest = {key: before.latest for key, before in stored.items()}
    rows = []
    for cost in costs:
        key = (cost.campaign_id, cost.day, cost.origin)
        before = stored.get(key)
        if before is None or (before.amount, before.currency) != (cost.amount, cost.currency):
            # Moments of one key differ, of two uploads in one microsecond too.
            moment = max(now, latest[key] + timedelta(microseconds=1)) if key in latest else now
            latest[key] = moment
            rows.append({"team_id": team_id, "recorded_at": moment, **msgspec.structs.asdict(cost)})
    for start in range(0, len(rows), _CHUNK):
        await tx.execute(insert(spend), rows[start : start + _CHUNK])
    await touch(tx, {(team_id, row["day"]) for row in rows})
    return len(rows)


class _Stored(msgspec.Struct, frozen=True, gc=False):
    """What stands of a campaign, day and origin, and when anything was last recorded of them."""

    amount: int
    currency: str
    latest: datetime


async def _stored(tx: AsyncConnection, costs: Sequence[Cost]) -> dict[tuple[int, date, str], _Stored]:
    spend_by_key: dict[tuple[int, date, str], _Stored] = {}
    s = spend.c
    for campaign_ids, first, last in _spans(costs):
        query = select(s.campaign_id, s.day, s.origin, s.amount, s.currency, s.recorded_at).where(
            s.campaign_id.in_(campaign_ids), s.day.between(first, last), s.origin.in_({cost.origin for cost in costs})
        )
        for row in await tx.execute(query.order_by(s.id)):
            key = (row.campaign_id, row.day, row.origin)
            latest = max(row.recorded_at, spend_by_key[key].latest) if key in spend_by_key else row.recorded_at
            spend_by_key[key] = _Stored(row.amount, row.currency, latest)
    return spend_by_key


def _spans(costs: Sequence[Cost]) -> Iterator[tuple[list[int], date, date]]:
    """The campaigns of the costs, some hundred at a time, with the first and the last of all days."""
    ids = sorted({cost.campaign_id for cost in costs})
    for start in range(0, len(ids), _CHUNK):
        yield ids[start : start + _CHUNK], min(cost.day for cost in costs), max(cost.day for cost in costs)


async def standing_between(
    tx: AsyncConnection, campaign_ids: Sequence[int], origin: str, first: date, last: date
) -> list[Cost]:
    """What stands of an origin on those campaigns and days, without zeros."""
    s = spend.c
    costs: dict[tuple[int, date], Cost] = {}
    for start in range(0, len(campaign_ids), _CHUNK):
        query = select(s.campaign_id, s.day, s.amount, s.currency).where(
            s.campaign_id.in_(campaign_ids[start : start + _CHUNK]), s.day.between(first, last), s.origin == origin
        )
        for row in await tx.execute(query.order_by(s.id)):
            costs[row.campaign_id, row.day] = Cost(
                campaign_id=row.campaign_id, day=row.day, amount=row.amount, currency=row.currency, origin=origin
            )
    return [cost for cost in costs.values() if cost.amount]


async def standing(tx: AsyncConnection, cost: Cost) -> tuple[int, str] | None:
    """What the last upload of the same origin said."""
    query = select(spend.c.amount, spend.c.currency).where(*_same(cost)).order_by(spend.c.id.desc()).limit(1)
    row = (await tx.execute(query)).first()
    return (int(row.amount), row.currency) if row else None


def _same(cost: Cost) -> tuple[ColumnElement[bool], ...]:
    return spend.c.campaign_id == cost.campaign_id, spend.c.day == cost.day, spend.c.origin == cost.origin


async def days_without_clicks(tx: AsyncConnection, team_id: int, costs: Sequence[Cost]) -> list[Cost]:
    """Costs of days on which the campaign had no human click: probably another campaign's, or another day's."""
    clicked: set[tuple[int, int]] = set()
    r = click_rollup.c
    for campaign_ids, first, last in _spans(costs):
        query = select(r.campaign_id, r.hour // 24).where(
            r.team_id == team_id, r.hour.between(days(first) * 24, days(last) * 24 + 23),
            r.campaign_id.in_(campaign_ids), r.clicks > 0,
        )  # fmt: skip
        clicked |= {(row[0], row[1]) for row in await tx.execute(query.distinct())}
    return [cost for cost in costs if cost.amount and (cost.campaign_id, days(cost.day)) not in clicked]
