"""Revenue rows against a report's: what stands, what differs, and how a difference is written."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.bulk_sql import BulkTable, nullable
from storage.db.touch_marks import touch
from storage.ledger.facts import RevenueRow
from storage.ledger.revenue.sanity import Key, Values, check_size, values_of
from storage.tables import MEASURES, revenue, revenue_revisions
from storage.tables.types import EPOCH_DAY, days, micros

#: Rows written without another turn of the event loop: they take some milliseconds, and clicks wait for no longer.
BATCH = 100

_REVENUE = BulkTable(
    revenue,
    ("team_id", "account_id", "day", "tag", "tag_key", "tag_name", "sub", "part", "currency", *MEASURES, "withdrawn",
     "recorded_at", "report_id"),
    identity_columns=("day", "tag_key", "sub", "part", "currency"),
)  # fmt: skip
_REVISIONS = BulkTable(
    revenue_revisions, ("team_id", "revenue_id", "day", *MEASURES, "withdrawn", "recorded_at", "report_id"),
    identity_columns=("revenue_id",),
)  # fmt: skip


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


class NewRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A row that no earlier report had. `day` counts from 1970, as it lies on disk."""

    day: int
    tag: str
    tag_key: str
    tag_name: str
    sub: str
    part: str
    currency: str
    values: Values


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
    changes = Changes([], [], [])
    for key, row in rows.items():
        before, values = stored.get(key), values_of(row.figures)
        if before is None:
            check_size(row)
            changes.new.append(NewRow(days(key[0]), row.tag, key[1], row.tag_name, key[2], key[3], key[4], values))
            continue
        if values != before.values:
            check_size(row)
            changes.restated.append(RestatedRow(before.id, days(key[0]), values, False))
        if row.tag_name != before.tag_name:
            changes.renamed.append(RenamedTag(before.id, days(key[0]), row.tag_name))
    for key, stored_row in stored.items():
        if key not in rows and not stored_row.withdrawn and any(stored_row.values):
            zeros = tuple(None if value is None else 0 for value in stored_row.values)
            changes.restated.append(RestatedRow(stored_row.id, days(key[0]), zeros, True))
    changes.new.sort(key=_index_order)
    return changes


def _index_order(row: NewRow) -> tuple[int, str, str, str]:
    """Rows next to each other in the index are written together."""
    return row.day, row.tag_key, row.sub, row.part


def batches(changes: Changes) -> Iterator[Changes]:
    """The changes in parts of at most BATCH rows."""
    for start in range(0, len(changes.new), BATCH):
        yield Changes(changes.new[start : start + BATCH], [], [])
    for start in range(0, len(changes.restated), BATCH):
        yield Changes([], changes.restated[start : start + BATCH], [])
    for start in range(0, len(changes.renamed), BATCH):
        yield Changes([], [], changes.renamed[start : start + BATCH])


async def write(tx: AsyncConnection, of: Origin, changes: Changes, *, report_id: int, marked: set[int]) -> None:
    """Write what differs, a revision for each figure, and mark the days as moved.

    `marked` holds the days that this transaction has marked, and takes the others.
    """
    now = micros(of.now)
    moved = {row.day for rows in (changes.new, changes.restated, changes.renamed) for row in rows} - marked
    if moved:
        await touch(tx, of.team_id, [EPOCH_DAY + timedelta(days=day) for day in moved])
        marked |= moved
    if changes.new:
        measured = [tuple(map(nullable, row.values)) for row in changes.new]
        ids = await _REVENUE.insert(tx, [
            (of.team_id, of.account_id, row.day, row.tag, row.tag_key, row.tag_name, row.sub, row.part, row.currency,
             *values, False, now, report_id)
            for row, values in zip(changes.new, measured, strict=True)
        ])  # fmt: skip
        await _REVISIONS.append(tx, [
            (of.team_id, number, row.day, *values, False, now, report_id)
            for number, row, values in zip(ids, changes.new, measured, strict=True)
        ])  # fmt: skip
    if changes.restated:
        await _restate(tx, changes.restated, {"recorded_at": of.now, "report_id": report_id})
        await _REVISIONS.append(tx, [
            (of.team_id, row.id, row.day, *map(nullable, row.values), row.withdrawn, now, report_id)
            for row in changes.restated
        ])  # fmt: skip
    for renamed in changes.renamed:
        await tx.execute(update(revenue).where(revenue.c.id == renamed.id).values(tag_name=renamed.name))


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
