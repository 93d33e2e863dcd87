"""One client's connection: llhttp reads it, uvicorn answers it, and what needs no task has a shorter way.

httptools (llhttp) reads every request. One that the application's `try_fast_path` answers by itself, as clicks are,
costs neither a task nor uvicorn's cycle, and its answer leaves in one write. Everything else is uvicorn's: bodies,
streams, what was sent before the answer to another request. What uvicorn leaves open is bounded here: the size of a
head, the number of its headers, requests sent ahead, and how long a client may keep a connection that says nothing.
So is what uvicorn leaves to luck: clients that close their side early, old ones, and those that wait for a "100".
"""

import asyncio
import logging
import math
import select
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

log = logging.getLogger(__name__)

LONGEST_HEAD = 100_000  # bytes
MOST_HEADERS = 100
MOST_AHEAD = 100  # requests sent before an earlier one is answered
LONGEST_SILENCE = 30.0  # seconds: for a head to be whole, between two requests, and without taking a byte of an answer

LAST_MOMENT = 0.1  # seconds a client has for a request that is on its way when we stop
LONGEST_STREAM = 1.0  # seconds that an answer without a known end goes on then

_CLOSING = b"connection: close\r\n"
_MAPPED = "::ffff:"  # before an IPv4 address, where a socket is for both
_VERSIONS = frozenset({"1.0", "1.1"})
_NOTHING_AHEAD: deque[Any] = deque(maxlen=0)
_CODED = {byte: f"%{byte:02X}" for byte in range(128, 256)}
_LONGEST_CODED = 20_000  # bytes of a request line
_BETWEEN, _IN_LINE, _IN_HEAD, _IN_BODY = range(4)
_PERCENT, _HASH = b"%#"  # numbers: bytes look for those several times as fast as for bytes


class Flow(FlowControl):
    """uvicorn's, without an event for each connection that rests."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.read_paused = self.write_paused = False

    async def drain(self) -> None:
        if self.write_paused:
            await self._is_writable_event.wait()

    def pause_writing(self) -> None:
        self.write_paused = True
        self._is_writable_event = asyncio.Event()

    def resume_writing(self) -> None:
        if self.write_paused:
            self.write_paused = False
            self._is_writable_event.set()


def _no_fast_path(_scope: Any, _send: Any) -> bool:
    return False


class Shared(ServerState):
    """What all connections of a listener share. `now` is the loop's time, a second old at most.

    `most` connections are kept; those beyond are counted in `turned_away`.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.now = 0.0
        self.date = b""  # the line of that header
        self.most, self.turned_away = most, 0


class FastResponse:
    """Replaces uvicorn's cycle while the application answers a request by its fast path."""

    __slots__ = ("disconnected", "keep_alive", "response_complete", "start")

    def __init__(self) -> None:
        self.response_complete = True
        self.disconnected = False
        self.keep_alive = True
        self.start: Any = None  # the first message of the answer


class _ClosedParser:
    """Replaces the parser of a connection that is closing: input is dropped."""

    __slots__ = ("_connection",)

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection

    def feed_data(self, _data: bytes) -> None:
        self._connection._unread = 0


class Refused(Exception):
    """A request that is not to be answered by the application. `status` of the answer."""

    def __init__(self, status: int) -> None:
        self.status = status


