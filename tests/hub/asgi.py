"""Calls an ASGI callable the way a server does, for tests of what lies ahead of the framework."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

import msgspec


class Got(msgspec.Struct):
    """What came back."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    scope: Any

    @property
    def text(self) -> str:
        packed = self.header("content-encoding") == "gzip"
        return (gzip.decompress(self.body) if packed else self.body).decode()

    def header(self, name: str) -> str:
        return next((value.decode() for key, value in self.headers if key == name.encode()), "")

    def cookies(self) -> list[str]:
        return [value.decode() for key, value in self.headers if key == b"set-cookie"]


async def fetch(
    app: Any, path: str, *, host: str, method: str = "GET", headers: dict[str, str] | None = None, body: bytes = b""
) -> Got:
    bare, _, query = path.partition("?")
    arguments = {"host": host, **(headers or {})}
    scope = {
        "type": "http", "method": method, "path": unquote(bare), "raw_path": bare.encode(), "scheme": "http",
        "query_string": query.encode(), "headers": [(k.encode(), v.encode("latin-1")) for k, v in arguments.items()],
        "client": ("203.0.113.7", 4711), "server": ("127.0.0.1", 8000), "http_version": "1.1",
    }  # fmt: skip
    outcome = Got(0, [], b"", scope)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(event: Any) -> None:
        if event["type"] == "http.response.start":
            outcome.status, outcome.headers = event["status"], list(event["headers"])
        else:
            outcome.body += event.get("body", b"")

    await app(scope, receive, send)
    return outcome


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[int]:
    """An ASGI callable on a loopback port, one request a connection: for real browsers and other programs."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, path, _ = lines[0].split()
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            response = await fetch(app, path, host=headers.pop("host", ""), method=method, headers=headers, body=body)
            head = [f"HTTP/1.1 {response.status} X".encode(), b"connection: close"]
            head += [name + b": " + value for name, value in response.headers if name != b"content-length"]
            head.append(f"content-length: {len(response.body)}".encode())
            writer.write(b"\r\n".join(head) + b"\r\n\r\n" + response.body)
            await writer.drain()
        except asyncio.IncompleteReadError:
            pass  # a browser opens connections ahead and leaves them unused
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
