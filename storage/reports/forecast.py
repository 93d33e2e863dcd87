"""Pending commission, estimated: days of each offer that its platform has not settled, against the offer's own past."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.dates import day_bounds
from storage.ledger.reports.forecast import Accuracy, Estimate, OfferForecast, forecast_offer, shortage, total
from storage.ledger.reports.forecast_fit import Past, Pending
from storage.ledger.reports.report_rows import MergedReport, ReportRow
from storage.reports.merged_report import ReportQuery
from storage.reports.report_in_helper import ReportInHelper, report_of
from storage.tables import offers, settled_days

HISTORY = timedelta(days=90)  # before the first pending day


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """One offer's pending day. `commission` is what the platform has stated so far; where there is no estimate,
    `lacking` says what its history lacks."""

    day: str
    offer: str
    first_deposits: int | None
    commission: int | None
    forecast: Estimate | None
    lacking: str | None = None


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """Estimates, marked as such; amounts are micro-units of `currency`. `missing` counts offer-days without one.

    `accuracy` is that of past days of single offers, `total_accuracy` that of past days' sums over these offers: how
    many outcomes, once matured, lay inside the interval made of the days before them.
    """

    currency: str
    items: list[Expected]
    total: Estimate | None
    missing: int
    accuracy: Accuracy
    total_accuracy: Accuracy = Accuracy(0, 0)
    estimated: bool = True


class OfferDays(msgspec.Struct, frozen=True, kw_only=True):
    """One offer's calendar days from its first figure on, and which of them are settled."""

    offer: str
    first: date
    rows: Mapping[date, ReportRow]
    settled: frozenset[date]

    @property
    def pending_from(self) -> date | None:
        """The day after the last settled one."""
        return max(self.settled) + timedelta(days=1) if self.settled else None


async def forecast(
    tx: AsyncConnection, query: ReportQuery, in_helper: ReportInHelper | None = None, *, now: datetime | None = None
) -> Forecast:
    """What the query's pending days may bring, and how such estimates did before. `now` says how much of a day that is
    not over is still to come; without it every day is taken to be over."""
    return await forecast_of(tx, query, await report_of(tx, history_query(query), in_helper), now=now)


def history_query(query: ReportQuery) -> ReportQuery:
    """The report that the estimates are made of."""
    return msgspec.structs.replace(query, by=("day", "offer"), first=max(query.first, date.min + HISTORY) - HISTORY)


async def forecast_of(
    tx: AsyncConnection, query: ReportQuery, report: MergedReport, *, now: datetime | None = None
) -> Forecast:
    """The forecast of the query, made of the report of `history_query`."""
    items: list[Expected] = []
    offer_forecasts: list[OfferForecast] = []
    for days in await days_by_offer(tx, history_query(query), report.rows):
        days_forecast, offer_forecast = forecast_days(days, query, now)
        items += days_forecast
        offer_forecasts += [offer_forecast] if offer_forecast else []
        await asyncio.sleep(0)  # clicks answered by the same process go on in between
    whole, whole_accuracy = total(offer_forecasts)
    return Forecast(
        currency=query.currency, items=items, total=whole, missing=sum(item.forecast is None for item in items),
        accuracy=Accuracy(
            sum(item.accuracy.days for item in offer_forecasts),
            sum(item.accuracy.inside for item in offer_forecasts),
        ),
        total_accuracy=whole_accuracy,
    )  # fmt: skip


async def days_by_offer(tx: AsyncConnection, query: ReportQuery, rows: Sequence[ReportRow]) -> list[OfferDays]:
    """The days of each offer with figures in the range."""
    by_offer: dict[str, dict[date, ReportRow]] = {}
    for row in rows:
        if row.group["offer"] is not None:
            by_offer.setdefault(row.group["offer"], {})[date.fromisoformat(row.group["day"] or "")] = row
    s, o = settled_days.c, offers.c
    account_of: dict[str, int] = {}
    accounts_of = select(o.code, o.account_id).where(o.team_id == query.team_id)
    for code, account_id in (await tx.execute(accounts_of)).all():
        account_of[code] = account_id
    settled_query = select(s.account_id, s.day).where(
        s.team_id == query.team_id, s.day.between(query.first, query.last)
    )
    settled: dict[int, set[date]] = {}
    for account_id, day in await tx.execute(settled_query):
        settled.setdefault(account_id, set()).add(day)
    return [
        OfferDays(
            offer=offer,
            first=min(days_of_offer),
            rows=days_of_offer,
            settled=frozenset(settled.get(account_of[offer], ())),
        )
        for offer, days_of_offer in sorted(by_offer.items())
    ]


def forecast_days(
    days: OfferDays, query: ReportQuery, now: datetime | None
) -> tuple[list[Expected], OfferForecast | None]:
    """The offer's pending days of the query; days before the query's first are none of its."""
    start = days.pending_from
    history = [_past(days, day) for day in _span(days.first, start)] if start else []
    lacking = shortage(history)
    if start is None or lacking is not None:
        rows = [day for day in sorted(days.rows) if day >= max(start or query.first, query.first)]
        return [_expected(days, day, lacking=lacking) for day in rows], None
    if start > query.last:
        return [], None
    usual = sum(past.first_deposits for past in history[-28:]) / 28
    pending = [_pending(days, day, usual * _share_left(day, query, now)) for day in _span(start, query.last + _DAY)]
    made = forecast_offer(
        history, pending, skip=max(0, (query.first - start).days), first_day=days.first.toordinal()
    )  # fmt: skip
    if made is None:
        return [], None
    shown = range(len(pending) - len(made.estimates), len(pending))
    return [
        _expected(days, start + _DAY * at, estimate=estimate)
        for at, estimate in zip(shown, made.estimates, strict=True)
    ], made  # fmt: skip


_DAY = timedelta(days=1)


def _span(first: date, end: date) -> list[date]:
    return [first + _DAY * n for n in range((end - first).days)]


def in_hand(row: ReportRow) -> int | None:
    """First deposits as they are known before the platform settles the day."""
    layers = row.first_deposits
    return layers.postback if layers.postback is not None else layers.platform


def _past(days: OfferDays, day: date) -> Past:
    """A settled day without a row had no activity; of a day that is not settled the commission is not known."""
    row = days.rows.get(day)
    first_deposits = (in_hand(row) or 0) if row else 0
    return Past(first_deposits, ((row.commission or 0) if row else 0) if day in days.settled else None)


def _pending(days: OfferDays, day: date, expected: float) -> Pending:
    row = days.rows.get(day)
    return Pending((in_hand(row) or 0) if row else 0, expected)


def _share_left(day: date, query: ReportQuery, now: datetime | None) -> float:
    """How much of the day is still to come."""
    if now is None:
        return 0.0
    begin, end = day_bounds(day, ZoneInfo(query.timezone))
    return min(max((end - now) / (end - begin), 0.0), 1.0)


def _expected(days: OfferDays, day: date, *, estimate: Estimate | None = None, lacking: str | None = None) -> Expected:
    row = days.rows.get(day)
    return Expected(
        day=day.isoformat(), offer=days.offer, first_deposits=in_hand(row) if row else 0,
        commission=row.commission if row else None, forecast=estimate, lacking=lacking,
    )  # fmt: skip
