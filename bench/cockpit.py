"""The cockpit over a million clicks, 200 campaigns, 90 days on SQLite: its pages, their weight, live events, and what
clicks notice of people who look.

`python -m bench cockpit` measures; `python -m bench.cockpit look URL COOKIE SECONDS` is ten people who look.
"""

import asyncio
import gzip
import os
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx

from bench.stage import Line, folder, free_port, load, middle, set_up
from bench.volume import fill
from storage.db.engine import Database
from storage.reports import settle

AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
OFFERS = 1_000
PEOPLE, PAUSE = 10, 3.0  # seconds between two pages of a person
TODAY, REPORT, LIST = "/cockpit", "/cockpit/reports?range=90d&by=campaign", "/cockpit/offer"


@contextmanager
def served(place: Path) -> Iterator[tuple[httpx.Client, str]]:
    """The deployment as `serve` runs it; a signed-in client, and a link that signs in once."""
    port = free_port()
    environment = os.environ | {
        "CASINOFLUX_DATABASE_URL": f"sqlite+aiosqlite:///{place / 'cockpit.db'}", "CASINOFLUX_SECRET_KEY": "b" * 64,
        "CASINOFLUX_PUBLIC_URL": f"http://127.0.0.1:{port}", "CASINOFLUX_TRUSTED_PROXIES": "127.0.0.1",
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
    }  # fmt: skip
    hub = [sys.executable, "-m", "hub"]
    process = subprocess.Popen([*hub, "serve", "--port", str(port)], cwd=place, env=environment,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip

    def link() -> str:
        shown = subprocess.run([*hub, "run", "cockpit"], cwd=place, env=environment, capture_output=True, text=True)
        return re.search(r"http\S+/enter/\S+", shown.stdout)[0]  # type: ignore[index]

    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"user-agent": AGENT}, timeout=60)
    try:
        for _ in range(300):
            try:
                if client.get("/readyz").status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        client.get(link())
        yield client, link()
    finally:
        client.close()
        process.terminate()
        process.wait(30)


def prepare(place: Path) -> None:
    path = place / "cockpit.db"
    url = f"sqlite+aiosqlite:///{path}"
    asyncio.run(set_up(url))
    fill(path, int(os.environ.get("BENCH_CLICKS", "1_000_000")), 40_000, days=90, campaigns=200)
    with sqlite3.connect(path) as database:
        names = [
            row[1] for row in database.execute("PRAGMA table_info(offers)") if row[1] not in {"id", "name", "code"}
        ]
        columns = ",".join(f'"{name}"' for name in names)
        for n in range(OFFERS - 4):
            database.execute(
                f"INSERT INTO offers (name, code, {columns}) SELECT 'More {n}', 'more-{n}', {columns} FROM offers "
                "WHERE code='o0'"
            )
    asyncio.run(_settle(url))


async def _settle(url: str) -> None:
    database = Database(url)
    try:
        await settle.settle_all(database, ZoneInfo("UTC"))
    finally:
        await database.close()


def page_ms(client: httpx.Client, path: str, times: int = 15) -> float:
    took = []
    for _ in range(times + 1):
        began = time.perf_counter()
        assert client.get(path).status_code == 200
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took[1:])


def weights(client: httpx.Client) -> tuple[float, float]:
    """Kilobytes of a first load, compressed: with charts (Today) and without (the list's own scripts and sheet)."""
    page = client.get(TODAY).text
    version = re.search(r"/cockpit/static/(\w+)/", page)[1]  # type: ignore[index]

    def size(name: str) -> int:
        return int(client.get(f"/cockpit/static/{version}/{name}").headers["content-length"])

    shell = sum(map(size, ("cockpit.css", "cockpit.js", "icon.svg", "live.js")))
    html = len(gzip.compress(page.encode(), 6))
    return (html + shell + size("charts.js") + size("vega.js")) / 1000, (html + shell) / 1000


def live_ms(client: httpx.Client, times: int = 7) -> float:
    """From a click to its event on the stream."""
    took = []
    with client.stream("GET", "/cockpit/events") as stream:
        lines = stream.iter_lines()
        for line in lines:
            if line.startswith("data:"):
                break  # the latest clicks: the stream has begun
        time.sleep(1)
        for n in range(times):
            began = time.perf_counter()
            answer = httpx.get(f"{client.base_url}/c/bench", headers={"user-agent": f"{AGENT} {n}"})
            assert answer.status_code == 302
            newest = next(line for line in lines if line.startswith("data:") and '"bench' in line)
            took.append((time.perf_counter() - began) * 1000)
            assert newest
    return statistics.median(took)


