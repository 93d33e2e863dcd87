"""One holder at a time, and no clock set back keeps a lease for longer than it lasts."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from storage.db import leases
from tests.storage.scene import NOON

LENGTH = timedelta(seconds=20)


async def test_a_lease_is_taken_over_when_it_lapses(opened: Callable[[], Any]) -> None:
    async with opened() as database:

        async def take(holder: str, seconds: float) -> bool:
            async with database.begin() as tx:
                now = NOON + timedelta(seconds=seconds)
                return await leases.acquire(tx, "job:settle", holder, now=now, good_for=LENGTH)

        assert await take("a", 0)
        assert not await take("b", 10)
        assert await take("a", 15)
        assert not await take("b", 30)
        assert await take("b", 36)
        assert not await take("c", 20), "the clocks of two machines differ a little"


async def test_a_clock_set_back_does_not_keep_the_lease(opened: Callable[[], Any]) -> None:
    async with opened() as database:
        async with database.begin() as tx:
            assert await leases.acquire(tx, "job:settle", "gone", now=NOON, good_for=LENGTH)
        async with database.begin() as tx:
            earlier = NOON - timedelta(hours=1)
            assert await leases.acquire(tx, "job:settle", "new", now=earlier, good_for=LENGTH)
