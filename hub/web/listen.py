"""Serving HTTP begins here: with our listener, or with uvicorn's own server where uvicorn has another inside.

`hub.web.connection` extends uvicorn's protocol by names that uvicorn does not promise. Each start tries it on two
requests in memory; if that fails, as another version may have it, uvicorn's public server serves the application:
slower, without the bounds of that file, and otherwise the same.
"""

import asyncio
import contextlib
import logging
from collections.abc import Generator
from functools import partial
from importlib import import_module
from typing import Any, Protocol

import uvicorn

from hub.web import sockets
from storage.db import tasks

log = logging.getLogger(__name__)

BACKLOG = 4096
_CLICK = b"GET /taken HTTP/1.1\r\nhost: localhost\r\n\r\n"
_FORM = b"POST /form HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\na=bc"
_PATIENCE = 5.0  # seconds
_LEAVING = 3  # seconds requests under way have to be answered when uvicorn's server stops


class Serving(Protocol):
    """What serves an address until `stop`."""

    async def stop(self) -> None:
        """Return when requests under way are answered."""


async def listen(application: Any, *, host: str, port: int) -> Serving:
    """Serve an ASGI application, see `hub.web.listener.Listener`. Raises OSError if the address cannot be had."""
    try:
        listener = import_module("hub.web.listener").Listener
        await _try_out(listener)
    except Exception as fault:
        log.warning("this version of uvicorn differs inside (%s): its own server is used, which is slower", fault)
        listener = PlainListener
    serving: Listening = listener(application, host=host, port=port)
    await serving.start()
    return serving


class Listening(Serving, Protocol):
    async def start(self) -> None:
        """Listen. Raises OSError if the address cannot be had."""


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers: `serve` of hub.web.server has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


class PlainListener:
    """uvicorn's public server of one address, with h11: its other parser loses bodies of who asks for HTTP/2."""

    def __init__(self, application: Any, *, host: str, port: int) -> None:
        self._server = _Server(uvicorn.Config(
            application, host=host, port=port, http="h11", interface="asgi3", lifespan="off", ws="none", workers=1,
            log_config=None, access_log=False, proxy_headers=False, server_header=False, backlog=BACKLOG,
            timeout_graceful_shutdown=_LEAVING,
        ))  # fmt: skip
        self._address = host, port
        self._serving: asyncio.Task[None]

    async def start(self) -> None:
        """Listen; other processes may share the port. Raises OSError if it cannot."""
        bound = await sockets.bound(*self._address)
        self._serving = tasks.start_loop("HTTP", partial(self._server.serve, bound), serving=True)
        while not self._server.started and not self._serving.done():  # noqa: ASYNC110 - it has no event for that
            await asyncio.sleep(0.01)
        if self._serving.done():
            self._serving.result()

    async def stop(self) -> None:
        """Take no further connection; return when requests under way are answered."""
        self._server.should_exit = True
        await self._serving


class _Answers:
    """An application for the trial: takes one request and is called for the other."""

    def try_fast_path(self, scope: Any, send: Any) -> bool:
        if scope["path"] != "/taken":
            return False
        send({"type": "http.response.start", "status": 302, "headers": [(b"content-length", b"0")]})
        send({"type": "http.response.body", "body": b""})
        return True

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": body})


class _MemoryTransport(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.grown = asyncio.Event()
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)
        self.grown.set()

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0


async def _try_out(listener: Any) -> None:
    """Two requests, answered in memory. Raises whatever is wrong."""
    paper, connection = _MemoryTransport(), listener(_Answers(), host="", port=0).connection()
    connection.connection_made(paper)
    connection.data_received(_CLICK)
    if not paper.written.startswith(b"HTTP/1.1 302 "):
        raise RuntimeError("a request that is taken is not answered")
    paper.written = b""
    paper.grown.clear()
    connection.data_received(_FORM)
    async with asyncio.timeout(_PATIENCE):
        while not paper.written.endswith(b"\r\n\r\na=bc"):
            await paper.grown.wait()
            paper.grown.clear()
    connection.look(_PATIENCE)
    if paper.closed:
        raise RuntimeError("a connection does not stay open")
    connection.connection_lost(None)
