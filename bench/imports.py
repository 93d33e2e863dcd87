"""Moving in from another tracker: 2,000 campaigns and 1,000 days of 500 groups, while short writes go on as clicks do.

`python -m bench.imports` measures. What a tracker would have answered lies stored in parts, as after reading it;
BENCH_IMPORT_DAYS makes it smaller.
"""

import asyncio
import os
import statistics
import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from bench.stage import Line, folder, table
from storage.catalogue import teams
from storage.clicks import queries
from storage.db.engine import Database
from storage.db.schema import upgrade
from storage.db.secrets import Box
from storage.imports import imports
from storage.imports.carry_out import Importer
from storage.imports.imports import RUNNING, Settings, StoredParts, Whose
from storage.imports.plans import make_plan
from storage.ledger.imports.tracker import (
    DayFigures,
    Days,
    Setup,
    TrackerAccount,
    TrackerCampaign,
    TrackerOffer,
    Weighted,
)
from storage.tables import imported_days

CAMPAIGNS, GROUPS = 2_000, 500
FIRST = date(2024, 1, 1)


def setup() -> Setup:
    """500 offers of 20 networks, and campaigns that send to two of them."""
    offers = tuple(
        TrackerOffer(
            key=str(n), name=f"Offer {n}", url=f"https://o{n}.example.test/?s={{click_id}}", account=str(n % 20)
        )
        for n in range(GROUPS)
    )
    campaigns = tuple(
        TrackerCampaign(
            key=str(n), name=f"Campaign {n}", aliases=(f"a{n}",),
            offers=(Weighted(str(n % GROUPS), 3), Weighted(str((n + 1) % GROUPS), 1)),
        )
        for n in range(CAMPAIGNS)
    )  # fmt: skip
    accounts = tuple(TrackerAccount(key=str(n), name=f"Network {n}") for n in range(20))
    return Setup(accounts=accounts, offers=offers, campaigns=campaigns)


def day_part(day: date, half: int) -> Days:
    """Half of the groups of a day."""
    return Days(tuple(
        DayFigures(day=day, campaign=str(n), offer=str(n), country="DE", currency="EUR", clicks=100 + n,
                   unique_clicks=90 + n, conversions=5, revenue=1_000_000 * n, cost=10_000 * n, statuses={"sale": 2})
        for n in range(half * GROUPS // 2, (half + 1) * GROUPS // 2)
    ))  # fmt: skip


async def measured(days: int) -> list[Line]:
    with folder() as place:
        database = Database(f"sqlite+aiosqlite:///{place / 'bench.db'}")
        await upgrade(database)
        async with database.begin() as tx:
            team_id = await teams.first(tx, datetime.now(UTC))
            await queries.ensure_codec(tx)
        number = await _stored(database, team_id, days)
        began = time.perf_counter()
        whose = Whose(team_id=team_id, system="keitaro", host="bench")
        plan = await make_plan(database, whose, StoredParts(database, number), currency="EUR")
        planned = time.perf_counter() - began
        waits: list[float] = []
        writing = asyncio.create_task(_short_writes(database, waits))
        result, seconds = await _carried_out(database, team_id, number)
        writing.cancel()
        async with database.read() as tx:
            query = select(imported_days.c.clicks).where(imported_days.c.team_id == team_id)
            clicks = sum((await tx.execute(query)).scalars())
        await database.close()
        assert plan.history is not None
        assert (clicks, result) == (plan.history.clicks, days * GROUPS)
    waits.sort()
    detail = f"{CAMPAIGNS:,} campaigns, {days * GROUPS:,} rows; dry run {planned:.1f} s"
    late = waits[int(len(waits) * 0.99)] * 1000
    return [
        Line("an import, minutes", seconds / 60, 5, at_most=True, detail=detail),
        Line("a short write beside an import, 99 of 100, ms", late, 50, at_most=True,
             detail=f"median {statistics.median(waits) * 1000:.1f} ms, longest {waits[-1] * 1000:.0f} ms"),
    ]  # fmt: skip


async def _stored(database: Database, team_id: int, days: int) -> int:
    last = FIRST + timedelta(days=days - 1)
    async with database.begin() as tx:
        number = await imports.add(
            tx, team_id=team_id, now=datetime.now(UTC), state=RUNNING,
            settings=Settings(first=FIRST, last=last, cutover=last + timedelta(days=1)),
            named={"system": "keitaro", "host": "bench", "made_by": "bench", "credentials_secret": None, "room": None},
        )  # fmt: skip
        await imports.add_parts(tx, number, 0, [imports.packed(setup())])
        for n in range(days * 2):
            part = imports.packed(day_part(FIRST + timedelta(days=n // 2), n % 2))
            await imports.add_parts(tx, number, n + 1, [part])
    return number


async def _carried_out(database: Database, team_id: int, number: int) -> tuple[int, float]:
    async with database.read() as tx:
        row = await imports.find(tx, team_id, number)

    async def progress(_done: int, _of: int) -> None:
        return None

    importer = Importer(
        database, Box("bench"), row, clock=lambda: datetime.now(UTC), zone=ZoneInfo("UTC"), currency="EUR",
        progress=progress,
    )  # fmt: skip
    began = time.perf_counter()
    result = await importer.work()
    return result.days, time.perf_counter() - began


async def _short_writes(database: Database, waits: list[float]) -> None:
    """As the writer of clicks does: a transaction of one statement, again and again."""

    async def write(tx: AsyncConnection) -> None:
        await tx.execute(text("UPDATE changes SET n = n WHERE id = 1"))

    while True:
        began = time.perf_counter()
        await database.run(write)
        waits.append(time.perf_counter() - began)
        await asyncio.sleep(0.005)


def lines(days: int = 0) -> list[Line]:
    return asyncio.run(measured(days or int(os.environ.get("BENCH_IMPORT_DAYS", "1000").replace("_", ""))))


if __name__ == "__main__":
    print(table(lines()))