def usable_ms(link: str, times: int = 3) -> float | None:
    """From the request to Today with its chart drawn, in Chromium; None without one."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        return None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_context(user_agent=AGENT).new_page()
        page.goto(link)
        page.locator("[data-chart] svg").first.wait_for()
        took = []
        for _ in range(times):
            began = time.perf_counter()
            page.goto(link.partition("/enter")[0])
            page.locator("[data-chart] svg").first.wait_for()
            took.append((time.perf_counter() - began) * 1000)
        browser.close()
    return statistics.median(took)


def look(url: str, cookie: str, seconds: float) -> None:
    """Ten people for some seconds: each has Today's live line open and asks for a page every three seconds."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    # Browsers of ten people share no processor with the visitors: where both are ready, the visitors' load goes first.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    ends = time.monotonic() + seconds

    def person(n: int) -> None:
        with httpx.Client(base_url=url, headers={"user-agent": AGENT, "cookie": cookie}, timeout=60) as client:
            threading.Thread(target=follow, args=(client,), daemon=True).start()
            time.sleep(PAUSE * n / PEOPLE)
            while time.monotonic() < ends:
                for path in (TODAY, REPORT, LIST)[n % 3 :]:
                    assert client.get(path).status_code == 200
                    time.sleep(PAUSE)

    def follow(client: httpx.Client) -> None:
        with suppress(httpx.HTTPError), client.stream("GET", "/cockpit/events") as stream:
            for _ in stream.iter_lines():
                pass

    people = [threading.Thread(target=person, args=(n,), daemon=True) for n in range(PEOPLE)]
    for thread in people:
        thread.start()
    time.sleep(seconds)


def tail_with_people(client: httpx.Client, *, n: int = 7, seconds: float = 4.0) -> Line:
    """The 99th percentile of clicks while ten people look ÷ that without, of interleaved rounds."""
    url = str(client.base_url)
    port, cookie = int(url.rsplit(":", 1)[1].strip("/")), "; ".join(f"{k}={v}" for k, v in client.cookies.items())
    load(port, seconds=1.0, seed=99)
    alone, beside = [], []
    for number in range(n):
        alone.append(load(port, seconds=seconds, seed=number))
        people = subprocess.Popen([sys.executable, "-m", "bench.cockpit", "look", url, cookie, "120"])
        try:
            time.sleep(PAUSE)
            beside.append(load(port, seconds=seconds, seed=number))
        finally:
            people.kill()
            people.wait()
    tail = statistics.median(b["p99"] / a["p99"] for a, b in zip(alone, beside, strict=True))
    told = f"p99 {middle(beside, 'p99'):.1f} ms beside, {middle(alone, 'p99'):.1f} ms alone"
    return Line("p99 of clicks beside ten people who look ÷ without", tail, 1.2, at_most=True, detail=told)


def lines() -> list[Line]:
    with folder() as place:
        prepare(place)
        with served(place) as (client, link):
            measures: dict[str, tuple[Callable[[], float], float]] = {
                "Today at the server, ms": (lambda: page_ms(client, TODAY), 150),
                "report of 90 days by campaign, ms": (lambda: page_ms(client, REPORT), 200),
                "list of 1,000 offers, ms": (lambda: page_ms(client, LIST), 150),
                "live event after its click, ms": (lambda: live_ms(client), 1000),
            }
            result = [Line(name, measure(), most, at_most=True) for name, (measure, most) in measures.items()]
            with_charts, without = weights(client)
            result += [Line("first load with charts, kB compressed", with_charts, 400, at_most=True),
                      Line("first load without charts, kB compressed", without, 60, at_most=True)]  # fmt: skip
            if (usable := usable_ms(link)) is not None:
                result.append(Line("Today usable in Chromium, ms", usable, 1000, at_most=True))
            return [*result, tail_with_people(client)]


if __name__ == "__main__":
    look(sys.argv[2], sys.argv[3], float(sys.argv[4]))
