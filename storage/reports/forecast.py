"""Pending commission, estimated: provisional days of each offer against its own settled past."""

from datetime import date, timedelta

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.reports.forecast import Accuracy, Estimate, Past, accuracy, estimate, total
from storage.ledger.reports.report_rows import ReportRow
from storage.reports.merged_report import ReportQuery
from storage.reports.report_apart import Apart, report_of

HISTORY = timedelta(days=90)
BEHIND = 60  # settled days an estimate looks back on


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """One offer's provisional day. `commission` is what the platform has stated so far; an absent estimate has too
    short a history behind it."""

    day: str
    offer: str
    first_deposits: int
    commission: int | None
    forecast: Estimate | None


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """Estimates, marked as such; amounts are micro-units of `currency`. `missing` counts offer-days without one."""

    currency: str
    items: list[Expected]
    total: Estimate | None
    missing: int
    accuracy: Accuracy
    estimated: bool = True


async def forecast(tx: AsyncConnection, query: ReportQuery, apart: Apart | None = None) -> Forecast:
    """What the query's provisional days may bring, and how such estimates did before."""
    wide = msgspec.structs.replace(query, by=("day", "offer"), first=max(query.first, date.min + HISTORY) - HISTORY)
    report = await report_of(tx, wide, apart)
    by_offer: dict[str, list[ReportRow]] = {}
    for row in report.rows:
        if row.group["offer"] is not None:
            by_offer.setdefault(row.group["offer"], []).append(row)
    items: list[Expected] = []
    checks: list[Accuracy] = []
    for offer, rows in sorted(by_offer.items()):
        past = [_past(row) for row in rows if _is_past(row)]
        checks.append(accuracy(past[-BEHIND:]))
        items += [_expected(offer, row, past[-BEHIND:]) for row in rows if _is_pending(row, query.first)]
    told = [one.forecast for one in items if one.forecast is not None]
    return Forecast(
        currency=query.currency,
        items=items,
        total=total(told),
        missing=len(items) - len(told),
        accuracy=Accuracy(sum(one.days for one in checks), sum(one.inside for one in checks)),
    )


def _in_hand(row: ReportRow) -> int | None:
    """First deposits as they are known before the platform settles the day."""
    layers = row.first_deposits
    return layers.postback if layers.postback is not None else layers.platform


def _is_past(row: ReportRow) -> bool:
    return row.settlement == "settled" and row.commission is not None and _in_hand(row) is not None


def _past(row: ReportRow) -> Past:
    return Past(_in_hand(row) or 0, row.commission or 0)


def _is_pending(row: ReportRow, first: date) -> bool:
    day = row.group["day"] or ""
    return row.settlement != "settled" and day >= first.isoformat() and _in_hand(row) is not None


def _expected(offer: str, row: ReportRow, past: list[Past]) -> Expected:
    first_deposits = _in_hand(row) or 0
    return Expected(
        day=row.group["day"] or "",
        offer=offer,
        first_deposits=first_deposits,
        commission=row.commission,
        forecast=estimate(first_deposits, past),
    )
