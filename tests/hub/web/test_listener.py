"""The listener keeps HTTP's rules and its own bounds, whatever a client sends, and answers in order what it took."""

import asyncio
import gc
import resource
import socket
import time
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from hub.web import connection, listener, sockets
from hub.web.listener import Listener
from tests.waiting import eventually, free_port

HOST = b"host: 127.0.0.1\r\n"


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "EVERY", 0.05)


class Application:
    """Takes GET /taken… and answers when `go` is set; echoes everything else."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.go.set()
        self.scopes: list[Any] = []
        self.gone = asyncio.Event()
        self.sent = 0

    def try_fast_path(self, scope: Any, send: Callable[[Any], Any]) -> bool:
        if scope["path"] == "/broken":
            raise RuntimeError("a fault of ours")
        if not scope["path"].startswith("/taken"):
            return False
        self.scopes.append(scope)
        value = scope["query_string"].replace(b"%0A", b"\n")
        body = value.partition(b"say=")[2]
        length = str(len(body))
        headers = [(b"location", value), (b"content-length", length.encode())]

        async def answer() -> None:
            await self.go.wait()
            if scope["path"] == "/taken/whole":
                lines, rest = [f"location: {value.decode()}"], f"content-length: {length}\r\n".encode()
                whole = {"type": "http.response.whole", "status": 302, "lines": lines, "rest": rest}
                send(whole | {"body": body} if body else whole)
                return
            send({"type": "http.response.start", "status": 302, "headers": headers})
            send({"type": "http.response.body", "body": body})

        self.answering = asyncio.create_task(answer())
        return True

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if scope["path"] == "/endless":
            await self._stream(receive, send)
            return
        if scope["path"] == "/parts":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"one", "more_body": True})
            await send({"type": "http.response.body", "body": b"two"})
            return
        body, more = b"", not scope["path"].startswith("/unread")
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                self.gone.set()
                return
            body, more = body + event["body"], event["more_body"]
        said = scope["raw_path"] + b" " + body
        length = (b"content-length", b"%d" % len(said))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": said})

    async def _stream(self, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        streaming = asyncio.create_task(self._chunks(send))
        while (await receive())["type"] != "http.disconnect":
            pass
        streaming.cancel()
        self.gone.set()

    async def _chunks(self, send: Any) -> None:
        while True:
            await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})
            self.sent += 10_000
            await asyncio.sleep(0)


class Served:
    """A listener and its application, and clients that speak bytes."""

    def __init__(self, application: Application, server: Listener, port: int) -> None:
        self.application, self.server, self.port = application, server, port

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def all_of(self, *pieces: bytes) -> bytes:
        """What comes for these bytes until the server closes the connection; the client says that it closes, too."""
        reader, writer = await self.open()
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(30):
            try:
                return await reader.read()
            except ConnectionError:
                return b""
            finally:
                writer.close()


@asynccontextmanager
async def listening(host: str = "127.0.0.1") -> AsyncIterator[Served]:
    application, port = Application(), free_port()
    server = Listener(application, host=host, port=port)
    await server.start()
    yield Served(application, server, port)
    await server.stop()


def statuses(answers: bytes) -> list[int]:
    return [int(answer[2:5]) for answer in answers.split(b"HTTP/1.")[1:]]


def get(target: bytes, *headers: bytes, version: bytes = b"1.1") -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"GET " + target + b" HTTP/" + version + b"\r\n" + HOST + lines + b"\r\n"


LAST = get(b"/last", b"connection: close")


async def test_answers_come_in_the_order_of_requests_sent_ahead() -> None:
    async with listening() as served:
        served.application.go.clear()
        reader, writer = await served.open()
        post = b"POST /b HTTP/1.1\r\n" + HOST + b"content-length: 3\r\n\r\nabc"
        writer.write(get(b"/taken?one") + get(b"/a") + post + get(b"/taken?two") + LAST)
        await eventually(lambda: served.application.scopes, "a request that is taken")
        served.application.go.set()
        answers = await asyncio.wait_for(reader.read(), 30)
        assert statuses(answers) == [302, 200, 200, 200, 200]
        places = [answers.index(said) for said in (b"location: one", b"/a ", b"/b abc", b"/taken ", b"/last ")]
        assert places == sorted(places)
        writer.close()


async def test_a_request_that_comes_byte_by_byte_is_answered() -> None:
    async with listening() as served:
        whole = (
            get(b"/taken?slow") + b"POST /b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + LAST
        )
        answers = await served.all_of(*(whole[n : n + 1] for n in range(len(whole))))
        assert statuses(answers) == [302, 200, 200]
        assert b"/b abc" in answers


@pytest.mark.parametrize(
    "message",
    [
        b"POST / HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\ncontent-length: 3, 3\r\n\r\nabc", b"POST / HTTP/1.1\r\ncontent-length: +3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        b"POST /in HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nhost : x\r\n\r\n", b"GET / HTTP/1.1\r\nx: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: a\x00b\r\n\r\n", b"GET / HTTP/1.1\r\nx: a\rb\r\n\r\n", b"GET /\x01 HTTP/1.1\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\n\r\n", b"GET / HTTQ/1.1\r\n\r\n", b"\x16\x03\x01\x02", b"SSH-2.0-x\r\n",
    ],
)  # fmt: skip
async def test_what_can_be_read_in_two_ways_or_in_none_is_refused(message: bytes) -> None:
    async with listening() as served:
        assert statuses(await served.all_of(message + get(b"/taken?smuggled"))) == [400]
        assert all(scope["path"] == "/in" for scope in served.application.scopes)
        answered = await served.all_of(get(b"/taken?before") + message)
        assert statuses(answered) == [302]


async def test_other_versions_upgrades_and_old_clients() -> None:
    async with listening() as served:
        assert statuses(await served.all_of(get(b"/", version=b"2.0"))) == [400]
        assert statuses(await served.all_of(get(b"/taken?old", b"connection: keep-alive", version=b"1.0"))) == [200]
        assert statuses(await served.all_of(b"CONNECT x:1 HTTP/1.1\r\n\r\n" + LAST)) == [400]
        head = await served.all_of(get(b"/taken?x").replace(b"GET", b"HEAD", 1) + LAST)
        assert head.startswith(b"HTTP/1.1 200")
        assert b"/taken" not in head


UPGRADE = (b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c", b"http2-settings: AAEAAEAA")  # as Java's client


async def test_who_asks_for_another_protocol_is_answered_as_if_he_had_not() -> None:
    async with listening() as served:
        post = get(b"/b", *UPGRADE, b"content-length: 3").replace(b"GET", b"POST", 1) + b"abc"
        chunked = get(b"/d", *UPGRADE, b"transfer-encoding: chunked").replace(b"GET", b"PUT", 1)
        chunked += b"3\r\nabc\r\n0\r\n\r\n"
        websocket = get(b"/x", b"connection: upgrade", b"upgrade: websocket")
        whole = chunked + post + get(b"/taken?x", *UPGRADE) + websocket + LAST
        for pieces in ([whole], [whole[n : n + 1] for n in range(len(whole))]):
            answers = await served.all_of(*pieces)
            assert [status for status in statuses(answers) if status != 302] in ([200] * 4, [200] * 5)
            assert b"/d abc" in answers
            assert b"/b abc" in answers
        smuggled = get(b"/taken?smuggled")
        with_body = get(b"/taken?y", *UPGRADE, b"content-length: %d" % len(smuggled)) + smuggled
        assert statuses(await served.all_of(with_body + LAST)) == [302, 200]
        assert not any(scope["query_string"] == b"smuggled" for scope in served.application.scopes)
        assert {scope["path"] for scope in served.application.scopes} == {"/b", "/d", "/taken", "/x", "/last"}


async def test_a_client_that_has_said_all_may_close_its_side() -> None:
    async with listening() as served:
        post = b"POST /b HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc"
        for sent, expected in (
            (get(b"/taken?x"), [302]), (get(b"/x"), [200]), (post, [200]), (get(b"/taken?x") + post, [302, 200]),
            (post[:-1], []), (get(b"/x", version=b"1.0"), [200]), (get(b"/taken?x") * 3, [302, 200, 200]),
        ):  # fmt: skip
            served.application.go.clear()
            reader, writer = await served.open()
            writer.write(sent)
            writer.write_eof()
            before = served.server.checks
            await eventually(lambda then=before: served.server.checks > then + 1, "the end to come")  # type: ignore[misc]
            served.application.go.set()
            assert statuses(await asyncio.wait_for(reader.read(), 30)) == expected
            writer.close()
        reader, writer = await served.open()
        writer.write(get(b"/endless"))
        await reader.read(10)
        writer.write_eof()
        await asyncio.wait_for(served.application.gone.wait(), 30)
        writer.close()


async def test_an_old_client_gets_no_chunks() -> None:
    async with listening() as served:
        answer = await served.all_of(get(b"/parts", version=b"1.0"))
        assert answer.endswith(b"\r\n\r\nonetwo")
        assert b"transfer-encoding" not in answer
        assert b"\r\nconnection: close\r\n" in answer
        assert b"\r\n3\r\none\r\n" in await served.all_of(get(b"/parts", b"connection: close"))


async def test_a_body_that_was_not_asked_for_may_be_left_out() -> None:
    async with listening() as served:
        post = b"POST /unread HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n"
        for head, status in ((post, 200), (get(b"/taken?x", b"expect: 100-continue", b"content-length: 3"), 302)):
            reader, writer = await served.open()
            writer.write(head)
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
            assert statuses(answer) == [status]
            assert b"\r\nconnection: close\r\n" in answer
            writer.write(b"abc" + get(b"/taken?smuggled"))
            assert statuses(await asyncio.wait_for(reader.read(), 30)) == []
            writer.close()
        assert not any(scope["query_string"] == b"smuggled" for scope in served.application.scopes)


async def test_who_sends_all_before_reading_still_hears_that_it_is_too_much() -> None:
    """As many clients and proxies do; a connection that is reset with bytes unread would take the answer along."""
    head = b"POST /unread HTTP/1.1\r\n" + HOST
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    chunked = b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n" + 30 * chunk + b"0\r\n\r\n"
    async with listening() as served:
        for rest, status in (
            (b"connection: close\r\ncontent-length: 30000000\r\n\r\n" + b"x" * 30_000_000, 200),
            (chunked + get(b"/taken?smuggled"), 200),
            (b"x: " + b"y" * 30_000_000, 431),
            (b"x\r\n\r\n" + b"y" * 30_000_000, 400),
            (b"transfer-encoding: chunked\r\n\r\n" + b"x" * 30_000_000, 400),
        ):
            answer = await asyncio.to_thread(all_at_once, served.port, head + rest)
            assert statuses(answer) == [status]
        assert [scope["path"] for scope in served.application.scopes if scope["path"] != "/unread"] == []
        await eventually(lambda: not served.server._shared.connections, "the end of all connections")


async def test_who_never_stops_sending_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as served:
        monkeypatch.setattr(connection, "LONGEST_SILENCE", 0.3)
        reader, writer = await served.open()
        writer.write(b"POST /unread HTTP/1.1\r\nconnection: close\r\ncontent-length: 9\r\n\r\n")
        assert statuses(await asyncio.wait_for(reader.read(), 30)) == [200]
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(send_on(writer), 30)
        writer.close()


HALF = b"POST /b HTTP/1.1\r\ncontent-length: 9\r\n\r\nabc"


@pytest.mark.parametrize(
    "message",
    [HALF, get(b"/endless"), HALF.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), get(b"/taken?x") + b"GET",
     HALF + b"defghi" + HALF, get(b"/endless") + HALF, HALF.replace(b"/b", b"/unread")],
)  # fmt: skip
async def test_nothing_of_a_connection_that_ends_waits_for_the_collector(message: bytes) -> None:
    async with listening() as served:
        _reader, writer = await served.open()
        gc.disable()
        try:
            writer.write(message)
            await eventually(lambda: served.application.scopes, "the request")
            (ended,) = (weakref.ref(each) for each in served.server._shared.connections)
            writer.transport.abort()
            await eventually(lambda: ended() is None, "the end of it")
        finally:
            gc.enable()


async def send_on(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x" * 10_000)
        await writer.drain()
        await asyncio.sleep(0.01)


def all_at_once(port: int, message: bytes) -> bytes:
    """What a client gets that reads only when it has sent everything."""
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        client.sendall(message)
        return b"".join(iter(lambda: client.recv(65_536), b""))


async def test_a_close_said_after_the_body_counts() -> None:
    async with listening() as served:
        chunked = b"POST /b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nconnection: close\r\n\r\n"
        assert statuses(await served.all_of(chunked + LAST)) == [200]
        assert statuses(await served.all_of(chunked.replace(b"/b", b"/unread"), LAST)) == [200]


async def test_a_body_is_asked_for_when_it_is_read() -> None:
    async with listening() as served:
        post = b"POST /b HTTP/1.1\r\nexpect: 100-Continue\r\ncontent-length: 3\r\n\r\n"
        reader, writer = await served.open()
        writer.write(post)
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc" + LAST)
        assert statuses(await reader.read()) == [200, 200]
        writer.close()
        assert statuses(await served.all_of(post.replace(b"/b", b"/unread") + b"abc" + LAST)) == [200, 200]
        with_body = get(b"/taken?body", b"content-length: 20000")
        assert statuses(await served.all_of(with_body + b"x" * 20_000 + LAST)) == [302, 200]


async def test_letters_in_a_target_are_read_as_if_they_were_encoded() -> None:
    async with listening() as served:
        for target in ("/taken/ö?sub1=größe".encode(), b"/taken?a=\xff"):
            assert statuses(await served.all_of(get(target, b"connection: close"))) == [200]
        assert [scope["query_string"] for scope in served.application.scopes] == [b"sub1=gr%C3%B6%C3%9Fe", b"a=%FF"]
        assert served.application.scopes[0]["path"] == "/taken/ö"
        named = "GET /taken?x HTTP/1.1\r\nuser-agent: Müller\r\n\r\n".encode()
        for split in (1, 5, 22, 23, 36, 37, 38, len(named)):
            await served.all_of(*(piece for piece in (named[:split], named[split:] + LAST) if piece))
            assert served.application.scopes[-2]["headers"] == [(b"user-agent", "Müller".encode())]
        assert statuses(await served.all_of(b"\r\n" + get(b"/\xff", b"connection: close"))) == [200]


async def test_a_head_has_bounds() -> None:
    async with listening() as served:
        for message in (
            get(b"/", *(b"x-%d: y" % n for n in range(connection.MOST_HEADERS))), get(b"/", b"x: " + b"y" * 150_000),
            get(b"/" + b"y" * 150_000), b"POST / HTTP/1.1\r\n" + b"x: " + b"y" * 1_000_000,
        ):  # fmt: skip
            pieces = (message[n : n + 20_000] for n in range(0, len(message), 20_000))
            assert statuses(await served.all_of(*pieces)) in ([431], [])  # whoever still sends may not hear it
        assert not served.application.scopes
        assert statuses(await served.all_of(get(b"/", b"x: " + b"y" * 50_000) + LAST)) == [200, 200]


async def test_what_follows_a_body_is_bounded_and_no_header() -> None:
    async with listening() as served:
        chunked = b"POST /b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
        answers = await served.all_of(chunked + b"host: evil\r\nauthorization: Bearer x\r\n\r\n" + LAST)
        assert statuses(answers) == [200, 200]
        assert [name for name, _ in served.application.scopes[0]["headers"]] == [b"transfer-encoding"]
        for endless in (b"x: " + b"y" * 1_000_000, b"3;" + b"y" * 1_000_000):
            message = (chunked if endless.startswith(b"x") else chunked.replace(b"0\r\n", b"")) + endless
            pieces = (message[n : n + 20_000] for n in range(0, len(message), 20_000))
            assert statuses(await served.all_of(*pieces)) in ([431], [])


async def test_more_than_a_hundred_requests_sent_ahead_end_the_connection() -> None:
    async with listening() as served:
        served.application.go.clear()
        reader, writer = await served.open()
        writer.write(get(b"/taken?x") + get(b"/y") * 300)
        await eventually(lambda: served.application.scopes, "the first request")
        served.application.go.set()
        assert statuses(await asyncio.wait_for(reader.read(), 30)) == [302] + [200] * connection.MOST_AHEAD
        writer.close()


async def test_an_answer_names_no_program_and_holds_no_line_of_a_strangers() -> None:
    async with listening() as served:
        answers = (await served.all_of(get(b"/taken?x") + LAST)).lower()
        assert answers.count(b"\r\ndate: ") == 2
        assert not {b"server: ", b"uvicorn", b"granian"} & {
            word for word in (b"server: ", b"uvicorn") if word in answers
        }
        for path in (b"/taken", b"/taken/whole"):
            answers = await served.all_of(get(path + b"?x%0Aset-cookie:evil"))
            assert statuses(answers) == [500]
            assert b"evil" not in answers


@pytest.mark.parametrize("query", [b"?x", b"?say=yes"])
async def test_an_answer_in_one_message_is_that_in_two(query: bytes) -> None:
    async with listening() as served:
        answers = [await served.all_of(get(path + query) + LAST) for path in (b"/taken/whole", b"/taken")]
        assert {b"yes" in answer.partition(b"\r\n\r\n")[2] for answer in answers} == {b"yes" in query}
        assert [statuses(answer) for answer in answers] == [[302, 200]] * 2
        heads = [answer.lower().partition(b"\r\n\r\n")[0].split(b"\r\n") for answer in answers]
        one, two = [[line for line in head if not line.startswith(b"date: ")] for head in heads]
        assert one == two
        assert len(one) == len(heads[0]) - 1


async def test_a_fault_while_taking_is_one_answer() -> None:
    async with listening() as served:
        assert statuses(await served.all_of(get(b"/taken?x") + get(b"/broken") + LAST)) == [302, 200, 200]
        assert statuses(await served.all_of(get(b"/broken"))) == [500]


async def test_who_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as served:
        monkeypatch.setattr(connection, "LONGEST_SILENCE", 0.3)
        assert await served.all_of() == b""
        assert statuses(await served.all_of(get(b"/taken?x"))) == [302]
        assert statuses(await served.all_of(b"GET /taken HTTP/1.1\r\nhost")) == [408]
        assert statuses(await served.all_of(get(b"/taken?x") + b"GET /t")) == [302, 408]
        unread = b"POST /unread HTTP/1.1\r\ncontent-length: 9\r\n\r\nabc"
        assert statuses(await served.all_of(unread)) == [200]


def test_a_request_that_came_while_the_loop_was_held_up_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask() -> list[bytes]:
        loop = asyncio.get_running_loop()
        async with listening() as served:
            with socket.create_connection(("127.0.0.1", served.port)) as client:
                client.setblocking(False)
                answers = []
                for _ in range(3):
                    client.send(get(b"/taken?x"))
                    time.sleep(0.5)  # as a process that is stopped, or a machine that sleeps
                    answers.append(await asyncio.wait_for(loop.sock_recv(client, 1000), 30))
            return answers

    monkeypatch.setattr(connection, "LONGEST_SILENCE", 0.3)
    answers = uvloop.run(ask())  # whose timers come before what there is to read
    assert [statuses(answer) for answer in answers] == [[302]] * 3


async def test_an_answer_that_takes_longer_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as served:
        monkeypatch.setattr(connection, "LONGEST_SILENCE", 0.1)
        served.application.go.clear()
        reader, writer = await served.open()
        writer.write(get(b"/taken?x"))
        await eventually(lambda: served.server.checks > 10, "time to pass")
        served.application.go.set()
        assert statuses(await asyncio.wait_for(reader.read(), 30)) == [302]
        writer.close()


async def test_who_reads_nothing_gets_little_and_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as served:
        monkeypatch.setattr(connection, "LONGEST_SILENCE", 0.5)
        reader, writer = await served.open()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(get(b"/endless"))
        await asyncio.wait_for(served.application.gone.wait(), 30)
        assert served.application.sent < 20_000_000  # what the system's own buffers hold
        del reader
        writer.close()


async def test_who_leaves_early_hurts_no_one() -> None:
    async with listening() as served:
        served.application.go.clear()
        _, writer = await served.open()
        writer.write(get(b"/taken?x") + get(b"/y"))
        await eventually(lambda: served.application.scopes, "the request")
        writer.transport.abort()
        half = b"POST /b HTTP/1.1\r\ncontent-length: 9\r\n\r\nabc"
        _, leaving = await served.open()
        leaving.write(half)
        await eventually(lambda: len(served.application.scopes) > 1, "the other request")
        leaving.transport.abort()
        await asyncio.wait_for(served.application.gone.wait(), 30)
        served.application.go.set()
        assert statuses(await served.all_of(get(b"/taken?x") + LAST)) == [302, 200]


async def test_a_stop_answers_what_was_taken() -> None:
    async with listening() as served:
        served.application.go.clear()
        reader, writer = await served.open()
        idle, other = await served.open()
        writer.write(get(b"/taken?x"))
        await eventually(lambda: served.application.scopes, "the request")
        stopping = asyncio.create_task(served.server.stop())
        assert await asyncio.wait_for(idle.read(), 30) == b""
        assert not stopping.done()
        served.application.go.set()
        answer = await asyncio.wait_for(reader.read(), 30)
        await asyncio.wait_for(stopping, 30)
        assert statuses(answer) == [302]
        assert b"\r\nconnection: close\r\n" in answer
        for one in (writer, other):
            one.close()


async def test_a_stop_answers_what_is_on_its_way_and_ends_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as served:
        monkeypatch.setattr(connection, "LAST_MOMENT", 1.0)
        clients = [await served.open() for _ in range(3)]
        (taken, _), (other, _), (stream, _) = clients
        clients[2][1].write(get(b"/endless"))
        await stream.readuntil(b"\r\n\r\n")
        stopping = asyncio.create_task(served.server.stop())
        await asyncio.sleep(0)
        clients[0][1].write(get(b"/taken?x"))
        clients[1][1].write(get(b"/x"))
        for reader, status in ((taken, 302), (other, 200)):
            answer = await asyncio.wait_for(reader.read(), 30)
            assert statuses(answer) == [status]
            assert b"\r\nconnection: close\r\n" in answer
        reading = asyncio.create_task(stream.read())
        await asyncio.wait_for(stopping, connection.LONGEST_STREAM + 5)
        await reading
        await asyncio.wait_for(served.application.gone.wait(), 30)
        for _, writer in clients:
            writer.close()


async def test_who_says_nothing_gives_way_where_many_are_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "most_connections", lambda: 4)
    monkeypatch.setattr(listener, "SHORTEST_SILENCE", 0.2)
    async with listening() as served:
        silent = [await served.open() for _ in range(4)]
        assert await served.all_of() == b""  # one too many
        for reader, writer in silent:
            assert await asyncio.wait_for(reader.read(), 30) == b""
            writer.close()
        assert statuses(await served.all_of(LAST)) == [200]


async def test_it_listens_on_ipv6_too() -> None:
    async with listening("::1") as served:
        reader, writer = await asyncio.open_connection("::1", served.port)
        writer.write(LAST)
        assert statuses(await asyncio.wait_for(reader.read(), 30)) == [200]
        assert served.application.scopes[0]["client"][0] == "::1"
        writer.close()


async def test_all_addresses_of_ipv6_are_those_of_ipv4_too() -> None:
    async with listening("::") as served:
        for target in (b"/taken?x", b"/x"):
            assert len(statuses(await served.all_of(get(target) + LAST))) == 2
        assert {scope["client"][0] for scope in served.application.scopes} == {"127.0.0.1"}


def test_as_many_files_may_be_open_as_the_system_lets_us() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1_000), hard))
    try:
        most = sockets.most_connections()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] in (hard, 65_536)
        assert most in (hard - 128, 65_536 - 128)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
