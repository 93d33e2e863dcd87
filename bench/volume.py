"""Ten million clicks: throughput over them, the 30-day report, clicks while reports run, bytes per click."""

import asyncio
import os
import random
import sqlite3
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from bench.clicks import told
from bench.stage import Line, Server, folder, ratio, rounds, servers, set_up
from storage.db.engine import Database
from storage.ledger.clicks.click_id import first_id_at
from storage.reports import settle
from storage.reports.merged_report import ReportQuery, merged_report
from storage.tables.types import EPOCH_DAY, micros

DAYS = 30
CAMPAIGNS = 50
_AGENTS = 300
_COUNTRIES = ("DE", "BR", "FI", "GB", "IN")
_COLUMNS = (
    "id", "team_id", "campaign_id", "site_id", "offer_id", "source_id", "hour", "unique_click", "bot", "reason",
    "user_agent_id", "country", "language", "visitor", "ip_hash", "referrer", "source_click_id", "cost", "currency",
    "sub1", "sub2",
)  # fmt: skip


def fill(path: Path, clicks: int, conversions: int, *, days: int = DAYS, campaigns: int = CAMPAIGNS) -> float:
    """So many clicks over the last days, their roll-up, and conversions; returns bytes per click."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA synchronous=OFF")
    database.execute("PRAGMA cache_size=-200000")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    database.execute("BEGIN")
    _campaigns(database, campaigns)
    agents = [(n, f"agent {n}", ("mobile", "desktop", "tablet")[n % 3], "iOS", "Safari") for n in range(1, _AGENTS + 1)]
    database.executemany("INSERT INTO user_agents VALUES (?,?,?,?,?)", agents)
    before = _bytes(database)
    marks = ",".join("?" * len(_COLUMNS))
    database.executemany(
        f"INSERT INTO clicks ({','.join(_COLUMNS)}) VALUES ({marks})", _clicks(today, clicks, days, campaigns)
    )
    database.execute(_ROLLUP)
    grown = _bytes(database) - before
    database.executemany(_CONVERSION, _conversions(today, conversions, days, campaigns))
    touched = [(1, (today.date() - EPOCH_DAY).days - n) for n in range(1, days + 1)]
    database.executemany("INSERT INTO touched (team_id, day) VALUES (?,?)", touched)
    database.execute("COMMIT")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return grown / clicks


def _bytes(database: sqlite3.Connection) -> int:
    pages, size = (database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return int(pages * size)


def _campaigns(database: sqlite3.Connection, campaigns: int) -> None:
    for n in range(campaigns):
        database.execute(
            "INSERT INTO campaigns (id, team_id, name, code, created_at, cost_model, rules, binding, direct, status) "
            f"VALUES ({100 + n}, 1, 'c{n}', 'c{n}', 0, 'link', '[]', 1, 1, 'active')"
        )


def _clicks(today: datetime, count: int, days: int, campaigns: int) -> Iterator[tuple[Any, ...]]:
    chance = random.Random(1)
    start = first_id_at(today - timedelta(days=days))
    first_hour = ((today.date() - EPOCH_DAY).days - days) * 24
    step = days * 86_400_000 / count
    for n in range(count):
        ms = int(n * step)
        dice = chance.getrandbits(60)
        yield (
            start + (ms << 22) + (n & 4095), 1, 100 + dice % campaigns, 0, 1 + dice % campaigns % 4, 0,
            first_hour + ms // 3_600_000, dice & 1, 0, 0, 1 + (dice >> 12) % _AGENTS,
            _COUNTRIES[(dice >> 22) % 5], "de",
            bytearray(dice.to_bytes(8, "big")), bytearray((dice ^ 99).to_bytes(8, "big")),
            "https://news.example.test/story" if n % 4 == 0 else None, f"{dice:x}", 30_000, "EUR",
            f"banner-{dice % 7}", f"zone{dice % 500}",
        )  # fmt: skip


_ROLLUP = """
INSERT INTO click_rollup SELECT c.team_id, c.hour, c.campaign_id, c.site_id, c.offer_id, c.source_id, c.country,
  u.device, c.currency, count(*), sum(c.unique_click), 0, 0, 0, sum(c.cost)
