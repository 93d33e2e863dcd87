"""HEAD: what GET answers, without its body (RFC 9110, section 9.3.2)."""

from collections.abc import Awaitable, Callable
from typing import Any

App = Callable[[Any, Any, Any], Awaitable[None]]


async def answer_head(app: App, scope: Any, receive: Any, send: Any) -> None:
    """Have `app` answer GET, and send the head of that; a stream ends with its head."""
    ended = False

    async def sending(event: Any) -> None:
        nonlocal ended
        if event["type"] == "http.response.start":
            await send(event)
        elif not ended:  # the server then tells a stream that its reader has gone
            ended = True
            await send({"type": "http.response.body", "body": b""})

    await app({**scope, "method": "GET"}, receive, sending)


def allowing_head(send: Any) -> Callable[[Any], Any]:
    """Wrap `send` so that an answer which allows GET allows HEAD, too."""

    def sending(event: Any) -> Any:
        if event["type"] == "http.response.start":
            headers = [(name, _with_head(value) if name == b"allow" else value) for name, value in event["headers"]]
            event = {**event, "headers": headers}
        return send(event)

    return sending


def _with_head(allowed: bytes) -> bytes:
    methods = [word.strip() for word in allowed.split(b",")]
    if b"GET" in methods and b"HEAD" not in methods:
        methods.insert(methods.index(b"GET") + 1, b"HEAD")
    return b", ".join(methods)
