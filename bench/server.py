"""One server process of a kind to be measured: `python -m bench.server KIND PORT`; settings from the environment.

redirect  a Litestar handler returning a bare Redirect
clicks    the application as it is served
unstored  the same, with storage switched off
reporting the application, running a 30-day report every second
each      the same click logic, one SQLAlchemy insert and commit per request
"""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import uvloop
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server
from litestar import Litestar, get
from litestar.response import Redirect
from sqlalchemy import insert, select
from sqlalchemy.dialects.postgresql import insert as upsert

from hub.clicks.handler import Clicks
from hub.runtime.process_tuning import leave_sqlite_memory_uncounted
from hub.runtime.runtime import Runtime
from hub.runtime.settings import read_settings
from hub.web.listener import Listener
from hub.web.server import leave_soon
from storage.clicks.write_jobs import ClickJob, Job
from storage.clicks.writer import Answer
from storage.db.engine import Database
from storage.db.secrets import Box
from storage.reports.merged_report import ReportQuery, merged_report
from storage.tables import clicks, user_agents


def bare() -> Litestar:
    @get("/c/{code:str}", sync_to_thread=False)
    def click(code: str) -> Redirect:
        return Redirect(f"https://offer.example.test/?c={code}", status_code=302)

    return Litestar([click], openapi_config=None, logging_config=None)


def whole() -> Any:
    """The application as `serve` runs it, without the timetable."""
    if os.environ.get("BENCH_ALONE"):
        return Alone()
    from hub.web.app import create_app

    return create_app(read_settings(), only="hub")


class Alone:
    """The hot path with nothing behind it."""

    def __init__(self) -> None:
        settings = read_settings()
        self._database = Database(settings.database_url)
        ports: Any = None
        self._runtime = Runtime(settings=settings, database=self._database, box=Box("b"), ports=ports, team_id=1)
        self.clicks = Clicks(self._runtime)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        await self.clicks.start()
        yield
        await self.clicks.stop()
        await self._database.close()

    def try_fast_path(self, scope: Any, send: Any) -> bool:
        return self.clicks.try_fast_path(scope, send)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self.clicks(scope, receive, send)


class Unstored:
    """In place of the writer: decides at once and keeps nothing."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def enqueue(self, job: Job, answer: Answer) -> None:
        if isinstance(job, ClickJob):
            job.decide()
        answer()


class Each(Unstored):
    """In place of the writer: a transaction per request, the way it is usually written."""

    async def _store(self, job: ClickJob) -> None:
        job.decide()
        click = job.click
        async with self._writer._database.begin() as tx:
            agent = click.agent
            if not agent.id:
                named = {"text": agent.text, "device": agent.device, "os": agent.os, "browser": agent.browser}
                await tx.execute(upsert(user_agents).values(**named).on_conflict_do_nothing())
                result = await tx.execute(select(user_agents.c.id).where(user_agents.c.text == agent.text))
                agent.id = int(result.scalar_one())
            names = [column.name for column in clicks.columns]
            values = dict(zip(names, click.row(agent.id), strict=True)) | {"extra": None}
            await tx.execute(insert(clicks).values(**values))

    def enqueue(self, job: Job, answer: Answer) -> None:
        if not isinstance(job, ClickJob):
            raise TypeError("only clicks are measured so")
        asyncio.ensure_future(self._store(job)).add_done_callback(lambda _done: answer())


async def reports(app: Any) -> None:
    """What a client costs that asks for the 30-day report every second."""
    last = datetime.now(UTC).date() - timedelta(days=1)
    query = ReportQuery(team_id=1, first=last - timedelta(days=29), last=last, by=("day", "campaign"))
    database = app.clicks._database
    while True:
        async with database.read() as tx:
            await merged_report(tx, query)
        await asyncio.sleep(1)


def plain(app: Any, port: int) -> Server:
    """granian as it comes."""
    return Server(
        app, address="127.0.0.1", port=port, interface=Interfaces.ASGINL, backlog=4096, websockets=False,
        log_level=LogLevels.error,
    )  # fmt: skip


@asynccontextmanager
async def serving(app: Any, port: int) -> AsyncIterator[None]:
    """Ours by its own listener, the bare Redirect by granian."""
    if hasattr(app, "try_fast_path"):
        listener = Listener(app, host="127.0.0.1", port=port)
        await listener.start()
        yield
        await listener.stop()
    else:
        server = plain(app, port)
        running = asyncio.create_task(server.serve())
        yield
        server.stop()  # type: ignore[no-untyped-call]
        await asyncio.wait({running}, timeout=5)


async def serve(kind: str, port: int) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    app: Any = bare() if kind == "redirect" else whole()
    async with app.lifespan():
        if kind in {"unstored", "each"}:
            app.clicks.writer = {"unstored": Unstored, "each": Each}[kind](app.clicks.writer)
        beside = asyncio.create_task(reports(app)) if kind == "reporting" else None
        gc.collect()
        gc.freeze()
        gc.set_threshold(5_000, 50, 100)
        async with serving(app, port):
            print("ready", flush=True)
            await stopping.wait()
            if beside:
                beside.cancel()
    leave_soon()


if __name__ == "__main__":
    if "--anywhere" not in sys.argv:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    leave_sqlite_memory_uncounted()
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