FROM clicks c JOIN user_agents u ON u.id = c.user_agent_id GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
"""
_CONVERSION = """
INSERT INTO conversions (team_id, account_id, campaign_id, site_id, offer_id, source_id, country, device, event, txn_id,
  status, is_ftd, amount, currency, occurred_at, received_at, day, visit_day, marks)
VALUES (1, 1, ?, 0, ?, 0, 'DE', 'mobile', ?, ?, 'approved', ?, ?, 'EUR', ?, ?, ?, ?, '[]')
"""


def _conversions(today: datetime, count: int, days: int, campaigns: int) -> Iterator[tuple[Any, ...]]:
    chance = random.Random(2)
    start = today - timedelta(days=days)
    for n in range(count):
        at = start + timedelta(seconds=chance.randrange(days * 86_400))
        kind = chance.randrange(10)
        event = "registration" if kind < 7 else "first_deposit" if kind < 9 else "deposit"
        day = (at.date() - EPOCH_DAY).days
        yield (
            100 + n % campaigns, 1 + n % campaigns % 4, event, f"t{n}", event == "first_deposit",
            None if event == "registration" else 50_000_000, micros(at), micros(at), day, day,
        )  # fmt: skip


async def report_ms(url: str, times: int = 30) -> float:
    """Median time of the 30-day report by day and campaign, settled before; its reading included."""
    database = Database(url)
    try:
        await settle.settle_all(database, ZoneInfo("UTC"))
        last = datetime.now(UTC).date() - timedelta(days=1)
        query = ReportQuery(team_id=1, first=last - timedelta(days=DAYS - 1), last=last, by=("day", "campaign"))
        took = []
        for _ in range(times):
            began = time.perf_counter()
            async with database.read() as tx:
                report = await merged_report(tx, query)
            took.append(time.perf_counter() - began)
        if len(report.rows) < DAYS * CAMPAIGNS * 0.9:
            raise RuntimeError(f"the report has only {len(report.rows)} rows")
    finally:
        await database.close()
    return statistics.median(took) * 1000


def lines(*, n: int = 5, seconds: float = 4.0) -> list[Line]:
    clicks = int(os.environ.get("BENCH_CLICKS", "10_000_000"))
    with folder() as place:
        urls = {name: f"sqlite+aiosqlite:///{place / name}.db" for name in ("empty", "full", "tenth")}
        for url in urls.values():
            asyncio.run(set_up(url))
        bytes_each = fill(place / "full.db", clicks, 300_000)
        fill(place / "tenth.db", clicks // 10, 30_000)
        large, small = asyncio.run(report_ms(urls["full"])), asyncio.run(report_ms(urls["tenth"]))
        kinds = {"empty": Server("clicks", urls["empty"]), "full": Server("clicks", urls["full"])}
        with servers(**kinds) as started:
            result = rounds({name: one.port for name, one in started.items()}, n=n, seconds=seconds)
        kinds = {"alone": Server("clicks", urls["full"]), "beside": Server("reporting", urls["full"])}
        with servers(**kinds) as started:
            beside = rounds({name: one.port for name, one in started.items()}, n=n, seconds=seconds)
    return [
        Line(f"throughput over {clicks:,} clicks ÷ empty database", ratio(result, "full", "empty"), 0.95,
             detail=told(result, "full", "empty")),
        Line("p99 while a 30-day report runs every second ÷ without", ratio(beside, "beside", "alone", "p99"), 1.5,
             at_most=True, detail=told(beside, "beside", "alone")),
        Line(f"30-day merged report by day × campaign over {clicks:,} clicks, ms", large, 25, at_most=True),
        Line("the same ÷ over a tenth of the clicks", large / small, 1.3, at_most=True, detail=f"{small:.1f} ms"),
        Line("bytes on disk per click, roll-ups included", bytes_each, 130, at_most=True),
    ]  # fmt: skip
