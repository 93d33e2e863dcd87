"""Revenue rows against a report's: what stands, what differs, and how a difference is written."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Insert, bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.bulk_sql import NO_NUMBER, BulkTable, ColumnQuery, PlainStatement, nullable
from storage.ledger.facts import RevenueRow
from storage.ledger.revenue.packed_rows import PackedRows
from storage.ledger.revenue.sanity import LIMIT, Key, Values, check_sizes, values_of
from storage.tables import MEASURES, revenue, revenue_revisions, touched
from storage.tables.types import EPOCH_DAY, days, micros


class BatchSize(NamedTuple):
    """Rows that are written without another turn of the event loop. One that is `restated` is looked for, changed, and
    kept twice in its history."""

    new: int
    restated: int


#: On SQLite a fraction of a millisecond, so that a piece of a round of clicks has several; on PostgreSQL a batch costs
#: round trips, during which clicks are written.
SQLITE_BATCH, POSTGRES_BATCH = BatchSize(50, 25), BatchSize(200, 50)

_REVISIONS = BulkTable(revenue_revisions, ("revenue_id", "day", *MEASURES, "withdrawn"))
_RESTATED = BulkTable(revenue, (*MEASURES, "withdrawn"))
_MARKS = BulkTable(touched, ("day",))


@lru_cache(maxsize=64)
def _revenue(measures: tuple[str, ...], whole: tuple[str, ...]) -> BulkTable:
    """The table for new rows that state these measures at most; those that are `whole` all of them state."""
    return BulkTable(revenue, (*_KNOWN_BY, *measures), never_null=whole)


_KNOWN_BY = ("day", "tag", "tag_key", "tag_name", "sub", "part", "currency")


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


NewRows = list[list[Any]]
"""Rows that no earlier report had by column, in the order of `_revenue`'s and as they are stored; [] for none."""


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
    """What a report says otherwise: new rows, figures that changed or are gone, tags renamed.

    New rows have these `measures`, of which each of them states the `whole` ones.
    """

    new: NewRows
    restated: list[RestatedRow]
    renamed: list[RenamedTag]
    measures: tuple[str, ...] = MEASURES
    whole: tuple[str, ...] = ()

    @property
    def new_count(self) -> int:
        """How many rows are new."""
        return len(self.new[0]) if self.new else 0


async def standing(tx: AsyncConnection, account_id: int, first: date, last: date) -> dict[Key, StoredRow]:
    """The account's rows of some days."""
    columns = (await _STANDING.read(tx, account_id=account_id, first=first, last=last)).values
    written, tag_keys, subs, parts, currencies, ids, withdrawn, tag_names, *figures = columns
    dates = {day: day if isinstance(day, date) else EPOCH_DAY + timedelta(days=day) for day in set(written)}
    keys = zip(map(dates.__getitem__, written), tag_keys, subs, parts, currencies, strict=True)
    rows = map(StoredRow, ids, zip(*figures, strict=True), map(bool, withdrawn), tag_names)
    return dict(zip(keys, rows, strict=True))


_KEYS = ("day", "tag_key", "sub", "part", "currency")
_STANDING = ColumnQuery(
    select(*(revenue.c[name] for name in (*_KEYS, "id", "withdrawn", "tag_name", *MEASURES))).where(
        revenue.c.account_id == bindparam("account_id"),
        revenue.c.day.between(bindparam("first"), bindparam("last")),
    )
)


async def has_figures(tx: AsyncConnection, account_id: int, first: date, last: date) -> bool:
    """Whether the account has any row of those days."""
    r = revenue.c
    query = select(r.id).where(r.account_id == account_id, r.day.between(first, last)).limit(1)
    return (await tx.execute(query)).first() is not None


def differences(rows: Mapping[Key, RevenueRow], stored: Mapping[Key, StoredRow]) -> Changes:
    """What the report's rows say otherwise than those that stand. Raises ConnectorError for figures too large."""
    changes, figures_changed, new = Changes([], [], []), list[Values](), list[tuple[Any, ...]]()
    numbers_of_days = {day: days(day) for day in {key[0] for key in rows}}
    for key, row in rows.items():
        before, values = stored.get(key), values_of(row.figures)
        if before is None:
            figures_changed.append(values)
            day, tag_key, sub, part, currency = key
            numbers = [NO_NUMBER if value is None else value for value in values]
            new.append((numbers_of_days[day], row.tag, tag_key, row.tag_name, sub, part, currency, *numbers))
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
    changes.new.extend(map(list, zip(*new, strict=True)))
    return changes


