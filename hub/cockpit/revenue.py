"""Revenue: accounts by days as a calendar, restatements, held reports with their decision, owed and paid by month."""

from datetime import date, timedelta
from typing import Any

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler
from sqlalchemy import select

from bot.core.permissions import visible
from bot.render.figures import measure_name
from hub.cockpit.page import Cockpit, Visit
from storage.revenue.sync_status import Progress, statuses
from storage.tables import accounts, revenue, settled_days

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
        accounts.c.platform != "postback_only",
    )  # fmt: skip
    async with visit.cockpit.runtime.database.read() as tx:
        return await statuses(tx, (await tx.execute(query.order_by(accounts.c.id).limit(MOST))).all())


async def _calendar(visit: Visit, today: date, statuses: list[Any]) -> list[Row]:
    first = today - timedelta(days=DAYS - 1)
    async with visit.cockpit.runtime.database.read() as tx:
        mine = settled_days.c.team_id == visit.actor.team_id, settled_days.c.day >= first
        settled = {
            (r.account_id, r.day)
            for r in await tx.execute(select(settled_days.c.account_id, settled_days.c.day).where(*mine))
        }
        query = select(revenue.c.account_id, revenue.c.day).where(
            revenue.c.team_id == visit.actor.team_id, revenue.c.day >= first
        )
        figures = {(r.account_id, r.day) for r in await tx.execute(query.distinct())}
        named = {
            r.id: r.name
            for r in await tx.execute(
                select(accounts.c.id, accounts.c.name).where(accounts.c.team_id == visit.actor.team_id)
            )
        }
    days = [first + timedelta(days=n) for n in range(DAYS)]
    return [_row(visit, status, named, days, settled, figures) for status in statuses]


def _figure(visit: Visit, value: int | None, row: Any) -> str:
    """A figure of a restatement or held report: an amount in the platform's currency, or a count."""
    return visit.show.money(value, row.currency) if row.measure in MONEY else visit.show.count(value)


def _row(
    visit: Visit, status: Any, named: dict[int, str], days: list[date], settled: set[tuple[int, date]],
    figures: set[tuple[int, date]],
) -> Row:  # fmt: skip
    cells = tuple((_state(status, day, settled, figures), visit.show.day(day)) for day in days)
    return Row(code=status.account, name=named.get(status.account_id, status.account), state=status.state,
               error=status.error or "", cells=cells, summary=_summary(cells))  # fmt: skip


def _summary(cells: tuple[tuple[str, str], ...]) -> str:
    """The calendar's line in words: 30 days settled, 1 pending."""
    words = {"settled": "settled", "pending": "with figures, not settled", "held": "held", "failed": "failed",
             "none": "without figures"}  # fmt: skip
    counts = {state: sum(1 for cell, _ in cells if cell == state) for state in words}
    return ", ".join(f"{count} days {words[state]}" for state, count in counts.items() if count)


def _state(status: Any, day: date, settled: set[tuple[int, date]], figures: set[tuple[int, date]]) -> str:
    key = (status.account_id, day)
    if key in settled:
        return "settled"
    if (
        status.state in {"suspect", "failed"}
        and status.from_day
        and status.to_day
        and status.from_day <= day <= status.to_day
    ):
        return "held" if status.state == "suspect" else "failed"
    return "pending" if key in figures else "none"
