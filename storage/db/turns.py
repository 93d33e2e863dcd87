"""Long work on the event loop, in turns with everything else that waits there: clicks are answered in between."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

HOLD = 0.0005  # seconds that work holds the event loop at a time

T = TypeVar("T")


async def give_way() -> None:
    """A turn for everything else that waits: between two pieces of work that have nothing to wait for themselves."""
    await asyncio.sleep(0)


async def in_turns(items: Iterable[T], give_way: Callable[[], Awaitable[None]] = give_way) -> AsyncIterator[T]:
    """Each of the items; the event loop has its turn every HOLD seconds, for as long as `give_way` takes."""
    ends = time.perf_counter() + HOLD
    for item in items:
        yield item
        if time.perf_counter() > ends:
            await give_way()
            ends = time.perf_counter() + HOLD
