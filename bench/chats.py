"""Command to answer on Slack (signed) and Telegram over a million clicks of 200 campaigns, Slack's acknowledgement
under full click load, and five hundred digests beside clicks.

The whole application is served as `casinoflux serve` does it, timetable included; the answer is there when it has
reached the stand-in platform. `BENCH_CLICKS` makes it smaller.
"""

import asyncio
import contextlib
import hashlib
import hmac
import http.client
import itertools
import json
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

from bench.chat_platform import TOKEN, Platform
from bench.stage import Figures, Line, folder, free_port, load, set_up, table
from bench.volume import fill
from storage.db.engine import Database
from storage.ledger.facts import Role
from storage.people import members

SECRET = "bench-signing-secret"
LISTS, REPORT, PICTURE, ACKNOWLEDGED = 150, 300, 700, 300  # milliseconds
CAMPAIGNS = 200
QUIET = 0.15  # seconds
CORES = os.sched_getaffinity(0)
DIGESTS = 500
SLACK_SHOWN = {"response", "chat.postMessage", "chat.postEphemeral"}
TELEGRAM_SHOWN = {"sendMessage"}
LISTED = ("offer list", "campaign list", "account list", "member list", "audit")
WRITTEN = (
    'offer add casino="Brand {n}" account=a tag=x{n} url=https://x{n}.example.test/?c={{click_id}}',
    "campaign create name=new-{n} offers=o0", "spend add campaign=c1 day=yesterday amount={n}.5",
)  # fmt: skip


class Served:
    """`casinoflux serve` on the first core."""

    def __init__(self, url: str, platform: Platform, place: Path) -> None:
        self.port = free_port()
        settings = {
            "DATABASE_URL": url, "SECRET_KEY": "b" * 64, "TRUSTED_PROXIES": "127.0.0.1",
            "PUBLIC_URL": f"http://127.0.0.1:{self.port}", "ALLOW_PRIVATE_HOSTS": "1", "SLACK_BOT_TOKEN": "xoxb-bench",
            "SLACK_SIGNING_SECRET": SECRET, "SLACK_API_URL": f"{platform.url}/api/", "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_WEBHOOK_SECRET": "hook", "TELEGRAM_API_URL": f"{platform.url}/bot",
        }  # fmt: skip
        environment = os.environ | {f"CASINOFLUX_{name}": value for name, value in settings.items()}
        command = [sys.executable, "-m", "bench.one_core", "serve", "--port", str(self.port)]
        with (place / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log,
                preexec_fn=lambda: os.sched_setaffinity(0, CORES),
            )  # fmt: skip
        for _ in range(1200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.2):
                break
            time.sleep(0.05)
        platform.wait(0, {"setWebhook"})

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


class Talk:
    """A member who writes to the bot and measures the time until its answer is there."""

    def __init__(self, port: int, platform: Platform) -> None:
        self.platform = platform
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._numbers = itertools.count(1)
        self.acknowledged: list[float] = []  # milliseconds until each request had its 200

    def slack(self, text: str, shown: set[str] = SLACK_SHOWN) -> float:
        """Milliseconds from a signed slash command to its answer."""
        number = next(self._numbers)
        body = urlencode({
            "command": "/flux", "team_id": "T0BENCH", "channel_id": "C0", "channel_name": "general", "user_id": "U0",
            "user_name": "anna", "text": text, "trigger_id": f"{number}", "token": "x", "api_app_id": "A0",
            "response_url": f"{self.platform.url}/response/{number}",
        })  # fmt: skip
        stamp = str(int(time.time()))
        signed = hmac.new(SECRET.encode(), f"v0:{stamp}:{body}".encode(), hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/x-www-form-urlencoded", "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": f"v0={signed}",
        }  # fmt: skip
        return self._timed("/slack/events", body, headers, shown)

    def telegram(self, text: str, shown: set[str] = TELEGRAM_SHOWN) -> float:
        """Milliseconds from an update to its answer."""
        number = next(self._numbers)
        person = {"id": 42, "is_bot": False, "first_name": "Anna"}
        said = {"message_id": number, "date": 1, "from": person, "chat": {"id": 42, "type": "private"}, "text": text}
        update = json.dumps({"update_id": number, "message": said})
        headers = {"Content-Type": "application/json", "X-Telegram-Bot-Api-Secret-Token": "hook"}
        return self._timed("/telegram/webhook", update, headers, shown)

    def _timed(self, path: str, body: str, headers: dict[str, str], shown: set[str]) -> float:
        before = len(self.platform.calls)
        began = time.perf_counter()
        self._http.request("POST", path, body, headers)
        answer = self._http.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path} answered {answer.status}")
        self.acknowledged.append((time.perf_counter() - began) * 1000)
        took = (self.platform.wait(before, shown).at - began) * 1000
        self._wait_for_the_rest()
        return took

    def _wait_for_the_rest(self) -> None:
        """Until no call comes for a while: pictures and files of an answer follow it, and are not the next one's."""
        seen = -1
        while seen < len(self.platform.calls):
            seen = len(self.platform.calls)
            time.sleep(QUIET)


