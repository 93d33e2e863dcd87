"""granian inside our event loop, its requests taken over in batches; a click costs neither a task nor a future.

granian hands each request over from a thread of its own. Waking the event loop for every one of them costs more than
reading it (5 of 60 microseconds), so they queue here and one wake-up fetches all that have come. What the application's
`take` answers by itself needs no task; everything else runs in one, as in granian's own server.

This takes names of granian that are not public. Where one is missing or takes other arguments, as another version may
have it, granian's own embedded server serves the application: slower, and otherwise the same.
"""

import asyncio
import logging
from collections import deque
from contextvars import copy_context
from typing import Any, Protocol

import granian
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server

log = logging.getLogger(__name__)

BACKLOG = 4096
_native: Any = getattr(granian, "_granian", None)  # its typings lag behind what it takes


class Application(Protocol):
    """An ASGI application that may answer some requests at once."""

    def take(self, scope: Any, send: Any) -> bool:
        """Answer by calling `send` twice, now or later, without awaiting it; False if `__call__` has to."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class Listener:
    """One address served by one application, until `stop`."""

    def __init__(self, application: Application, *, host: str, port: int) -> None:
        self._application = application
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._arrived: deque[Any] = deque()
        self._woken = False
        self._address = host, port
        self._server = self._new_server()
        self._fault: Exception | None = None

    async def serve(self) -> None:
        """Listen until `stop`; then requests under way are finished."""
        await self._server.serve(self._spawn)  # type: ignore[arg-type]
        if self._fault is not None:
            log.warning("this granian has another inside (%s): its own server is used, which is slower", self._fault)
            self._server = self._new_server()
            await self._server.serve()

    def stop(self) -> None:
        self._server.stop()  # type: ignore[no-untyped-call]

    def _new_server(self) -> Server:
        host, port = self._address
        return Server(
            self._application, address=host, port=port, interface=Interfaces.ASGINL, backlog=BACKLOG, websockets=False,
            log_level=LogLevels.error,
        )  # fmt: skip

    async def _spawn(self, *arguments: Any) -> None:
        """Called by granian to start a worker; one that cannot be started stops the server."""
        try:
            stopped = self._start_worker(*arguments)
        except Exception as error:
            self._fault = error
            self._server.stop()  # type: ignore[no-untyped-call]
        else:
            await stopped.wait()

    def _start_worker(
        self, worker_id: int, stopping: Any, _loader: Any, sockets: tuple[Any, Any], threads: int,
        blocking_threads: int, py_threads: int, py_idle: int, backpressure: int, _task: Any, mode: Any, http1: Any,
        http2: Any, websockets: bool, files: Any, _log: Any, tls: tuple[Any, ...], _options: Any,
    ) -> asyncio.Event:  # fmt: skip
        """Start granian's worker with our scheduler; the arguments are those granian starts its own with."""
        stopped = asyncio.Event()
        stopping.add_cb(lambda: self._loop.call_soon_threadsafe(stopped.set))
        worker = _native.ASGIWorker(
            worker_id, sockets, None, threads, blocking_threads, py_threads, py_idle, backpressure, mode, http1, http2,
            websockets, files, *tls, (None, None),
        )  # fmt: skip
        scheduler = _native.CallbackScheduler(self._loop, None, None, None, None)
        scheduler._schedule_fn = self._arrive
        worker.serve_async(scheduler, self._loop, stopping)
        return stopped

    def _arrive(self, request: Any) -> None:
        """In granian's thread: a request has come."""
        self._arrived.append(request)
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._fetch, context=self._context)

    def _fetch(self) -> None:
        """In the event loop: take over what has come. Whoever comes from now on wakes us again."""
        self._woken = False
        arrived = self._arrived
        for _ in range(len(arrived)):
            request = arrived.popleft()
            scope, protocol = request.scope, request.proto
            try:
                taken = self._application.take(scope, protocol.send)
            except Exception as error:
                request.err(error)
                continue
            if not taken:
                scope.update(root_path="", state={})
                request.taskref(self._loop.create_task(self._run(request)))

    async def _run(self, request: Any) -> None:
        """Errors go to granian, which answers 500 if nothing was sent."""
        protocol = request.proto
        try:
            await self._application(request.scope, protocol.receive, protocol.send)
        except BaseException as error:
            request.err(error)
        else:
            request.done()
