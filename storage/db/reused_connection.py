"""A connection to PostgreSQL that stays checked out of the pool for the deferred transaction that follows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.postgres_connection import driver_of

KEEP_SECONDS = 0.2  # seconds that it stays checked out


class ReusedConnection:
    """The connection of the deferred transaction that ended last.

    Transactions that follow one another so spare the pool, and PostgreSQL has all it knows in one process. It keeps the
    plans of its statements meanwhile: to make one for the values of each transaction takes longer than its work.
    """

    def __init__(self, connect: Callable[[], Awaitable[AsyncConnection]], lock_timeout: Callable[[], float]) -> None:
        """`lock_timeout`: seconds that a statement on it waits for a lock at most."""
        self._connect = connect
        self._lock_timeout = lock_timeout
        self._idle: AsyncConnection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._releasing: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def borrow(self) -> AsyncIterator[AsyncConnection]:
        """The idle connection, or one from the pool; it stays open for the next transaction, if none does."""
        connection = self._take()
        if connection is None:
            connection = await self._prepared()
        try:
            yield connection
        finally:
            if self._idle is not None or not await _is_reset(connection):
                await _give_back(connection)
            else:
                self._idle = connection
                self._timer = asyncio.get_running_loop().call_later(KEEP_SECONDS, self._release)

    async def _prepared(self) -> AsyncConnection:
        connection = await self._connect()
        limit = f"{self._lock_timeout() * 1000:.0f}"
        try:
            await driver_of(connection).execute(f"SET plan_cache_mode = force_generic_plan; SET lock_timeout = {limit}")
        except BaseException:
            await connection.invalidate()
            await connection.close()
            raise
        return connection

    def _take(self) -> AsyncConnection | None:
        connection = self._idle
        if connection is None:
            return None
        if not _is_open(connection):
            self._release()  # to the pool, which finds out that it is closed
            return None
        self._idle = None
        if self._timer is not None:
            self._timer.cancel()
        return connection

    def _release(self) -> None:
        connection, self._idle = self._idle, None
        if self._timer is not None:
            self._timer.cancel()
        if connection is not None:
            self._releasing = asyncio.create_task(_give_back(connection))

    async def close(self) -> None:
        self._release()
        if self._releasing is not None:
            await asyncio.wait({self._releasing})


async def _is_reset(connection: AsyncConnection) -> bool:
    """Whether it can be used again; SQLAlchemy takes a statement by itself for the beginning of a transaction."""
    if _is_open(connection):
        with suppress(Exception):
            await connection.rollback()
            return True
    return False


async def _give_back(connection: AsyncConnection) -> None:
    """To the pool, as it was."""
    try:
        if _is_open(connection):
            await driver_of(connection).execute("RESET plan_cache_mode; RESET lock_timeout")
    except Exception:
        await connection.invalidate()
    await connection.close()


def _is_open(connection: AsyncConnection) -> bool:
    return not connection.invalidated and not driver_of(connection).is_closed()
