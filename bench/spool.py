"""A spool of 100,000 clicks drained beside new clicks, whose p99 is compared with that before it.

Another process's spool is left where the hub looks for such every ten seconds; the time is from the first of its clicks
that is stored to the last, and of the new clicks those answered in that time count. `python -m bench.spool load PORT
SEED` is their load. Database, hub and load share all cores.
"""

import asyncio
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from select import select as ready

from sqlalchemy import func, select, text

from bench.load import clicks as made_clicks
from bench.load import hammer
from bench.scale import postgresql
from bench.stage import Line, Server, folder, load, set_up, table
from storage.clicks.queries import codec
from storage.clicks.spool import Spool, SpooledClick
from storage.clicks.write_jobs import Agent, Click
from storage.db.engine import Database
from storage.db.spool_file import spool_folder
from storage.ledger.clicks.click_id import ClickIdGenerator
from storage.tables import campaigns, clicks, offers

CLICKS = 100_000
MOST_SECONDS, MOST_TIMES = 20.0, 2.0
_CONNECTIONS = 4  # a busy hub, not one at its limit
_MOST_WAIT = 300.0  # seconds
_LOOK_EVERY = 0.1  # seconds between looks at what is stored, without a drain too: they take a processor's time


async def leave_spool(url: str, number: int, count: int) -> tuple[int, int]:
    """Write a dead process's spool of clicks of as many visitors; the first and the last id in it."""
    database = Database(url)
    async with database.read() as tx:
        sealed = await codec(tx)
        campaign = int((await tx.execute(select(func.max(campaigns.c.id)))).scalar_one())
        offer = int((await tx.execute(select(func.min(offers.c.id)))).scalar_one())
    ids, hour = ClickIdGenerator(1000 + number), int(datetime.now(UTC).timestamp()) // 3600
    spool = Spool(spool_folder(database.url), f"{sealed.fingerprint}-{number}-1")
    await asyncio.to_thread(spool.open)
    records: list[SpooledClick] = []
    first = 0
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
        first = first or records[0].click.id
        await asyncio.to_thread(spool.append, records)
    await asyncio.to_thread(spool.close)
    await database.close()
    return first, records[-1].click.id


async def watch(url: str, first: int, last: int, *, most: float = _MOST_WAIT) -> tuple[float, float]:
    """Wait until the last click of a spool is stored, `most` seconds; when, by the time of day, the first and the last
    were seen, 0.0 for one that was not."""
    database = Database(url)
    began, deadline = 0.0, time.time() + most
    try:
        while time.time() < deadline:
            async with database.read() as tx:
                stored = set((await tx.execute(select(clicks.c.id).where(clicks.c.id.in_([first, last])))).scalars())
            began = began or (time.time() if first in stored else 0.0)
            if last in stored:
                return began, time.time()
            await asyncio.sleep(_LOOK_EVERY)
    finally:
        await database.close()
    return began, 0.0


async def count_of(url: str, worker: int) -> int:
    """How many clicks with a worker's number are stored."""
    database = Database(url)
    async with database.read() as tx:
        of_worker = text(f"SELECT count(*) FROM clicks WHERE (id >> 12) & 1023 = {worker}")
        count = int((await tx.execute(of_worker)).scalar_one())
    await database.close()
    return count


@contextmanager
def clicking(port: int, seed: int) -> Iterator[list[tuple[float, float]]]:
    """New clicks from another process as long as this lasts; afterwards their answers: time of day, seconds."""
    answers: list[tuple[float, float]] = []
    command = [sys.executable, "-m", "bench.spool", "load", str(port), str(seed)]
    with tempfile.TemporaryFile("w+") as lines_of_answers:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=lines_of_answers) as process:
            try:
                yield answers
            finally:
                process.communicate()  # the end of its input ends it
        if process.returncode:
            raise RuntimeError("answers to new clicks were not as wanted")
        lines_of_answers.seek(0)
        for line in lines_of_answers:
            answers += [tuple(answer) for answer in json.loads(line)]


def keep_clicking(port: str, seed: str) -> None:
    """A second of clicks after the other until the input ends; a line of their answers for each."""
    requests = made_clicks(int(seed))
    while not ready([sys.stdin], [], [], 0)[0]:
        answers: list[tuple[float, float]] = []
        if hammer(int(port), 1.0, _CONNECTIONS, requests, answers=answers)["wrong"]:
            raise SystemExit("answers were not as wanted")
        print(json.dumps(answers))


def p99(answers: list[tuple[float, float]], began: float, ended: float) -> float:
    """Of the answers of that time, in milliseconds."""
    meanwhile = sorted(seconds for moment, seconds in answers if began <= moment <= ended)
    return meanwhile[len(meanwhile) * 99 // 100] * 1000


def lines(*, n: int = 3, count: int = CLICKS) -> list[Line]:
    """Rounds of clicks alone and of clicks beside a drain, on both databases."""
    with folder() as place:
        sqlite = measured("SQLite", f"sqlite+aiosqlite:///{place / 'bench.db'}", n, count)
    with postgresql() as url:
        os.chdir(Path(url.rpartition("host=")[2] or ".").parent)  # spools lie in the working folder
        return [*measured("PostgreSQL", url, n, count), *sqlite]


def measured(name: str, url: str, n: int, count: int) -> list[Line]:
    """The same on one database."""
    alone: list[float] = []
    beside: list[float] = []
    took: list[float] = []
    asyncio.run(set_up(url))
    server = Server("whole", url, anywhere=True)
    try:
        load(server.port, seconds=2.0, connections=_CONNECTIONS, seed=99, where="anywhere")
        for number in range(n):
            with clicking(server.port, number) as answers:
                asyncio.run(watch(url, 0, 0, most=8.0))
            alone.append(p99(answers, 0.0, time.time()))
            ends = asyncio.run(leave_spool(url, number, count))
            with clicking(server.port, n + number) as answers:
                began, ended = asyncio.run(watch(url, *ends))
            if asyncio.run(count_of(url, 1000 + number)) != count:
                raise RuntimeError("not every spooled click is stored once")
            took.append(ended - began)
            beside.append(p99(answers, began, ended))
    finally:
        server.stop()
    alone_ms, beside_ms = statistics.median(alone), statistics.median(beside)
    detail = f"{alone_ms:.1f} ms alone, {beside_ms:.1f} ms beside it"
    return [
        Line(f"{name}: 100,000 spooled clicks drained, s", statistics.median(took), MOST_SECONDS, at_most=True),
        Line(f"{name}: p99 of clicks beside a drain ÷ alone", beside_ms / alone_ms, MOST_TIMES, at_most=True,
             detail=detail),
    ]  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["load"]:
        keep_clicking(*sys.argv[2:])
    else:
        print(table(lines()))
