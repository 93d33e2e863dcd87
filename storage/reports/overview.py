"""What the cockpit's first page says of whole days, read of one moment: in the helper process where it is much."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.read_only import read_only
from storage.ledger.reports.report_rows import MergedReport
from storage.reports.forecast import Forecast, forecast_of, history_query
from storage.reports.merged_report import merged_report
from storage.reports.movement import Movement, movement
from storage.reports.report_data import ReportData
from storage.reports.report_in_helper import is_light
from storage.reports.report_view import ReportQuery

MOVERS = 5  # campaigns of each kind


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The last days, one by one; the campaigns that moved until yesterday; what the pending days may bring."""

    by_day: MergedReport
    movement: Movement
    forecast: Forecast


class OverviewQuery(msgspec.Struct, frozen=True, kw_only=True):
    """`days` are those of the chart up to today, by day; `pending_days` how far back days may be pending."""

    days: ReportQuery
    pending_days: int
    now: datetime

    @property
    def before_today(self) -> ReportQuery:
        return msgspec.structs.replace(self.days, last=self.days.last - timedelta(days=1))

    @property
    def pending(self) -> ReportQuery:
        return msgspec.structs.replace(self.days, first=self.days.last - timedelta(days=self.pending_days))


OverviewInHelper = Callable[[OverviewQuery], Awaitable[Overview]]


async def overview(tx: AsyncConnection, query: OverviewQuery, in_helper: OverviewInHelper | None = None) -> Overview:
    """The overview; one that would hold the event loop is asked of `in_helper`."""
    if in_helper is not None and not await is_light(tx, history_query(query.pending)):
        return await in_helper(query)
    data = ReportData(tx, query.days.team_id)
    return Overview(
        by_day=await merged_report(tx, query.days, data),
        movement=await movement(data, query.before_today, most=MOVERS),
        forecast=await forecast_of(
            tx, query.pending, await merged_report(tx, history_query(query.pending), data), now=query.now
        ),
    )


async def overview_read_only(url: str, query: OverviewQuery) -> Overview:
    """The overview of a database, for the helper process."""
    async with read_only(url) as tx:
        return await overview(tx, query)
