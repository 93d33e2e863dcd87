"""A process opens no more connections than PostgreSQL allows it, beside the others."""

import pytest
from sqlalchemy import text
from sqlalchemy.pool import QueuePool

from storage.db import pool_size
from storage.db.engine import Database
from storage.db.pool_size import Allowance
from storage.db.pools import KEPT_OPEN, MOST_OPEN


@pytest.mark.parametrize(("allowed", "others", "processes", "pool", "suffices"), [
    (97, 0, 1, MOST_OPEN, True), (97, 2, 6, 14, True), (97, 2, 15, KEPT_OPEN, True), (97, 2, 16, KEPT_OPEN, False),
    (20, 30, 1, KEPT_OPEN, False),
])  # fmt: skip
def test_the_share_of_a_process(allowed: int, others: int, processes: int, pool: int, suffices: bool) -> None:
    share = Allowance(allowed=allowed, others=others, processes=processes)
    assert (share.pool, share.suffices) == (pool, suffices)


async def test_the_pool_follows_what_the_server_allows(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(postgres_url)
    try:
        seen = await pool_size.allowance(database)
        async with database.read() as tx:
            most = int((await tx.execute(text("SHOW max_connections"))).scalar_one())
        assert 0 < most - seen.allowed <= 10
        assert seen.processes >= 1
        monkeypatch.setattr(pool_size, "SPARE", seen.allowed - seen.others - 8 * seen.processes)
        await pool_size.fit(database)
        pool = database.engine.sync_engine.pool
        assert isinstance(pool, QueuePool)
        assert pool.size() + pool._max_overflow == 7, "and one connection beside the pool"
    finally:
        await database.close()
