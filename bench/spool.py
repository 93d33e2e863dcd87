"""A spool of 100,000 clicks drained into PostgreSQL beside new clicks, whose p99 is compared with that before it.

Another process's spool is left where the hub looks for such every ten seconds; the time is from the first of its clicks
that is stored to the last.
"""

import asyncio
import os
import secrets
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import func, select, text

from bench.scale import postgresql
from bench.stage import Figures, Line, Server, load, middle, set_up
from storage.clicks.queries import codec
from storage.clicks.spool import Spool, SpooledClick
from storage.clicks.write_jobs import Agent, Click
from storage.db.engine import Database
from storage.db.spool_file import spool_folder
from storage.ledger.clicks.click_id import ClickIdGenerator
from storage.tables import campaigns, offers

CLICKS = 100_000
MOST_SECONDS, MOST_TIMES = 20.0, 2.0
_CONNECTIONS = 4  # a busy hub, not one at its limit
_MOST_WAIT = 300.0  # seconds


async def leave_spool(url: str, number: int, count: int) -> int:
    """Write a dead process's spool of clicks of as many visitors; the first id in it."""
    database = Database(url)
    async with database.read() as tx:
        sealed = await codec(tx)
        campaign = int((await tx.execute(select(func.max(campaigns.c.id)))).scalar_one())
        offer = int((await tx.execute(select(func.min(offers.c.id)))).scalar_one())
    ids, hour = ClickIdGenerator(1000 + number), int(datetime.now(UTC).timestamp()) // 3600
    spool = Spool(spool_folder(database), f"{sealed.fingerprint}-{number}-1")
    await asyncio.to_thread(spool.open)
    first = ids.make()
    for start in range(0, count, 1000):
        records = [
            SpooledClick(
                Click(
                    ids.make(), 1, campaign, 0, 0, hour, Agent(f"agent {n % 300}"), offer_id=offer, unique=1,
                    country="DE", visitor=bytearray(secrets.token_bytes(8)), subs=(f"zone{n % 500}", *[""] * 9),
                )
            )
            for n in range(start, start + 1000)
        ]  # fmt: skip
        await asyncio.to_thread(spool.append, records)
    await asyncio.to_thread(spool.close)
    await database.close()
    return first


async def seconds_of_drain(url: str, worker: int, count: int) -> float:
    """Wait until all clicks of a worker's number are stored; seconds from the first seen to the last."""
    database = Database(url)
    of_worker = text(f"SELECT count(*) FROM clicks WHERE (id >> 12) & 1023 = {worker}")
    first, deadline = 0.0, time.monotonic() + _MOST_WAIT
    try:
        while time.monotonic() < deadline:
            async with database.read() as tx:
                stored = int((await tx.execute(of_worker)).scalar_one())
            if stored and not first:
                first = time.monotonic()
            if stored >= count:
                return time.monotonic() - first
            await asyncio.sleep(0.2)
    finally:
        await database.close()
    raise RuntimeError("the spool was not drained")


def lines(*, n: int = 3, count: int = CLICKS) -> list[Line]:
    """Rounds of clicks alone and of clicks beside a drain."""
    alone: list[Figures] = []
    beside: list[Figures] = []
    took: list[float] = []
    with postgresql() as url:
        os.chdir(Path(url.rpartition("host=")[2] or ".").parent)  # spools lie in the working folder
        asyncio.run(set_up(url))
        server = Server("whole", url, anywhere=True)
        try:
            load(server.port, seconds=2.0, connections=_CONNECTIONS, seed=99, anywhere=True)
            for number in range(n):
                alone.append(load(server.port, seconds=8.0, connections=_CONNECTIONS, seed=number, anywhere=True))
                asyncio.run(leave_spool(url, number, count))
                with ThreadPoolExecutor(1) as thread:
                    drain = thread.submit(asyncio.run, seconds_of_drain(url, 1000 + number, count))
                    pieces = []
                    while not drain.done():
                        pieces.append(load(server.port, seconds=4.0, connections=_CONNECTIONS, seed=n, anywhere=True))
                    took.append(drain.result())
                beside += pieces[:-1] or pieces
        finally:
            server.stop()
    slower = middle(beside, "p99") / middle(alone, "p99")
    detail = f"{middle(alone, 'p99'):.1f} ms alone, {middle(beside, 'p99'):.1f} ms beside it"
    return [
        Line("PostgreSQL: 100,000 spooled clicks drained, s", statistics.median(took), MOST_SECONDS, at_most=True),
        Line("PostgreSQL: p99 of clicks beside a drain ÷ alone", slower, MOST_TIMES, at_most=True, detail=detail),
    ]


if __name__ == "__main__":
    from bench.stage import table

    print(table(lines()))
