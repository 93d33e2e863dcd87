"""The real Caddy in front of a team's sites: a certificate with the first request, none for unknown names."""

import asyncio
import os
import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.hub.asgi import fetch
from tests.hub.sites.test_sites import Team, at_work, published
from tests.waiting import free_port, listening

CADDY = os.environ.get("CADDY") or shutil.which("caddy")
NAME = "brand.example.test"


@pytest.mark.slow
@pytest.mark.skipif(CADDY is None, reason="Caddy is not installed (apt-get install caddy, or name it in CADDY)")
async def test_the_first_request_gets_a_certificate_and_an_unknown_name_none(
    opened: Callable[[], Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if "postgresql" in request.node.name:
        pytest.skip("the database makes no difference to Caddy")
    async with at_work(opened) as team:
        site = await published(team)
        await team.go_live(NAME, site.id)
        async with hub(team) as hub_port, caddy(tmp_path, hub_port) as port:
            answer = await over_tls(port, NAME, tmp_path)
            assert b"HTTP/1.1 200" in answer
            assert b"Lucky Star" in answer
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await over_tls(port, "stranger.example.test", tmp_path)


@asynccontextmanager
async def hub(team: Team) -> AsyncIterator[int]:
    """The team's sites and `/tls/ask` on a loopback port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        host = next(line[6:] for line in lines if line.lower().startswith("host: "))
        target = lines[0].split()[1]
        if target.startswith("/tls/ask"):
            existing = await team.sites.is_our_host(parse_qs(urlsplit(target).query)["domain"][0])
            status, body = (200, b"ours") if existing else (404, b"unknown")
        else:
            response = await fetch(team.sites, target, host=host)
            status, body = response.status, response.body
        head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def caddy(folder: Path, hub_port: int) -> AsyncIterator[int]:
    """Caddy with the project's own Caddyfile, its certificates from its internal authority."""
    port, plain = free_port(), free_port()
    ours = (Path(__file__).parents[3] / "Caddyfile").read_text(encoding="utf-8")
    settings = f"\tlocal_certs\n\tskip_install_trust\n\tadmin off\n\thttp_port {plain}\n\thttps_port {port}\n"
    config = folder / "Caddyfile"
    config.write_text(ours.replace("{\n", "{\n" + settings, 1), encoding="utf-8")
    environment = {
        **os.environ, "CASINOFLUX_HUB": f"127.0.0.1:{hub_port}", "XDG_DATA_HOME": str(folder), "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        str(CADDY), "run", "--config", str(config), "--adapter", "caddyfile", env=environment,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await listening(port)
        yield port
    finally:
        process.terminate()
        await process.wait()


async def over_tls(port: int, name: str, folder: Path) -> bytes:
    """GET / of a name, its certificate checked against Caddy's own authority."""
    context = ssl.create_default_context(cafile=str(folder / "caddy/pki/authorities/local/root.crt"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    writer.write(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer
