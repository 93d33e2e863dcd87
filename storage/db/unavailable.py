"""Errors that are the database's fault, not of what was to be written: locked, full, unreachable, deleted."""

import errno
import os
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from storage.db.handover import note_path, reason_to_wait
from storage.ledger.errors import CasinoFluxError

LOCKED = "the database is locked by another process"
SILENT = "PostgreSQL did not answer in time: a lock is held from outside, or it is overloaded"


def is_full(error: BaseException) -> bool:
    """Whether there was no room on the disk."""
    cause = getattr(error, "orig", error)
    if isinstance(cause, sqlite3.Error) and "full" in str(cause):
        return True
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    return sqlstate_of(error) == "53100"


class DatabaseUnavailable(CasinoFluxError):
    """The database cannot be written or read now."""


class NoHost(ConnectionError):
    """PostgreSQL cannot be reached; the text says why, of several hosts for each."""


class CommitUnknown(DatabaseUnavailable):
    """The connection broke while a change was being committed: it may be stored or not, so it is never repeated."""

    def __init__(self) -> None:
        super().__init__(
            "the connection to the database broke while this was being stored: look whether it was done before you "
            "repeat it"
        )


def named_full(error: BaseException) -> BaseException:
    """A database's error that the disk is full as DatabaseUnavailable, so that every face says it; others as they are.

    PostgreSQL's is 53100 (https://www.postgresql.org/docs/current/errcodes-appendix.html).
    """
    if is_full(error) and not isinstance(error, OSError):
        return DatabaseUnavailable("the disk is full: make room where the database is")
    return error


@contextmanager
def full_disk_named() -> Iterator[None]:
    """Raises errors as `named_full` has them."""
    try:
        yield
    except Exception as error:
        if (fault := named_full(error)) is not error:
            raise fault from None
        raise


class DatabaseFile:
    """Which file an SQLite database is in: one deleted, replaced or overwritten while it is open is never written to.

    The header holds the database's number, drawn when its schema is made, and its age, which only grows: so a copy over
    the same file is noticed, of another database and of an older state of this one.
    """

    def __init__(self, path: str) -> None:
        self.path = "" if path == ":memory:" else path
        self._name = Path(path).name
        self._note = note_path(self.path) if self.path else ""
        self._inode: Inode | None = None
        self._descriptor: int | None = None
        self._overwritten = False
        self._lost_log = ""
        self.number = 0  # 0 until a checkpoint has brought it into the file
        self._age = 0

    def remember(self) -> None:
        """Call after each connect: the first one decides which file is ours. Raises DatabaseUnavailable for another."""
        if not self.path:
            return
        if self._descriptor is None:
            inode, descriptor = _hold(self.path)
            if self._inode in {None, inode}:
                self._inode, self._descriptor = inode, descriptor
            else:
                _release(inode)
        self.check()

    def check(self) -> None:
        """`check_same` before a transaction: raises DatabaseUnavailable also while another process has it held."""
        if self._note and (reason := reason_to_wait(self._note)):
            raise DatabaseUnavailable(reason)
        self.check_same()

    def check_same(self) -> None:
        """Raises DatabaseUnavailable if the path no longer leads to the database that was opened."""
        if self._inode is None:
            return
        if self._lost_log:
            raise DatabaseUnavailable(
                f"{self._lost_log} was deleted or replaced under the running hub; what was in it has been brought into "
                f"{self._name}: restart casinoflux, and leave that file alone while it runs"
            )
        try:
            inode = _inode(os.stat(self.path))  # noqa: PTH116 - half the time of a Path's
        except OSError as error:
            raise DatabaseUnavailable(
                f"the database file {self._name} cannot be found ({error.strerror}): put it back, or restart on another"
            ) from None
        if inode != self._inode:
            raise DatabaseUnavailable(f"the database file {self._name} was replaced by another: restart to use it")
        # Twice: the first look may have met a checkpoint that writes the header.
        if self._overwritten or not (self._same_database() or self._same_database()):
            self._overwritten = True
            raise DatabaseUnavailable(
                f"the database file {self._name} was overwritten, by another database or an older copy of this one: "
                f"stop casinoflux, delete {self._name}-wal if it is left, put the file in place again, and start"
            )

    def logs(self) -> dict[str, "Inode | None"]:
        """The write-ahead log and its index, as they are beside the database now."""
        return {f"{self._name}{suffix}": _inode_of(f"{self.path}{suffix}") for suffix in ("-wal", "-shm")}

    def lose_log(self, name: str) -> None:
        """Have `check` refuse everything from now on: connections opened later would have another log than ours."""
        self._lost_log = name

    @property
    def moved(self) -> bool:
        """Whether the path leads to another file than the one that is open, or to none."""
        return self._inode is not None and _inode_of(self.path) != self._inode

    def close(self) -> None:
        """Call when all connections are closed."""
        if self._inode is not None and self._descriptor is not None:
            _release(self._inode)
        self._descriptor = None

    def _same_database(self) -> bool:
        if self._descriptor is None:
            return True
        header = os.pread(self._descriptor, _HEADER.size, _HEADER_AT)
        number, age = _HEADER.unpack(header) if len(header) == _HEADER.size else (0, 0)
        if self.number and (number != self.number or age < self._age):
            return False
        self.number, self._age = number, age
        return True