class Connection(HttpToolsProtocol):
    """Made for each connection; all of it runs in the event loop."""

    __slots__ = (
        "_answering",
        "_asks_upgrade",
        "_place",
        "_stuck_since",
        "_try_fast_path",
        "_unread",
        "_unsent",
        "_waits_since",
    )

    server_state: Shared
    cycle: Any  # uvicorn's of the request read last, or `_fast`

    def __init__(
        self, config: Config, server_state: Shared, app_state: dict[str, Any], _loop: asyncio.AbstractEventLoop
    ) -> None:  # fmt: skip
        super().__init__(config, server_state, app_state, _loop)
        self._try_fast_path = getattr(config.app, "try_fast_path", _no_fast_path)
        self._fast = FastResponse()
        self.pipeline = _NOTHING_AHEAD  # a queue of its own costs each connection 700 bytes
        self._answering: RequestResponseCycle | None = None  # whose task runs
        self._asks_upgrade = b""  # the head of a request that asks for another protocol, without that
        self._place = _BETWEEN
        self._unread = 0  # bytes that have come since the parser made something of one
        self._unsent = 0  # bytes of answers that the client does not take
        self._stuck_since = self._waits_since = _loop.time()  # the latter infinite while a request is answered

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = Flow(transport)
        if self.client is not None and self.client[0].startswith(_MAPPED):
            self.client = self.client[0].removeprefix(_MAPPED), self.client[1]
        if len(self.connections) > self.server_state.most:
            self.server_state.turned_away += 1
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fast.disconnected = True
        if self._answering is not None:  # not the one that was read last, if others were sent ahead
            self._answering.disconnected = True
            self._answering.message_event.set()
        self.pipeline.clear()
        if self.cycle is self._fast:
            self.cycle = None
        super().connection_lost(exc)
        self.cycle = self._answering = None  # they know us: bodies would lie about until the collector comes

    def eof_received(self) -> bool:  # type: ignore[override]
        """A client that has said all may wait for the answer all the same: it is the last then."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or self._place != _BETWEEN:
            return False
        if cycle is not self._fast and cycle.response_started:  # a stream to who has gone
            return False
        cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        if not data.isascii():
            data = self._plain(data)
        self._unread += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            head, self._asks_upgrade = self._asks_upgrade, b""
            if head:
                self.data_received(head + data[upgrade.args[0] :])
            else:
                self.cycle.keep_alive = False
        except httptools.HttpParserError as error:
            cause = error.__context__
            if not self.transport.is_closing():
                self._refuse(cause.status if isinstance(cause, Refused) else 400)
        else:
            if self._unread:
                self._go_on_later(data)

    def _go_on_later(self, data: bytes) -> None:
        """The parser waits for the rest of what has come."""
        if self._unread > LONGEST_HEAD:
            self._refuse(431)
        elif self._place == _IN_LINE and b"\n" in data:
            self._place = _IN_HEAD

    def _plain(self, data: bytes) -> bytes:
        """The letters of a target that a client should have written as %C3%BC, which llhttp refuses otherwise."""
        if self._place > _IN_LINE:
            return data
        if self._place == _BETWEEN:
            data = data.lstrip(b"\r\n")
        line, end, rest = data.partition(b"\r\n")
        return line.decode("latin-1").translate(_CODED).encode() + end + rest if len(line) < _LONGEST_CODED else data

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self._place = _IN_LINE
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self._waits_since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser, url, cycle, headers = self.parser, self.url, self.cycle, self.headers
        if self._unread > LONGEST_HEAD or len(headers) > MOST_HEADERS:
            self._bound_head()
        self._unread = 0
        if parser.should_upgrade() and parser.get_method() != b"CONNECT":
            self._ask_again()
            return
        self._waits_since = math.inf
        self.headers = []  # for what follows a body, which is no header of the request
        version = parser.get_http_version()
        path, _, query = url.partition(b"?")
        if (
            (cycle is None or cycle.response_complete)
            and version == "1.1"
            and parser.get_method() == b"GET"
            and parser.should_keep_alive()
            and not self.flow.write_paused
            and _PERCENT not in path
            and _HASH not in url
        ):
            scope = {
                "type": "http", "http_version": "1.1", "method": "GET", "path": path.decode("ascii"),
                "query_string": query, "headers": headers, "client": self.client,
            }  # fmt: skip
            fast = self.cycle = self._fast
            fast.response_complete = False
            try:
                if self._try_fast_path(scope, self._answer):
                    self._place = _IN_BODY
                    return
            except Exception as error:
                log.error("a request could not be handled", exc_info=error)
                fast.response_complete = True
                raise Refused(500) from None
            fast.response_complete = True
            self.cycle = cycle
        elif version not in _VERSIONS or len(self.pipeline) >= MOST_AHEAD:
            raise Refused(400)
        self._respond_by_uvicorn(url, headers)
        self._place = _IN_BODY

    def _ask_again(self) -> None:
        """Nothing but HTTP/1.1 is spoken here, so who asks for another protocol is read again as if he had not: llhttp
        takes what follows for that other protocol, even the body. Java's own client asks with every request."""
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += (b"%s: %s" % header for header in self.headers if header[0] != b"upgrade")
        self._asks_upgrade = b"\r\n".join(lines) + b"\r\n\r\n"

    def _bound_head(self) -> None:
        """Raises Refused if the head is too large: what has come may hold a part of the body besides."""
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > LONGEST_HEAD or len(self.headers) > MOST_HEADERS:
            raise Refused(431)

    def _respond_by_uvicorn(self, url: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        if self.pipeline is _NOTHING_AHEAD and self.cycle is not None and not self.cycle.response_complete:
            self.pipeline = deque()
        super().on_message_begin()
        self.url = url
        headers = self.scope["headers"] = [(name, value.rstrip()) for name, value in headers]
        self.expect_100_continue = any(
            name == b"expect" and value.lower() == b"100-continue" for name, value in headers
        )
        super().on_headers_complete()
        self.cycle.transport = self
        if not self._fast.keep_alive:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        if self.cycle is not self._fast:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._place = _BETWEEN
        self._unread = 0
        cycle = self.cycle
        if self._asks_upgrade:
            return
        if self.headers and not self.parser.should_keep_alive():  # said after the body
            cycle.keep_alive = False
        if cycle.response_complete:
            if not cycle.keep_alive:
                self.transport.close()
                raise Refused(400)  # what follows is not read
        elif cycle is not self._fast:
            super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        if cycle.waiting_for_100_continue or cycle.scope["http_version"] == "1.0":
            app = partial(_answered_with_care, app, cycle)
        super()._start_asgi_task(cycle, app)

    def _answer(self, message: Any) -> None:
        """`send` for a request that the application answers by its fast path: all of the answer leaves together."""
        fast = self._fast
        start = fast.start
        if start is not None:
            fast.start = None
            lines = [(b"%b: %b" % header).decode("latin-1") for header in start["headers"]]
            self._answer_whole(start["status"], lines, b"", message["body"], coding="latin-1")
        elif message["type"] == "http.response.whole":
            rest, body = message.get("rest", b""), message.get("body", b"")
            self._answer_whole(message["status"], message["lines"], rest, body)
        else:
            fast.start = message

    def _answer_whole(
        self, status: int, lines: Sequence[str], rest: bytes, body: bytes = b"", *, coding: str = "ascii"
    ) -> None:
        """`lines` are those of the headers; `rest` are further ones as they are to be sent."""
        fast = self._fast
        fast.response_complete = True
        if fast.disconnected:
            return
        unread = self._place == _IN_BODY and self.cycle is fast
        if unread:  # a client that asked whether to send the body may leave it out
            fast.keep_alive = False
        text = "".join(lines)
        if "\n" in text or "\r" in text:
            log.error("an answer whose headers hold line breaks was not sent")
            self._refuse(500)
            self.transport.close()
            return
        closing = b"" if fast.keep_alive else _CLOSING
        head = "\r\n".join((*lines, "")).encode(coding, "ignore")
        self.transport.write(
            b"".join((STATUS_LINE[status], self.server_state.date, head, rest, closing, b"\r\n", body))
        )
        if unread:
            self._waits_since = self.loop.time()
        elif not fast.keep_alive:
            self.transport.close()
        elif self.pipeline:
            self.on_response_complete()
        else:
            self._waits_since = self.loop.time()

    def write(self, data: bytes) -> None:
        """For uvicorn's cycle, as are the next two: it takes a connection for its transport."""
        self.transport.write(data)

    def is_closing(self) -> bool:
        return self.transport.is_closing()

    def close(self) -> None:
        """Say no more. What the client still sends is read for a while and forgotten: if it were left unread, the
        system would reset the connection, and the client or proxy lose the answer."""
        if self.transport.is_closing() or (self._place == _BETWEEN and not self.flow.read_paused):
            self.transport.close()
            return
        for cycle in (self._answering, self.cycle):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                if cycle is not self._fast:
                    cycle.message_event.set()
        self.pipeline.clear()
        self.cycle = None
        self.parser = _ClosedParser(self)  # type: ignore[assignment]
        self._place, self._waits_since = _IN_BODY, self.loop.time()
        self.transport.write_eof()
        self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """Go on with what was sent ahead."""
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        else:
            self._answering = None
            self._waits_since = self.loop.time()

    def _refuse(self, status: int) -> None:
        """Answer and close. Requests that were whole before are answered first, and the last of them closes."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if self._place == _IN_BODY and cycle is not self._fast:  # it is the request whose body cannot be read
                if self.pipeline:
                    self.pipeline.popleft()
                    cycle = self.cycle = self.pipeline[0][0] if self.pipeline else self._answered_now()
                elif cycle.response_started:
                    self.transport.abort()
                    return
                else:
                    cycle = None
            if cycle is not None:
                cycle.keep_alive = False
                self._place = _BETWEEN  # nothing is made of what is left of a body
                self.flow.pause_reading()
                return
        date = self.server_state.date
        self.transport.write(STATUS_LINE[status] + date + b"content-length: 0\r\n" + _CLOSING + b"\r\n")
        self.close()

    def _answered_now(self) -> Any:
        """The cycle of the first request that is not answered."""
        return self._answering if self._fast.response_complete else self._fast

    def leave(self, seconds: float) -> None:
        """We have been stopping for so long: what is under way is answered, and nothing after it."""
        cycle, answered_now = self.cycle, self._answering
        self._fast.keep_alive = False
        if cycle is None or cycle.response_complete:
            if seconds > LAST_MOMENT and not self._has_unread:
                self.transport.close()
            return
        cycle.keep_alive = False
        if answered_now is not None and answered_now.chunked_encoding and seconds > LONGEST_STREAM:
            self.transport.close()

    @property
    def _has_unread(self) -> bool:
        """Whether a request lies there that the loop, held up or stopped for a while, has not come to read: closing now
        would reset the connection, and a proxy would make a 502 of that."""
        if self._place != _BETWEEN or self.flow.read_paused:
            return False
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def look(self, silence: float) -> None:
        """Called every second: end a connection whose client has nothing to say for `silence` seconds."""
        now, size = self.server_state.now, self.transport.get_write_buffer_size()
        if size != self._unsent or not size:
            self._unsent, self._stuck_since = size, now
        if now - self._stuck_since > LONGEST_SILENCE:
            self.transport.abort()
        elif now - self._waits_since > silence and not self._has_unread:
            if self._place in (_IN_LINE, _IN_HEAD):
                self._refuse(408)
            self.transport.close()


async def _answered_with_care(app: Any, cycle: Any, scope: Any, receive: Any, send: Any) -> None:
    """For a client that may leave out a body it was not asked for, or is so old that it knows no chunks."""
    by_the_end = False

    async def sending(message: Any) -> None:
        nonlocal by_the_end
        if message["type"] == "http.response.start":
            if cycle.waiting_for_100_continue and cycle.more_body:
                cycle.keep_alive = False
            if scope["http_version"] == "1.0" and not any(name == b"content-length" for name, _ in message["headers"]):
                by_the_end = True
                cycle.chunked_encoding = False
        elif by_the_end:
            cycle.expected_content_length = len(message.get("body", b""))
        await send(message)

    await app(scope, receive, sending)
