"""SQLAlchemy's pools of connections: what a new connection is set to, and when one of PostgreSQL is given up."""

import sqlite3
import time
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from storage.db import one_hop
from storage.db.database_url import is_pooled, postgres_url
from storage.db.postgres_connection import POOLED, connect, seconds_per_host
from storage.db.unavailable import DatabaseFile, is_locked, is_read_only

WAL_WAIT = 5.0  # seconds, of a process that meets a database in the making
BUSY_TIMEOUT_MS = 1_500  # SQLite's own waiting cannot be broken off: this much at a time
ASKED_AFTER = 1.0  # seconds that a connection rested, after which PostgreSQL is asked whether it still is
KEPT_OPEN = 5  # connections of a process
MOST_OPEN = 30  # the same, at most; storage.db.pool_size lowers it to what the server allows


def create_engine(url: URL, file: DatabaseFile) -> AsyncEngine:
    """An engine for `sqlite+aiosqlite:///file` or `postgresql+asyncpg://…`; values never stand in its errors."""
    if url.get_backend_name() == "sqlite":
        engine = create_async_engine(
            url, pool_size=5, max_overflow=20, hide_parameters=True,
            connect_args={"isolation_level": None, "async_creator_fn": one_hop.connect},
        )  # fmt: skip

        def connected(connection: Any, _record: Any) -> None:
            file.remember()
            _set_pragmas(connection)

        event.listen(engine.sync_engine, "connect", connected)
        return engine
    engine = create_async_engine(
        postgres_url(url), pool_size=KEPT_OPEN, max_overflow=MOST_OPEN - KEPT_OPEN, hide_parameters=True,
        connect_args={
            "async_creator_fn": connect, "timeout": seconds_per_host(url),
            **(POOLED | {"prepared_statement_cache_size": 0} if is_pooled(url) else {}),
        },
    )  # fmt: skip
    event.listen(engine.sync_engine, "handle_error", _leave_standby)
    event.listen(engine.sync_engine, "checkin", _note_return)
    event.listen(engine.sync_engine, "checkout", _check_connection)
    return engine


def _note_return(_connection: Any, record: Any) -> None:
    record.info["returned_at"] = time.monotonic()


def _check_connection(connection: Any, record: Any, _fairy: Any) -> None:
    """A connection that the server has closed is given up with all others of that time; one that was not used for a
    while is asked. (`pool_pre_ping` asks each time, which takes three round trips.)"""
    rested = time.monotonic() - record.info.get("returned_at", time.monotonic())
    alive = not connection.driver_connection.is_closed()
    if alive and rested > ASKED_AFTER:
        try:
            connection.ping()
        except connection.dbapi.Error:
            alive = False
    if not alive:
        raise InvalidatePoolError


def _leave_standby(context: Any) -> None:
    """A server that turned into a standby refuses to write: connections to it are given up, as if it were away."""
    if is_read_only(context.original_exception):
        context.is_disconnect = True


def _set_pragmas(connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    _use_wal(cursor)
    for pragma in (
        "synchronous=FULL",
        "foreign_keys=ON",
        "temp_store=MEMORY",
        "cache_size=-16000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _use_wal(cursor: Any) -> None:
    """SQLite does not wait for another process that makes the same empty file a database: so this does, briefly."""
    deadline = time.monotonic() + WAL_WAIT
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if not is_locked(error) or time.monotonic() >= deadline:
                raise
        time.sleep(0.01)
