"""A backup in the place of an SQLite database, while a hub serves from it.

The backup becomes a database of its own first, while the hub goes on. Then the hub is held (storage.db.handover), what
there is is copied aside, and all pages are exchanged in one transaction: it is the same file, whose connections stay
valid. What must not go back in time is taken over: numbers of processes that made click ids, hash keys of visitors,
user agents by their key, the count of configuration changes.
"""

import asyncio
import glob
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from storage.db import backup
from storage.db.engine import Database
from storage.db.handover import Handover
from storage.db.schema import upgrade
from storage.db.spool_file import sync_folder
from storage.ledger.errors import CasinoFluxError

NOTICED = 1.0  # seconds in which a hub has ended what it was writing, and keeps clicks in its spool
_HELD = "the database is being restored from a backup: this takes a minute at most"
_LOCK_WAIT = 30.0  # seconds


def replaceable(database: Database) -> Path:
    """The file of a database that a backup may take the place of. Raises CasinoFluxError for PostgreSQL."""
    if not database.file.path:
        raise CasinoFluxError("--replace is for SQLite: on PostgreSQL stop the hubs and use pg_restore (operations.md)")
    return Path(database.file.path)


async def replace(live: Path, archive: Path, *, now: datetime) -> tuple[int, Path]:
    """Put a backup in the place of what a database holds; rows restored, and where a copy of the old state is.

    Raises CasinoFluxError for what is no backup of this database and version; nothing has changed then.
    """
    with Handover(live) as handover, _draft(live) as draft:
        rows = await _fill(draft, archive)
        _check_same(live, draft)
        aside = live.with_name(f"{live.name}.before-restore-{now:%Y%m%d-%H%M%S}")
        handover.hold(_HELD)
        await asyncio.sleep(NOTICED)
        await asyncio.to_thread(_exchange, live, draft, aside)
    return rows, aside


@contextmanager
def _draft(live: Path) -> Iterator[Path]:
    """A new file beside the database, for its owner only, removed at the end; those of killed processes go, too.

    Within `Handover`: no other process has one then.
    """
    for left in live.parent.glob(f"{glob.escape(live.name)}.restoring-*"):
        left.unlink(missing_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f"{live.name}.restoring-", dir=live.parent)  # with mode 600
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        for suffix in ("", "-wal", "-shm"):
            Path(name + suffix).unlink(missing_ok=True)


async def _fill(draft: Path, archive: Path) -> int:
    database = Database(f"sqlite+aiosqlite:///{draft}")
    try:
        await upgrade(database)
        return await backup.restore(database, archive)
    finally:
        await database.close()


def _check_same(live: Path, draft: Path) -> None:
    """Raises CasinoFluxError for a backup of another deployment: its click ids could not be told from this one's."""
    with closing(sqlite3.connect(live, timeout=_LOCK_WAIT)) as ours, closing(sqlite3.connect(draft)) as theirs:
        (key,), (other,) = (connection.execute(_KEY).fetchone() or (None,) for connection in (ours, theirs))
    if key is not None and key != other:
        raise CasinoFluxError(
            "the backup is of another deployment: restore it into a new database (CASINOFLUX_DATABASE_URL)"
        )


def _exchange(live: Path, draft: Path, aside: Path) -> None:
    with closing(sqlite3.connect(live, isolation_level=None, timeout=_LOCK_WAIT)) as ours:
        _copy_aside(ours, aside)
        with closing(sqlite3.connect(draft, isolation_level=None)) as theirs:
            theirs.execute("ATTACH ? AS live", (str(live),))
            theirs.execute("BEGIN IMMEDIATE")
            for statement in _KEPT:
                theirs.execute(statement)
            theirs.execute("COMMIT")
            theirs.execute("DETACH live")
            for pragma, step in (("user_version", 0), ("application_id", 1)):  # see storage.db.database_age
                (value,) = ours.execute(f"PRAGMA {pragma}").fetchone()
                theirs.execute(f"PRAGMA {pragma}={value + step}")
            ours.execute("PRAGMA synchronous=FULL")
            theirs.backup(ours)


def _copy_aside(ours: sqlite3.Connection, aside: Path) -> None:
    os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(aside)) as copy:
        ours.backup(copy)
    sync_folder(aside.parent)


_KEY = "SELECT value FROM facts WHERE name = 'click_id_key'"
_KEPT = (
    "INSERT OR REPLACE INTO facts SELECT * FROM live.facts WHERE name = 'click_worker' OR name LIKE 'visitor_key:%'",
    "INSERT OR REPLACE INTO user_agents SELECT * FROM live.user_agents",
    "UPDATE changes SET n = 1 + max(n, (SELECT n FROM live.changes WHERE id = 1)) WHERE id = 1",
)