async def invited(url: str) -> list[str]:
    """Two owners' invitations."""
    database = Database(url)
    async with database.begin() as tx:
        now = datetime.now(UTC)
        made = [
            await members.invite(tx, team_id=1, role=Role.OWNER, campaigns=None, now=now) for _ in range(2)
        ]  # fmt: skip
    await database.close()
    return [code for code, _ in made]


def subscribe(path: Path) -> None:
    """Five hundred rooms, half on each chat, each with a daily digest that is not due yet."""
    later = int((time.time() + 86_400) * 1_000_000)
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as database, database:
        for n in range(DIGESTS):
            face, room = ("slack", f"C{n:05}") if n % 2 else ("telegram", str(-100_000 - n))
            workspace = "T0BENCH" if n % 2 else ""
            database.execute(
                "INSERT INTO rooms (id, team_id, face, workspace, room, title, private, created_at) "
                f"VALUES ({1000 + n}, 1, '{face}', '{workspace}', '{room}', 'Room {n}', 0, 0)"
            )
            database.execute(
                "INSERT INTO subscriptions (id, team_id, room_id, every, at, timezone, campaigns, next_at, told_until, "
                f"created_at) VALUES ({1000 + n}, 1, {1000 + n}, 'day', '00:00', 'UTC', "
                f"""{"NULL" if n % 5 else f"'[{chr(34)}c{n % 50}{chr(34)}]'"}, {later}, {later - 86_400_000_000}, 0)"""
            )


def make_due(path: Path) -> None:
    """All five hundred at once; what was sent before is forgotten, since a period is told once."""
    now = int((time.time() - 1) * 1_000_000)
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as database, database:
        database.execute("DELETE FROM messages")
        database.execute(f"UPDATE subscriptions SET next_at = {now}")


def waiting(path: Path, query: str) -> int:
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as database:
        return int(database.execute(query).fetchone()[0])


