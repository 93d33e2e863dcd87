"""A year of delayed revenue: synced, synced again, restated in one row, and read as one report.

`python -m bench.revenue` measures. A stand-in platform (Smartico's report, one row per link, day and click id) runs in
a process of its own; the hub's syncs and settling run in another, on one core. BENCH_REVENUE_ROWS makes it smaller.
"""

import asyncio
import json
import logging
import os
import resource
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit
from urllib.request import urlopen

import msgspec
import structlog
from sqlalchemy import delete, func, insert, select

from bench.stage import Line, folder, free_port, table
from hub.jobs import sync
from hub.jobs.timetable import settle_touched
from hub.runtime.ports import HubPorts
from hub.runtime.process_tuning import few_arenas, settle_down
from hub.runtime.runtime import Runtime
from hub.runtime.settings import Settings
from storage.catalogue import accounts, campaigns, casinos, teams
from storage.clicks import queries
from storage.db.engine import Database
from storage.db.schema import upgrade
from storage.db.secrets import Box
from storage.ledger.reports.report_pages import PagedReport
from storage.reports.merged_report import ReportQuery, paged_report
from storage.reports.report_pages import PAGES
from storage.revenue import syncs
from storage.tables import offers, report_pages, revenue, revenue_reports, revenue_revisions, touched

OFFERS = 200
DAYS = 365
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_ROW = (
    '{"dt":"%sT00:00:00.000Z","link_id":%d,"link_name":"link %d","afp":"%s","brand_id":%d,"visit_count":%d,'
    '"registration_count":%d,"ftd_count":%d,"ftd_total":%d.0,"deposit_count":%d,"deposit_total":%d.5,"net_pl":%d.25,'
    '"commissions_cpa":%d.0,"commissions_rev_share":%d.07,"commissions_total":%d.07}'
)


def first_day() -> date:
    return datetime.now(UTC).date() - timedelta(days=DAYS)


