"""Days that moved are merged again, whole: touch marks read first, cells recomputed, marks deleted last."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import date
from functools import partial
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Insert, Integer, Select, Table, bindparam, delete, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.bulk_sql import PlainStatement
from storage.db.engine import Database
from storage.db.read_only import here_or_in_helper, read_only
from storage.db.touch_marks import days_being_written
from storage.ledger.reports.attribution import Catalogue
from storage.ledger.reports.merge import DayFacts, merge_day
from storage.ledger.reports.report_pages import version_of
from storage.reports.day_facts import FEW_FACTS, catalogue, facts_of_days, has_few_facts
from storage.reports.facts_query import FactsQuery
from storage.tables import accounts, conversions, merged, offers, touched
from storage.tables.types import days as days_since_epoch

#: Days merged in one transaction: a long backfill must not hold up clicks.
BATCH = 8

_encoder = msgspec.json.Encoder()


class Merged(msgspec.Struct, frozen=True, kw_only=True):
    """A day merged again, and what was read for it: its marks, the accounts and offers with conversions."""

    team_id: int
    day: date
    marks: list[int]
    cells: bytes
    version: int
    accounts: frozenset[int]
    offers: frozenset[int]


class MergeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Touched days to merge: how many, and which not."""

    timezone: str
    limit: int = BATCH
    skip: tuple[tuple[int, date], ...] = ()  # team and day of days that are merged later


MergeInHelper = Callable[[MergeRequest], Awaitable[list[Merged] | None]]
"""Merges touched days beside the event loop; None where that cannot be done."""


async def settle_all(database: Database, zone: ZoneInfo, *, in_helper: MergeInHelper | None = None) -> int:
    """Merge every touched day of every team; returns how many there were.

    Merging reads a snapshot and only the outcome is written under the lock, a day at a time, so that clicks need not
    wait; days of many facts are merged by `in_helper`.
    """
    count = 0
    request = MergeRequest(timezone=zone.key)
    while merged_days := await _merged_now(
        database, msgspec.structs.replace(request, skip=days_being_written()), in_helper
    ):
        for day in merged_days:
            await database.run(partial(_store, merged_days=[day]))
        count += len(merged_days)
    return count


async def _merged_now(database: Database, request: MergeRequest, in_helper: MergeInHelper | None) -> list[Merged]:
    if not await database.look(_any_touched):
        return []
    return await here_or_in_helper(database, request, in_helper, is_light=_is_light, here=merge_touched)


async def merge_read_only(url: str, request: MergeRequest) -> list[Merged]:
    """Touched days of a database merged, and nothing written: for the helper process."""
    async with read_only(url) as tx:
        return await merge_touched(tx, request)


async def merge_touched(tx: AsyncConnection, request: MergeRequest) -> list[Merged]:
    """Touched days merged, the latest first."""
    return await _load_touched(tx, ZoneInfo(request.timezone), request.limit, request.skip)


async def _any_touched(tx: AsyncConnection) -> bool:
    return (await tx.execute(select(touched.c.id).limit(1))).first() is not None


async def _is_light(tx: AsyncConnection, request: MergeRequest) -> bool:
    """Whether the next touched days have few facts."""
    days: dict[int, list[date]] = {}
    for row in await tx.execute(_next_days(request.limit, request.skip)):
        days.setdefault(row.team_id, []).append(row.day)
    return all([await has_few_facts(tx, team_id, of_team) for team_id, of_team in days.items()])


def _next_days(limit: int, skip: Collection[tuple[int, date]]) -> Select[tuple[int, date]]:
    t = touched.c
    query = select(t.team_id, t.day).distinct().order_by(t.day.desc()).limit(limit)
    return query.where(tuple_(t.team_id, t.day).not_in(skip)) if skip else query


async def settle(tx: AsyncConnection, zone: ZoneInfo, *, limit: int = BATCH) -> int:
    """Merge up to `limit` touched days within one transaction; returns how many were."""
    merged_days = await _load_touched(tx, zone, limit)
    await _store(tx, merged_days)
    return len(merged_days)


