"""What pages keep for some seconds, and when they read it again."""

from pathlib import Path

from hub.cockpit.cache import MOST, SECONDS, VersionedCache
from storage.db import config_version
from storage.db.engine import Database
from storage.db.schema import upgrade


async def test_a_value_is_kept_until_something_is_configured_and_some_seconds_at_most(tmp_path: Path) -> None:
    database, now, reads = Database(f"sqlite+aiosqlite:///{tmp_path / 'cached.db'}"), [0.0], []

    async def read() -> int:
        reads.append(now[0])
        return len(reads)

    try:
        await upgrade(database)
        cache = VersionedCache(database, lambda: now[0])
        assert [await cache.read("figures", read) for _ in range(3)] == [1, 1, 1]
        assert await cache.read("others", read) == 2
        now[0] = SECONDS - 0.1
        assert await cache.read("figures", read) == 1
        await database.run(config_version.bump)
        assert await cache.read("figures", read) == 3
        now[0] += SECONDS
        assert await cache.read("figures", read) == 4
    finally:
        await database.close()


async def test_the_oldest_value_gives_way(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'cached.db'}")
    cache = VersionedCache(database, lambda: 0.0)
    for number in range(MOST + 3):
        cache.put(number, 1, f"value {number}")
    assert [cache.get(number, 1) for number in (0, 2, 3, MOST + 2)] == [None, None, "value 3", f"value {MOST + 2}"]
    assert cache.get(3, 2) is None
    await database.close()
