"""Revenue rows against a report's: what stands, what differs, and how a difference is written."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from itertools import chain
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.bulk_sql import NO_NUMBER, BulkTable, nullable
from storage.ledger.facts import RevenueRow
from storage.ledger.revenue.sanity import LIMIT, Key, Values, check_sizes, values_of
from storage.tables import MEASURES, revenue, revenue_revisions, touched
from storage.tables.types import days, micros

#: Rows written without another turn of the event loop: they take some milliseconds, and clicks wait for no longer.
BATCH = 200

_REVENUE = BulkTable(revenue, ("day", "tag", "tag_key", "tag_name", "sub", "part", "currency", *MEASURES))
_REVISIONS = BulkTable(revenue_revisions, ("revenue_id", "day", *MEASURES, "withdrawn"))
_MARKS = BulkTable(touched, ("day",))


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Whose report it is, and when it was fetched."""

    team_id: int
    account_id: int
    run_id: int | None
    now: datetime


class StoredRow(msgspec.Struct, gc=False):
    """A row as it stands."""

    id: int
    values: Values
    withdrawn: bool
    tag_name: str


NewRow = tuple[Any, ...]
"""A row that no earlier report had, in the order of `_REVENUE`'s columns and as it lies on disk."""


class RestatedRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A stored row's new figures: zeros of one that is withdrawn."""

    id: int
    day: int
    values: Values
    withdrawn: bool


class RenamedTag(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A stored row whose tag is called otherwise now."""

    id: int
    day: int
    name: str


class Changes(msgspec.Struct, frozen=True, array_like=True):
    """What a report says otherwise: new rows, figures that changed or are gone, tags renamed."""

    new: list[NewRow]
    restated: list[RestatedRow]
    renamed: list[RenamedTag]


async def standing(tx: AsyncConnection, account_id: int, first: date, last: date) -> dict[Key, StoredRow]:
    """The account's rows of some days."""
    r = revenue.c
    query = select(
        r.day, r.tag_key, r.sub, r.part, r.currency, r.id, r.withdrawn, r.tag_name, *(r[name] for name in MEASURES)
    ).where(r.account_id == account_id, r.day.between(first, last))
    return {
        (row[0], row[1], row[2], row[3], row[4]): StoredRow(row[5], tuple(row[8:]), row[6], row[7])
        for row in await tx.execute(query)
    }


async def has_figures(tx: AsyncConnection, account_id: int, first: date, last: date) -> bool:
    """Whether the account has any row of those days."""
    r = revenue.c
    query = select(r.id).where(r.account_id == account_id, r.day.between(first, last)).limit(1)
    return (await tx.execute(query)).first() is not None


def differences(rows: Mapping[Key, RevenueRow], stored: Mapping[Key, StoredRow]) -> Changes:
    """What the report's rows say otherwise than those that stand. Raises ConnectorError for figures too large."""
    changes, figures_changed = Changes([], [], []), list[Values]()
    numbers_of_days = {day: days(day) for day in {key[0] for key in rows}}
    for key, row in rows.items():
        before, values = stored.get(key), values_of(row.figures)
        if before is None:
            figures_changed.append(values)
            day, tag_key, sub, part, currency = key
            numbers = [NO_NUMBER if value is None else value for value in values]
            changes.new.append((numbers_of_days[day], row.tag, tag_key, row.tag_name, sub, part, currency, *numbers))
            continue
        if values != before.values:
            figures_changed.append(values)
            changes.restated.append(RestatedRow(before.id, days(key[0]), values, False))
        if row.tag_name != before.tag_name:
            changes.renamed.append(RenamedTag(before.id, days(key[0]), row.tag_name))
    for key, stored_row in stored.items():
        if key not in rows and not stored_row.withdrawn and any(stored_row.values):
            zeros = tuple(None if value is None else 0 for value in stored_row.values)
            changes.restated.append(RestatedRow(stored_row.id, days(key[0]), zeros, True))
    if max(map(abs, filter(None, chain.from_iterable(figures_changed))), default=0) >= LIMIT:
        check_sizes(rows.values())
    changes.new.sort(key=_index_order)
    return changes


_index_order = itemgetter(0, 2, 4, 5)  # day, tag_key, sub, part: rows next to each other there are written together


def batches(changes: Changes) -> Iterator[Changes]:
    """The changes in parts of at most BATCH rows."""
    for start in range(0, len(changes.new), BATCH):
        yield Changes(changes.new[start : start + BATCH], [], [])
    for start in range(0, len(changes.restated), BATCH):
        yield Changes([], changes.restated[start : start + BATCH], [])
    for start in range(0, len(changes.renamed), BATCH):
        yield Changes([], [], changes.renamed[start : start + BATCH])


async def write(tx: AsyncConnection, of: Origin, changes: Changes, *, report_id: int) -> None:
    """Write what differs, a revision for each figure restated, and mark the days as moved."""
    stamp = {"team_id": of.team_id, "recorded_at": micros(of.now), "report_id": report_id}
    moved: set[int] = {row[0] for row in changes.new}
    moved |= {row.day for row in changes.restated} | {row.day for row in changes.renamed}
    await _MARKS.append(tx, [(day,) for day in sorted(moved)], {"team_id": of.team_id})
    if changes.new:
        await _REVENUE.append(tx, changes.new, {**stamp, "account_id": of.account_id, "withdrawn": False})
    if changes.restated:
        await _keep_first_figures(tx, [row.id for row in changes.restated])
        await _restate(tx, changes.restated, {"recorded_at": of.now, "report_id": report_id})
        await _REVISIONS.append(tx, [
            (row.id, row.day, *map(nullable, row.values), row.withdrawn) for row in changes.restated
        ], stamp)  # fmt: skip
    for renamed in changes.renamed:
        await tx.execute(update(revenue).where(revenue.c.id == renamed.id).values(tag_name=renamed.name))


async def _keep_first_figures(tx: AsyncConnection, ids: list[int]) -> None:
    """The figures that rows came with, kept as a revision before the first restatement takes their place."""
    names = ("team_id", "day", *MEASURES, "withdrawn", "recorded_at", "report_id")
    restated_before = select(revenue_revisions.c.id).where(revenue_revisions.c.revenue_id == revenue.c.id).exists()
    first = select(revenue.c.id, *(revenue.c[name] for name in names)).where(revenue.c.id.in_(ids), ~restated_before)
    await tx.execute(insert(revenue_revisions).from_select(["revenue_id", *names], first))


_RESTATED: dict[str, Any] = {
    name: bindparam(f"new_{name}") for name in (*MEASURES, "withdrawn", "recorded_at", "report_id")
}
_RESTATE = update(revenue).where(revenue.c.id == bindparam("key")).values(_RESTATED)


async def _restate(tx: AsyncConnection, rows: list[RestatedRow], stamp: dict[str, Any]) -> None:
    stamped = {f"new_{name}": value for name, value in stamp.items()}
    names = [f"new_{name}" for name in MEASURES]
    await tx.execute(_RESTATE, [
        {"key": row.id, "new_withdrawn": row.withdrawn, **dict(zip(names, row.values, strict=True)), **stamped}
        for row in rows
    ])  # fmt: skip