async def _load_touched(
    tx: AsyncConnection, zone: ZoneInfo, limit: int, skip: Collection[tuple[int, date]] = ()
) -> list[Merged]:
    """Read the marks first, then the facts: what is committed in between leaves a mark of its own."""
    days_of_teams: dict[int, list[date]] = {}
    for row in (await tx.execute(_next_days(limit, skip))).all():
        days_of_teams.setdefault(row.team_id, []).append(row.day)
    merged_days: list[Merged] = []
    for team_id, days in days_of_teams.items():
        merged_days += await _merge(tx, team_id, days, zone)
    return sorted(merged_days, key=lambda merged_day: merged_day.day, reverse=True)


async def _merge(tx: AsyncConnection, team_id: int, days: list[date], zone: ZoneInfo) -> list[Merged]:
    t, c = touched.c, conversions.c
    marks: dict[date, list[int]] = {day: [] for day in days}
    for mark in await tx.execute(select(t.id, t.day).where(t.team_id == team_id, t.day.in_(days))):
        marks[mark.day].append(mark.id)
    measured: dict[date, set[tuple[int, int]]] = {day: set() for day in days}
    converted = c.team_id == team_id, c.day.in_(days), c.account_id.is_not(None)
    for row in await tx.execute(select(c.day, c.account_id, c.offer_id).where(*converted).distinct()):
        measured[row.day].add((row.account_id, row.offer_id))
    named, merged_days = await catalogue(tx, team_id), []
    async for facts in facts_of_days(tx, FactsQuery(team_id=team_id, zone=zone), days):
        if len(facts.revenue) < FEW_FACTS:
            encoded = _merged_cells(facts, named)
        else:
            encoded = await asyncio.to_thread(_merged_cells, facts, named)
        merged_day = Merged(
            team_id=team_id, day=facts.day, marks=marks[facts.day], cells=encoded, version=version_of(encoded),
            accounts=frozenset(account_id for account_id, _ in measured[facts.day]),
            offers=frozenset(offer_id for _, offer_id in measured[facts.day]),
        )  # fmt: skip
        merged_days.append(merged_day)
    return merged_days


def _merged_cells(facts: DayFacts, named: Catalogue) -> bytes:
    return _encoder.encode(merge_day(facts, named))


async def _store(tx: AsyncConnection, merged_days: list[Merged]) -> None:
    """Write merged days; of the marks only those that had been read are deleted."""
    for day in merged_days:
        values = {"cells": day.cells, "version": day.version}
        await _KEEP.run(tx, [{"of_team": day.team_id, "of_day": days_since_epoch(day.day), **values}])
        await _note_postbacks(tx, accounts, day.accounts, day.day)
        await _note_postbacks(tx, offers, day.offers, day.day)
        await _FORGET.run(tx, [{"key": mark} for mark in day.marks])


def _keep() -> Insert:
    """A day's cells, in place of those that were merged before."""
    insertion = upsert(merged).values(
        team_id=bindparam("of_team"), day=bindparam("of_day", type_=Integer), cells=bindparam("cells"),
        version=bindparam("version"),
    )  # fmt: skip
    new = {name: insertion.excluded[name] for name in ("cells", "version")}
    return insertion.on_conflict_do_update(index_elements=["team_id", "day"], set_=new)


_KEEP = PlainStatement(_keep())
_FORGET = PlainStatement(delete(touched).where(touched.c.id == bindparam("key")))


async def _note_postbacks(tx: AsyncConnection, table: Table, ids: Collection[int], day: date) -> None:
    """Remember since which report day accounts or offers are measured by postbacks."""
    if not ids:
        return
    t = table.c
    later = t.id.in_(ids), or_(t.postbacks_since.is_(None), t.postbacks_since > day)
    if (await tx.execute(select(t.id).where(*later))).first():
        await tx.execute(update(table).where(*later).values(postbacks_since=day))
