"""Fetch the delayed revenue of accounts that are due, in the background: one run per account at a time."""

import asyncio
from datetime import date, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
import structlog
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.alerts.messages import queue_held_message
from connectors.base import Connection, Platform, Window
from connectors.http import Http
from connectors.redaction import redact
from connectors.registry import platform
from hub.runtime.ports import connection_of
from hub.runtime.runtime import Runtime
from hub.runtime.tracing import tracer
from storage.catalogue import accounts, names
from storage.db import tasks
from storage.db.secrets import UnreadableSecret
from storage.db.unavailable import DatabaseUnavailable
from storage.ledger.errors import CasinoFluxError, ConnectorError
from storage.ledger.facts import Report
from storage.ledger.revenue.packed_rows import PackedRows, measures_of, renamed
from storage.ledger.revenue.sanity import distinct
from storage.ledger.revenue.suspect import contradiction
from storage.outbound import webhooks
from storage.outbound.webhooks import Announcement
from storage.revenue import players, raw_reports, syncs, unreadable_reports
from storage.revenue import revisions as revenue
from storage.tables import accounts as table

log = structlog.get_logger()

AT_ONCE = 4  # syncs a process works on at the same time
_BEAT = 20.0  # seconds between renewals of a run's lease
_NAMES_LAST = timedelta(days=62)  # how long a segment is still known by a name it had


