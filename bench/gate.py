"""What the gate costs a command, and what clicks notice of hostile requests.

`python -m bench.gate` measures; `python -m bench.gate hostile PORT` sends hostile requests until it is ended.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from itertools import cycle

import httpx

import bot.commands  # noqa: F401  registers every command
from bench.stage import Line, Server, folder, load, middle, set_up, table
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
TOKEN = "cf_bench"
DEEP = "[" * 10_000
RULES = [{"if": {"country": ["DE"]}, "offers": ["o0"]}] * 10_000


async def gate_ms(url: str, team_id: int, *, n: int = 400) -> float:
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


def hostile(port: str) -> None:
    """One request after another of those that stopped a hub once."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
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
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        for method, path, body in requests:
            header = {"authorization": f"Bearer {TOKEN}"}
            sent = {"json": body} if body is not None else {"content": DEEP} if method == "POST" else {}
            answer = client.request(method, path, headers=header, **sent)  # type: ignore[arg-type]
            if answer.status_code >= 500 and answer.status_code != 503:
                raise SystemExit(f"{method} {path[:80]}: {answer.status_code}")
            time.sleep(0.02)


def lines(*, n: int = 3, seconds: float = 3.0) -> list[Line]:
    """The gate by itself, then interleaved rounds of clicks with and without hostile requests on one SQLite server."""
    with folder() as place:
        url = f"sqlite+aiosqlite:///{place / 'bench.db'}"
        team_id = asyncio.run(set_up(url))
        asyncio.run(add_token(url, team_id))
        cost = asyncio.run(gate_ms(url, team_id))
        server = Server("whole", url)
        try:
            load(server.port, seconds=1.0, seed=99)
            alone, beside = [], []
            for number in range(n):
                alone.append(load(server.port, seconds=seconds, seed=number))
                attacker = subprocess.Popen([sys.executable, "-m", "bench.gate", "hostile", str(server.port)])
                time.sleep(1)
                try:
                    beside.append(load(server.port, seconds=seconds, seed=number))
                finally:
                    ended = attacker.poll()
                    attacker.kill()
                    attacker.wait()
                if ended is not None:
                    raise RuntimeError("hostile requests stopped early")
        finally:
            server.stop()
    tail = statistics.median(b["p99"] / a["p99"] for a, b in zip(alone, beside, strict=True))
    told = f"p99 {middle(beside, 'p99'):.1f} ms beside, {middle(alone, 'p99'):.1f} ms alone"
    return [
        Line("the gate, ms a command", cost, MOST_MS, at_most=True),
        Line("p99 of clicks while hostile requests come ÷ without", tail, MOST_TAIL, at_most=True, detail=told),
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["hostile"]:
        hostile(sys.argv[2])
    else:
        print(table(lines()))
