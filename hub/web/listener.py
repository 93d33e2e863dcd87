"""One address, served in the event loop's own thread: uvicorn's protocol on uvloop (hub.web.connection)."""

import asyncio
import logging
import time
from email.utils import formatdate
from typing import Any

from uvicorn.config import Config

from hub.web import connection, sockets
from hub.web.connection import Connection, Shared
from storage.db import tasks

log = logging.getLogger(__name__)

BACKLOG = 4096
EVERY = 1.0  # seconds between looks at silent clients, and at the date
SHORTEST_SILENCE = 2.0  # seconds that a client may say nothing while more than half of the connections are taken
_LEAVING = 10.0  # seconds requests under way have to be answered when we stop
_OFTEN = 0.03  # seconds between looks at those that still are
_LOG_EVERY = 60.0  # seconds between two log lines about connections that are turned away


class Listener:
    """Serves one ASGI application from `start` to `stop`.

    If it has a method `try_fast_path(scope, send)`, it is called first with requests without a body: it may answer by
    calling `send` twice, now or later, without awaiting it; False if the application is to be called. An answer may
    be one message, `http.response.whole`: `lines` are its headers as texts, of which what is not ASCII is left out,
    `rest` further ones as they are to be sent, each with its line break; `rest` and `body` may be left out.
    """

    def __init__(self, application: Any, *, host: str, port: int) -> None:
        self._config = Config(
            application, interface="asgi3", lifespan="off", ws="none", workers=1, log_config=None, access_log=False,
            proxy_headers=False, server_header=False, date_header=False,
        )  # fmt: skip
        self._config.load()
        self._address = host, port
        self._shared = Shared(sockets.most_connections())
        self._tells_again = 0.0
        self.checks = 0
        self._servers: list[asyncio.Server] = []
        self._checking: asyncio.Task[None]
        self._tell_time()

    async def start(self) -> None:
        """Listen; other processes may share the port. Raises OSError if it cannot."""
        loop = asyncio.get_running_loop()
        for bound in await sockets.bound(*self._address):
            self._servers.append(await loop.create_server(self.connection, sock=bound, backlog=BACKLOG))
        self._checking = tasks.start_interval("connections", EVERY, self._check_connections, serving=True)

    async def stop(self) -> None:
        """Take no further connection; return when requests under way are answered, ten seconds later at most."""
        for server in self._servers:
            server.close()
        loop = asyncio.get_running_loop()
        began = loop.time()
        while self._shared.connections and (spent := loop.time() - began) < _LEAVING:
            connections: list[Any] = list(self._shared.connections)
            for each in connections:
                each.leave(spent)
            await asyncio.sleep(_OFTEN)
        await tasks.stop(self._checking)

    def connection(self) -> Connection:
        """The protocol of a new connection."""
        return Connection(self._config, self._shared, {}, asyncio.get_running_loop())

    def _tell_time(self) -> None:
        shared = self._shared
        shared.now = asyncio.get_running_loop().time()
        date = formatdate(time.time(), usegmt=True).encode()
        shared.date, shared.default_headers = b"date: " + date + b"\r\n", [(b"date", date)]

    async def _check_connections(self) -> None:
        self.checks += 1
        self._tell_time()
        shared = self._shared
        connections: list[Any] = list(shared.connections)
        crowded = len(connections) > shared.most // 2
        for each in connections:
            each.look(SHORTEST_SILENCE if crowded else connection.LONGEST_SILENCE)
        if shared.turned_away and shared.now >= self._tells_again:
            log.warning("%d connections were turned away: there are %d already", shared.turned_away, shared.most)
            self._tells_again = shared.now + _LOG_EVERY
            shared.turned_away = 0
