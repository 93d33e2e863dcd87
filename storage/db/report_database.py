"""A standby that reports are read from, as long as it follows the primary closely enough; it is never written to."""

import asyncio
import time
from math import inf

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from storage.db.engine import Database
from storage.db.schema import HEAD
from storage.db.unavailable import is_unavailable, sqlstate_of

LOOK_EVERY = 1.0  # seconds between two looks at the standby's lag
LATER = 5.0  # seconds until a standby that could not be used is looked at again
PATIENCE = 2.0  # seconds it has to answer
SAID_FROM = 5.0  # seconds of lag from which an answer says so
_AGAIN = 0.05  # seconds a standby that is behind is given to replay what it is just receiving
_CONFLICTS = frozenset({"40001", "40P01", "57014"})  # a standby gives a query up that what it replays stands against

_PRIMARY = text("SELECT pg_current_wal_lsn()::text, (SELECT value FROM facts WHERE name = 'click_id_key')")
_STANDBY = text("""
SELECT pg_is_in_recovery() AS follows,
       COALESCE(pg_last_wal_replay_lsn() >= CAST(CAST(:lsn AS text) AS pg_lsn), false) AS level,
       extract(epoch FROM now() - pg_last_xact_replay_timestamp())::float AS age,
       (SELECT version_num FROM alembic_version) AS schema,
       (SELECT value FROM facts WHERE name = 'click_id_key') AS key
""")


class Unfit(Exception):
    """Why the standby cannot be used now, in words."""


class ReportDatabase:
    """The standby of a primary, looked at before it is used, once a second at most."""

    def __init__(self, primary: Database, url: str, *, most_lag: float) -> None:
        self.database = Database(url)
        self.fault = ""  # why the primary is read instead; empty while the standby is used
        self.lag = 0.0  # seconds it was behind at the last look
        self._primary = primary
        self._most_lag = most_lag
        self._due = 0.0
        self._lock = asyncio.Lock()

    async def choose(self) -> Database | None:
        """The standby; None while it cannot be used, and the primary is to be read."""
        async with self._lock:
            if time.monotonic() >= self._due:
                await self._check()
        return None if self.fault else self.database

    def failed(self, error: BaseException) -> bool:
        """Whether the standby is at fault for an error: then the same can be read from the primary, which is next."""
        if not is_unavailable(error) and sqlstate_of(error) not in _CONFLICTS:
            return False
        self._give_up(f"it failed ({type(error).__name__})")
        return True

    async def close(self) -> None:
        await self.database.close()

    async def _check(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                self.lag = await self._measure()
            if self.lag > self._most_lag:
                raise Unfit(f"it is {self.lag:.0f} s behind the primary, which is more than {self._most_lag:g} s")
        except TimeoutError:
            self._give_up("it does not answer")
        except Unfit as unfit:
            self._give_up(str(unfit))
        except Exception as error:
            if not is_unavailable(error) and not isinstance(error, DBAPIError):
                raise
            self._give_up(f"it cannot be read ({type(error).__name__})")
        else:
            self.fault, self._due = "", time.monotonic() + LOOK_EVERY

    def _give_up(self, fault: str) -> None:
        self.fault, self._due = fault, time.monotonic() + LATER

    async def _measure(self) -> float:
        """Seconds that what the standby shows may be old; 0 where it has all that the primary had just now.

        https://www.postgresql.org/docs/15/functions-admin.html#FUNCTIONS-RECOVERY-CONTROL
        """
        async with self._primary.read() as tx:
            lsn, key = (await tx.execute(_PRIMARY)).one()
        for pause in (_AGAIN, 0):
            async with self.database.read() as tx:
                row = (await tx.execute(_STANDBY, {"lsn": lsn})).one()
            if not row.follows:
                raise Unfit("it is no standby")
            if row.key != key:
                raise Unfit("it is of another database")
            if row.schema != HEAD:
                raise Unfit(f"its schema is {row.schema}, this version's is {HEAD}")
            if row.level:
                return 0.0
            if row.age is not None and row.age < SAID_FROM:
                break
            await asyncio.sleep(pause)
        return inf if row.age is None else max(0.0, row.age)
