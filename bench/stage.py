"""What every measure needs: a scratch deployment, servers in processes, load beside them, medians, a table."""

import contextlib
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import psutil

from storage.catalogue import campaigns, casinos, teams
from storage.db.engine import Database
from storage.db.schema import upgrade
from storage.tables import accounts, offers

CONNECTIONS = 64
Figures = dict[str, float]


class Line:
    """One line of the table: a measure, what was reached, what it must be at least (or at most)."""

    def __init__(self, measure: str, value: float, wanted: float, *, at_most: bool = False, detail: str = "") -> None:
        self.measure, self.value, self.wanted, self.at_most, self.detail = measure, value, wanted, at_most, detail

    @property
    def met(self) -> bool:
        return self.value <= self.wanted if self.at_most else self.value >= self.wanted

    def __str__(self) -> str:
        sign = "≤" if self.at_most else "≥"
        mark = "ok" if self.met else "MISSED"
        return f"| {self.measure} | {self.value:.2f} | {sign} {self.wanted:g} | {mark} | {self.detail} |"


def table(lines: list[Line]) -> str:
    head = ["| measure | reached | wanted | | figures |", "|---|---|---|---|---|"]
    return "\n".join([*head, *map(str, lines)])


def machine() -> str:
    import granian
    import litestar
    import sqlalchemy

    model = next((line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if "model name" in line), "?")
    import sqlite3

    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC · {os.cpu_count()} × {model} · {platform.platform()} · "
        f"Python {platform.python_version()}, granian {granian.__version__}, "
        f"Litestar {litestar.__version__.formatted()}, SQLAlchemy {sqlalchemy.__version__}, "
        f"SQLite {sqlite3.sqlite_version} · fsync {fsync_ms():.2f} ms"
    )


def _lines(path: str) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(path).read_text().splitlines()
    return []


def fsync_ms(rounds: int = 100) -> float:
    """Median time of appending 4 kB and syncing it: the floor under every durable answer."""
    with tempfile.NamedTemporaryFile(dir=scratch()) as file:
        took = []
        for _ in range(rounds):
            os.write(file.fileno(), b"x" * 4096)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000


def scratch() -> str | None:
    """Where to put databases: BENCH_DIR, else the system's folder for temporary files."""
    return os.environ.get("BENCH_DIR")


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="casinoflux-bench-", dir=scratch()) as made:
        yield Path(made)


async def set_up(url: str) -> int:
    """A team, four offers, a campaign `bench` with weights; returns the team's id."""
    database = Database(url)
    await upgrade(database)
    now = datetime.now(UTC)
    async with database.begin() as tx:
        team_id = await teams.first(tx, now)
        account_id = (
            await tx.execute(
                accounts.insert().values(
                    team_id=team_id, name="A", code="a", created_at=now, platform="postback_only", timezone="UTC",
                    currency="EUR", options={}, postback_key="benchkey",
                ).returning(accounts.c.id)
            )
        ).scalar_one()  # fmt: skip
        casino = await casinos.ensure(tx, team_id, "Lucky Star", now)
        weights = {}
        for n in range(4):
            made = await tx.execute(
                offers.insert().values(
                    team_id=team_id, name=f"o{n}", code=f"o{n}", created_at=now, casino_id=casino.id,
                    account_id=account_id, tag=f"t{n}", tag_key=f"t{n}", markets=[], status="active",
                    url=f"https://o{n}.example.test/play?click={{click_id}}&src={{source_click_id}}&s={{sub1}}",
                ).returning(offers.c.id)
            )  # fmt: skip
            weights[made.scalar_one()] = n + 1
        values = {
            "name": "bench", "code": "bench", "status": "active", "cost_model": "link", "currency": "EUR", "rules": [],
            "binding": True, "direct": True,
        }  # fmt: skip
        await campaigns.add(tx, team_id=team_id, now=now, values=values, weights=weights)
    await database.close()
    return team_id


