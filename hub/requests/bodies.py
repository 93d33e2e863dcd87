"""How long the body of a request may take: a client that sends it byte by byte holds no connection for ever."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

IDLE = 15.0  # seconds without a byte
LONGEST = 180.0  # seconds for all of it: 20 MB at a megabit a second

_BROKEN_OFF = {"type": "http.disconnect"}


def in_time(receive: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    """A `receive` that says "disconnected" where the body comes too slowly; after its end nothing is limited."""
    deadline = time.monotonic() + LONGEST
    whole = late = False

    async def receiving() -> Any:
        nonlocal whole, late
        if whole:
            return await receive()
        if late:
            return _BROKEN_OFF
        try:
            async with asyncio.timeout(max(0.0, min(IDLE, deadline - time.monotonic()))):
                event = await receive()
        except TimeoutError:
            late = True
            return _BROKEN_OFF
        whole = not event.get("more_body", False)
        return event

    return receiving