Inode = tuple[int, int]
_HEADER_AT = 60  # where SQLite keeps `user_version`: our number; 4 bytes on, `application_id`: our age
_HEADER = struct.Struct(">i4xi")
_held: dict[Inode, tuple[int, int]] = {}
"""Descriptors of database files, and how many use each. Closing one would end the locks of all SQLite's connections of
this process to that file (POSIX), so it stays open until the last user has closed its connections."""


def _inode(status: os.stat_result) -> Inode:
    return status.st_dev, status.st_ino


def _inode_of(path: str) -> Inode | None:
    try:
        return _inode(os.stat(path))  # noqa: PTH116
    except OSError:
        return None


def _hold(path: str) -> tuple[Inode, int]:
    inode = _inode(os.stat(path))  # noqa: PTH116
    descriptor, users = _held.get(inode) or (os.open(path, os.O_RDONLY | os.O_CLOEXEC), 0)
    _held[inode] = descriptor, users + 1
    return inode, descriptor


def _release(inode: Inode) -> None:
    descriptor, users = _held.pop(inode)
    if users > 1:
        _held[inode] = descriptor, users - 1
    else:
        os.close(descriptor)


def is_unavailable(error: BaseException) -> bool:
    """Whether the database is at fault, not what was to be written."""
    if isinstance(error, DatabaseUnavailable | OSError | TimeoutError | PoolTimeout | sqlite3.OperationalError):
        return True
    if isinstance(error, DBAPIError):
        if sqlstate_of(error) in _OPERATORS:
            return True
        if error.connection_invalidated or isinstance(error, ProgrammingError) or error.orig is None:
            return error.connection_invalidated
        cause = error.orig.__cause__  # asyncpg's own, of which SQLAlchemy's says less
        return is_unavailable(cause if type(cause).__module__.startswith("asyncpg") and cause else error.orig)
    if type(error) is sqlite3.DatabaseError:  # malformed, or no database at all
        return True
    if not type(error).__module__.startswith("asyncpg"):
        return False
    import asyncpg

    at_fault = asyncpg.DataError | asyncpg.IntegrityConstraintViolationError | asyncpg.TransactionRollbackError
    return not isinstance(error, at_fault)


def is_lost(error: BaseException) -> bool:
    """Whether the connection to the server broke, so that it is not known what became of what it was sent last."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or (error.orig is not None and is_lost(error.orig))
    lost = {"ConnectionDoesNotExistError", "ConnectionFailureError", "InterfaceError", "InternalClientError",
            "AdminShutdownError", "CrashShutdownError"}  # fmt: skip
    return isinstance(error, OSError | TimeoutError) or type(error).__name__ in lost


def is_locked(error: BaseException) -> bool:
    """Whether SQLite said that another connection is writing."""
    cause = getattr(error, "orig", error)
    return isinstance(cause, sqlite3.OperationalError) and ("locked" in str(cause) or "busy" in str(cause))


def is_read_only(error: BaseException | None) -> bool:
    """Whether PostgreSQL said that it is a standby."""
    return sqlstate_of(error) == "25006"


def sqlstate_of(error: BaseException | None) -> str:
    """PostgreSQL's code of an error, whichever wrapper it is in; empty if it is not PostgreSQL's."""
    while error is not None and getattr(error, "sqlstate", None) is None:
        error = error.__cause__ or getattr(error, "orig", None)
    return str(getattr(error, "sqlstate", ""))


_OPERATORS = {"42501", "42P01", "42703"}
"""Programming errors, to SQLAlchemy, which are of the database here: a right, a table or a column is missing."""
_OTHER_SCHEMA = "the database lacks a table or a column of this version: it was changed by hand or by another version"
_FAULTS = {  # https://www.postgresql.org/docs/current/errcodes-appendix.html
    "25006": "PostgreSQL takes no writes: it is a standby, or default_transaction_read_only is on",
    "28000": "PostgreSQL does not let the user in: give it LOGIN, and have pg_hba.conf admit it from here",
    "28P01": "PostgreSQL refuses the password: set CASINOFLUX_DATABASE_URL right",
    "3D000": "PostgreSQL has no database of that name: it was renamed or dropped",
    "3F000": "the user has no schema to make tables in: grant it CREATE and USAGE on schema public",
    "42501": "the user lacks a right on a table or schema: grant it",
    "42703": _OTHER_SCHEMA,
    "42P01": _OTHER_SCHEMA,
    "53100": "the disk is full: make room where the database is",
    "53200": "PostgreSQL is out of memory",
    "53300": "PostgreSQL has no connection left: raise max_connections, or end what uses them",
    "55P03": "a lock in PostgreSQL is held from outside: end the transaction that holds it",
    "57014": "PostgreSQL broke a statement off: statement_timeout is too short, or an administrator cancelled it",
    "57P01": "PostgreSQL ended the connection: it is stopped, or an administrator did it",
    "57P02": "PostgreSQL crashed and starts again",
    "57P03": "PostgreSQL is starting or stopping",
    "57P04": "the database was dropped",
}


def plain_words(error: BaseException) -> str:
    """What is wrong with the database, for people: neither SQL nor values. Empty for an error that says it itself."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if isinstance(cause, DatabaseUnavailable):
        return str(cause)
    if isinstance(cause, PoolTimeout):
        return "all connections of this process to the database are in use"
    if isinstance(cause, NoHost):
        return f"PostgreSQL cannot be reached ({cause})"
    if isinstance(cause, OSError):
        return ""
    if words := _FAULTS.get(sqlstate_of(cause)):
        return words
    return "the connection to PostgreSQL broke" if is_lost(error) or is_lost(cause) else ""
