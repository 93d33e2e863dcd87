"""Costs a source's API reports by its own campaigns, placed on ours: by the clicks that carried those campaigns' ids or
names, else by the name."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Protocol

import msgspec
from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.json_column import change_keys
from storage.ledger.errors import ConnectorError
from storage.ledger.money import units
from storage.ledger.reports.allocate import split
from storage.reports import spend
from storage.reports.spend import Cost
from storage.tables import campaigns, clicks, sources
from storage.tables.types import days

EVERY = timedelta(hours=1)
ALL_DAYS_EVERY = timedelta(days=1)
LATEST_DAYS = 3  # read each time; those before once a day, as far as the source restates
_KEPT = 500  # pairs of campaigns, and unmatched ones, kept with a source


class SourceCost(Protocol):
    """What a source said: connectors.sources.costs.report.CostRow."""

    @property
    def day(self) -> date: ...
    @property
    def campaign(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def amount(self) -> int: ...
    @property
    def currency(self) -> str: ...


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """Costs of our campaigns; what the source's campaigns cost that match none of ours, by name and currency; and by
    which of ours theirs were seen last, with the clicks."""

    costs: list[Cost]
    unmatched: dict[tuple[str, str], int]
    pairs: dict[str, dict[str, int]]


async def due(tx: AsyncConnection, presets: Sequence[str], now: datetime) -> Sequence[Row[Any]]:
    """Sources of those presets, with settings, whose costs were not read in the last hour."""
    query = select(sources).where(
        sources.c.preset.in_(presets), sources.c.credentials_secret.is_not(None), sources.c.archived_from.is_(None)
    )
    return [row for row in await tx.execute(query) if _passed(row, "at", EVERY, now)]


def first_day(source: Row[Any], today: date, restated: int, now: datetime) -> date:
    """From which day to read: the latest ones, and once a day all that the source may restate."""
    deep = _passed(source, "all_days_at", ALL_DAYS_EVERY, now)
    return today - timedelta(days=(restated if deep else LATEST_DAYS) - 1)


def _passed(source: Row[Any], key: str, interval: timedelta, now: datetime) -> bool:
    last = (source.options.get("costs") or {}).get(key)
    return last is None or datetime.fromisoformat(last) + interval <= now


async def place(
    tx: AsyncConnection, source: Row[Any], rows: Sequence[SourceCost], *, sub: str, first: date, last: date
) -> Placed:
    """Split each cost over our campaigns by their human clicks of that day that carried the source's campaign; without
    such clicks as it was seen last, else to the campaign of that name.

    Stored costs of these days that are no longer reported become 0. Raises ConnectorError where nothing is reported of
    days that have costs.
    """
    seen = await _clicks(tx, source, sub, first, last)
    pairs = _latest_pairs(source, seen)
    ours = (await tx.execute(
        select(campaigns.c.id, campaigns.c.code, campaigns.c.name).where(campaigns.c.source_id == source.id)
    )).all()  # fmt: skip
    unmatched: dict[tuple[str, str], int] = {}
    sums: dict[tuple[int, date, str], int] = {}
    for row in rows:
        weights = _weights(row, seen, pairs) or _named(row, ours)
        if not weights:
            key = (f"{row.name} ({row.campaign})" if row.name else row.campaign, row.currency)
            unmatched[key] = unmatched.get(key, 0) + row.amount
            continue
        for campaign_id, part in zip(weights, split(row.amount, list(weights.values())), strict=True):
            cell = (campaign_id, row.day, row.currency)
            sums[cell] = sums.get(cell, 0) + part
    costs = [
        Cost(campaign_id=campaign_id, day=day, amount=amount, currency=currency, origin=source.preset)
        for (campaign_id, day, currency), amount in sums.items()
    ]
    standing = await spend.standing_between(tx, [row.id for row in ours], source.preset, first, last)
    if standing and not rows:
        raise ConnectorError(f"nothing is reported for {first} to {last}, where costs are stored: they are kept")
    costed = {(cost.campaign_id, cost.day) for cost in costs}
    costs += [
        msgspec.structs.replace(cost, amount=0) for cost in standing if (cost.campaign_id, cost.day) not in costed
    ]
    named = {theirs for row in rows for theirs in (row.campaign, row.name)}
    kept = {theirs: weights for theirs, weights in pairs.items() if theirs in named}
    return Placed(costs=costs, unmatched={key: amount for key, amount in unmatched.items() if amount}, pairs=kept)


def _latest_pairs(
    source: Row[Any], seen: Mapping[tuple[date, str], Mapping[int, int]]
) -> dict[str, dict[str, int]]:  # fmt: skip
    """The source's campaigns, each with the clicks of ours that carried it: seen now, else before."""
    pairs = {theirs: dict(ours) for theirs, ours in ((source.options.get("costs") or {}).get("pairs") or {}).items()}
    for _, theirs in seen:
        pairs[theirs] = {}
    for (_, theirs), weights in seen.items():
        for campaign_id, count in weights.items():
            pairs[theirs][str(campaign_id)] = pairs[theirs].get(str(campaign_id), 0) + count
    return pairs


