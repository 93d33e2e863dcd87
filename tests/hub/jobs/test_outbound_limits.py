"""Sends to a source: never more at once than configured, evenly spread, one slow host delays no other."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from hub.jobs import outbound as outbound_job
from hub.jobs.outbound import SourceLimiter
from tests.hub.jobs.test_outbound import states, template, told


class Slow:
    """A source that takes its time, and counts how many wait at once; it answers none before eleven do."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._open = self.most = 0
        self._enough = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self._open += 1
                self.most = max(self.most, self._open)
                if self._open > 10:
                    self._enough.set()
                await self._enough.wait()
                await asyncio.sleep(self._seconds)
                self._open -= 1
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def test_no_more_are_under_way_than_the_source_is_configured_for(opened: Callable[[], Any]) -> None:
    slow = Slow(0.05)
    server = await asyncio.start_server(slow, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with told(opened, {"deposit": template(url)}, options={"concurrency": 20}) as (runtime, scene, _):
        async with runtime.database.begin() as tx:
            click = await scene.click(tx)
            await scene.post(tx, *(f"click_id={click}&event=deposit&txn_id={n}" for n in range(80)))
        await outbound_job.tick(runtime)
        assert slow.most <= 20
        assert {state for _, state, _ in await states(runtime)} == {"sent"}
    server.close()


async def test_begins_are_spread_over_half_the_time_an_answer_takes() -> None:
    limiter = SourceLimiter(5)
    limiter.answered(0.1)
    began = []
    for _ in range(4):
        await limiter.acquire(None)
        began.append(time.monotonic())
    assert began[-1] - began[0] >= 0.025


async def test_a_source_that_wants_so_many_a_second_gets_no_burst() -> None:
    limiter = SourceLimiter(10)
    began = time.monotonic()
    await asyncio.gather(*(limiter.acquire(50) for _ in range(6)))
    assert time.monotonic() - began >= 5 / 50 - 0.005
