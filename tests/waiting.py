"""Waiting for what comes, for as long as the slowest machine takes; and ports to come at."""

import asyncio
import inspect
import itertools
import os
import socket
import time
from collections.abc import Callable
from typing import Any

#: Seconds: many, since nothing waits for so long but what never comes.
PATIENCE = 180.0

_ports = itertools.count(os.getpid() * 997)


def wait_for(ask: Callable[[], Any], what: str, *, seconds: float = PATIENCE, told: Callable[[], str] = str) -> Any:
    """Ask until it is true; `ask` raises when a process has ended, so `seconds` may be many."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.03)
    raise AssertionError(f"waited {seconds:g} seconds for {what}\n{told()}")


async def eventually(ask: Callable[[], Any], what: str, *, seconds: float = PATIENCE) -> Any:
    """The same on a loop; `ask` may be a coroutine function."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = ask()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        await asyncio.sleep(0.02)
    raise AssertionError(f"waited {seconds:g} seconds for {what}")


async def listening(port: int) -> None:
    """Wait until a server on this machine takes connections."""

    async def connected() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    await eventually(connected, f"a server on port {port}")


def free_port() -> int:
    """A port that no connection is given by chance: below those that systems choose from, another each time."""
    while True:
        port = 12_000 + next(_ports) % 20_000
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
