"""HTTP messages that no browser sends, byte by byte: none is answered 5xx, holds a connection, or hurts a click."""

import gzip
import json
import socket
from collections.abc import Iterator
from contextlib import suppress

import httpx
import psutil
import pytest

from tests.fuzz.filled import UNLIMITED, filled_hub
from tests.journeys.deployment import Deployment

pytestmark = pytest.mark.slow

HOST = b"host: 127.0.0.1\r\n"
FORM = b"content-type: application/x-www-form-urlencoded\r\n"
PATHS = (b"/c/promo", b"/postback/x", b"/api/v1/offer/add", b"/cockpit/sign-in", b"/slack/events", b"/s/land/b")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with filled_hub(tmp_path_factory.mktemp("messages"), **UNLIMITED) as deployment:
        yield deployment


def heads(path: bytes) -> Iterator[bytes]:
    """Messages without a body, for one path."""
    yield b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"x-long: " + b"x" * 65_536 + b"\r\n\r\n"
    yield b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"".join(b"x-%d: y\r\n" % n for n in range(3_000)) + b"\r\n"
    yield b"GET " + path + b"?" + b"a=b&" * 16_384 + b" HTTP/1.1\r\n" + HOST + b"\r\n"
    yield b"GET " + path + b"?" + b"&".join(b"k%d=v" % n for n in range(1_000)) + b" HTTP/1.1\r\n" + HOST + b"\r\n"
    for method in (b"BREW", b"TRACE", b"CONNECT", b"PROPFIND", b"get", b"M" * 8_000, b"G\x00T", b"DELETE", b"PATCH"):
        yield method + b" " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n"
    for version in (b"HTTP/0.9", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9.9", b"HTTQ/1.1", b""):
        yield b"GET " + path + b" " + version + b"\r\n" + HOST + b"\r\n"
    for header in (
        b"host: a\r\nhost: b\r\n", b"host: \xff\xfe\r\n", b"host: x:99999\r\n",
        b"host: [::1]:99999\r\n", b"host: [::1\r\n", b"host: [x]\r\n", b"host: x:\r\n",
        b"host: \xb2:\xb2\r\n", b"host: a:b@c:1\r\n", b"host: 127.0.0.1:-1\r\n", b"host: [::ffff:1.2.3.4]:0\r\n",
        b"host:\r\n", b"no colon\r\n",
        HOST + b" folded: a\r\n b\r\n", HOST + b"cookie: " + b";" * 9_000 + b"\r\n", HOST + b"range: bytes=9-1\r\n",
        HOST + b"expect: 100-continue\r\n", HOST + b"upgrade: websocket\r\nconnection: upgrade\r\n",
        HOST + b"authorization: Bearer \xff\xff\r\n", HOST + b"accept: \x7f;q=nan\r\n",
        HOST + b"if-none-match: \"" + b"x" * 5_000 + b"\r\n", HOST + b"accept-encoding: gzip;q=1e400\r\n",
        HOST + b"x-forwarded-for: " + b"," * 3_000 + b"\r\n", HOST + b"forwarded: for=\"[::1\"\r\n",
    ):  # fmt: skip
        yield b"GET " + path + b" HTTP/1.1\r\n" + header + b"\r\n"
    for target in (b"http://evil.example" + path, b"//evil.example" + path, path + b"/../../etc/passwd", path + b"\x00",
                   path + b"%00%ff%zz", b"*",
                   path + b"#fragment", path.replace(b"/", b"\\"), path + b" x"):  # fmt: skip
        yield b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n"


def bodies(path: bytes) -> Iterator[bytes]:
    """Messages with a body that is not what its head says, for one path."""
    post = b"POST " + path + b" HTTP/1.1\r\n" + HOST
    chunked = post + FORM + b"transfer-encoding: chunked\r\n\r\n"
    for chunks in (
        b"3\r\na=b\r\n0\r\n\r\n", b"zz\r\na=b\r\n", b"-1\r\na\r\n", b"ffffffffffffffffff\r\na\r\n", b"3\r\na=b",
        b"\r\n",
        b"3;" + b"x" * 20_000 + b"\r\na=b\r\n0\r\n\r\n", b"3\r\na=bXX0\r\n\r\n", b"0\r\nx: y\r\n\r\n",
        b"1\r\na\r\n" * 5_000 + b"0\r\n\r\n",
    ):  # fmt: skip
        yield chunked + chunks
    for length in (b"-1", b"1e3", b"99999999999999999999", b"5, 6", b"", b"+3", b"0x3", b"3\r\ncontent-length: 4"):
        yield post + FORM + b"content-length: " + length + b"\r\n\r\na=b"
    yield post + FORM + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\na=b\r\n0\r\n\r\n"
    yield post + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
    yield post + FORM + b"content-length: 30\r\n\r\na=b"  # the rest never comes
    for kind in (
        b"text/xml", b"multipart/form-data", b"multipart/form-data; boundary=", b"multipart/form-data; boundary=\xff",
        b"application/json; charset=utf-16", b"application/json; charset=nonsense", b"image/png", b";", b"a" * 9_000,
        b"application/msgpack", b"application/x-www-form-urlencoded; charset=utf-7",
    ):  # fmt: skip
        for body in (b'{"name":"x"}', b"--\r\n\r\n", b"\xff\xfe\x00{", b"%zz=%", b"<!DOCTYPE x [<!ENTITY a 'b'>]><x/>"):
            length = b"\r\ncontent-length: %d\r\n\r\n" % len(body)
            yield post + b"content-type: " + kind + length + body


def first_line(hub: Deployment, message: bytes) -> bytes:
    """The status line of the answer; empty where there is none, or the connection was closed without one."""
    with socket.create_connection(("127.0.0.1", hub.port), 10) as connection:
        connection.settimeout(0.5)  # what is not whole is waited for, and has no answer
        try:
            connection.sendall(message)
            return connection.recv(4096).partition(b"\r\n")[0]
        except OSError:
            return b""


@pytest.mark.parametrize("path", PATHS, ids=bytes.decode)
def test_no_message_is_answered_with_a_fault_of_ours(hub: Deployment, path: bytes) -> None:
    token, answered = b"authorization: Bearer " + hub.token.encode() + b"\r\n", 0
    for message in (*heads(path), *bodies(path)):
        for sent in (message, message.replace(HOST, HOST + token, 1)):
            line = first_line(hub, sent)
            assert not line.startswith((b"HTTP/1.1 5", b"HTTP/1.0 5")), f"{sent[:90]!r} … {sent[-160:]!r}: {hub.log()}"
            answered += bool(line)
    assert answered > 150
    assert hub.http.get("/c/promo", follow_redirects=False).status_code == 302


def test_what_is_no_http_at_all_is_let_go(hub: Deployment) -> None:
    for raw in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x00" * 5_000, b"\r\n" * 2_000, b"SSH-2.0-x\r\n",
                b"\xff" * 70_000):  # fmt: skip
        assert not first_line(hub, raw).startswith(b"HTTP/1.1 5"), raw[:20]
    assert hub.http.get("/c/promo", follow_redirects=False).status_code == 302


