"""Where a COMMIT is waited for: by the event loop on a quick disk, by a thread on a slow one."""

import sqlite3
from contextlib import suppress

from sqlalchemy.engine import make_url

from storage.db.direct_sqlite import Disk
from storage.db.engine import Database
from storage.db.schema import upgrade


def test_a_disk_that_was_slow_is_left_to_the_thread_for_ten_seconds() -> None:
    now = 0.0
    disk = Disk(lambda: now)

    def quick_after(seconds: float, times: int = 1) -> bool:
        for _ in range(times):
            disk.took(seconds)
        return disk.quick

    assert quick_after(0.0003, times=100)
    assert not quick_after(0.03), "one that held everybody up"
    now = 10.0
    assert disk.quick
    assert quick_after(0.004), "one that may have met a checkpoint"
    assert not quick_after(0.004, times=4), "tried, and still slow"
    now = 20.0
    assert quick_after(0.0003, times=100)
    assert not quick_after(0.002, times=100)


async def test_a_batch_is_stored_and_its_fault_undone_wherever_its_commit_is_waited_for(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    await upgrade(database)
    assert database.direct
    for number, slow in enumerate((False, True)):
        if slow:
            database.direct._disk.took(1.0)
        async with database.direct.transaction(1.0, urgent=True) as tx:
            tx.raw.execute("INSERT INTO facts (name, value) VALUES (?, 'stored')", (f"batch {number}",))
        with suppress(KeyError):
            async with database.direct.transaction(1.0, urgent=True) as tx:
                tx.raw.execute("INSERT INTO facts (name, value) VALUES (?, 'lost')", (f"fault {number}",))
                raise KeyError(number)
        assert (database.direct._commits is not None) == slow
    with sqlite3.connect(make_url(sqlite_url).database or "") as other:
        stored = other.execute("SELECT name FROM facts WHERE value IN ('stored', 'lost') ORDER BY name").fetchall()
    assert stored == [("batch 0",), ("batch 1",)]
    await database.close()


async def test_what_no_click_waits_for_is_committed_by_the_thread(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    await upgrade(database)
    assert database.direct

    async def thread_committed(*, urgent: bool) -> bool:
        assert database.direct
        before = database.direct._commits
        async with database.direct.transaction(1.0, urgent=urgent) as tx:
            tx.raw.execute("UPDATE changes SET n = n + 1")
        return before is not database.direct._commits

    assert not await thread_committed(urgent=True)
    assert not await thread_committed(urgent=False), "beside clicks"
    database.direct._urgent_until = 0.0
    assert await thread_committed(urgent=False)
    await database.close()