class Server:
    """A bench.server process."""

    def __init__(self, kind: str, url: str = "", *, port: int = 0, anywhere: bool = False) -> None:
        self.port = port or free_port()
        environment = os.environ | {
            "CASINOFLUX_DATABASE_URL": url or "sqlite+aiosqlite:///unused.db", "CASINOFLUX_SECRET_KEY": "b" * 64,
            "CASINOFLUX_TRUSTED_PROXIES": "127.0.0.1",
        }  # fmt: skip
        command = [sys.executable, "-m", "bench.server", kind, str(self.port), *(["--anywhere"] if anywhere else [])]
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        lines = self._process.stdout or ()
        if not any(line.strip() == "ready" for line in lines):
            raise RuntimeError(f"bench.server {kind} did not start")
        threading.Thread(target=deque, args=(lines, 0), daemon=True).start()  # a full pipe would hold its log up
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.2):
                return
            time.sleep(0.05)

    def memory(self) -> int:
        """Bytes that are the process's own."""
        return int(psutil.Process(self._process.pid).memory_full_info().uss)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)


@contextmanager
def servers(**kinds: "Server") -> Iterator[dict[str, Server]]:
    try:
        yield kinds
    finally:
        for server in kinds.values():
            server.stop()


@contextmanager
def warm_server(url: str, *, seconds: float = 2.0) -> Iterator[Server]:
    """A whole server that has answered clicks for some seconds."""
    server = Server("whole", url)
    try:
        load(server.port, seconds=seconds, seed=99)
        yield server
    finally:
        server.stop()


def load(
    port: int, *, seconds: float, path: str = "/c/bench", connections: int = CONNECTIONS, seed: int = 0,
    form: str = "browsers", where: Literal["pinned", "first", "anywhere"] = "pinned",
) -> Figures:  # fmt: skip
    """Load on a server for some seconds, from a process on the last core. `form`: browsers or plain requests.

    `first`: before all else on that core; for rounds beside which other work runs there.
    """
    words = [str(port), str(seconds), str(connections), path, str(seed), form, where]
    return run_process("bench.load", *words)


def run_process(module: str, *words: str) -> Figures:
    """Figures of a load that runs as a process. Raises RuntimeError if any answer was not as wanted."""
    command = [sys.executable, "-m", module, *words]
    figures: Figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if figures["wrong"]:
        raise RuntimeError(f"{figures['wrong']:.0f} answers were not as wanted")
    return figures


def rounds(
    ports: dict[str, int], *, n: int, seconds: float, form: str = "browsers", anywhere: bool = False
) -> dict[str, list[Figures]]:
    """Interleaved rounds: each server in turn, n times, after one short round to warm up."""
    where: Literal["pinned", "anywhere"] = "anywhere" if anywhere else "pinned"
    found: dict[str, list[Figures]] = {name: [] for name in ports}
    for port in ports.values():
        load(port, seconds=1.0, seed=99, form=form, where=where)
    for number in range(n):
        for name, port in ports.items():
            found[name].append(load(port, seconds=seconds, seed=number, form=form, where=where))
    return found


def ratio(found: dict[str, list[Figures]], one: str, other: str, what: str = "rate") -> float:
    """Median of the rounds' ratios."""
    return statistics.median(a[what] / b[what] for a, b in zip(found[one], found[other], strict=True))


def middle(figures: list[Figures], what: str = "rate") -> float:
    return statistics.median(figure[what] for figure in figures)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def against_clicks(measure: str, figures: list[Figures], clicks: list[Figures], *, wanted: float) -> Line:
    """The rate of `figures` over that of the clicks measured in the same rounds."""
    detail = f"{middle(figures):,.0f}/s, p99 {middle(figures, 'p99'):.1f} ms; clicks {middle(clicks):,.0f}/s"
    return Line(measure, middle(figures) / middle(clicks), wanted, detail=detail)
