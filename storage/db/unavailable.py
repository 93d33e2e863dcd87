"""Errors that are the database's fault, not of what was to be written: locked, full, unreachable, deleted."""

import os
import sqlite3
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from storage.ledger.errors import CasinoFluxError


class DatabaseUnavailable(CasinoFluxError):
    """The database cannot be written or read now."""


class DatabaseFile:
    """Which file an SQLite database is in: one deleted or replaced while it is open is never written to."""

    def __init__(self, path: str) -> None:
        self.path = "" if path == ":memory:" else path
        self._name = Path(path).name
        self._identity: tuple[int, int] | None = None

    def remember(self) -> None:
        """Call after each connect: the first one decides which file is ours. Raises DatabaseUnavailable for another."""
        if not self.path:
            return
        if self._identity is None:
            status = os.stat(self.path)  # noqa: PTH116 - half the time of a Path's
            self._identity = status.st_dev, status.st_ino
        self.check()

    def check(self) -> None:
        """Raises DatabaseUnavailable if the path no longer leads to the file that was opened."""
        if self._identity is None:
            return
        try:
            status = os.stat(self.path)  # noqa: PTH116 - half the time of a Path's
        except OSError as error:
            raise DatabaseUnavailable(
                f"the database file {self._name} cannot be found ({error.strerror}): put it back, or restart on another"
            ) from None
        if (status.st_dev, status.st_ino) != self._identity:
            raise DatabaseUnavailable(f"the database file {self._name} was replaced by another: restart to use it")


def is_unavailable(error: BaseException) -> bool:
    """Whether the database is at fault, not what was to be written."""
    if isinstance(error, DatabaseUnavailable | OSError | TimeoutError | sqlite3.OperationalError):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or (error.orig is not None and is_unavailable(error.orig))
    if type(error) is sqlite3.DatabaseError:  # malformed, or no database at all
        return True
    if not type(error).__module__.startswith("asyncpg"):
        return False
    import asyncpg

    at_fault = asyncpg.DataError | asyncpg.IntegrityConstraintViolationError | asyncpg.TransactionRollbackError
    return not isinstance(error, at_fault)


def is_locked(error: BaseException) -> bool:
    """Whether SQLite said that another connection is writing."""
    cause = getattr(error, "orig", error)
    return isinstance(cause, sqlite3.OperationalError) and ("locked" in str(cause) or "busy" in str(cause))
