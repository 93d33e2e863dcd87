"""A connection to PostgreSQL that is kept out of the pool for the locking transaction that follows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.postgres_connection import driver_of

KEPT = 0.2  # seconds that the connection is kept for the next one


class KeptConnection:
    """The connection of the locking transaction that ended last.

    Transactions that follow one another so spare the pool, and PostgreSQL has all it knows in one process.
    """

    def __init__(self, connect: Callable[[], Awaitable[AsyncConnection]]) -> None:
        self._connect = connect
        self._kept: AsyncConnection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._given_back: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[AsyncConnection]:
        """The kept connection, or one from the pool; it is kept afterwards, if none is."""
        connection = self._take()
        if connection is None:
            connection = await self._connect()
        try:
            yield connection
        finally:
            if self._kept is not None or connection.in_transaction() or not _is_open(connection):
                await connection.close()
            else:
                self._kept = connection
                self._timer = asyncio.get_running_loop().call_later(KEPT, self._give_back)

    def _take(self) -> AsyncConnection | None:
        connection = self._kept
        if connection is None:
            return None
        if not _is_open(connection):
            self._give_back()  # to the pool, which finds out that it is closed
            return None
        self._kept = None
        if self._timer is not None:
            self._timer.cancel()
        return connection

    def _give_back(self) -> None:
        connection, self._kept = self._kept, None
        if self._timer is not None:
            self._timer.cancel()
        if connection is not None:
            self._given_back = asyncio.create_task(connection.close())

    async def close(self) -> None:
        self._give_back()
        if self._given_back is not None:
            await asyncio.wait({self._given_back})


def _is_open(connection: AsyncConnection) -> bool:
    return not connection.invalidated and not driver_of(connection).is_closed()
