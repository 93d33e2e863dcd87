"""One address, served in the event loop's own thread: uvicorn's protocol on uvloop (hub.web.connection)."""

import asyncio
import time
from contextlib import suppress
from email.utils import formatdate
from typing import Any

from uvicorn.config import Config

from hub.web.connection import Connection, Shared
from storage.db import tasks

BACKLOG = 4096
EVERY = 1.0  # seconds between looks at silent clients, and at the date
_LEAVING = 10.0  # seconds requests under way have to be answered when we stop


class Listener:
    """Serves one ASGI application from `start` to `stop`.

    If it has a method `take(scope, send)`, that is asked first about requests without a body: it may answer by calling
    `send` twice, now or later, without awaiting it; False if the application is to be called.
    """

    def __init__(self, application: Any, *, host: str, port: int) -> None:
        self._config = Config(
            application, interface="asgi3", lifespan="off", ws="none", workers=1, log_config=None, access_log=False,
            proxy_headers=False, server_header=False, date_header=False,
        )  # fmt: skip
        self._config.load()
        self._address = host, port
        self._shared = Shared()
        self.looks = 0
        self._server: asyncio.Server
        self._looking: asyncio.Task[None]
        self._tell_time()

    async def start(self) -> None:
        """Listen; other processes may share the port. Raises OSError if it cannot."""
        loop = asyncio.get_running_loop()
        host, port = self._address
        self._server = await loop.create_server(self.connection, host, port, backlog=BACKLOG, reuse_port=True)
        self._looking = tasks.start_interval("connections", EVERY, self._look, serving=True)

    async def stop(self) -> None:
        """Take no further connection; return when requests under way are answered, ten seconds later at most."""
        self._server.close()
        for connection in list(self._shared.connections):
            connection.shutdown()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVING):
                while self._shared.connections:
                    self._shared.one_less.clear()
                    await self._shared.one_less.wait()
        await tasks.stop(self._looking)

    def connection(self) -> Connection:
        """The protocol of a new connection."""
        return Connection(self._config, self._shared, {}, asyncio.get_running_loop())

    def _tell_time(self) -> None:
        shared = self._shared
        shared.now = asyncio.get_running_loop().time()
        date = formatdate(time.time(), usegmt=True).encode()
        shared.date, shared.default_headers = b"date: " + date + b"\r\n", [(b"date", date)]

    async def _look(self) -> None:
        self.looks += 1
        self._tell_time()
        connections: list[Any] = list(self._shared.connections)
        for connection in connections:
            connection.look()
