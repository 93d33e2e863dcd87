"""Long work on the event loop that yields between steps, so that clicks are answered in between."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

HOLD = 0.0005  # seconds that work holds the event loop at a time

T = TypeVar("T")


async def yield_control() -> None:
    """Let the rest of the event loop run once, between two steps that await nothing themselves."""
    await asyncio.sleep(0)


async def cooperative(items: Iterable[T], pause: Callable[[], Awaitable[None]] = yield_control) -> AsyncIterator[T]:
    """Each of the items; every HOLD seconds `pause` lets the event loop run."""
    ends = time.perf_counter() + HOLD
    for item in items:
        yield item
        if time.perf_counter() > ends:
            await pause()
            ends = time.perf_counter() + HOLD
