"""Reports held as suspect: what they would change, and the decision about them."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.errors import Refused
from storage.ledger.facts import Report, RevenueRow
from storage.ledger.revenue.sanity import MEASURES, Key, Values, distinct, values_of
from storage.revenue.raw_reports import decide, settled_of
from storage.revenue.revisions import Recorded, Recording
from storage.revenue.row_diff import Origin, StoredRow, standing
from storage.tables import accounts, revenue_reports

_decoder = msgspec.msgpack.Decoder(Report)


class HeldFigure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure that a held report would change. Amounts are micro-units of `currency`; null is not reported."""

    day: date
    tag: str
    tag_name: str
    sub: str
    part: str
    currency: str
    row: Literal["changed", "new", "gone"]
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
    """All that is held of an account, and every figure that would change, latest day first."""

    account: str
    reports: list[HeldReport]
    totals: list[HeldTotal]
    figures: list[HeldFigure]


async def held_reports(tx: AsyncConnection, account_id: int) -> HeldReports:
    """What is held of an account and what it would change. Raises Refused if nothing is."""
    code = (await tx.execute(select(accounts.c.code).where(accounts.c.id == account_id))).scalar_one()
    reports: list[HeldReport] = []
    figures: list[HeldFigure] = []
    sums: dict[tuple[str, str], list[int]] = {}
    for row in await suspects(tx, account_id):
        report = _decoder.decode(zlib.decompress(row.parsed))
        rows = distinct(report)
        before = await standing(tx, account_id, report.first, report.last)
        changes = list(_changed_figures(before, rows))
        _add_totals(sums, before, rows)
        reports.append(_summary(row, rows, changes))
        figures += changes
    if not reports:
        raise Refused("no report of this account is held as suspect", field="account")
    figures.sort(key=lambda figure: (-figure.day.toordinal(), figure.tag, figure.sub, figure.part))
    totals = [
        HeldTotal(measure=measure, currency=currency, before=before, now=now)
        for (measure, currency), (before, now) in sums.items()
    ]
    totals.sort(key=lambda total: (MEASURES.index(total.measure), total.currency))
    return HeldReports(account=code, reports=reports, totals=totals, figures=figures)


def _changed_figures(before: Mapping[Key, StoredRow], rows: Mapping[Key, RevenueRow]) -> Iterator[HeldFigure]:
    for key in before.keys() | rows.keys():
        stored, row = before.get(key), rows.get(key)
        old: Values = stored.values if stored else (None,) * len(MEASURES)
        new: Values = values_of(row.figures) if row else _withdrawn(old)
        kind: Literal["changed", "new", "gone"] = "changed" if stored and row else "new" if row else "gone"
        for measure, was, now in zip(MEASURES, old, new, strict=True):
            if was != now:
                yield HeldFigure(
                    day=key[0], tag=row.tag if row else key[1], sub=key[2], part=key[3], currency=key[4], row=kind,
                    tag_name=row.tag_name if row else stored.tag_name if stored else "",
                    measure=measure, before=was, now=now,
                )  # fmt: skip


def _withdrawn(values: Values) -> Values:
    """Figures of a row that a report no longer has are zero."""
    return tuple(None if value is None else 0 for value in values)


def _add_totals(
    sums: dict[tuple[str, str], list[int]], before: Mapping[Key, StoredRow], rows: Mapping[Key, RevenueRow]
) -> None:
    sides: tuple[Iterator[tuple[Key, Values]], ...] = (
        ((key, row.values) for key, row in before.items()),
        ((key, values_of(row.figures)) for key, row in rows.items()),
    )
    for side, keyed in enumerate(sides):
        for key, values in keyed:
            for i, value in enumerate(values):
                if value is not None:
                    currency = key[4] if MEASURES[i] in _AMOUNTS else ""
                    sums.setdefault((MEASURES[i], currency), [0, 0])[side] += value


_AMOUNTS = frozenset({"deposit_amount", "ngr", "commission_cpa", "commission_revshare", "commission_other"})


def _summary(row: Any, rows: Mapping[Key, RevenueRow], changes: Sequence[HeldFigure]) -> HeldReport:
    kinds = {
        (figure.day, figure.tag.lower(), figure.sub, figure.part, figure.currency): figure.row for figure in changes
    }
    count = list(kinds.values()).count
    return HeldReport(
        id=row.id, fetched_at=row.fetched_at, first=row.from_day, last=row.to_day, reason=row.reason or "",
        rows=len(rows), changed=count("changed"), new=count("new"), gone=count("gone"),
    )  # fmt: skip


async def withdrawn_settled_days(tx: AsyncConnection, account_id: int, report: Report) -> list[date]:
    """Settled days of which the report would withdraw a row that stands."""
    settled = await settled_of(tx, account_id, report)
    rows = distinct(report)
    stored = await standing(tx, account_id, report.first, report.last)
    missing = (key for key, row in stored.items() if key not in rows and not row.withdrawn and any(row.values))
    return sorted({key[0] for key in missing} & settled)


async def confirm(tx: AsyncConnection, *, account_id: int, now: datetime, zone: ZoneInfo) -> Recorded:
    """Record what is held as suspect, the oldest first. Raises Refused if nothing is."""
    recorded = []
    for row in await suspects(tx, account_id):
        report = _decoder.decode(zlib.decompress(row.parsed))
        of = Origin(team_id=row.team_id, account_id=account_id, run_id=row.run_id, now=now)
        recording = Recording(of, report, zone=zone, report_id=row.id, fetched_at=row.fetched_at)
        await recording.compare(tx, judged=False)
        if await recording.begin(tx, b""):
            for number in recording.parts():
                await recording.write(tx, number)
        recorded.append(await recording.end(tx))
        await decide(tx, row.id, "confirmed")
    if not recorded:
        raise Refused("no report of this account is held as suspect", field="account")
    return Recorded(
        rows=sum(result.rows for result in recorded), revisions=sum(result.revisions for result in recorded),
        restated=sum(result.restated for result in recorded), reports=len(recorded),
    )  # fmt: skip


async def discard(tx: AsyncConnection, *, account_id: int) -> int:
    """Throw away what is held as suspect; returns how many reports. Raises Refused if nothing is."""
    reports = await suspects(tx, account_id)
    for report in reports:
        await decide(tx, report.id, "discarded")
    if not reports:
        raise Refused("no report of this account is held as suspect", field="account")
    return len(reports)


async def suspects(tx: AsyncConnection, account_id: int) -> list[Any]:
    """Reports of the account that wait for a decision, the oldest first."""
    r = revenue_reports.c
    query = select(revenue_reports).where(r.account_id == account_id, r.state == "suspect").order_by(r.id)
    return list(await tx.execute(query))
