"""Costs a source's API tells by its own campaigns, placed on ours by the clicks that carried those campaigns' ids."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Protocol

import msgspec
from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.json_column import change_keys
from storage.ledger.reports.allocate import split
from storage.reports import spend
from storage.reports.spend import Cost
from storage.tables import clicks, sources
from storage.tables.types import EPOCH_DAY

RESTATED_DAYS = 5
EVERY = timedelta(hours=6)


class SourceCost(Protocol):
    """What a source said: connectors.sources.costs.CostRow."""

    @property
    def day(self) -> date: ...
    @property
    def campaign(self) -> str: ...
    @property
    def amount(self) -> int: ...
    @property
    def currency(self) -> str: ...


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """How many costs changed, and the source's campaigns (`day campaign`) whose spend matches no click of ours."""

    changed: int
    unmatched: tuple[str, ...]


async def due(tx: AsyncConnection, presets: Sequence[str], now: datetime) -> Sequence[Row[Any]]:
    """Sources of those presets whose costs were not read in the last hours."""
    rows = await tx.execute(
        select(sources).where(sources.c.preset.in_(presets), sources.c.credentials_secret.is_not(None))
    )
    return [row for row in rows if _next(row) <= now]


def _next(row: Row[Any]) -> datetime:
    last = (row.options.get("costs") or {}).get("at")
    return datetime.fromisoformat(last) + EVERY if last else datetime.min.replace(tzinfo=row.created_at.tzinfo)


async def record(
    tx: AsyncConnection, source: Row[Any], rows: Sequence[SourceCost], *, sub: str, now: datetime
) -> Imported:
    """Split each cost over our campaigns by their human clicks of that day, and store what differs."""
    unmatched: list[str] = []
    sums: dict[tuple[int, date, str], int] = {}
    for row in rows:
        weights = await _clicks(tx, source, row, sub)
        if not weights and row.amount:
            unmatched.append(f"{row.day} {row.campaign}")
        parts = split(row.amount, list(weights.values())) if weights else []
        for campaign_id, part in zip(weights, parts, strict=True):
            key = (campaign_id, row.day, row.currency)
            sums[key] = sums.get(key, 0) + part
    costs = [
        Cost(campaign_id=campaign_id, day=day, amount=amount, currency=currency, origin=source.preset)
        for (campaign_id, day, currency), amount in sums.items()
    ]
    changed = await spend.record(tx, source.team_id, costs, now)
    await note(tx, source.id, {"at": now.isoformat(), "unmatched": unmatched[:50], "error": None})
    return Imported(changed=changed, unmatched=tuple(unmatched))


async def note(tx: AsyncConnection, source_id: int, outcome: Mapping[str, Any]) -> None:
    """Keep with the source what the last reading of its costs came to; its other options stay as they are by now."""
    query = select(sources.c.options).where(sources.c.id == source_id).with_for_update()
    options = (await tx.execute(query)).scalar_one_or_none() or {}
    costs = {**(options.get("costs") or {}), **outcome}
    await change_keys(tx, sources.c.options, source_id, before={}, after={"costs": costs})


async def _clicks(tx: AsyncConnection, source: Row[Any], row: SourceCost, sub: str) -> dict[int, int]:
    """Human clicks of that day that carried the source's campaign id, by our campaign."""
    first = (row.day - EPOCH_DAY).days * 24
    query = (
        select(clicks.c.campaign_id, func.count())
        .where(
            clicks.c.team_id == source.team_id,
            clicks.c.source_id == source.id,
            clicks.c.hour.between(first, first + 23),
            clicks.c[sub] == row.campaign,
            clicks.c.bot == 0,
        )
        .group_by(clicks.c.campaign_id)
    )
    return {campaign_id: int(n) for campaign_id, n in await tx.execute(query.order_by(clicks.c.campaign_id))}
