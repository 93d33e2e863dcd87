"""What a platform sends to /postback/{key} beside the query, and the answers it gets."""

from contextlib import suppress
from typing import Any

import msgspec
from litestar.types import Receive, Scope, Send

from storage.conversions import Received
from storage.ledger.facts import Outcome
from storage.ledger.postback import MAX_BODY

TOO_LONG = f"body over {MAX_BODY:,} bytes"
CUT = "the connection broke before the body was whole"
_LENGTHS = frozenset({b"content-length", b"transfer-encoding"})


def header(scope: Scope, wanted: bytes) -> str:
    """A header's value, empty if it is not given."""
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), "")


def may_have_body(scope: Scope) -> bool:
    """A GET without a length has none, and waiting for it costs as much as reading the query."""
    if scope["method"] != "GET" or scope.get("http_version") == "2":  # type: ignore[typeddict-item]
        return True
    return any(name in _LENGTHS for name, _ in scope["headers"])


async def body_of(receive: Receive) -> tuple[bytes, str]:
    """The body, and why it is not whole, if so; a body over the limit is read to its end but not kept."""
    parts: list[bytes] = []
    size = 0
    while True:
        message: Any = await receive()
        if message["type"] != "http.request":
            return b"".join(parts), CUT
        size += len(message.get("body", b""))
        if size <= MAX_BODY:
            parts.append(message.get("body", b""))
        else:
            parts.clear()
        if not message.get("more_body") or size > 20 * MAX_BODY:
            return b"".join(parts), "" if size <= MAX_BODY else TOO_LONG


async def reply(send: Send, done: Received, *, too_long: bool, failed: bool) -> None:
    """What came of a request, told to who sent it."""
    if done.outcome in _PLAIN and not done.reason:
        return await _send(send, *_PLAIN[done.outcome])
    content: dict[str, Any] = {"outcome": done.outcome}
    if done.outcome is Outcome.REJECTED or done.reason:
        content["reason"] = done.reason
    if too_long:
        return await respond(send, 413, content)
    if failed:
        return await respond(send, 500, content)
    return await respond(send, 400 if done.outcome is Outcome.REJECTED else 200, content)


async def respond(send: Send, status: int, content: dict[str, Any]) -> None:
    """A JSON answer."""
    await _send(send, *_messages(status, content))


def _messages(status: int, content: dict[str, Any]) -> tuple[Any, Any]:
    kind = b"application/problem+json" if "title" in content else b"application/json"
    body = msgspec.json.encode(content)
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
    start = {"type": "http.response.start", "status": status, "headers": headers}
    return start, {"type": "http.response.body", "body": body, "more_body": False}


#: What nearly all get.
_PLAIN = {one: _messages(200, {"outcome": one}) for one in Outcome if one is not Outcome.REJECTED}


async def _send(send: Send, start: Any, body: Any) -> None:
    with suppress(OSError):
        await send(start)
        await send(body)
