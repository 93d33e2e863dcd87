"""Visitors and a platform, and a writer of rows of its own, in a process on a machine of their own.

Every attempt is one line of the journal once it has ended: what was asked, when, how long it took, what was answered.
`python -m tests.cluster.load PLAN` runs until SIGTERM; then it finishes what is under way.
"""

import asyncio
import json
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import asyncpg
import msgspec

BROWSER = (
    "Mozilla/5.0 (Linux; Android 16; Pixel 10) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile "
    "Safari/537.36 n/"
)
CLICKS, POSTBACKS = 20.0, 2.0  # a second
PATIENCE = 30.0  # seconds a visitor or a platform waits for an answer
AGAIN = 2.0  # seconds after which a platform sends a postback again that was not answered 200
ROW_EVERY = 0.1  # seconds


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask for, and how often. `run` begins every id of this load."""

    run: str
    link: str
    postback: str
    hosts: list[str]
    login: tuple[str, str]
    database: str
    journal: str
    clicks: float = CLICKS
    postbacks: float = POSTBACKS


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One request, or one row, and what came of it. `at`: seconds since 1970; `took`: seconds."""

    kind: str
    """`click`, `postback` or `row`."""
    key: str
    at: float
    took: float
    status: int
    """The HTTP status; 0 for no answer. For rows: 200 once committed."""
    answer: str = ""
    """The click's id, the postback's outcome, or the error."""
    click: str = ""
    """The key of the click that a postback names."""


def read_journal(path: Path) -> list[Attempt]:
    """All attempts that have ended."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [msgspec.json.decode(line, type=Attempt) for line in lines]


class Load:
    """One run of it."""

    def __init__(self, plan: Plan, session: aiohttp.ClientSession) -> None:
        self._plan = plan
        self._session = session
        self._journal = Path(plan.journal).open("ab", buffering=0)  # noqa: SIM115 - open as long as this lives
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._clicked: list[tuple[str, str]] = []  # (key, click id) without a postback

    async def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stopping.set)
        plan = self._plan
        await asyncio.gather(
            self._paced(plan.clicks, self._click), self._paced(plan.postbacks, self._postback), self._write_rows()
        )
        await asyncio.gather(*self._tasks)

    async def _paced(self, rate: float, work: Callable[[int], Awaitable[None]]) -> None:
        """Begin so many a second, whether the ones before have ended or not."""
        began, n = time.monotonic(), 0
        while not self._stopping.is_set():
            n += 1
            task = asyncio.ensure_future(work(n))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(max(0.0, began + n / rate - time.monotonic()))

    async def _click(self, n: int) -> None:
        key = f"{self._plan.run}-{n}"
        headers = {
            "User-Agent": f"{BROWSER}{n}",
            "X-Forwarded-For": f"198.{18 + n // 62500}.{n // 250 % 250}.{n % 250}",
        }
        query = {"click_id": key, "cost": "0.35", "currency": "EUR", "sub1": f"banner-{n % 2}"}
        began, at = time.monotonic(), time.time()
        status, answer = 0, ""
        try:
            async with self._session.get(
                self._plan.link, params=query, headers=headers, allow_redirects=False
            ) as response:
                status = response.status
                answer = parse_qs(urlsplit(response.headers.get("location", "")).query).get("s", [""])[0]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            answer = type(error).__name__
        if status == 302:
            self._clicked.append((key, answer))
        self._note(Attempt(kind="click", key=key, at=at, took=time.monotonic() - began, status=status, answer=answer))

    async def _postback(self, n: int) -> None:
        """One that is not answered 200 is sent again, as platforms do."""
        if not self._clicked:
            return
        click, click_id = self._clicked.pop(random.randrange(len(self._clicked)))
        key = f"{self._plan.run}-t{n}"
        query = {"click_id": click_id, "event": "registration", "txn_id": key}
        while not await self._post(key, click, query) and not self._stopping.is_set():
            await asyncio.sleep(AGAIN)

    async def _post(self, key: str, click: str, query: dict[str, str]) -> bool:
        began, at = time.monotonic(), time.time()
        status, answer = 0, ""
        try:
            async with self._session.get(self._plan.postback, params=query) as response:
                status, answer = response.status, (await response.text())[:200]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            answer = type(error).__name__
        took = time.monotonic() - began
        self._note(Attempt(kind="postback", key=key, at=at, took=took, status=status, answer=answer, click=click))
        return status == 200

    async def _write_rows(self) -> None:
        """A row every tenth of a second on whichever node takes it: what the database itself loses, and for how long
        it takes none."""
        writer, n = RowWriter(self._plan), 0
        while not self._stopping.is_set():
            n += 1
            key, began, at = f"{self._plan.run}-r{n}", time.monotonic(), time.time()
            try:
                async with asyncio.timeout(2):
                    answer = await writer.write(key)
                status = 200
            except Exception as error:  # a server that goes down has the driver raise many kinds, internal ones too
                status, answer = 0, type(error).__name__
                writer.leave()
            took = time.monotonic() - began
            self._note(Attempt(kind="row", key=key, at=at, took=took, status=status, answer=answer))
            await asyncio.sleep(max(0.0, ROW_EVERY - took))
        writer.leave()

    def _note(self, attempt: Attempt) -> None:
        self._journal.write(msgspec.json.encode(attempt) + b"\n")


class RowWriter:
    """A connection to the node that can be written to."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._connection: Any = None
        self._host = ""

    async def write(self, key: str) -> str:
        """Insert and commit; the host that did. Raises what the driver raises."""
        if self._connection is None:
            await self._connect()
        await self._connection.execute("INSERT INTO written VALUES ($1)", key)
        return self._host

    async def _connect(self) -> None:
        user, password = self._plan.login
        last: Exception = ConnectionError("no host can be written to")
        for host in self._plan.hosts:
            try:
                self._connection = await asyncpg.connect(
                    host=host, user=user, password=password, database=self._plan.database, timeout=0.5,
                    target_session_attrs="read-write",
                )  # fmt: skip
                self._host = host
                return
            except Exception as error:  # among them that the host is a standby
                last = error
        raise last

    def leave(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._connection = None


def new_session() -> aiohttp.ClientSession:
    """One that keeps no cookies: each visitor is a new one."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=PATIENCE), cookie_jar=aiohttp.DummyCookieJar(),
        connector=aiohttp.TCPConnector(limit=0),
    )  # fmt: skip


async def main(plan: Plan) -> None:
    async with new_session() as session:
        await Load(plan, session).run()


if __name__ == "__main__":
    asyncio.run(main(msgspec.convert(json.loads(sys.argv[1]), Plan)))
