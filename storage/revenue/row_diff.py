"""Revenue rows against a report's: what stands, what differs, and how a difference is written."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import Dialect, bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.bulk_sql import Compiled
from storage.db.touch_marks import touch
from storage.ledger.facts import RevenueRow
from storage.ledger.revenue.sanity import Key, Values, check_size, values_of
from storage.tables import MEASURES, revenue, revenue_revisions
from storage.tables.types import EPOCH_DAY, micros

_CHUNK = 5_000


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


class Changes(msgspec.Struct, frozen=True):
    """What a report says otherwise: new rows, figures that changed or are gone (by the row's id), tags renamed."""

    fresh: dict[Key, RevenueRow]
    changed: dict[int, Values]
    gone: dict[int, Values]
    renamed: dict[int, str]
    days: set[date]

    @property
    def restated(self) -> int:
        return len(self.changed) + len(self.gone)


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


async def stands_at_all(tx: AsyncConnection, account_id: int, first: date, last: date) -> bool:
    """Whether the account has any row of those days."""
    r = revenue.c
    query = select(r.id).where(r.account_id == account_id, r.day.between(first, last)).limit(1)
    return (await tx.execute(query)).first() is not None


def differences(rows: Mapping[Key, RevenueRow], stood: Mapping[Key, StoredRow]) -> Changes:
    """What the report's rows say otherwise than those that stand. Raises ConnectorError for figures too large."""
    found = Changes({}, {}, {}, {}, set())
    for key, row in rows.items():
        before = stood.get(key)
        if before is None:
            check_size(row)
            found.fresh[key] = row
            found.days.add(key[0])
            continue
        values = values_of(row.figures)
        if values != before.values:
            check_size(row)
            found.changed[before.id] = values
            found.days.add(key[0])
        if row.tag_name != before.tag_name:
            found.renamed[before.id] = row.tag_name
            found.days.add(key[0])
    for key, held in stood.items():
        if key not in rows and not held.withdrawn and any(held.values):
            found.gone[held.id] = tuple(None if value is None else 0 for value in held.values)
            found.days.add(key[0])
    return found


async def write(tx: AsyncConnection, of: Origin, changes: Changes, *, report_id: int) -> None:
    """Write what differs, a revision for each figure, and mark the days as moved."""
    stamp = {"recorded_at": of.now, "report_id": report_id}
    if changes.fresh:
        await _insert(tx, of, changes.fresh, report_id)
    await _update(tx, changes.changed, stamp, withdrawn=False)
    await _update(tx, changes.gone, stamp, withdrawn=True)
    if changes.fresh or changes.restated:
        await _revise(tx, of, sorted(changes.days), report_id)
    for row_id, name in changes.renamed.items():
        await tx.execute(update(revenue).where(revenue.c.id == row_id).values(tag_name=name))
    await touch(tx, of.team_id, changes.days)


@lru_cache(maxsize=4)
def _inserted(dialect: Dialect) -> str:
    """The insert for the driver itself, values in the table's order: SQLAlchemy's own way takes as long as SQLite."""
    return Compiled(insert(revenue).inline(), dialect, [one.name for one in revenue.columns if one.name != "id"]).text


async def _insert(tx: AsyncConnection, of: Origin, fresh: Mapping[Key, RevenueRow], report_id: int) -> None:
    statement, now, rows = _inserted(tx.dialect), micros(of.now), iter(fresh.items())
    while part := [
        (of.team_id, of.account_id, (key[0] - EPOCH_DAY).days, row.tag, key[1], row.tag_name, *key[2:],
         *values_of(row.figures), False, now, report_id)
        for key, row in islice(rows, _CHUNK)
    ]:  # fmt: skip
        await tx.exec_driver_sql(statement, part)


async def _update(
    tx: AsyncConnection, changes: Mapping[int, Values], stamp: dict[str, Any], *, withdrawn: bool
) -> None:
    if not changes:
        return
    statement = (
        update(revenue)
        .where(revenue.c.id == bindparam("key"))
        .values({name: bindparam(f"new_{name}") for name in MEASURES} | stamp | {"withdrawn": withdrawn})
    )
    new = [f"new_{name}" for name in MEASURES]
    await tx.execute(
        statement, [{"key": key, **dict(zip(new, values, strict=True))} for key, values in changes.items()]
    )


async def _revise(tx: AsyncConnection, of: Origin, days: Sequence[date], report_id: int) -> None:
    """Copy what the report wrote of these days to the revisions."""
    r = revenue.c
    names = ("team_id", "day", *MEASURES, "withdrawn", "recorded_at", "report_id")
    wrote = select(r.id, *(r[name] for name in names)).where(
        r.account_id == of.account_id, r.day.between(days[0], days[-1]), r.report_id == report_id
    )
    await tx.execute(insert(revenue_revisions).from_select(["revenue_id", *names], wrote.order_by(r.id)))
