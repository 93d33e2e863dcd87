"""What the gate costs a command, and what clicks notice of hostile requests.

`python -m bench.gate` measures; `python -m bench.gate hostile PORT SECONDS` sends hostile requests.
"""

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import cycle

import httpx

import bot.commands  # noqa: F401  registers every command
from bench.stage import Figures, Line, folder, load, middle, set_up, table, warm_server
from bot.core import permissions
from bot.core.arguments import fill
from bot.core.command import COMMANDS
from bot.core.context import Actor
from hub.runtime.boot import new_runtime
from hub.runtime.settings import Settings
from hub.web.api import context
from storage.db.engine import Database
from storage.ledger.facts import Role
from storage.people import tokens

MOST_MS = 1.0
MOST_TAIL = 1.3
IDLE = 2_000
TOKEN = "cf_bench"
DEEP = "[" * 10_000
RULES = [{"if": {"country": ["DE"]}, "offers": ["o0"]}] * 10_000


async def gate_ms(url: str, team_id: int, *, n: int = 200) -> float:
    """Median milliseconds that the gate takes for a member limited to campaigns."""
    runtime = new_runtime(Settings(database_url=url, secret_key="b" * 64))
    actor = Actor(team_id=team_id, name="limited", role=Role.BUYER, campaigns=("bench",))
    calls = [
        ("campaign edit", {"campaign": "bench", "offers": ["o0", "o1"]}), ("offer show", {"offer": "o2"}),
        ("offer edit", {"offer": "o3", "deal": "none"}), ("stats", {"range": "7d", "campaign": "bench"}),
    ]  # fmt: skip
    took = []
    try:
        for name, arguments in [*calls * n]:
            ctx = context(runtime, actor)
            new = fill(COMMANDS[name].parameters, arguments, ctx.today)
            start = time.perf_counter()
            await permissions.admit(COMMANDS[name], new, ctx)
            took.append((time.perf_counter() - start) * 1000)
    finally:
        await runtime.database.close()
    return statistics.median(took)


async def add_token(url: str, team_id: int) -> None:
    database = Database(url)
    async with database.begin() as tx:
        await tokens.add(
            tx, team_id=team_id, now=datetime.now(UTC), name="bench", code="bench", role=Role.OWNER, token=TOKEN
        )
    await database.close()


def hostile(port: str, seconds: str) -> None:
    """For some seconds one request after another of those that stopped a hub once."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    ends = time.monotonic() + float(seconds)
    report = "/api/v1/report/merged"
    requests = cycle([
        ("GET", f"{report}?from=0001-01-01&to=9999-12-31&by=sub1", None),
        ("GET", f"{report}?from=2026-10-01&to=2026-10-31&by=sub1&as_of=9999-12-31", None),
        ("POST", "/api/v1/campaign/edit", {"campaign": "bench", "rules": RULES}),
        ("POST", "/api/v1/digest/subscribe", {"campaigns": ["bench"] * 20_000, "channel": "terminal"}),
        ("GET", "/api/v1/rate/list?currency=USD&to=0001-01-01", None),
        ("POST", "/slack/events", None), ("POST", "/postback/nowhere", None), ("HEAD", "/postback/benchkey", None),
        ("POST", "/api/v1/casino/edit", {"casino": "lucky-star", "logo": "https://evil.com;sandbox/x.png"}),
        ("POST", "/api/v1/domain/add", {"name": "xn--a.com"}),
    ])  # fmt: skip
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        for method, path, body in requests:
            if time.monotonic() > ends:
                return
            header = {"authorization": f"Bearer {TOKEN}"}
            sent = {"json": body} if body is not None else {"content": DEEP} if method == "POST" else {}
            answer = client.request(method, path, headers=header, **sent)  # type: ignore[arg-type]
            if answer.status_code >= 500 and answer.status_code != 503:
                raise SystemExit(f"{method} {path[:80]}: {answer.status_code}")
            time.sleep(0.02)


def lines(*, n: int = 3, seconds: float = 3.0) -> list[Line]:
    """The gate by itself, then interleaved rounds of clicks on one SQLite server: alone, beside hostile requests, and
    beside idle connections. Takes about a minute."""
    with folder() as place:
        url = f"sqlite+aiosqlite:///{place / 'bench.db'}"
        team_id = asyncio.run(set_up(url))
        asyncio.run(add_token(url, team_id))
        cost = asyncio.run(gate_ms(url, team_id))
        with warm_server(url, seconds=1.0) as server:
            alone, beside, idle, grown = [], [], [], []
            for number in range(n):
                alone.append(load(server.port, seconds=seconds, seed=number))
                beside.append(_beside_hostile(server.port, seconds, number))
                before = server.memory()
                with _idle_connections(server.port):
                    grown.append((server.memory() - before) / 1e6)
                    idle.append(load(server.port, seconds=seconds, seed=number))
    return [
        Line("the gate, ms a command", cost, MOST_MS, at_most=True),
        _tail("hostile requests", alone, beside), _tail(f"{IDLE:,} idle connections", alone, idle),
        Line(f"{IDLE:,} idle connections, MB", max(grown), 10, at_most=True),
    ]  # fmt: skip


def _tail(what: str, alone: list[Figures], beside: list[Figures]) -> Line:
    tail = statistics.median(b["p99"] / a["p99"] for a, b in zip(alone, beside, strict=True))
    told = f"p99 {middle(beside, 'p99'):.1f} ms beside, {middle(alone, 'p99'):.1f} ms alone"
    return Line(f"p99 of clicks beside {what} ÷ without", tail, MOST_TAIL, at_most=True, detail=told)


def _beside_hostile(port: int, seconds: float, seed: int) -> Figures:
    command = [sys.executable, "-m", "bench.gate", "hostile", str(port), str(seconds + 4)]
    attacker = subprocess.Popen(command)
    time.sleep(1)
    try:
        figures = load(port, seconds=seconds, seed=seed)
        if attacker.wait(60):
            raise RuntimeError("a hostile request was answered with a fault")
        return figures
    finally:
        attacker.kill()
        attacker.wait()


@contextmanager
def _idle_connections(port: int) -> Iterator[None]:
    with ExitStack() as opened:
        for _ in range(IDLE):
            opened.enter_context(socket.create_connection(("127.0.0.1", port)))
        time.sleep(1)
        yield


if __name__ == "__main__":
    if sys.argv[1:2] == ["hostile"]:
        hostile(sys.argv[2], sys.argv[3])
    else:
        print(table(lines()))
