"""Revenue: accounts by days as a calendar, restatements, held reports with their decision, owed and paid by month."""

from datetime import date, timedelta
from typing import Any

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler
from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.core.permissions import visible
from bot.render.figures import measure_name
from hub.cockpit.page import Cockpit, Visit
from storage.ledger.dates import days_between
from storage.ledger.facts import POSTBACK_ONLY
from storage.revenue.sync_status import Progress, statuses
from storage.tables import accounts, revenue, revenue_reports, settled_days

DAYS = 35
MOST = 500  # accounts
MONEY = {"commission", "commission_cpa", "commission_revshare", "ngr", "deposit_amount"}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One account of the calendar."""

    code: str
    name: str
    state: str
    error: str
    cells: tuple[tuple[str, str], ...]  # state, label
    summary: str


def revenue_routes(cockpit: Cockpit) -> list[HTTPRouteHandler]:
    @cockpit.get("/cockpit/revenue")
    async def revenue_page(visit: Visit) -> Response[Any]:
        today = visit.context().today
        statuses = await _statuses(visit)
        suspects = [status for status in statuses if status.state == "suspect"]
        since = (today - timedelta(days=30)).isoformat()
        restated = await visit.ask_if_allowed("revenue restated", since=since)
        vanished = await visit.ask_if_allowed("revenue vanished", since=since)
        owed = await visit.ask_if_allowed("payment owed")
        return await visit.html(
            "revenue.html", section="revenue", title="Revenue", rows=await _calendar(visit, today, statuses),
            held=suspects, differences={
                s.account: await visit.ask_if_allowed("sync show", account=s.account, limit=1) for s in suspects
            },
            restated=restated.items[:40] if restated else [], vanished=vanished.items[:40] if vanished else [],
            owed=owed.items if owed else [], today=today, measure_name=measure_name,
            figure=lambda value, row: _figure(visit, value, row),
        )  # fmt: skip

    return [revenue_page]


async def _statuses(visit: Visit) -> list[Progress]:
    """How each account's figures stand, those that are uploaded as files too."""
    query = select(accounts).where(
        accounts.c.team_id == visit.actor.team_id, visible(visit.actor, "account"),
        accounts.c.platform != POSTBACK_ONLY,
    )  # fmt: skip
    async with visit.cockpit.runtime.database.read() as tx:
        return await statuses(tx, (await tx.execute(query.order_by(accounts.c.id).limit(MOST))).all())


class Days(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of each account's days: (account id, day)."""

    settled: set[tuple[int, date]]
    figures: set[tuple[int, date]]
    held: set[tuple[int, date]]  # a report about them waits for a decision


async def _calendar(visit: Visit, today: date, statuses: list[Progress]) -> list[Row]:
    first = today - timedelta(days=DAYS - 1)
    async with visit.cockpit.runtime.database.read() as tx:
        known = await _days(tx, visit.actor.team_id, first, today)
        query = select(accounts.c.id, accounts.c.name).where(accounts.c.team_id == visit.actor.team_id)
        named = {row.id: row.name for row in await tx.execute(query)}
    days = days_between(first, today)
    return [_row(visit, status, named, days, known) for status in statuses]


async def _days(tx: AsyncConnection, team_id: int, first: date, today: date) -> Days:
    def since(table: Table, column: Any) -> tuple[Any, ...]:
        return table.c.team_id == team_id, column >= first

    settled = select(settled_days.c.account_id, settled_days.c.day).where(*since(settled_days, settled_days.c.day))
    figures = select(revenue.c.account_id, revenue.c.day).where(*since(revenue, revenue.c.day)).distinct()
    reports = revenue_reports.c
    held = select(reports.account_id, reports.from_day, reports.to_day).where(
        *since(revenue_reports, reports.to_day), reports.state == "suspect"
    )
    return Days(
        settled={(row.account_id, row.day) for row in await tx.execute(settled)},
        figures={(row.account_id, row.day) for row in await tx.execute(figures)},
        held={
            (row.account_id, day)
            for row in await tx.execute(held)
            for day in days_between(max(row.from_day, first), min(row.to_day, today))
        },
    )


def _figure(visit: Visit, value: int | None, row: Any) -> str:
    """A figure of a restatement or held report: an amount in the platform's currency, or a count."""
    return visit.show.money(value, row.currency) if row.measure in MONEY else visit.show.count(value)


def _row(visit: Visit, status: Progress, named: dict[int, str], days: list[date], known: Days) -> Row:
    cells = tuple((_state(status, day, known), visit.show.day(day)) for day in days)
    return Row(code=status.account, name=named.get(status.account_id, status.account), state=status.state,
               error=status.error or "", cells=cells, summary=_summary(cells))  # fmt: skip


def _summary(cells: tuple[tuple[str, str], ...]) -> str:
    """The calendar's line in words: 30 days settled, 1 pending."""
    words = {"settled": "settled", "pending": "with figures, not settled", "held": "held", "failed": "failed",
             "none": "without figures"}  # fmt: skip
    counts = {state: sum(1 for cell, _ in cells if cell == state) for state in words}
    return ", ".join(f"{count} days {words[state]}" for state, count in counts.items() if count)


def _state(status: Progress, day: date, known: Days) -> str:
    """What a square shows. A held report covers days that are settled, too: their figures stand until it is decided."""
    key = (status.account_id, day)
    if key in known.held:
        return "held"
    if key in known.settled:
        return "settled"
    if status.state == "failed" and _asked_for(status, day):
        return "failed"
    return "pending" if key in known.figures else "none"


def _asked_for(status: Progress, day: date) -> bool:
    """Whether a failed sync asked for a day: its own range, or all since figures last came."""
    if status.from_day and status.to_day:
        return status.from_day <= day <= status.to_day
    return status.last_success_at is None or day >= status.last_success_at.date()
