"""Clicks while long work runs: a fine report over all days, an upload of 100,000 rows, a sync of 250,000 rows.

The whole application is served, timetable included, on one core under the load of 64 connections; the helper process
runs as on a machine of two cores. Rounds without work and with each kind of it take turns. The lag of the event loop is
that of /metrics. `BENCH_LONG_ROWS` makes uploads and syncs smaller.
"""

import asyncio
import base64
import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from bench import revenue
from bench.outbound import whole
from bench.stage import Figures, Line, folder, load, middle, set_up, table
from bench.volume import fill
from storage.catalogue import accounts
from storage.db.engine import Database
from storage.db.secrets import Box
from storage.ledger.facts import Role
from storage.people import tokens

WANTED = 1.3
LAG_MS = 20.0
HISTORY = 300_000  # clicks of the last 30 days
_TOKEN = "cf_bench-long-work"
_AHEAD = 4  # of what a client of long work sends, made before a round
_LAG = "casinoflux_event_loop_lag_seconds"


class Hub:
    """The hub over HTTP, as the owner's scripts speak to it."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str, **query: str) -> Any:
        return json.loads(self._send(f"{path}?{urlencode(query)}"))

    def post(self, path: str, **arguments: Any) -> Any:
        return json.loads(self._send(path, json.dumps(arguments).encode()))

    def lag(self) -> dict[float, float]:
        """How often the loop was at most so many seconds late."""
        with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        buckets = (line.removeprefix(f'{_LAG}_bucket{{le="') for line in lines if line.startswith(f"{_LAG}_bucket"))
        return {float(bucket.partition('"')[0]): float(bucket.rpartition(" ")[2]) for bucket in buckets}

    def _send(self, path: str, body: bytes | None = None) -> bytes:
        headers = {"authorization": f"Bearer {_TOKEN}", "content-type": "application/json"}
        asked = Request(f"http://127.0.0.1:{self.port}/api/v1/{path}", data=body, headers=headers)
        try:
            with urlopen(asked, timeout=120) as answer:
                return bytes(answer.read())
        except HTTPError as error:
            raise RuntimeError(f"{path}: {error.code} {error.read()[:500]!r}") from None


class Work:
    """One kind of long work, done again and again beside a load; how long each took."""

    def __init__(
        self, name: str, once: Callable[[str], None], *, make: Callable[[], str] = str, rest: float = 2.0
    ) -> None:  # fmt: skip
        """`make`: what `once` is given, made while nothing is measured. `rest`: seconds until what it left behind is
        done: days are settled, and of a year's pages are made."""
        self.name, self._work, self._make, self.rest = name, once, make, rest
        self._ready: list[str] = []
        self.took: list[float] = []

    def once(self) -> None:
        given = self._ready.pop() if self._ready else self._make()
        began = time.perf_counter()
        self._work(given)
        self.took.append(time.perf_counter() - began)

    @contextmanager
    def going(self) -> Iterator[None]:
        """Until this is left; what was begun is finished.

        The client takes what the load leaves of its core: it stands for a browser on a machine of its own.
        """
        over, failed = threading.Event(), list[BaseException]()
        self._ready += [self._make() for _ in range(_AHEAD - len(self._ready))]

        def repeat() -> None:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            try:
                while not over.is_set():
                    self.once()
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=repeat)
        thread.start()
        time.sleep(0.5)
        yield
        over.set()
        thread.join()
        if failed:
            raise failed[0]