def test_a_compressed_body_is_never_blown_up(hub: Deployment) -> None:
    assert hub.process is not None
    process = psutil.Process(hub.process.pid)
    bomb = gzip.compress(b" " * 200_000_000, 9)
    before = process.memory_full_info().uss
    headers = {"content-encoding": "gzip", "content-type": "application/json", "authorization": f"Bearer {hub.token}"}
    for path in PATHS[1:]:
        with suppress(httpx.TransportError):  # it hangs up on a body that it does not read
            assert (
                httpx.post(f"{hub.url}{path.decode()}", content=bomb, headers=headers, timeout=60).status_code < 500
            ), path
    assert process.memory_full_info().uss - before < 50_000_000


def test_json_at_its_depth_and_its_numbers_is_an_answer(hub: Deployment) -> None:
    """As arguments of the API, in each place where JSON is read."""
    header = {"authorization": f"Bearer {hub.token}"}
    for body in ("[" * 100_000, '{"rules":' + "[" * 900 + "]" * 900 + ',"campaign":"promo"}', '{"campaign":1e99999}',
                 '{"campaign":' + "9" * 5_000 + "}", '{"campaign":"\\ud800"}', '{"campaign":"promo","campaign":"x"}',
                 '{"\\u0000":1}', json.dumps({"campaign": "promo", "rules": '[{"if":' * 300})):  # fmt: skip
        answer = hub.http.post("/api/v1/campaign/edit", content=body.encode(), headers=header)
        assert answer.status_code in {400, 404, 413}, (body[:60], answer.text[:300])
