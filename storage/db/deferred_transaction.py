"""A transaction on PostgreSQL that begins late, or is one statement: what it reads before is checked when it writes."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.postgres_connection import driver_of
from storage.db.unavailable import SILENT, CommitUnknown, DatabaseUnavailable, is_lost, sqlstate_of

#: How a statement says that what was read before is not so any more: by a division by zero, or a key that is taken.
_DIVISION_BY_ZERO, _UNIQUE_VIOLATION = "22012", "23505"


class StoredMeanwhile(Exception):
    """Another process stored meanwhile what this one took to be otherwise; nothing has been written."""


@contextmanager
def raising_stored_meanwhile() -> Iterator[None]:
    """Raise StoredMeanwhile where a statement divides by zero, or finds a key taken."""
    try:
        yield
    except Exception as error:
        if sqlstate_of(error) in (_DIVISION_BY_ZERO, _UNIQUE_VIOLATION):
            raise StoredMeanwhile from None
        raise


class DeferredTransaction:
    """Work on one connection: each statement is a transaction by itself, until `begin`.

    The driver itself begins and ends the transaction: by SQLAlchemy either takes the hub as long as a statement.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self._driver = driver_of(connection)
        self.begun = False
        self._late: asyncio.TimerHandle | None = None

    @contextmanager
    def broken_off_after(self, seconds: float) -> Iterator[None]:
        """End the connection where the server keeps it waiting so long: what it did is undone, or was but reading.

        Raises DatabaseUnavailable then. What is stored by one statement is waited for: it could be stored later still.
        """
        loop = asyncio.get_running_loop()
        late = self._late = loop.call_later(seconds, self._driver.terminate)
        try:
            yield
        except Exception:
            if self._driver.is_closed() and not late.cancelled() and loop.time() >= late.when():
                raise DatabaseUnavailable(SILENT) from None
            raise
        finally:
            late.cancel()

    async def begin(self, statement: str) -> None:
        """Begin, in one round trip with a statement, which may raise StoredMeanwhile."""
        self.begun = True
        with raising_stored_meanwhile():
            await self._driver.execute(f"BEGIN; {statement}")

    async def write(self, statement: str, *values: Any) -> Sequence[Any]:
        """A statement that writes; unless the transaction has begun it is all of it.

        Raises StoredMeanwhile; CommitUnknown if the connection is lost before the answer to all of it.
        """
        if self._late is not None and not self.begun:
            self._late.cancel()
        try:
            with raising_stored_meanwhile():
                rows: Sequence[Any] = await self._driver.fetch(statement, *values)
        except Exception as error:
            if is_lost(error) and not self.begun:
                await self.connection.invalidate()
                raise CommitUnknown from None
            raise
        return rows

    async def commit(self) -> None:
        """End the transaction, if it has begun. Raises CommitUnknown if the connection is lost meanwhile."""
        if not self.begun:
            return
        try:
            await self._driver.execute("COMMIT")
        except BaseException as error:
            await self.connection.invalidate()
            if is_lost(error):
                raise CommitUnknown from None
            raise

    async def roll_back(self, *, leave: bool) -> None:
        """Undo the transaction. A connection that cannot do that is given up, as one to `leave`."""
        with suppress(Exception):
            try:
                if self.begun:
                    await self._driver.execute("ROLLBACK")
            except BaseException:
                leave = True
                raise
            finally:
                if leave:
                    await self.connection.invalidate()