def _weights(
    row: SourceCost, seen: Mapping[tuple[date, str], Mapping[int, int]], pairs: Mapping[str, Mapping[str, int]]
) -> dict[int, int]:
    """Clicks of our campaigns that carried the source's campaign: that day's, else the latest known ones."""
    theirs = [text for text in (row.campaign, row.name) if text]
    for text in theirs:
        if weights := seen.get((row.day, text)):
            return dict(weights)
    for text in theirs:
        if known := pairs.get(text):
            return {int(campaign_id): count for campaign_id, count in known.items()}
    return {}


def _named(row: SourceCost, ours: Iterable[Any]) -> dict[int, int]:
    """The one campaign that is called as theirs is, or whose code is a word of its name."""
    words = {row.name.strip().lower(), row.campaign.lower()} - {""}
    for names in (words, set(re.split(r"[^\w-]+", row.name.lower())) - {""}):
        matches = [own.id for own in ours if {own.name.lower(), own.code} & names]
        if len(matches) == 1:
            return {matches[0]: 1}
    return {}


async def _clicks(
    tx: AsyncConnection, source: Row[Any], sub: str, first: date, last: date
) -> dict[tuple[date, str], dict[int, int]]:
    """Human clicks of the source by day and the value of `sub`, for each of our campaigns."""
    column, day = clicks.c[sub], clicks.c.hour // 24
    query = (
        select(day.label("day"), column.label("theirs"), clicks.c.campaign_id, func.count().label("n"))
        .where(
            clicks.c.team_id == source.team_id, clicks.c.source_id == source.id, clicks.c.bot == 0,
            clicks.c.hour.between(days(first) * 24, days(last) * 24 + 23), column.is_not(None),
        )
        .group_by(day, column, clicks.c.campaign_id).order_by(clicks.c.campaign_id)
    )  # fmt: skip
    seen: dict[tuple[date, str], dict[int, int]] = {}
    for row in await tx.execute(query):
        seen.setdefault((first + timedelta(days=row.day - days(first)), row.theirs), {})[row.campaign_id] = int(row.n)
    return seen


async def record(
    tx: AsyncConnection, source: Row[Any], placed: Placed, *, now: datetime, all_days: bool, zone: str = ""
) -> int:
    """Store what differs, and with the source what matched nothing; returns how many costs changed. `zone`: whose days
    they are, where it is not the reports'."""
    changed = await spend.record(tx, source.team_id, placed.costs, now)
    largest = sorted(placed.unmatched.items(), key=lambda item: -item[1])[:_KEPT]
    unmatched = [f"{theirs} {units(amount):,.2f} {currency}" for (theirs, currency), amount in largest]
    outcome: dict[str, Any] = {
        "at": now.isoformat(), "error": None, "unmatched": unmatched, "zone": zone,
        "pairs": dict(list(placed.pairs.items())[:_KEPT]),
    }  # fmt: skip
    await note(tx, source.id, outcome | ({"all_days_at": now.isoformat()} if all_days else {}))
    return changed


async def note(tx: AsyncConnection, source_id: int, outcome: Mapping[str, Any]) -> None:
    """Keep with the source what the last reading of its costs came to; its other options stay as they are by now."""
    query = select(sources.c.options).where(sources.c.id == source_id).with_for_update()
    options = (await tx.execute(query)).scalar_one_or_none() or {}
    costs = {**(options.get("costs") or {}), **outcome}
    await change_keys(tx, sources.c.options, source_id, before={}, after={"costs": costs})
