"""From settings to a runtime: database opened and upgraded, first team, fixed facts checked."""

import asyncio
import os
import sqlite3
import stat
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.runtime.ports import HubPorts
from hub.runtime.runtime import Runtime, utc_now
from hub.runtime.settings import SettingError, Settings, key_path, with_key
from storage.catalogue import teams
from storage.clicks.queries import ensure_codec
from storage.db import backup, rotation, touch_marks, transfer
from storage.db.database_url import shown_url
from storage.db.engine import Database, behind_pooler
from storage.db.handover import wait_while_held
from storage.db.report_database import ReportDatabase
from storage.db.schema import HEAD, current, lock_start, upgrade
from storage.db.secrets import Box
from storage.db.unavailable import sqlstate_of
from storage.ledger.errors import CasinoFluxError
from storage.reports import rates
from storage.tables import revenue

RATES_SINCE = timedelta(days=400)  # history kept from the start; older days follow when there are figures of them
REACHED = 15.0  # seconds a database is given to answer at the start


def new_runtime(settings: Settings, ports: HubPorts | None = None) -> Runtime:
    """Everything that needs no event loop yet, with a secret key made if there is none; `prepare` knows the team."""
    settings = with_key(settings)
    database = Database(settings.database_url)
    url, lag = settings.report_database_url, settings.report_database_lag
    return Runtime(
        settings=settings,
        database=database,
        reports=ReportDatabase(database, url, most_lag=lag) if url else None,
        box=Box(settings.secret_key),
        ports=ports or HubPorts(settings),
        team_id=0,
        clock=shifted_clock(settings.clock_offset),
    )


class DatabaseUnreachable(SettingError):
    """The server does not answer, or none of them can be written to now."""


async def reach(url: str, name: str = "CASINOFLUX_DATABASE_URL") -> None:
    """Open the database once, after what another process holds it for a minute. Raises SettingError (of the setting
    `name`) if it cannot be opened."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        await _open_postgresql(url, name)
    elif (fault := _open_sqlite(parsed.database)) is not None:
        raise SettingError(
            f"{name}: {parsed} cannot be opened ({fault}): is it there, may we write to it, and is there room on the "
            "disk?"
        )
    else:
        await wait_while_held(parsed.database or "")


def _open_sqlite(path: str | None) -> str | None:
    try:
        _make_private(path)
        with closing(sqlite3.connect(path or ":memory:", timeout=1)) as connection:
            connection.execute("BEGIN IMMEDIATE").close()
    except sqlite3.Error as error:
        return None if "locked" in str(error) else str(error)  # another process is writing: it can be written to
    return None


_SQLITE = b"SQLite format 3\0"  # the first bytes of every database: https://www.sqlite.org/fileformat.html


def _make_private(path: str | None) -> None:
    """The database file is the owner's alone; SQLite makes its -wal and -shm with the same mode, and those that are
    there already are narrowed with it. A file that is no database of SQLite's keeps its mode."""
    if not path or path == ":memory:":
        return
    with suppress(OSError):  # whoever may not change it may still open it; opening says what is wrong
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "rb") as file:
            if file.read(len(_SQLITE)) not in {b"", _SQLITE}:
                return
        for part in (Path(path), Path(f"{path}-wal"), Path(f"{path}-shm")):
            if part.exists() and stat.S_IMODE(part.stat().st_mode) & 0o077:
                part.chmod(0o600)


