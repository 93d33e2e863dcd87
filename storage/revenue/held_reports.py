"""Reports held as suspect: what they would change, and the decision about them."""

import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from itertools import islice
from operator import ne
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.engine import Database
from storage.db.read_only import read_only
from storage.ledger.errors import Refused
from storage.ledger.facts import Report, RevenueRow
from storage.ledger.revenue.report_parts import LARGE
from storage.ledger.revenue.sanity import AMOUNTS, MEASURES, Key, Values, distinct, values_of
from storage.revenue.comparison import Comparison, compare
from storage.revenue.raw_reports import check_held, decide, settled_of
from storage.revenue.revisions import Recorded, Recording
from storage.revenue.row_diff import Origin, StoredRow, standing
from storage.tables import accounts, revenue, revenue_reports

#: Bytes of held reports that an event loop decodes itself, in a few milliseconds: some hundred rows.
_LIGHT_BYTES = 20_000

_Kind = Literal["changed", "new", "gone"]

_decoder = msgspec.msgpack.Decoder(Report)


class HeldFigure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure that a held report would change. Amounts are micro-units of `currency`; null is not reported."""

    day: date
    tag: str
    tag_name: str
    sub: str
    part: str
    currency: str
    row: _Kind
    measure: str
    before: int | None
    now: int | None


class HeldTotal(msgspec.Struct, frozen=True, kw_only=True):
    """A measure over the days of the held reports: the sum that stands, and the sum they state."""

    measure: str
    currency: str
    before: int
    now: int


class HeldReport(msgspec.Struct, frozen=True, kw_only=True):
    """A report that waits for a decision, why, and how many rows it would change."""

    id: int
    fetched_at: datetime
    first: date = msgspec.field(name="from")
    last: date = msgspec.field(name="to")
    reason: str
    rows: int
    changed: int
    new: int
    gone: int


class HeldReports(msgspec.Struct, frozen=True, kw_only=True):
    """All that is held of an account, and some of the `count` figures that would change, latest day first."""

    account: str
    reports: list[HeldReport]
    totals: list[HeldTotal]
    figures: list[HeldFigure]
    count: int


HeldInHelper = Callable[[int, int, int], Awaitable[HeldReports | None]]
"""What is held of an account, read beside the event loop: the figures from the first number on, at most the second."""


class HeldComparison(msgspec.Struct, frozen=True):
    """A held report without its rows, compared with the figures that stand."""

    head: Report
    comparison: Comparison


CompareHeldInHelper = Callable[[int], Awaitable[HeldComparison | None]]
"""Compares the held report of that id beside the event loop; None where that cannot be done."""


async def held_reports(
    tx: AsyncConnection, account_id: int, in_helper: HeldInHelper | None = None, *, start: int = 0, limit: int = 0
) -> HeldReports:
    """What is held of an account and what it would change, with `limit` figures from the one numbered `start` on.

    Large reports are compared by `in_helper`. Raises Refused if nothing is held, and what it raises.
    """
    if in_helper is not None and not await _is_light(tx, account_id):
        held = await in_helper(account_id, start, limit)
        if held is not None:
            return held
    return await _compare_all(tx, account_id, start, limit)


async def held_reports_read_only(url: str, account_id: int, start: int, limit: int) -> HeldReports:
    """The same, for the helper process."""
    async with read_only(url) as tx:
        return await _compare_all(tx, account_id, start, limit)


async def _is_light(tx: AsyncConnection, account_id: int) -> bool:
    """Whether an event loop may compare what is held itself: few rows in the reports, and few that stand."""
    r, v = revenue_reports.c, revenue.c
    query = select(func.coalesce(func.sum(func.length(r.parsed)), 0), func.min(r.from_day), func.max(r.to_day))
    size, first, last = (await tx.execute(query.where(r.account_id == account_id, r.state == "suspect"))).one()
    if first is None or size > _LIGHT_BYTES:
        return first is None
    rows = select(v.id).where(v.account_id == account_id, v.day.between(first, last)).limit(LARGE + 1).subquery()
    return int((await tx.execute(select(func.count()).select_from(rows))).scalar_one()) <= LARGE


class _ChangedRow(msgspec.Struct, frozen=True, gc=False):
    """A row that a held report would change, its figures before and after."""

    key: Key
    kind: _Kind
    tag: str
    tag_name: str
    before: Values
    now: Values

    @property
    def place(self) -> tuple[Any, ...]:
        """Its place in the list, the same in every process."""
        day, _, *rest = self.key
        return -day.toordinal(), self.tag, *rest

    def figures(self) -> Iterator[HeldFigure]:
        day, _, sub, part, currency = self.key
        for measure, before, now in zip(MEASURES, self.before, self.now, strict=True):
            if before != now:
                yield HeldFigure(
                    day=day, tag=self.tag, tag_name=self.tag_name, sub=sub, part=part, currency=currency,
                    row=self.kind, measure=measure, before=before, now=now,
                )  # fmt: skip


async def _compare_all(tx: AsyncConnection, account_id: int, start: int, limit: int) -> HeldReports:
    code = (await tx.execute(select(accounts.c.code).where(accounts.c.id == account_id))).scalar_one()
    reports: list[HeldReport] = []
    changed: list[_ChangedRow] = []
    before_sums, now_sums = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for row in await suspects(tx, account_id):
        report = await _decoded(tx, row.id)
        rows = distinct(report)
        before = await standing(tx, account_id, report.first, report.last)
        changes = list(_changed_rows(before, rows))
        before_sums.update(_sums((key, row.values) for key, row in before.items()))
        now_sums.update(_sums((key, values_of(row.figures)) for key, row in rows.items()))
        reports.append(_summary(row, len(rows), changes))
        changed += changes
    if not reports:
        raise _nothing_held()
    changed.sort(key=lambda row: row.place)
    totals = [
        HeldTotal(
            measure=measure, currency=currency, before=before_sums[measure, currency], now=now_sums[measure, currency]
        )
        for measure, currency in before_sums.keys() | now_sums.keys()
    ]
    totals.sort(key=lambda total: (MEASURES.index(total.measure), total.currency))
    figures = islice((figure for row in changed for figure in row.figures()), start, start + limit)
    count = sum(sum(map(ne, row.before, row.now)) for row in changed)
    return HeldReports(account=code, reports=reports, totals=totals, figures=list(figures), count=count)


def _nothing_held() -> Refused:
    return Refused("no report of this account is held as suspect", field="account")


def _changed_rows(before: Mapping[Key, StoredRow], rows: Mapping[Key, RevenueRow]) -> Iterator[_ChangedRow]:
    for key in before.keys() | rows.keys():
        stored, row = before.get(key), rows.get(key)
        old: Values = stored.values if stored else (None,) * len(MEASURES)
        new: Values = values_of(row.figures) if row else _withdrawn(old)
        if old != new:
            kind: _Kind = "changed" if stored and row else "new" if row else "gone"
            name = row.tag_name if row else stored.tag_name if stored else ""
            yield _ChangedRow(key, kind, row.tag if row else key[1], name, old, new)


def _withdrawn(values: Values) -> Values:
    """Figures of a row that a report no longer has are zero."""
    return tuple(None if value is None else 0 for value in values)


def _sums(rows: Iterable[tuple[Key, Values]]) -> dict[tuple[str, str], int]:
    """The sum of each measure that some row has: amounts by currency, counts together."""
    by_currency: dict[str, list[Values]] = {}
    for key, values in rows:
        by_currency.setdefault(key[4], []).append(values)
    sums: dict[tuple[str, str], int] = {}
    for currency, table in by_currency.items():
        for n, measure in enumerate(MEASURES):
            numbers = [number for values in table if (number := values[n]) is not None]
            if numbers:
                key_of_sum = measure, currency if measure in AMOUNTS else ""
                sums[key_of_sum] = sums.get(key_of_sum, 0) + sum(numbers)
    return sums


def _summary(row: Any, rows: int, changes: list[_ChangedRow]) -> HeldReport:
    count = [change.kind for change in changes].count
    return HeldReport(
        id=row.id, fetched_at=row.fetched_at, first=row.from_day, last=row.to_day, reason=row.reason or "",
        rows=rows, changed=count("changed"), new=count("new"), gone=count("gone"),
    )  # fmt: skip


async def withdrawn_settled_days(tx: AsyncConnection, account_id: int, report: Report) -> list[date]:
    """Settled days of which the report would withdraw a row that stands."""
    settled = await settled_of(tx, account_id, report)
    rows = distinct(report)
    stored = await standing(tx, account_id, report.first, report.last)
    missing = (key for key, row in stored.items() if key not in rows and not row.withdrawn and any(row.values))
    return sorted({key[0] for key in missing} & settled)


async def confirm(
    database: Database, *, account_id: int, now: datetime, zone: ZoneInfo, in_helper: CompareHeldInHelper | None = None
) -> Recorded:
    """Record what is held as suspect, the oldest first, in transactions of some milliseconds as a sync does.

    What is broken off half way stays held and is completed by confirming once more. Raises Refused if nothing is held,
    or if a newer report or another decision takes its place meanwhile.
    """
    async with database.read() as tx:
        rows = await suspects(tx, account_id)
    if not rows:
        raise _nothing_held()
    recorded = []
    for row in rows:
        origin = Origin(team_id=row.team_id, account_id=account_id, run_id=row.run_id, now=now)
        recorded.append(await _confirm_report(database, origin, row, zone, in_helper))
    return Recorded(
        rows=sum(result.rows for result in recorded), revisions=sum(result.revisions for result in recorded),
        restated=sum(result.restated for result in recorded), reports=len(recorded),
    )  # fmt: skip


async def _confirm_report(
    database: Database, origin: Origin, row: Any, zone: ZoneInfo, in_helper: CompareHeldInHelper | None
) -> Recorded:
    held = await _compare_one(database, row.id, in_helper)
    recording = Recording(origin, held.head, zone=zone, held_id=row.id, fetched_at=row.fetched_at)
    recording.take(held.comparison)
    async with database.begin() as tx:
        going_on = await recording.begin(tx, b"")
    while going_on and not await recording.write_cooperatively(database):
        recording.take((await _compare_one(database, recording.held_id, in_helper)).comparison)
    async with database.begin() as tx:
        done = await recording.end(tx)
        await decide(tx, recording.held_id, "confirmed")
        return done


async def _compare_one(database: Database, report_id: int, in_helper: CompareHeldInHelper | None) -> HeldComparison:
    held = None if in_helper is None else await in_helper(report_id)
    if held is not None:
        return held
    async with database.read() as tx:
        return await _compare_report(tx, report_id)


async def compare_held_read_only(url: str, report_id: int) -> HeldComparison:
    """A held report compared with what stands, for the helper process. Raises Refused if it is held no more."""
    async with read_only(url) as tx:
        return await _compare_report(tx, report_id)


async def _compare_report(tx: AsyncConnection, report_id: int) -> HeldComparison:
    await check_held(tx, report_id)
    account = select(revenue_reports.c.account_id).where(revenue_reports.c.id == report_id)
    report = await _decoded(tx, report_id)
    comparison = await compare(tx, (await tx.execute(account)).scalar_one(), report, judged=False)
    return HeldComparison(msgspec.structs.replace(report, rows=()), comparison)


async def _decoded(tx: AsyncConnection, report_id: int) -> Report:
    parsed = select(revenue_reports.c.parsed).where(revenue_reports.c.id == report_id)
    return _decoder.decode(zlib.decompress((await tx.execute(parsed)).scalar_one()))


async def discard(tx: AsyncConnection, *, account_id: int) -> int:
    """Throw away what is held as suspect; returns how many reports. Raises Refused if nothing is."""
    reports = await suspects(tx, account_id)
    for report in reports:
        await decide(tx, report.id, "discarded")
    if not reports:
        raise _nothing_held()
    return len(reports)


async def suspects(tx: AsyncConnection, account_id: int) -> list[Any]:
    """Reports of the account that wait for a decision, the oldest first."""
    r = revenue_reports.c
    query = select(r.id, r.team_id, r.run_id, r.fetched_at, r.from_day, r.to_day, r.reason)
    return list(
        await tx.execute(query.where(r.account_id == account_id, r.state == "suspect").order_by(r.fetched_at, r.id))
    )