def told(day: date, rows: int, extra: int) -> Iterator[str]:
    """The platform's rows of a day; `extra` is what its first row has more than at first."""
    n = (day - first_day()).days
    for i in range(n * rows // DAYS, (n + 1) * rows // DAYS):
        place = i - n * rows // DAYS
        link, dice = place % OFFERS, (i * 2_654_435_761) & 0xFFFF_FFFF
        sub = "" if place < OFFERS else "".join(_DIGITS[(i * 7_919 + dice * (at + 3) >> at) & 31] for at in range(13))
        ftds = dice % 3 + (extra if place == 0 else 0)
        cpa, share = 40 * ftds, dice % 90
        yield _ROW % (
            day, link, link, sub, link % 7, dice % 40, dice % 9, ftds, 20 * ftds, dice % 12, dice % 900,
            dice % 300 - 40, cpa, share, cpa + share,
        )  # fmt: skip


class Platform(BaseHTTPRequestHandler):
    """The stand-in: GET /_restate adds to the first row of a day, /_answered is when it last gave a report."""

    protocol_version = "HTTP/1.1"
    rows = 0
    more: ClassVar[dict[str, int]] = {}
    kept: ClassVar[dict[str, bytes] | None] = None
    answered = 0.0

    def do_GET(self) -> None:
        asked = dict(parse_qsl(urlsplit(self.path).query))
        if self.path.startswith("/_restate"):
            self.more[asked["day"]] = self.more.get(asked["day"], 0) + 1
            body = b"{}"
        elif self.path.startswith("/_answered"):
            body = str(self.answered).encode()
        else:
            body = self._report(date.fromisoformat(asked["date_from"]), date.fromisoformat(asked["date_to"]))
            type(self).answered = time.time()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _report(self, first: date, until: date) -> bytes:
        if self.kept is None:
            return self._made(first, until)
        return self.kept.get(f"{first} {until}") or self.kept.setdefault(f"{first} {until}", self._made(first, until))

    def _made(self, first: date, until: date) -> bytes:
        days = (first + timedelta(days=n) for n in range((until - first).days))
        mine = (day for day in days if first_day() <= day < first_day() + timedelta(days=DAYS))
        rows = ",".join(",".join(told(day, self.rows, self.more.get(str(day), 0))) for day in mine)
        return f'{{"meta":{{"affiliate_id":1}},"data":[{rows}]}}'.encode()

    def log_message(self, *_: Any) -> None:
        """The log is not read."""


def stand_in(port: int, rows: int, *, kept: bool = False) -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    Platform.rows = rows
    Platform.kept = {} if kept else None
    if kept:  # beside clicks: it must not hold up the load, which is on the same core
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    ThreadingHTTPServer(("127.0.0.1", port), Platform).serve_forever()


@contextmanager
def platform(rows: int, *, kept: bool = False) -> Iterator[str]:
    """Base URL of a stand-in in a process of its own; `kept`: an answer is made once, whoever asks for it again."""
    port = free_port()
    words = [str(port), str(rows), *(["kept"] if kept else [])]
    process = subprocess.Popen([sys.executable, "-m", "bench.revenue", "platform", *words])
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(100):
            try:
                urlopen(f"{url}/?date_from={first_day()}&date_to={first_day()}", timeout=5).close()
                break
            except OSError:
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(10)


class RevenueStage:
    """The hub's side: one account of 200 offers, each with a campaign."""

    def __init__(self, database_url: str, platform_url: str) -> None:
        settings = Settings(secret_key="bench-secret", allow_private_hosts=True)
        self.platform_url = platform_url
        self.database = Database(database_url)
        self.runtime = Runtime(
            settings=settings, database=self.database, box=Box("bench-secret"), ports=HubPorts(settings), team_id=1
        )
        self.account_id = 0

    async def open(self) -> None:
        now = datetime.now(UTC)
        await upgrade(self.database)
        async with self.database.begin() as tx:
            self.runtime.team_id = team_id = await teams.first(tx, now)
            await queries.ensure_codec(tx)
            self.account_id = await accounts.add(
                tx, self.runtime.box, team_id=team_id, now=now,
                login=accounts.Login(
                    timezone="UTC", currency="EUR", base_url=self.platform_url, credentials={"api_key": "k"},
                    options={"requests_per_second": 1000},
                ),
                named={"name": "a", "code": "a", "platform": "smartico"},
            )  # fmt: skip
            casino = await casinos.ensure(tx, team_id, "Lucky Star", now)
            for n in range(OFFERS):
                made = await tx.execute(insert(offers).values(
                    team_id=team_id, name=f"o{n}", code=f"o{n}", created_at=now, casino_id=casino.id,
                    account_id=self.account_id, tag=str(n), tag_key=str(n), markets=[], status="active",
                    url=f"https://o{n}.example.test/play?click={{click_id}}",
                ).returning(offers.c.id))  # fmt: skip
                values = {"name": f"c{n}", "code": f"c{n}", "cost_model": "none", "rules": [], "status": "active"}
                weights = {int(made.scalar_one()): 1}
                await campaigns.add(tx, team_id=team_id, now=now - timedelta(days=400), values=values, weights=weights)

    async def sync(self, first: date, last: date) -> None:
        """One sync of the range through the connector, settling beside it as the timetable would."""
        async with self.database.begin() as tx:
            await syncs.queue(
                tx, team_id=self.runtime.team_id, account_id=self.account_id, now=self.runtime.clock(), first=first,
                last=last,
            )  # fmt: skip
        await sync.tick(self.runtime)
        working = asyncio.ensure_future(sync.of(self.runtime).finished())
        while not working.done():
            await asyncio.wait({working}, timeout=1)
            await self.settle()

    async def settle(self) -> None:
        await settle_touched(self.runtime)

    async def make_pages(self) -> None:
        """Go on as the timetable would until all days have the pages that wait for the end of a sync."""
        while self.runtime.state["pages"].is_waiting:
            await self.settle()
            await asyncio.sleep(0.1)

    async def forget_pages(self) -> None:
        """Be as right after a sync, before pages are made."""
        async with self.database.begin() as tx:
            await tx.execute(delete(report_pages))
        PAGES.clear()

    async def report(self) -> PagedReport:
        query = ReportQuery(
            team_id=self.runtime.team_id, first=first_day(), last=first_day() + timedelta(days=DAYS - 1),
            by=("day", "offer"),
        )  # fmt: skip
        async with self.database.read() as tx:
            result = await paged_report(tx, query)
        if result is None:
            raise RuntimeError("the report has no pages")
        return result

    async def counted(self) -> list[int]:
        """Rows of the tables that figures are written to, and bytes of the database."""
        async with self.database.read() as tx:
            tables = (revenue, revenue_revisions, revenue_reports, touched)
            result = [int((await tx.execute(select(func.count()).select_from(t))).scalar_one()) for t in tables]
            pages = (await tx.exec_driver_sql("PRAGMA page_count")).scalar_one()
        return [*result, int(pages)]


async def work(database_url: str, platform_url: str) -> dict[str, float]:
    """All of it on this process' one core; seconds of its processor, megabytes, milliseconds."""
    stage, result = RevenueStage(database_url, platform_url), dict[str, float]()
    await stage.open()
    settle_down()
    first, last = first_day(), first_day() + timedelta(days=DAYS - 1)
    began, spent = time.perf_counter(), time.process_time()
    await stage.sync(first, last)
    result |= {"first": time.process_time() - spent, "first_wall": time.perf_counter() - began}
    spent = time.process_time()
    await stage.make_pages()
    result["pages"] = time.process_time() - spent
    before, spent = await stage.counted(), time.process_time()
    await stage.sync(first, last)
    result |= {"again": time.process_time() - spent, "written": float(before != await stage.counted())}
    result |= {"rows": before[0], "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    PAGES.clear()
    result["cold"] = await timed(stage)
    result["warm"] = statistics.median([await timed(stage) for _ in range(9)])
    result["restated"], result["after"] = await restated(stage, last - timedelta(days=3))
    await stage.forget_pages()
    result["early"] = await timed(stage)
    await sync.stop(stage.runtime)
    await stage.database.close()
    return result


async def timed(stage: RevenueStage) -> float:
    """Milliseconds for the year's report by day and offer, all of its JSON made."""
    began = time.perf_counter()
    size = len(b"".join((await stage.report()).json()))
    took = (time.perf_counter() - began) * 1000
    if size < OFFERS * DAYS * 100:
        raise RuntimeError(f"the report has only {size} bytes")
    return took


async def restated(stage: RevenueStage, day: date) -> tuple[float, float]:
    """Seconds from the answer with one changed row to the report that shows it; the report's own milliseconds."""
    before = (await stage.report()).total.first_deposits.platform or 0
    await asyncio.to_thread(lambda: urlopen(f"{stage.platform_url}/_restate?day={day}", timeout=5).close())
    await stage.sync(day - timedelta(days=4), day + timedelta(days=3))
    took = await timed(stage)
    shown = time.time()
    if (await stage.report()).total.first_deposits.platform != before + 1:
        raise RuntimeError("the restated row is not in the report")
    answered = await asyncio.to_thread(lambda: urlopen(f"{stage.platform_url}/_answered", timeout=5).read())
    return shown - float(answered), took


def plain(database: str, platform_url: str) -> dict[str, float]:
    """The same answers decoded and inserted by `executemany`, a transaction for each: seconds of the processor."""
    names = ("dt", "link_id", "afp", "brand_id", "visit_count", "registration_count", "ftd_count", "ftd_total",
             "deposit_count", "deposit_total", "net_pl", "commissions_cpa", "commissions_rev_share")  # fmt: skip
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"CREATE TABLE plain (id INTEGER PRIMARY KEY, {', '.join(names)})")
    statement = f"INSERT INTO plain ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    spent, count, day = 0.0, 0, first_day()
    while day < first_day() + timedelta(days=DAYS):
        until = min(day + timedelta(days=31), first_day() + timedelta(days=DAYS))
        with urlopen(f"{platform_url}/?date_from={day}&date_to={until}", timeout=120) as answer:
            raw = answer.read()
        began = time.process_time()
        rows = msgspec.json.decode(raw)["data"]
        connection.execute("BEGIN")
        connection.executemany(statement, [tuple(row[name] for name in names) for row in rows])
        connection.execute("COMMIT")
        spent, count, day = spent + time.process_time() - began, count + len(rows), until
    connection.close()
    return {"seconds": spent, "rows": count}


def lines() -> list[Line]:
    rows = int(os.environ.get("BENCH_REVENUE_ROWS", "1_000_000"))
    with folder() as place, platform(rows) as url:
        command = [sys.executable, "-m", "bench.revenue", "work", f"sqlite+aiosqlite:///{place / 'revenue.db'}", url]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        command[3:] = ["plain", str(place / "plain.db"), url]
        base = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    one = json.loads(out)
    pace, plain_pace = one["rows"] / one["first"], base["rows"] / base["seconds"]
    with_pages = one["rows"] / (one["first"] + one["pages"]) / plain_pace
    return [
        Line(f"revenue rows a second, synced and merged, of {rows:,}", pace, 20_000,
             detail=f"{one['first']:.0f} s of one core, {one['first_wall']:.0f} s on the clock"),
        Line("the same ÷ decoding the same JSON and executemany", pace / plain_pace, 0.2,
             detail=f"{plain_pace:,.0f} rows a second of one core that way; {with_pages:.2f} with {one['pages']:.1f} s "
             "for the usual pages, which are made after the sync"),
        Line("the same window again ÷ the first time", one["again"] / one["first"], 0.3, at_most=True,
             detail="wrote rows" if one["written"] else "wrote nothing"),
        Line("peak memory of it, MB", one["peak"], 300, at_most=True),
        Line("seconds from a restated row's answer to the report", one["restated"], 1.0, at_most=True),
        Line("a year by day × offer, ms", one["warm"], 100, at_most=True,
             detail=f"{one['after']:.0f} ms after the restatement, {one['cold']:.0f} ms the first time after a start, "
             f"{one['early']:.0f} ms before its pages are made"),
    ]  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["platform"]:
        stand_in(int(sys.argv[2]), int(sys.argv[3]), kept="kept" in sys.argv)
    elif sys.argv[1:2] == ["work"]:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        few_arenas()
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
        print(json.dumps(asyncio.run(work(*sys.argv[2:]))))
    elif sys.argv[1:2] == ["plain"]:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(json.dumps(plain(*sys.argv[2:])))
    else:
        print(table(lines()))
