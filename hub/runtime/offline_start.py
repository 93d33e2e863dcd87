"""A start while PostgreSQL is unavailable: from the snapshot of the plans, until the database is back."""

import asyncio
import random
from pathlib import Path

import structlog
from sqlalchemy import select

from hub.runtime import boot
from hub.runtime.runtime import Runtime
from hub.runtime.settings import Settings
from storage.clicks.queries import codec
from storage.db import config_version, snapshot, tasks
from storage.db.engine import Database
from storage.db.snapshot import Snapshot
from storage.db.spool_file import spool_folder
from storage.db.unavailable import is_unavailable
from storage.ledger.errors import CasinoFluxError
from storage.tables import teams

log = structlog.get_logger()

TAKEN_EVERY = 3.0  # seconds between two snapshots at least
_SHARE = 20  # times as long as taking it took is waited for the next: a large one takes no more than 5% of the time
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 2.0  # seconds between two looks for the database


def snapshot_of(settings: Settings) -> Snapshot | None:
    """The snapshot to start from; None on SQLite, whose file is the database, and where none was taken."""
    database = Database(settings.database_url)
    return None if database.sqlite else snapshot.find(spool_folder(database.url), settings.database_url)


async def begin(runtime: Runtime) -> None:
    """Go on from the snapshot; the database is left alone until `await_database` has seen that it is the same one.

    Raises CasinoFluxError without a snapshot, or where the settings contradict it.
    """
    found = snapshot_of(runtime.settings)
    if found is None:
        raise CasinoFluxError("the database is unavailable, and no plans were kept on this machine: start the database")
    async with found.read() as tx:
        await boot.check_timezone(tx, runtime.settings)
        runtime.team_id = int((await tx.execute(select(teams.c.id).order_by(teams.c.id).limit(1))).scalar_one())
    runtime.snapshot = found
    runtime.database.hold("the database has been away since this process started")
    log.warning("the database is unavailable: started from stored plans", plans_of=found.described.taken_at.isoformat())


async def await_database(runtime: Runtime) -> None:
    """Wait until the database answers, is the one of the snapshot, and has this version's schema; then use it."""
    pause, reason = FIRST_PAUSE, ""
    while runtime.snapshot is not None:
        try:
            await _take_up(runtime, runtime.snapshot)
        except Exception as error:
            if not isinstance(error, CasinoFluxError) and not is_unavailable(error):
                raise
            if isinstance(error, CasinoFluxError) and str(error) != reason:
                reason = str(error)
                runtime.database.hold(reason)
                log.error("the database that answers cannot be used", error=reason)
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 2, LONGEST_PAUSE)


async def _take_up(runtime: Runtime, kept: Snapshot) -> None:
    await _check_same(runtime.settings.database_url, kept)
    await boot.upgrade_in_other_process(runtime.settings)
    runtime.database.hold("")
    await boot.prepare(runtime)
    await boot.recover(runtime)
    runtime.snapshot = None
    await kept.close()
    log.info("the database is back")


async def _check_same(url: str, kept: Snapshot) -> None:
    """Raises CasinoFluxError if another database answers."""
    database = Database(url)
    try:
        async with database.read() as tx:
            if (await codec(tx)).fingerprint == kept.number:
                return
    finally:
        await database.close()
    raise CasinoFluxError(
        "the database that answers is another one than this hub served: set CASINOFLUX_DATABASE_URL right, or restart "
        "to use it; what waits in the spool stays there for the old one"
    )


class SnapshotKeeper:
    """Has the snapshot follow the configuration. On SQLite there is none."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._kept: tuple[int, str] | None = None  # version and day of the snapshot on disk
        self._due = 0.0
        self._number = ""
        self._folder = Path()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        database = self._runtime.database
        if database.sqlite:
            return
        async with database.read() as tx:
            self._number = (await codec(tx)).fingerprint
        self._folder = spool_folder(database.url)
        self._task = tasks.start_loop("plan snapshot", self._follow)

    async def stop(self) -> None:
        await tasks.stop(self._task)

    async def _follow(self) -> None:
        while True:
            await self.keep()
            await asyncio.sleep(TAKEN_EVERY)

    async def keep(self) -> None:
        """Take a snapshot unless the one on disk, ours or another process's, is of this configuration and day."""
        now, loop = self._runtime.clock(), asyncio.get_running_loop()
        if loop.time() < self._due:
            return
        async with self._runtime.database.read() as tx:
            current = await config_version.current(tx), now.date().isoformat()
        if current == self._kept:
            return
        described = await asyncio.to_thread(snapshot.describe, snapshot.path_of(self._folder, self._number))
        if described is None or (described.version, described.taken_at.date().isoformat()) != current:
            began = loop.time()
            version = await snapshot.take(self._runtime.database, self._folder, self._number, now=now)
            self._due = loop.time() + _SHARE * (loop.time() - began)
            if version != current[0]:
                return
        self._kept = current
