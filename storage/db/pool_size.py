"""How many connections a process may open: what PostgreSQL allows, shared by the processes that are there."""

from typing import cast

import msgspec
from sqlalchemy import text
from sqlalchemy.pool import QueuePool

from storage.db.engine import Database
from storage.db.pools import KEPT_OPEN, MOST_OPEN

EVERY = 10.0  # seconds between two looks at how many processes there are
SPARE = 5  # connections left to people and backups
BESIDE = 1  # connections of a process beside its pool: the click writer's

_QUERY = text("""
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
         - COALESCE(current_setting('reserved_connections', true), '0')::int AS allowed,
       (SELECT count(*) FROM pg_stat_activity
        WHERE COALESCE(backend_type, 'client backend') = 'client backend' -- null of other users' connections
          AND usesysid IS NOT NULL AND application_name NOT LIKE 'casinoflux %') AS others,
       (SELECT count(DISTINCT application_name) FROM pg_stat_activity
        WHERE application_name LIKE 'casinoflux %') AS processes
""")


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What the server allows its ordinary users, connections of other programs, processes of ours, and each one's
    share."""

    allowed: int
    others: int
    processes: int

    @property
    def share(self) -> int:
        """Connections of one process, its pool and those beside it; may be fewer than it needs."""
        return max(0, self.allowed - self.others - SPARE) // max(1, self.processes)

    @property
    def pool(self) -> int:
        """Connections of its pool: never fewer than it keeps open, since it works with those."""
        return min(MOST_OPEN, max(KEPT_OPEN, self.share - BESIDE))

    @property
    def suffices(self) -> bool:
        return self.share >= KEPT_OPEN + BESIDE


async def allowance(database: Database) -> Allowance:
    """What the server allows now."""
    async with database.read() as tx:
        row = (await tx.execute(_QUERY)).one()
    return Allowance(allowed=row.allowed, others=row.others, processes=row.processes)


async def fit(database: Database) -> None:
    """Have the pool open no more than this process's share; connections beyond it close when they are returned.

    Nothing changes on SQLite and behind PgBouncer, whose own settings limit what it opens.
    """
    if database.sqlite or database.pooled:
        return
    pool = cast(QueuePool, database.engine.sync_engine.pool)
    pool._max_overflow = (await allowance(database)).pool - KEPT_OPEN  # SQLAlchemy has no other way to it