def new_rows(rows: PackedRows) -> tuple[dict[date, NewRows], Changes]:
    """All of a report's distinct rows by day, where none of them stands, and changes that they can be put into."""
    measures = tuple(name for name in MEASURES if name in rows.stated)
    whole = tuple(name for name in measures if name in rows.whole)
    numbers = {number: days(date.fromordinal(number)) for number in rows.days}
    by_day: dict[int, NewRows] = {number: [[] for _ in (*_KNOWN_BY, *measures)] for number in numbers.values()}
    for block in rows.columns():
        figures = [block.figures.get(name, (None,) * len(block.days)) for name in measures]
        tag_keys = {tag: tag.lower() for tag in set(block.tags)}
        columns: list[Sequence[Any]] = [
            [*map(numbers.__getitem__, block.days)], block.tags, [*map(tag_keys.__getitem__, block.tags)],
            block.tag_names, block.subs, block.parts, [block.currency] * len(block.days),
        ]  # fmt: skip
        for name, column in zip(measures, figures, strict=True):
            columns.append(column if name in whole else [*map(nullable, column)])
        for day, of_day in _days_of(columns):
            for gathered, more in zip(by_day[day], of_day, strict=True):
                gathered += more
    dated = {date.fromordinal(ordinal): by_day[number] for ordinal, number in numbers.items()}
    return dated, Changes([], [], [], measures, whole)


def _days_of(columns: Sequence[Sequence[Any]]) -> Iterator[tuple[int, Sequence[Sequence[Any]]]]:
    """The same columns for each day, which stands in the first of them."""
    days_of_rows = columns[0]
    if len(distinct_days := sorted(set(days_of_rows))) == 1:
        yield distinct_days[0], columns
        return
    if (in_order := sorted(days_of_rows)) != days_of_rows:
        pick = itemgetter(*sorted(range(len(days_of_rows)), key=days_of_rows.__getitem__))
        columns = [pick(column) for column in columns]
    start = 0
    for day in distinct_days:
        end = bisect_right(in_order, day, start)
        yield day, [column[start:end] for column in columns]
        start = end


def batches(changes: Changes, size: BatchSize) -> Iterator[Changes]:
    """The changes in parts of at most so many rows."""
    for start in range(0, changes.new_count, size.new):
        part = [column[start : start + size.new] for column in changes.new]
        yield Changes(part, [], [], changes.measures, changes.whole)
    for start in range(0, len(changes.restated), size.restated):
        yield Changes([], changes.restated[start : start + size.restated], [])
    for start in range(0, len(changes.renamed), size.restated):
        yield Changes([], [], changes.renamed[start : start + size.restated])


async def write(tx: AsyncConnection, origin: Origin, changes: Changes, *, report_id: int) -> None:
    """Write what differs, a revision for each figure restated, and mark the days as moved."""
    stamp = {"team_id": origin.team_id, "recorded_at": micros(origin.now), "report_id": report_id}
    moved: set[int] = set(changes.new[0]) if changes.new else set()
    moved |= {row.day for row in changes.restated} | {row.day for row in changes.renamed}
    await _MARKS.append(tx, [(day,) for day in sorted(moved)], {"team_id": origin.team_id})
    if changes.new:
        table = _revenue(changes.measures, changes.whole)
        await table.append(
            tx, zip(*changes.new, strict=True), {**stamp, "account_id": origin.account_id, "withdrawn": False}
        )
    if changes.restated:
        ids = [row.id for row in changes.restated]
        figures = [(*map(nullable, row.values), row.withdrawn) for row in changes.restated]
        await _KEEP_FIRST_FIGURES.run(tx, [{"key": number} for number in ids])
        await _RESTATED.change(tx, ids, figures, {"recorded_at": stamp["recorded_at"], "report_id": report_id})
        await _REVISIONS.append(
            tx, [(row.id, row.day, *of_row) for row, of_row in zip(changes.restated, figures, strict=True)], stamp
        )
    for renamed in changes.renamed:
        await tx.execute(update(revenue).where(revenue.c.id == renamed.id).values(tag_name=renamed.name))


def _keep_first_figures() -> Insert:
    """The figures that a row came with, kept as a revision before the first restatement takes their place."""
    names = ("team_id", "day", *MEASURES, "withdrawn", "recorded_at", "report_id")
    restated_before = select(revenue_revisions.c.id).where(revenue_revisions.c.revenue_id == revenue.c.id).exists()
    first = select(revenue.c.id, *(revenue.c[name] for name in names)).where(
        revenue.c.id == bindparam("key"), ~restated_before
    )
    return insert(revenue_revisions).from_select(["revenue_id", *names], first)


_KEEP_FIRST_FIGURES = PlainStatement(_keep_first_figures())