async def _open_postgresql(url: str, name: str) -> None:
    from asyncpg import InterfaceError, PostgresError

    database, shown = Database(url), shown_url(url)
    try:
        async with asyncio.timeout(REACHED), database.read() as tx:
            waiting = (await tx.execute(text("SELECT pg_is_in_recovery()"))).scalar_one()
            unnamed_pooler = not database.pooled and await behind_pooler(database)
            read_only = (await tx.execute(text("SHOW transaction_read_only"))).scalar_one() == "on"
    except (OSError, SQLAlchemyError, PostgresError, InterfaceError) as error:
        cause = getattr(error, "orig", None) or error
        reason = str(cause).rpartition(">: ")[2].partition("\n")[0] or "no answer"
        state = sqlstate_of(error)
        if fix := _FIXES.get(state):
            raise SettingError(f"{name}: {shown} cannot be opened ({reason}): {fix}") from None
        fix = _PASSING_FIXES.get(state, _FIX_UNREACHABLE)
        raise DatabaseUnreachable(f"{name}: {shown} cannot be opened ({reason}): {fix}") from None
    finally:
        await database.close()
    if unnamed_pooler:
        raise SettingError(f"{name}: {shown} is a pooler: {_FIX_POOLER}")
    if waiting:
        raise DatabaseUnreachable(
            f"{name}: {shown} is a standby, which takes no writes: name the primary, or all hosts"
        )
    if read_only:
        raise SettingError(
            f"{name}: {shown} takes no writes: end its read-only mode (default_transaction_read_only), or name another"
        )


_FIX_UNREACHABLE = "start the server, check its address and the network; of several hosts name those of this cluster"
_FIX_POOLER = "write ?pgbouncer=1 at the end of the URL, since PgBouncer stands before the server"
_FIXES = {
    "28P01": "set the right user and password",
    "28000": "give the user LOGIN, and have pg_hba.conf admit it from here",
    "3D000": "create the database, or name the right one",
    "26000": _FIX_POOLER,
    "42P05": _FIX_POOLER,
    "42501": "grant the user the right to connect",
}
_PASSING_FIXES = {  # of a server that may answer later: a hub with plans starts from those
    "53300": "raise max_connections, or the user's connection limit, or end what uses the connections",
    "55000": "have the database accept connections (ALTER DATABASE … ALLOW_CONNECTIONS true)",
    "57P03": "wait until the server has started",
}


async def upgrade_in_other_process(settings: Settings) -> None:
    """Upgrade the schema in a process of its own: Alembic's 12 MB would stay with this one.

    Raises CasinoFluxError, also for settings that contradict what a database of an older schema holds.
    """
    database = Database(settings.database_url)
    try:
        if await current(database) == HEAD:
            return
    finally:
        await database.close()
    environment = os.environ | {"CASINOFLUX_DATABASE_URL": settings.database_url}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hub", "db", "upgrade", env=environment, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, error_output = await child.communicate()
    if child.returncode:
        lines = error_output.decode(errors="replace").strip().splitlines() or ["the schema could not be upgraded"]
        raise CasinoFluxError(lines[-1].removeprefix("casinoflux: "))
    await check_stored(settings)


def shifted_clock(seconds: int) -> Callable[[], datetime]:
    """The real clock, or one that many seconds apart (demo and tests)."""
    if not seconds:
        return utc_now  # asked for every click
    offset = timedelta(seconds=seconds)
    return lambda: datetime.now(UTC) + offset


async def prepare(runtime: Runtime) -> None:
    """Upgrade the schema, make the first team, and refuse settings that contradict stored facts."""
    await upgrade(runtime.database)
    if path := runtime.database.file.path:
        await asyncio.to_thread(transfer.clear_left_over, path)
    async with runtime.database.begin() as tx:
        await lock_start(tx)
        await _check_facts(tx, runtime.settings)
        runtime.team_id = await teams.first(tx, runtime.clock())
        await ensure_codec(tx)
        await keep_key_check(tx, runtime.box)
        await teams.store_fact(tx, "report_timezone", runtime.settings.report_timezone)
    await fill_rates(runtime)


async def recover(runtime: Runtime) -> None:
    """What a killed process may have left undone; part of every start."""
    async with runtime.database.begin() as tx:
        await touch_marks.touch_latest(tx)


async def check_stored(settings: Settings) -> None:
    """Raises CasinoFluxError for settings that contradict what a database of this schema holds; nothing is written."""
    database = Database(settings.database_url)
    try:
        if await current(database) == HEAD:
            async with database.read() as tx:
                await _check_facts(tx, settings)
    finally:
        await database.close()


