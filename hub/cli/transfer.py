"""`db transfer`: an SQLite database to PostgreSQL, beside the hub that serves from it.

Everything is copied while the hub writes, and what it changed meanwhile again and again until little is left. Then the
hub is held: it answers clicks and postbacks, and keeps them in its spool. What is left is copied, both sides are
counted, and the hub on PostgreSQL brings the spool in.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, make_url, select

from storage.clicks import partitions, visitors
from storage.db.database_url import shown_url
from storage.db.engine import Database
from storage.db.handover import Handover
from storage.db.schema import upgrade
from storage.db.spool_file import spool_folder
from storage.db.transfer import Progress, Transfer, filling_alone, opened
from storage.ledger.clicks.click_id import first_id_at
from storage.ledger.errors import CasinoFluxError
from storage.tables import clicks

FEW = 5_000  # rows: copied within a second or two
_MOST_ROUNDS = 20  # a hub that changes more than is copied meanwhile is held at last
_PROGRESS_EVERY = 5.0  # seconds
_DAY = timedelta(days=1)
_BEFORE = timedelta(minutes=1)  # the visitors of clicks stored late


async def to_postgresql(source: Database, url: str) -> str:
    """Move a database; what to do next. Raises CasinoFluxError, after which the hub goes on where it was."""
    path = source.file.path
    if not path or make_url(url).get_backend_name() == "sqlite":
        raise CasinoFluxError(
            "db transfer moves an SQLite database to PostgreSQL: elsewhere use db backup and db restore, or pg_dump"
        )
    target = Database(url)
    try:
        await upgrade(target)
        with Handover(Path(path)) as handover, _target_faults():
            async with filling_alone(url), opened(url) as connection:
                move = Move(source, target, handover, Transfer(Path(path), connection))
                rows, held = await move.run()
    finally:
        await target.close()
    return (
        f"{rows:,} rows are there, the last of them after {held:.1f} s. The hub keeps clicks in its spool now: set "
        f"CASINOFLUX_DATABASE_URL to the new database and restart it; it brings in what waits in "
        f"{spool_folder(source.url)}"
    )


@contextmanager
def _target_faults() -> Iterator[None]:
    """What PostgreSQL refuses, or its end, in one line that says what to do. Raises CasinoFluxError."""
    from asyncpg import InterfaceError, PostgresError

    try:
        yield
    except (PostgresError, InterfaceError, OSError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise CasinoFluxError(
            f"the new database failed ({reason[:200]}): the hub goes on where it was; fix that and begin again"
        ) from None


class Move:
    """One transfer from beginning to end."""

    def __init__(self, source: Database, target: Database, handover: Handover, transfer: Transfer) -> None:
        self._source, self._target = source, target
        self._handover, self._transfer = handover, transfer

    async def run(self) -> tuple[int, float]:
        """Rows in all, and how many seconds the hub was held before everything was there."""
        try:
            await self._transfer.begin()
            await self._copy_beside_hub()
            shared = datetime.now(UTC)
            await visitors.share(self._target, first_id_at(shared - _DAY), known=first_id_at(shared - _DAY))
            return await self._copy_rest(shared - _BEFORE)
        finally:
            self._transfer.close()

    async def _copy_beside_hub(self) -> None:
        span = select(func.min(clicks.c.id), func.max(clicks.c.id))
        async with self._source.read() as tx:
            first, last = (await tx.execute(span)).one()
        if first is not None:
            async with self._target.begin() as tx:
                await partitions.ensure_between(tx, first, last)
        await self._transfer.copy_all(_say_progress())
        for _ in range(_MOST_ROUNDS):
            rows = await self._transfer.copy_changes()
            sys.stderr.write(f"{rows:,} rows that changed meanwhile copied\n")
            if rows < FEW:
                break

    async def _copy_rest(self, shared: datetime) -> tuple[int, float]:
        url = shown_url(make_url(self._target.url).set(drivername="postgresql"))
        self._handover.hold("the database is being moved to PostgreSQL: this takes a minute at most")
        sys.stderr.write("the hub is held: it answers clicks and postbacks, and keeps them in its spool\n")
        began = time.monotonic()
        async with self._transfer.lock():
            await self._transfer.copy_changes(locked=True)
            await self._transfer.copy_unnoted()
            rows = await self._transfer.check_counts()
            await visitors.share(self._target, first_id_at(shared), known=first_id_at(shared - _DAY))
            await self._transfer.finish(spool_folder(self._source.url).absolute())
        self._handover.finish(f"this database was moved to {url}: set CASINOFLUX_DATABASE_URL to that, and restart")
        return rows, time.monotonic() - began


def _say_progress() -> Progress:
    """A line on standard error every few seconds: the result alone goes to standard output."""
    shown_at = time.monotonic()

    def say(table: str, rows: int, total: int) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at >= _PROGRESS_EVERY:
            shown_at = time.monotonic()
            sys.stderr.write(f"{table}: {rows:,} of {total:,} rows copied\n")

    return say
