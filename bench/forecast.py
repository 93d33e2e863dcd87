"""The forecast of 50 offers: half pay by FTD, half also share revenue; 90 days of history in SQLite.

`python -m bench forecast` measures.
"""

import asyncio
import statistics
import time
from datetime import UTC, date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from sqlalchemy import select, update

from bench.stage import Line, folder, set_up
from storage.db.engine import Database
from storage.ledger.facts import Figures, Report, RevenueRow
from storage.reports import settle
from storage.reports.forecast import forecast
from storage.reports.merged_report import ReportQuery
from storage.revenue import revisions
from storage.tables import accounts, offers

OFFERS, DAYS, ROUNDS = 50, 91, 9
CPA = 100_000_000


async def measured(url: str) -> float:
    """Median milliseconds of the processor that one forecast takes."""
    team_id = await set_up(url)
    database, now = Database(url), datetime.now(UTC)
    today = now.date()
    async with database.begin() as tx:
        account_id = (await tx.execute(select(accounts.c.id))).scalar_one()
        casino_id = (await tx.execute(select(offers.c.casino_id).limit(1))).scalar_one()
        await tx.execute(update(offers).values(status="paused"))
        for n in range(OFFERS):
            await tx.execute(offers.insert().values(
                team_id=team_id, name=f"f{n}", code=f"f{n}", created_at=now, casino_id=casino_id, account_id=account_id,
                tag=f"f{n}", tag_key=f"f{n}", markets=[], status="active", url=f"https://f{n}.example.test/",
            ))  # fmt: skip
    report = Report(
        first=today - timedelta(days=DAYS), last=today - timedelta(days=2), rows=tuple(_rows(today)), raw=b"r"
    )
    await revisions.record_in_slices(
        database, team_id=team_id, account_id=account_id, run_id=None, report=report, now=now, zone=ZoneInfo("UTC")
    )
    await settle.settle_all(database, ZoneInfo("UTC"))
    query = ReportQuery(team_id=team_id, first=today - timedelta(days=2), last=today)
    took = []
    for _ in range(ROUNDS):
        began = time.process_time()
        async with database.read() as tx:
            made = await forecast(tx, query, now=now)
        took.append((time.process_time() - began) * 1000)
        if len({item.offer for item in made.items if item.forecast}) != OFFERS:
            raise RuntimeError("not every offer has an estimate")
    await database.close()
    return statistics.median(took)


def _rows(today: date) -> list[RevenueRow]:
    chance, rows = Random(1), []
    for n in range(OFFERS):
        players = 0
        for back in range(DAYS, 1, -1):
            ftds = chance.randint(0, 4)
            players += ftds
            share = round(players * chance.gauss(1, 1) * 100) * 10_000 if n % 2 else None
            figures = Figures(first_deposits=ftds, commission_cpa=ftds * CPA, commission_revshare=share)
            rows.append(
                RevenueRow(day=today - timedelta(days=back), tag=f"f{n}", sub="", currency="EUR", figures=figures)
            )
    return rows


def lines() -> list[Line]:
    with folder() as place:
        took = asyncio.run(measured(f"sqlite+aiosqlite:///{place / 'forecast.db'}"))
    return [
        Line(
            "the forecast of 50 offers, ms",
            took,
            150,
            at_most=True,
            detail="of the processor; 90 days of history, 2 pending each",
        )
    ]