async def _check_facts(tx: AsyncConnection, settings: Settings) -> None:
    await check_whole(tx)
    await check_timezone(tx, settings)
    await _check_key(tx, settings)


async def check_whole(tx: AsyncConnection) -> None:
    """Raises CasinoFluxError for a database that `db transfer` or `db restore` has not filled yet."""
    if await teams.fact(tx, transfer.UNFINISHED) is not None:
        raise CasinoFluxError(
            "this database is being filled by casinoflux db transfer: wait for its end, or if it was broken off run it "
            "again"
        )
    if await teams.fact(tx, backup.UNFINISHED) is not None:
        raise CasinoFluxError(
            "a backup is being restored into this database: wait for its end, or if it was broken off run casinoflux "
            "db restore again"
        )


async def _check_key(tx: AsyncConnection, settings: Settings) -> None:
    """One database has one key, of all hubs and at every start. Raises SettingError for another one."""
    if await opens(tx, settings.secret_key):
        return
    path = key_path(settings.database_url)
    fault = "is not the key" if settings.secret_key else f"is not set, and {path} is missing, which holds the one"
    raise SettingError(
        f"CASINOFLUX_SECRET_KEY {fault} that the credentials in this database are sealed under: set that one (the key "
        f"of the other hubs, or bring back {path.name}), or where it is lost, run casinoflux keys rotate"
    )


async def opens(tx: AsyncConnection, secret_key: str) -> bool:
    """Whether a secret key is the one that the database's secrets are sealed under, or may become it.

    It may where nothing is sealed yet, on SQLite: on PostgreSQL another hub may have the first one's key.
    """
    box = Box(secret_key or os.urandom(32).hex())
    sealed = await teams.fact(tx, _KEY_CHECK)
    if sealed is not None and (box.opens(sealed) or tx.dialect.name != "sqlite"):
        return box.opens(sealed)
    found = await stored_credentials(tx, box)
    return not found.unreadable or (sealed is None and bool(found.opened))  # a database of before there was a check


async def stored_credentials(tx: AsyncConnection, box: Box) -> rotation.Rotated:
    """What a key opens of all that is sealed but for our own check."""
    found = await rotation.inspect(tx, box)
    found.unreadable = [place for place in found.unreadable if place != f"facts {_KEY_CHECK}"]
    return found


async def keep_key_check(tx: AsyncConnection, box: Box) -> None:
    """Remember which key the database's secrets are sealed under."""
    sealed = await teams.fact(tx, _KEY_CHECK)
    if not (sealed and box.opens(sealed)):
        await teams.store_fact(tx, _KEY_CHECK, box.seal("the key of this database"))


_KEY_CHECK = "secret_key_check"


async def check_timezone(tx: AsyncConnection, settings: Settings) -> None:
    """Report days are stored: a deployment's reporting zone is chosen once. Raises CasinoFluxError for another."""
    stored, configured = await teams.fact(tx, "report_timezone"), settings.report_timezone
    if stored is not None and stored != configured:
        raise CasinoFluxError(
            f"CASINOFLUX_REPORT_TIMEZONE: {configured!r}, but this database's days were counted in {stored!r}: "
            "set it back, or start a new database"
        )


async def fill_rates(runtime: Runtime) -> None:
    """Copy the bundled ECB history into the database where it lacks; cheap when it is there."""
    today = runtime.clock().date()
    async with runtime.database.read() as tx:
        oldest = (await tx.execute(select(func.min(revenue.c.day)))).scalar_one_or_none() or today
        earliest = await rates.first_published(tx)
    since = min(today - RATES_SINCE, oldest - timedelta(days=40))
    if earliest is not None and earliest <= since + timedelta(days=7):
        return
    from connectors.rates import ecb  # its package costs memory: only where it is needed

    bundled = rates.of_one_euro(ecb.bundled(since), "ecb")
    async with runtime.database.begin() as tx:
        await rates.store(tx, rates.EVERYBODY, bundled)
