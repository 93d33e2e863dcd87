"""Revenue: accounts by days as a calendar, restatements, held reports with their decision, owed and paid by month."""

from datetime import date, timedelta
from typing import Any

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler
from sqlalchemy import select

from hub.cockpit.page import Cockpit, Visit
from storage.tables import accounts, revenue, settled_days

DAYS = 35


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One account of the calendar."""

    code: str
    name: str
    state: str
    error: str
    cells: tuple[tuple[str, str], ...]  # state, label


def revenue_routes(cockpit: Cockpit) -> list[HTTPRouteHandler]:
    @cockpit.get("/cockpit/revenue")
    async def revenue_page(visit: Visit) -> Response[Any]:
        today = visit.context().today
        statuses = (await visit.ask("sync status", limit=500)).items
        since = (today - timedelta(days=30)).isoformat()
        restated = await visit.ask_if_allowed("revenue restated", since=since)
        vanished = await visit.ask_if_allowed("revenue vanished", since=since)
        owed = await visit.ask_if_allowed("payment owed")
        return visit.html(
            "revenue.html", section="revenue", title="Revenue", rows=await _calendar(visit, today, statuses),
            held=[status for status in statuses if status.state == "suspect"], statuses=statuses,
            restated=restated.items[:40] if restated else [], vanished=vanished.items[:40] if vanished else [],
            owed=owed.items if owed else [], today=today,
        )  # fmt: skip

    return [revenue_page]


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


def _row(
    visit: Visit, status: Any, named: dict[int, str], days: list[date], settled: set[tuple[int, date]],
    figures: set[tuple[int, date]],
) -> Row:  # fmt: skip
    cells = tuple((_state(status, day, settled, figures), visit.show.day(day)) for day in days)
    return Row(code=status.account, name=named.get(status.account_id, status.account), state=status.state,
               error=status.error or "", cells=cells)  # fmt: skip


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
