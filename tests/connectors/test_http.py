"""The way out: retries, waits, limits, redirects, addresses, and no secret in any error."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from connectors.guard import is_public
from connectors.http import Http, TooLarge, Unreachable
from tests.connectors.web import Request, answer, serving

SECRET = "t0ken-of-the-team"


def in_turn(*answers: bytes) -> Any:
    """Gives one answer after another, the last one for ever."""
    remaining: Iterator[bytes] = iter(answers)
    last = answers[-1]
    return lambda _request: next(remaining, last)


def client(**options: Any) -> Http:
    return Http(allow_private=True, first_wait=0.01, seconds=options.pop("seconds", 60.0), **options)


async def test_an_answer_comes_back_whole_with_its_status_and_headers() -> None:
    async with serving(lambda _: answer("{}", status=404, headers={"X-Note": "one"})) as web, client() as http:
        response = await http.get(web.url + "/report", params=[("columns[]", "a b")], headers={"Authorization": SECRET})
    assert (response.status, response.body, response.headers["x-note"]) == (404, b"{}", "one")
    assert web.asked[0].query == [("columns[]", "a b")]
    assert web.asked[0].headers["authorization"] == SECRET


async def test_a_busy_platform_is_tried_three_times_and_its_last_answer_kept() -> None:
    async with serving(lambda _: answer(b"busy", status=503)) as web, client() as http:
        response = await http.get(web.url)
    assert (response.status, len(web.asked)) == (503, 3)


async def test_retry_after_is_waited_for() -> None:
    turns = in_turn(answer(b"", status=429, headers={"Retry-After": "1"}), answer(b"fine"))
    async with serving(turns) as web, client() as http:
        began = asyncio.get_running_loop().time()
        response = await http.get(web.url)
    assert response.body == b"fine"
    assert asyncio.get_running_loop().time() - began >= 1.0


async def test_a_retry_after_of_more_than_a_minute_is_left_to_the_next_sync() -> None:
    async with serving(lambda _: answer(b"", status=429, headers={"Retry-After": "61"})) as web, client() as http:
        response = await http.get(web.url)
    assert (response.status, response.retry_after, len(web.asked)) == (429, 61.0, 1)


async def test_retries_can_be_switched_off() -> None:
    async with serving(lambda _: answer(b"", status=500)) as web, client() as http:
        response = await http.send("POST", web.url, body=b"x", tries=1)
    assert (response.status, len(web.asked)) == (500, 1)


async def test_a_platform_that_never_answers_is_told_as_a_time_out() -> None:
    over = asyncio.Event()

    async def slow(_request: Request) -> bytes:
        await over.wait()
        return answer(b"late")

    async with serving(slow) as web, client(seconds=0.1) as http:
        with pytest.raises(Unreachable, match="did not answer in time") as caught:
            await http.get(web.url + "/slow", tries=2)
        over.set()
    assert not caught.value.permanent
    assert len(web.asked) == 2


async def test_an_answer_broken_off_half_way_is_no_answer() -> None:
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"
    async with serving(lambda _: cut) as web, client() as http:
        with pytest.raises(Unreachable, match="half way"):
            await http.get(web.url)
    assert len(web.asked) == 3


async def test_an_answer_without_end_is_stopped_at_the_limit() -> None:
    async with serving(lambda _: answer(b"x" * 100_000)) as web, client() as http:
        with pytest.raises(TooLarge, match="more than 50,000 bytes"):
            await http.get(web.url, max_bytes=50_000)
    assert len(web.asked) == 1


async def test_credentials_follow_a_redirect_on_the_same_host_only() -> None:
    async with serving(lambda _: answer(b"other")) as other:
        elsewhere = other.url.replace("127.0.0.1", "localhost")

        def send_on(request: Request) -> bytes:
            if request.path == "/near":
                return answer(b"near")
            target = "/near" if request.path == "/start" else f"{elsewhere}/x?token={SECRET}&page=1"
            return answer(b"", status=302, headers={"Location": target})

        async with serving(send_on) as web, client() as http:
            headers = {"Authorization": SECRET, "X-Api-Key": SECRET, "Accept": "text/csv"}
            near = await http.get(web.url + "/start", headers=headers, secrets=[SECRET])
            far = await http.get(web.url + "/far", headers=headers, secrets=[SECRET])
    assert near.body == b"near"
    assert near.handed_on is None
    assert web.asked[1].headers["authorization"] == SECRET
    assert far.handed_on == "localhost"
    assert not {"authorization", "x-api-key"} & set(other.asked[0].headers)
    assert other.asked[0].query == [("page", "1")]


async def test_a_form_with_credentials_is_not_posted_to_another_host() -> None:
    async with serving(lambda _: answer(b"other")) as other:
        location = {"Location": other.url.replace("127.0.0.1", "localhost")}
        async with serving(lambda _: answer(b"", status=307, headers=location)) as web, client() as http:
            with pytest.raises(Unreachable, match="credentials are not sent"):
                await http.post(web.url, body=f"secret={SECRET}")
    assert other.asked == []


async def test_a_redirect_in_a_circle_ends() -> None:
    async with serving(lambda _: answer(b"", status=302, headers={"Location": "/again"})) as web, client() as http:
        with pytest.raises(Unreachable, match="circle"):
            await http.get(web.url)
        unfollowed = await http.get(web.url, redirects=0)
    assert unfollowed.status == 302


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "10.1.2.3", "169.254.169.254"])
async def test_private_and_loopback_addresses_are_refused(host: str) -> None:
    async with Http(first_wait=0.01) as http:
        with pytest.raises(Unreachable, match="private or loopback") as caught:
            await http.get(f"http://{host}:9/x?token={SECRET}")
    assert caught.value.permanent
    assert SECRET not in str(caught.value)


async def test_a_name_is_judged_by_the_address_it_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A public name that resolves to loopback (DNS rebinding) is refused like the address itself."""

    async def resolve(*_a: object, **_k: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    async with Http(first_wait=0.01) as http:
        with pytest.raises(Unreachable, match="private or loopback"):
            await http.get("http://rebind.example.test/")


@pytest.mark.parametrize(
    ("address", "public"),
    [("8.8.8.8", True), ("2606:4700::1", True), ("::ffff:127.0.0.1", False), ("64:ff9b::7f00:1", False),
     ("2002:7f00:1::", False), ("fe80::1%eth0", False), ("100.64.0.1", False), ("224.0.0.1", False),
     ("fd00::1", False), ("192.88.99.1", False), ("192.88.98.255", True), ("3fff::1", False), ("3fff:fff::1", False),
     ("::ffff:192.88.99.7", False), ("fec0::1", False), ("feff::1", False), ("4000::1", False), ("192.0.0.8", False),
     ("::ffff:0:10.0.0.1", False), ("64:ff9b:1::a00:1", False), ("2606:4700::1111", True)],
)  # fmt: skip
def test_addresses_wrapped_in_others_are_judged_as_themselves(address: str, public: bool) -> None:
    assert is_public(address) is public


async def test_no_secret_in_errors_or_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(lambda _: b"") as web, client() as http:
        with pytest.raises(Unreachable) as caught:
            await http.get(f"{web.url}/path/{SECRET}", params=[("key", SECRET)], secrets=[SECRET])
        with pytest.raises(Unreachable) as refused:
            await http.get(f"http://user:{SECRET}@127.0.0.1:1/?key={SECRET}", secrets=[SECRET])
    shown = str(caught.value) + str(refused.value) + caplog.text
    assert SECRET not in shown


async def test_requests_of_one_connection_keep_its_pace() -> None:
    async with serving(lambda _: answer(b"")) as web, client() as http:
        began = asyncio.get_running_loop().time()
        for _ in range(10):
            await http.get(web.url, rate=("account 1", 10.0))
    assert asyncio.get_running_loop().time() - began >= 0.19


@pytest.mark.parametrize("url", ["", "ftp://x.example.test/", "http://", "not a url", "http://[bad/"])
async def test_what_is_no_web_address_is_said_so(url: str) -> None:
    async with client() as http:
        with pytest.raises(Unreachable):
            await http.get(url, tries=1)


def _own_certificate(folder: Path) -> ssl.SSLContext:
    """A server's TLS with a certificate for 127.0.0.1 that is its own authority."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "casino.example.test")])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file = folder / "own.pem"
    file.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(form[0]) + key.private_bytes(*form))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return context


async def test_a_certificate_that_no_one_signed_is_refused(tmp_path: Path) -> None:
    message = []

    async def handle(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        message.append(await reader.read(100))

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=_own_certificate(tmp_path))
    async with server, client() as http:
        with pytest.raises(Unreachable, match="certificate"):
            await http.get(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/report", headers={"x-key": SECRET})
    assert message == []