def until(ask: Callable[[], bool], what: str, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not ask():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {seconds:g} seconds for {what}")
        time.sleep(0.2)


@contextmanager
def stage(clicks: int) -> Iterator[tuple[Path, Platform, Talk, int]]:
    """A million clicks, settled, the application on them, and a member who has joined on both chats."""
    with folder() as place:
        path = place / "chats.db"
        url = f"sqlite+aiosqlite:///{path}"
        asyncio.run(set_up(url))
        fill(path, clicks, clicks // 30, campaigns=CAMPAIGNS)
        codes = asyncio.run(invited(url))
        subscribe(path)
        platform = Platform()
        served = Served(url, platform, place)
        try:
            talk = Talk(served.port, platform)
            talk.slack(f"join {codes[0]}")
            talk.telegram(f"/start {codes[1]}")
            until(lambda: not waiting(path, "SELECT count(*) FROM touched"), "the days to settle")
            yield path, platform, talk, served.port
        finally:
            served.stop()
            told = (place / "serve.log").read_text()
            if "Traceback" in told:
                print(told[-3000:])


def p95(took: list[float]) -> float:
    return sorted(took)[int(len(took) * 0.95)]


def asked(say: Callable[[str], float], texts: tuple[str, ...], times: int) -> list[float]:
    for text in texts:
        say(text.format(n=next(_numbers)))
    return [say(text.format(n=next(_numbers))) for _ in range(times) for text in texts]


_numbers = itertools.count(1)


def talking(talk: Talk, times: int) -> list[Line]:
    """Each chat's 95th percentiles."""
    found = []
    ways = (
        ("Slack", talk.slack, {"files.completeUploadExternal"}),
        ("Telegram", talk.telegram, {"sendPhoto"}),
    )  # fmt: skip
    for name, say, picture in ways:
        kinds = (
            ("lists", LISTED, LISTS, say), ("writes", WRITTEN, LISTS, say),
            ("`stats 30d`", ("stats 30d", "stats 30d by day"), REPORT, say),
        )  # fmt: skip
        for kind, texts, expected, way in kinds:
            took = asked(way, texts, times)
            detail = f"median {statistics.median(took):.0f} ms, worst {max(took):.0f} ms of {len(took)}"
            found.append(Line(f"{name}, command to answer, p95 of {kind}, ms", p95(took), expected, at_most=True,
                              detail=detail))  # fmt: skip
        drawn = ("digest preview",) if name == "Slack" else ("digest preview", "stats 30d")
        took = asked(lambda text, say=say, picture=picture: say(text, picture), drawn, times)  # type: ignore[misc]
        found.append(Line(f"{name}, command to answer with a picture, p95, ms", p95(took), PICTURE, at_most=True,
                          detail=f"median {statistics.median(took):.0f} ms of {len(took)}"))  # fmt: skip
    return found


def acknowledged(talk: Talk, port: int, *, seconds: float) -> Line:
    """How soon Slack has its first answer while 64 connections click as fast as they can."""
    clicking = threading.Thread(target=load, args=(port,), kwargs={"seconds": seconds, "seed": 7})
    talk.acknowledged.clear()
    clicking.start()
    while clicking.is_alive():
        talk.slack("stats 30d")
        time.sleep(0.1)
    took = talk.acknowledged
    return Line("Slack's first acknowledgement under full click load, p95, ms", p95(took), ACKNOWLEDGED, at_most=True,
                detail=f"median {statistics.median(took):.0f} ms, worst {max(took):.0f} ms of {len(took)}")  # fmt: skip


def beside_clicks(path: Path, platform: Platform, port: int, *, n: int, seconds: float) -> list[Line]:
    """Clicks alone and while digests go out, in turn."""
    platform.give_way()
    load(port, seconds=2.0, seed=99)
    alone: list[Figures] = []
    beside: list[Figures] = []
    lasted, most = [], 0
    for number in range(n):
        alone.append(load(port, seconds=seconds, seed=number, where="first"))
        before = len(platform.calls)
        make_due(path)
        began = time.monotonic()
        done: list[float] = []
        watch = threading.Thread(target=_watch, args=(platform, before, began, done))
        watch.start()
        beside.append(load(port, seconds=seconds, seed=number, where="first"))
        watch.join()
        lasted += done
        most = max(most, platform.most_in_a_second({"sendMessage", "sendPhoto"}, since=before))
        twice = [room for room, count in platform.per_room({"chat.postMessage", "sendMessage"}, since=before).items()
                 if count > 1]  # fmt: skip
        if twice or len(done) != 1:
            raise RuntimeError(f"digests twice in {twice}, all delivered: {bool(done)}")
    p99 = statistics.median(a["p99"] / b["p99"] for a, b in zip(beside, alone, strict=True))
    rate = statistics.median(a["rate"] / b["rate"] for a, b in zip(beside, alone, strict=True))
    told = ", ".join(f"{a['p99']:.1f}/{b['p99']:.1f} ms" for a, b in zip(beside, alone, strict=True))
    return [
        Line(f"clicks' p99 while {DIGESTS} digests go out ÷ without", p99, 1.2, at_most=True,
             detail=f"{told}; clicks/s × {rate:.2f}"),
        Line(f"{DIGESTS} digests due at once, seconds until the last", max(lasted), 120, at_most=True,
             detail=f"half on each chat, at most {most} calls to Telegram in a second (30 allowed)"),
    ]  # fmt: skip


def _watch(platform: Platform, since: int, began: float, done: list[float]) -> None:
    """Note how long it took until every room had its digest."""
    while time.monotonic() - began < 180:
        if len(platform.per_room({"chat.postMessage", "sendMessage"}, since=since)) >= DIGESTS:
            done.append(time.monotonic() - began)
            return
        time.sleep(0.25)


def lines(*, times: int = 20, n: int = 3, seconds: float = 10.0) -> list[Line]:
    clicks = int(os.environ.get("BENCH_CLICKS", "1_000_000"))
    os.sched_setaffinity(0, {max(CORES)})  # the platform's too; the server has the first core
    try:
        with stage(min(clicks, 1_000_000)) as (path, platform, talk, port):
            found = [*talking(talk, times), acknowledged(talk, port, seconds=seconds)]
            return [*found, *beside_clicks(path, platform, port, n=n, seconds=seconds)]
    finally:
        os.sched_setaffinity(0, CORES)


if __name__ == "__main__":
    print(table(lines()))
