"""A hub that strangers send whatever they like keeps its size, and idle connections cost next to nothing."""

import asyncio
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.fuzz.filled import filled_hub
from tests.journeys.deployment import Deployment

REQUESTS = int(os.environ.get("HOSTILE_REQUESTS", "2500"))
GROWS = 5 if REQUESTS < 10_000 else 25  # megabytes at most
WARM = 1500  # requests before, while tables are loaded and pools are filled
IDLE = 2000
_MEGABYTE = 1_000_000


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    monkeypatch.setattr(Deployment, "forked", False)  # a fork's memory grows when it writes to what it shares
    with filled_hub(tmp_path) as deployment:
        yield deployment


def memory(hub: Deployment) -> int:
    """Bytes that are the process's own."""
    assert hub.process is not None
    return int(psutil.Process(hub.process.pid).memory_full_info().uss)


def hostile(n: int) -> bytes:
    """A request that differs from every other one in what a cache might be keyed by."""
    kind, big = n % 6, str(n).ljust(4000, "x")
    head = f"host: 127.0.0.1\r\nx-forwarded-for: 10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}\r\n"
    match kind:
        case 0:
            return f"GET /c/promo?sub1={n} HTTP/1.1\r\n{head}user-agent: {big}\r\n\r\n".encode()
        case 1:
            return f"GET /c/promo HTTP/1.1\r\n{head}accept-language: {big}\r\n\r\n".encode()
        case 2:
            return f"GET /c/{n:x}-unknown HTTP/1.1\r\n{head}\r\n".encode()
        case 3:
            return f"GET /postback/{n:028x} HTTP/1.1\r\n{head}\r\n".encode()
        case 4:
            return f"GET /api/v1/offer/list HTTP/1.1\r\n{head}authorization: Bearer cf_{n}\r\n\r\n".encode()
        case _:
            body = f"token=guess{n}"
            kind_of = "content-type: application/x-www-form-urlencoded"
            length = f"content-length: {len(body)}"
            return f"POST /cockpit/sign-in HTTP/1.1\r\n{head}{kind_of}\r\n{length}\r\n\r\n{body}".encode()


async def send(hub: Deployment, numbers: range) -> None:
    """One connection after another; each takes requests until the server closes it."""
    waiting = iter(numbers)
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        try:
            for n in waiting:
                writer.write(hostile(n))
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                assert not head.startswith(b"http/1.1 5"), head
                length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length or 0))
            return
        except (asyncio.IncompleteReadError, ConnectionError):
            continue
        finally:
            writer.close()


@pytest.mark.slow
@pytest.mark.timeout(7200 if REQUESTS > 10_000 else 1500)
async def test_hostile_requests_do_not_fill_the_memory(hub: Deployment) -> None:
    await asyncio.gather(*(send(hub, range(k, WARM, 16)) for k in range(16)))
    before = memory(hub)
    await asyncio.gather(*(send(hub, range(WARM + k, WARM + REQUESTS, 16)) for k in range(16)))
    grown = (memory(hub) - before) / _MEGABYTE
    print(f"{REQUESTS} hostile requests: {grown:+.1f} MB")
    assert grown <= GROWS


@pytest.mark.slow
async def test_idle_connections_cost_little_and_hurt_no_click(hub: Deployment) -> None:
    assert hub.http.get("/c/promo").status_code == 302
    before = memory(hub)
    idle = min(IDLE, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 400)
    connections = [await asyncio.open_connection("127.0.0.1", hub.port) for _ in range(idle)]
    try:
        assert hub.http.get("/c/promo").status_code == 302
        grown = (memory(hub) - before) / _MEGABYTE
        print(f"{idle} idle connections: {grown:+.1f} MB")
        assert grown <= 10
    finally:
        for _, writer in connections:
            writer.close()