class Syncs:
    """The runs this process works on."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.holder = f"sync-{uuid4().hex}"
        self.http = Http(allow_private=runtime.settings.allow_private_hosts)
        self.going: dict[asyncio.Task[None], Row[Any]] = {}

    async def start(self) -> None:
        """Nothing is begun before the first tick."""

    async def begin(self) -> None:
        """Queue what is due and start what this process has room for."""
        now = self.runtime.clock()
        if len(self.going) >= AT_ONCE or not await self.runtime.database.look(lambda tx: syncs.is_work(tx, now)):
            return
        claimed = await self.runtime.database.run(self._claim)
        for run in claimed:
            if run is not None:
                work = self.runtime.database.loop_share.run(self._work(run))
                task = asyncio.create_task(work, name=f"sync {run.account_id}")
                self.going[task] = run
                task.add_done_callback(lambda done: self.going.pop(done, None))

    async def _claim(self, tx: AsyncConnection) -> list[Row[Any] | None]:
        # Read once the transaction has begun: an attempt is never earlier than the request that it answers.
        now = self.runtime.clock()
        await syncs.queue_due(tx, now)
        return [await syncs.claim(tx, self.holder, now) for _ in range(AT_ONCE - len(self.going))]

    async def stop(self) -> None:
        """Break off; what was not finished is queued again, for another process or the next start."""
        broken_off = dict(self.going)
        for task in broken_off:
            task.cancel()
        await asyncio.gather(*broken_off, return_exceptions=True)
        if cancelled := [run for task, run in broken_off.items() if task.cancelled()]:
            async with self.runtime.database.begin() as tx:
                for run in cancelled:
                    await syncs.give_up(tx, run, self.holder)
        await self.http.close()

    async def _work(self, run: Row[Any]) -> None:
        beat = tasks.start_interval("sync lease", _BEAT, lambda: self._renew(run))
        try:
            with tracer.span("sync", account=run.account_id):
                await Run(self, run).work()
        except Exception as error:
            log.error("sync failed", run=run.id, account=run.account_id, error=type(error).__name__, exc_info=error)
            await self._broke(run)
        finally:
            beat.cancel()

    async def _broke(self, run: Row[Any]) -> None:
        text = "something went wrong on our side: the log has the details"
        await self.runtime.database.run(
            lambda tx: syncs.failed(tx, run, self.holder, self.runtime.clock(), error=text, permanent=False)
        )

    async def _renew(self, run: Row[Any]) -> None:
        await self.runtime.database.run(lambda tx: syncs.renew(tx, run, self.holder, self.runtime.clock()))


async def tick(runtime: Runtime) -> None:
    """Called every second: begin what is due."""
    await of(runtime).begin()


async def stop(runtime: Runtime) -> None:
    """Called when the process ends."""
    if "syncs" in runtime.state:
        await of(runtime).stop()


def of(runtime: Runtime) -> Syncs:
    syncs: Syncs = runtime.state.setdefault("syncs", None) or Syncs(runtime)
    runtime.state["syncs"] = syncs
    return syncs


class Run:
    """One run: its account's login, its windows, and what comes of each."""

    def __init__(self, syncs_here: Syncs, run: Row[Any]) -> None:
        self.holder = syncs_here.holder
        self.http = syncs_here.http
        self.runtime = syncs_here.runtime
        self.run = run
        self.window: Window | None = None
        self.warnings: list[str] = []
        self.warnings_before: list[str] = []  # those of the last sync: an answer known before is not read again
        self.is_held = False

    async def work(self) -> None:
        try:
            suspect = await self._windows()
        except CasinoFluxError as error:
            await self._failed(error)
            return
        await self._players()
        await self._queue_held_message()
        await self.runtime.database.run(lambda tx: self._done(tx, suspect))

    async def _done(self, tx: AsyncConnection, suspect: str | None) -> None:
        await syncs.done(tx, self.run, self.holder, self.runtime.clock(), suspect=suspect)
        await self._announce(tx, "held" if suspect else "done", suspect)
        await accounts.change(tx, self.run.account_id, {"sync_warnings": list(dict.fromkeys(self.warnings))})

    async def _queue_held_message(self) -> None:
        if self.is_held:
            await queue_held_message(
                self.runtime.database, self.run.team_id, self.run.account_id, now=self.runtime.clock(),
                in_helper=self.runtime.ports.held_in_helper,
            )  # fmt: skip

    async def _windows(self) -> str | None:
        """Fetch and store window by window, the latest first; why a report is held as suspect, if one is."""
        async with self.runtime.database.read() as tx:
            row = await names.by_id(tx, table, self.run.account_id)
            complete = await syncs.complete_until(tx, row.id, accounts.zone_of(row))
        self.warnings_before = row.sync_warnings or []
        sync_platform = platform(row.platform)
        connection = self._connection(sync_platform, row)
        if self.run.again is not None:
            return await self._read_again(sync_platform, connection)
        suspect = None
        for window in reversed(self._window_of_run(connection, complete).chunks(sync_platform.max_days)):
            suspect = await self._window(sync_platform, connection, window) or suspect
        return suspect

    async def _players(self) -> None:
        """Fetch what players did in the run's windows, where the account asks for it; a fault there is a warning."""
        if self.run.again is not None or not self.connection.option("players", False):
            return
        async with self.runtime.database.read() as tx:
            row = await names.by_id(tx, table, self.run.account_id)
            complete = await syncs.complete_until(tx, row.id, accounts.zone_of(row))
            first = await players.first_reported(tx, row.id)
        sync_platform = platform(row.platform)
        window = self._window_of_run(self.connection, complete if first else None)
        try:
            for part in window.chunks(sync_platform.max_days):
                report = await sync_platform.fetch_players(self.http, self.connection, part)
                if report.totals and part.last < window.last:
                    report = msgspec.structs.replace(report, first=window.last, last=window.last, rows=tuple(
                        msgspec.structs.replace(told, day=window.last) for told in report.rows
                    ))  # fmt: skip
                await players.record(self.runtime.database, self.runtime.box, row, report, now=self.runtime.clock())
                self.warnings += report.warnings
        except CasinoFluxError as error:
            text = redact(str(error), self.connection.secrets)
            self.warnings.append(f"players were not fetched: {text}")
            log.warning("players were not fetched", account=self.run.account_id, why=text)

    async def _window(self, sync_platform: Platform, connection: Connection, window: Window) -> str | None:
        """Fetch and store one window; what was in memory of it is free before the next is asked for."""
        self.window = window
        begun = self.runtime.clock()
        async with self.runtime.database.read() as tx:
            last_report = await raw_reports.latest_answer(tx, self.run.account_id, window.first, window.last)
            shape = await accounts.report_shape(tx, self.run.account_id)
        request = msgspec.structs.replace(
            connection, last_digest=last_report.digest if last_report else "", shape=shape
        )
        with tracer.span("fetch report", platform=sync_platform.name, days=(window.last - window.first).days + 1):
            report = await sync_platform.fetch_report(self.http, request, window)
        if last_report and report.same:
            await self._store_same(report, connection, begun, last_report.rows)
            return None
        return await self._store(report, connection, self._true_at(connection, begun))

    def _connection(self, sync_platform: Platform, row: Row[Any]) -> Connection:
        login = msgspec.structs.asdict(accounts.opened(self.runtime.box, row))
        connection = connection_of(sync_platform, login | {"name": f"account {row.id}"})
        self.connection = msgspec.structs.replace(connection, run_in_helper=self.runtime.ports.run_background)
        return self.connection

    def _window_of_run(self, connection: Connection, complete: date | None) -> Window:
        """The days of the run; its end is never after the account's own today."""
        today = self.runtime.clock().astimezone(connection.zone).date()
        first, last = syncs.rolling(today, complete)
        last = min(self.run.to_day or last, today)
        return Window(first=min(self.run.from_day or first, last), last=last)

    async def _store_same(self, report: Report, connection: Connection, begun: datetime, rows: int) -> None:
        """The answer that is known: there is nothing to compare."""
        self.warnings += self.warnings_before
        async with self.runtime.database.begin() as tx:
            await raw_reports.record_same(
                tx, team_id=self.run.team_id, account_id=self.run.account_id, report=report,
                now=self._true_at(connection, begun), zone=connection.zone,
            )  # fmt: skip
            await syncs.reached(tx, self.run.id, report.first, rows=rows, revisions=0, restated=0)

    def _true_at(self, connection: Connection, begun: datetime) -> datetime:
        """When the report was true: what was fetched across the platform's midnight knows the day before only."""
        now = self.runtime.clock()
        same_day = begun.astimezone(connection.zone).date() == now.astimezone(connection.zone).date()
        return now if same_day else begun

    async def _store(self, report: Report, connection: Connection, fetched_at: datetime) -> str | None:
        async with self.runtime.database.read() as tx:
            await self._refuse_lost_measures(tx, report)
            report = await self._named(tx, report)
        with tracer.span("store report", rows=len(report.rows)):
            recorded = await revenue.record_in_slices(
                self.runtime.database, team_id=self.run.team_id, account_id=self.run.account_id, run_id=self.run.id,
                report=report, now=self.runtime.clock(), zone=connection.zone, fetched_at=fetched_at,
                in_helper=self.runtime.ports.compare_in_helper,
            )  # fmt: skip
        self.is_held = self.is_held or recorded.suspect is not None
        self.warnings += report.warnings
        await self.runtime.database.run(
            lambda tx: syncs.reached(
                tx, self.run.id, report.first, rows=recorded.rows, revisions=recorded.revisions,
                restated=recorded.restated,
            )
        )  # fmt: skip
        return recorded.suspect

    async def _refuse_lost_measures(self, tx: Any, report: Report) -> None:
        """A column that disappears from a report must not wipe out figures known before."""
        measures = measures_of(report.rows)
        if report.rows and (
            lost := await syncs.measured(tx, self.run.account_id, (report.first, report.last)) - measures
        ):
            raise ConnectorError(
                f"the report no longer says {', '.join(sorted(lost))}, which it did before: numbers are left as they "
                "were. Have the columns enabled again by the affiliate manager",
                raw=report.raw,
                whole=True,
            )

    async def _named(self, tx: Any, report: Report) -> Report:
        """A report that names no segment this time keeps the names known before: offers may claim by them."""
        rows = report.rows
        if not rows or (rows.named if isinstance(rows, PackedRows) else any(row.tag_name for row in rows)):
            return report
        since = report.first - _NAMES_LAST
        names_by_tag = {
            tag: name for tag, name in await accounts.segments(tx, self.run.account_id, since=since) if name
        }
        if not names_by_tag:
            return report
        return msgspec.structs.replace(report, rows=await asyncio.to_thread(renamed, rows, names_by_tag))

    async def _read_again(self, sync_platform: Platform, connection: Connection) -> str | None:
        """Read a report again that could not be read, after a fix."""
        async with self.runtime.database.read() as tx:
            answer, raw = await unreadable_reports.load(tx, self.run.again)
        self.window = Window(first=answer.from_day, last=answer.to_day)
        report = await sync_platform.read_whole(raw, connection, self.window)
        async with self.runtime.database.read() as tx:
            later = await unreadable_reports.days_known_later(tx, answer, connection.zone)
        damage = report.damage or contradiction(report, list(distinct(report).values())) or ""
        suspect = None
        for part in unreadable_reports.without_days(msgspec.structs.replace(report, damage=damage), later):
            suspect = await self._store(part, connection, answer.fetched_at) or suspect
        async with self.runtime.database.begin() as tx:
            await unreadable_reports.mark_read(tx, answer.id)
        return suspect

    async def _failed(self, error: CasinoFluxError) -> None:
        """Keep the answer and say what happened; no figure is touched."""
        now = self.runtime.clock()
        text = redact(str(error), self.connection.secrets if hasattr(self, "connection") else ())
        passing = isinstance(error, DatabaseUnavailable | UnreadableSecret)  # not the platform's: tried again later
        fault = error if isinstance(error, ConnectorError) else ConnectorError(text, permanent=not passing)
        wait = timedelta(seconds=fault.retry_after or 0.0)
        log.warning("sync failed", account=self.run.account_id, permanent=fault.permanent, why=text)
        await self._queue_held_message()
        async with self.runtime.database.begin() as tx:
            if fault.raw and self.window and self.run.again is None:
                days = (self.window.first, self.window.last)
                await unreadable_reports.store(
                    tx, self.run, window=days, raw=fault.raw, whole=fault.whole, reason=text, now=now
                )
            await syncs.failed(tx, self.run, self.holder, now, error=text, permanent=fault.permanent, wait=wait)
            await self._announce(tx, "failed", text)

    async def _announce(self, tx: AsyncConnection, state: str, why: str | None) -> None:
        """Tell the team's webhooks how the run ended."""
        now = self.runtime.clock()
        listening = await webhooks.listening_to(tx, self.run.team_id, "sync", None, now)
        if not listening:
            return
        account = await names.by_id(tx, table, self.run.account_id)
        data = {
            "account": {"code": account.code, "name": account.name}, "state": state, "why": why,
            **await syncs.counts_of(tx, self.run.id),
        }  # fmt: skip
        news = Announcement(
            team_id=self.run.team_id, event="sync", type=f"sync.{state}", key=f"sync_{self.run.id}", data=data
        )
        await webhooks.notify(tx, listening, [news], now)
