"""Calls an ASGI callable the way a server does, for tests of what lies ahead of the framework."""

import gzip
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
    given = {"host": host, **(headers or {})}
    scope = {
        "type": "http", "method": method, "path": unquote(bare), "raw_path": bare.encode(), "scheme": "http",
        "query_string": query.encode(), "headers": [(k.encode(), v.encode("latin-1")) for k, v in given.items()],
        "client": ("203.0.113.7", 4711), "server": ("127.0.0.1", 8000), "http_version": "1.1",
    }  # fmt: skip
    got = Got(0, [], b"", scope)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(event: Any) -> None:
        if event["type"] == "http.response.start":
            got.status, got.headers = event["status"], list(event["headers"])
        else:
            got.body += event.get("body", b"")

    await app(scope, receive, send)
    return got
