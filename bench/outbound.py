"""Ten thousand sends wait for a traffic source that takes 200 ms: how fast they go, and what clicks notice of it.

One server as `serve` runs it, timetable included, on one core; load and source on the other. Rounds of clicks while the
outbox drains take turns with rounds while it is held back, so that both see the same machine.
"""

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen

import msgspec
from sqlalchemy import func, insert, select, update

from bench.stage import Figures, Line, folder, free_port, load, middle, set_up, table
from hub.jobs.outbound import CONCURRENCY
from storage.db.engine import Database
from storage.ledger.outbound.templates import Outgoing
from storage.outbound.queue import OutboundRequest
from storage.tables import accounts, conversions, outbound, sources

QUEUED = 10_000
SECONDS = 0.2  # of the source's for each
_FAR = timedelta(days=1)


@contextmanager
def slow_source(port: int) -> Iterator[None]:
    command = [sys.executable, "-m", "bench.slow_source", str(port), str(SECONDS)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def whole(url: str, *, log: Path | None = None) -> Iterator[tuple[int, int]]:
    """`serve` on the first core; its port and process id. What it says goes to `log`."""
    port = free_port()
    environment = os.environ | {
        "CASINOFLUX_DATABASE_URL": url, "CASINOFLUX_SECRET_KEY": "b" * 64, "CASINOFLUX_TRUSTED_PROXIES": "127.0.0.1",
        "CASINOFLUX_ALLOW_PRIVATE_HOSTS": "1",
    }  # fmt: skip
    with (log or Path(os.devnull)).open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.one_core", "serve", "--port", str(port)], env=environment, stdout=out,
            stderr=out,
        )  # fmt: skip
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
                break
            time.sleep(0.1)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(20)


async def fill(url: str, source_port: int, queued: int) -> None:
    """A source, a conversion, and so many messages about it, held back."""
    database, now = Database(url), datetime.now(UTC)
    async with database.begin() as tx:
        account = (await tx.execute(select(accounts.c.id, accounts.c.team_id))).one()
        source = await tx.execute(insert(sources).values(
            team_id=account.team_id, name="Slow", code="slow", created_at=now, preset="custom", parameters={},
            postbacks={}, options={},
        ).returning(sources.c.id))  # fmt: skip
        made = await tx.execute(insert(conversions).values(
            team_id=account.team_id, account_id=account.id, campaign_id=0, site_id=0, offer_id=0,
            source_id=source.scalar_one(), event="deposit", status="approved", occurred_at=now, received_at=now,
            day=now.date(), marks=[],
        ).returning(conversions.c.id, conversions.c.source_id))  # fmt: skip
        conversion = made.one()
        rows = [_message(account.team_id, conversion, source_port, n, now) for n in range(queued)]
        for start in range(0, queued, 1000):
            await tx.execute(insert(outbound), rows[start : start + 1000])
    await database.close()


def _message(team_id: int, conversion: object, port: int, number: int, now: datetime) -> dict[str, object]:
    told = OutboundRequest(request=Outgoing(method="GET", url=f"http://127.0.0.1:{port}/c?cid=s{number}&key=k{number}"))
    return {
        "team_id": team_id, "source_id": conversion.source_id, "conversion_id": conversion.id,  # type: ignore[attr-defined]
        "event": "deposit", "idempotency_key": f"k{number}", "request": msgspec.to_builtins(told),
        "host": f"127.0.0.1:{port}", "state": "queued", "next_at": now + _FAR, "created_at": now,
    }  # fmt: skip


async def release(url: str, *, go: bool) -> int:
    """Let what waits go, or hold it back; how many are still to be sent."""
    database, now = Database(url), datetime.now(UTC)
    waiting = outbound.c.state == "queued"
    async with database.begin() as tx:
        await tx.execute(update(outbound).where(waiting).values(next_at=now if go else now + _FAR))
        remaining = (await tx.execute(select(func.count()).select_from(outbound).where(waiting))).scalar_one()
    await database.close()
    return int(remaining)


def answered(port: int) -> tuple[int, int]:
    """How many the source has answered, and the most that were open at once."""
    with urlopen(f"http://127.0.0.1:{port}/count", timeout=5) as outcome:
        count, most = outcome.read().split()
    return int(count), int(most)


def cpu_seconds(process: int) -> float:
    parts = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


class Drain:
    """Measures how fast the outbox goes while it may go."""

    def __init__(self, url: str, source_port: int) -> None:
        self._url, self._source = url, source_port
        self.sent, self.seconds = 0, 0.0

    @contextmanager
    def going(self) -> Iterator[None]:
        """From its first answer on, for as long as this lasts; held back afterwards."""
        before = answered(self._source)[0]
        asyncio.run(release(self._url, go=True))
        while answered(self._source)[0] == before:
            time.sleep(0.02)
        before, began = answered(self._source)[0], time.perf_counter()
        yield
        self.sent += answered(self._source)[0] - before
        self.seconds += time.perf_counter() - began
        asyncio.run(release(self._url, go=False))
        time.sleep(3 * SECONDS)  # what is open is answered

    def rest(self, seconds: float) -> None:
        """Drain on without load: all of it, or for so long."""
        with self.going():
            end = time.perf_counter() + seconds
            while time.perf_counter() < end and answered(self._source)[0] < QUEUED:
                time.sleep(0.2)


def lines(*, n: int = 5, seconds: float = 4.0, rest: float = 20.0) -> list[Line]:
    """Interleaved rounds of clicks with and without the drain, then some of the drain alone."""
    source_port = free_port()
    with folder() as place, slow_source(source_port):
        url = f"sqlite+aiosqlite:///{place / 'bench.db'}"
        asyncio.run(set_up(url))
        asyncio.run(fill(url, source_port, QUEUED))
        with whole(url) as (port, process):
            load(port, seconds=2.0, seed=99)
            drain = Drain(url, source_port)
            quiet: list[Figures] = []
            busy: list[Figures] = []
            for number in range(n):
                quiet.append(load(port, seconds=seconds, seed=number, where="first"))
                with drain.going():
                    busy.append(load(port, seconds=seconds, seed=number, where="first"))
            alone, cpu = Drain(url, source_port), cpu_seconds(process)
            alone.rest(rest)
            cpu = cpu_seconds(process) - cpu
        most = answered(source_port)[1]
    return _lines(quiet, busy, drain, alone, f"{cpu / max(alone.sent, 1) * 1000:.2f} ms of processor each; {most} open")


def _lines(quiet: list[Figures], busy: list[Figures], drain: Drain, alone: Drain, told: str) -> list[Line]:
    expected = CONCURRENCY / SECONDS
    tails = statistics.median(b["p99"] / q["p99"] for q, b in zip(quiet, busy, strict=True))
    figures = ", ".join(
        f"{name} p99 {middle(of, 'p99'):.1f} ms, {middle(of):,.0f}/s"
        for name, of in (("draining", busy), ("not", quiet))
    )
    pace = f"{alone.sent / alone.seconds:.1f}/s of {expected:.0f}: {QUEUED:,} take {QUEUED / expected:.0f} s"
    return [
        Line("sends drained ÷ what the concurrency allows", alone.sent / alone.seconds / expected, 0.9,
             detail=f"{pace}; {told}"),
        Line("the same under full load of clicks", drain.sent / drain.seconds / expected, 0.5,
             detail=f"{drain.sent / drain.seconds:.1f}/s"),
        Line("p99 of clicks while draining ÷ without", tails, 1.2, at_most=True, detail=figures),
    ]  # fmt: skip


if __name__ == "__main__":
    print(table(lines()))