def works(hub: Hub, rows: int) -> list[Work]:
    today = datetime.now(UTC).date()
    numbers = iter(range(10**9))

    def report(_: str) -> None:
        query = {"from": str(today - timedelta(days=1099)), "to": str(today), "by": "campaign,country,sub1"}
        result = hub.get("report/merged", **query)
        if len(result["rows"]) < 1000:
            raise RuntimeError(f"the report has only {len(result['rows'])} rows")

    def file() -> str:
        return base64.b64encode(_table(rows * 2 // 5, next(numbers))).decode()

    def upload(content: str) -> None:
        done = hub.post("sync/upload", account="own", file=content)
        if done["rows"] != rows * 2 // 5 or not done["revisions"]:
            raise RuntimeError(f"the upload came to {done}")

    def account() -> str:
        name = f"big-{next(numbers)}"
        asyncio.run(add_account(name))
        return name

    def sync(account: str) -> None:
        first = revenue.first_day()
        hub.post("sync/now", account=account, **{"from": str(first), "to": str(first + timedelta(days=364))})
        while (state := hub.get("sync/status", account=account)["items"][0])["state"] in {"queued", "running"}:
            time.sleep(0.1)
        if state["state"] != "idle" or state["rows"] < rows * 0.9:
            raise RuntimeError(f"the sync came to {state}")

    return [
        Work("a fine-grain report over all days", report),
        Work(f"an upload of {rows * 2 // 5:,} rows", upload, make=file, rest=20.0),
        Work(f"a sync of {rows:,} rows", sync, make=account, rest=20.0),
    ]


def _table(rows: int, number: int) -> bytes:
    """A file of a year's rows, its figures unlike those of any other number."""
    first = datetime.now(UTC).date() - timedelta(days=366)
    lines = (
        f"{first + timedelta(days=n % 365)},tag{n // 365},EUR,{n % 40},{n % 9},{n % 3},{(n * 7 + number * 11) % 900}.50"
        for n in range(rows)
    )
    return "\n".join(("day,tag,currency,visits,registrations,first_deposits,commission", *lines)).encode()


_place: dict[str, str] = {}


async def add_account(name: str) -> None:
    """An account on the stand-in platform; a team has many."""
    database = Database(_place["database"])
    async with database.begin() as tx:
        await accounts.add(
            tx, Box("b" * 64), team_id=1, now=datetime.now(UTC),
            login=accounts.Login(
                timezone="UTC", currency="EUR", base_url=_place["platform"], credentials={"api_key": "k"},
                options={"requests_per_second": 1000},
            ),
            named={"name": name, "code": name, "platform": "smartico"},
        )  # fmt: skip
    await database.close()


async def add_token() -> None:
    database, now = Database(_place["database"]), datetime.now(UTC)
    async with database.begin() as tx:
        await tokens.add(tx, team_id=1, now=now, name="bench", code="bench", role=Role.OWNER, token=_TOKEN)
    await database.close()


def within(before: dict[float, float], after: dict[float, float], share: float) -> float:
    """The lag in seconds that so large a share of the measurements between two looks is below, by interpolation."""
    counts = {bound: after[bound] - before[bound] for bound in sorted(after)}
    expected, lower, below = counts[max(counts)] * share, 0.0, 0.0
    for bound, count in counts.items():
        if count >= expected:
            return bound if bound == float("inf") else lower + (bound - lower) * (expected - below) / (count - below)
        lower, below = bound, count
    return lower


def lines(*, n: int = 5, seconds: float = 6.0) -> list[Line]:
    rows = int(os.environ.get("BENCH_LONG_ROWS", "250_000"))
    kinds = os.environ.get("BENCH_LONG_WORK", "report upload sync").split()
    with folder() as place, revenue.platform(rows, kept=True) as platform_url:
        path = place / "bench.db"
        _place.update(database=f"sqlite+aiosqlite:///{path}", platform=platform_url)
        asyncio.run(set_up(_place["database"]))
        fill(path, HISTORY, HISTORY // 30)
        asyncio.run(add_token())
        log = Path(os.environ["BENCH_LOG"]) if "BENCH_LOG" in os.environ else None
        with whole(_place["database"], log=log) as (port, _):
            hub = Hub(port)
            hub.post("account/add", platform="csv_upload", name="own", currency="EUR")
            chosen = [work for work in works(hub, rows) if any(kind in work.name for kind in kinds)]
            return _lines(hub, chosen, n=n, seconds=seconds)


def _lines(hub: Hub, chosen: list[Work], *, n: int, seconds: float) -> list[Line]:
    load(hub.port, seconds=2.0, seed=99)
    for work in chosen:
        work.once()
        work.took.clear()
    quiet: dict[str, list[Figures]] = {work.name: [] for work in chosen}
    busy: dict[str, list[Figures]] = {work.name: [] for work in chosen}
    lags: dict[str, list[float]] = {work.name: [] for work in chosen}
    for number in range(n):
        for work in chosen:
            quiet[work.name].append(load(hub.port, seconds=seconds, seed=number, where="first"))
            with work.going():
                before = hub.lag()
                busy[work.name].append(load(hub.port, seconds=seconds, seed=number, where="first"))
                lags[work.name].append(within(before, hub.lag(), 0.99) * 1000)
            time.sleep(work.rest)
    found = []
    for work in chosen:
        tails = statistics.median(b["p99"] / q["p99"] for q, b in zip(quiet[work.name], busy[work.name], strict=True))
        told = ", ".join(
            f"{word} p99 {middle(of, 'p99'):.1f} ms, {middle(of):,.0f}/s"
            for word, of in (("with", busy[work.name]), ("without", quiet[work.name]))
        )
        detail = f"{told}; {statistics.median(work.took):.1f} s each under load"
        found.append(Line(f"p99 of clicks beside {work.name} ÷ without", tails, WANTED, at_most=True, detail=detail))
        lag = statistics.median(lags[work.name])
        found.append(Line(f"p99 of the event loop's lag beside {work.name}, ms", lag, LAG_MS, at_most=True))
    return found


if __name__ == "__main__":
    print(table(lines()))
