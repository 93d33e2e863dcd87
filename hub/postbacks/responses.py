"""What a platform sends to /postback/{key} beside the query, and the answers it gets."""

from contextlib import suppress
from typing import Any

import msgspec
from litestar.types import Receive, Scope, Send

from storage.ledger.facts import Outcome
from storage.ledger.postbacks.postback import MAX_BODY, Signal
from storage.postbacks.conversions import Received

TOO_LONG = f"body over {MAX_BODY:,} bytes"
FAILED = "could not be placed: kept, and can be replayed"
ONLY_TOO_LONG = (TOO_LONG,)
CUT = "the connection broke before the body was whole"
_LENGTHS = frozenset({b"content-length", b"transfer-encoding"})


class Answer:
    """What a sender gets: a status and some JSON."""

    __slots__ = ("_body", "_headers", "_lines", "_status")

    def __init__(self, status: int, content: dict[str, Any], *headers: tuple[bytes, bytes]) -> None:
        kind = b"application/problem+json" if "title" in content else b"application/json"
        self._status = status
        self._body = msgspec.json.encode(content)
        length = (b"content-length", str(len(self._body)).encode())
        self._headers = [(b"content-type", kind), length, (b"cache-control", b"no-store"), *headers]
        self._lines = tuple((b"%b: %b" % header).decode("ascii") for header in self._headers)

    async def give(self, send: Send) -> None:
        """Send it the ASGI way to a caller who may be gone."""
        body: Any = {"type": "http.response.body", "body": self._body, "more_body": False}
        with suppress(OSError):
            await send({"type": "http.response.start", "status": self._status, "headers": self._headers})
            await send(body)

    def at_once(self, rest: bytes) -> dict[str, Any]:
        """It with further headers, as the one message that a `send` of hub.web.listener takes as well."""
        return {
            "type": "http.response.whole", "status": self._status, "lines": self._lines, "rest": rest,
            "body": self._body,
        }  # fmt: skip


def header(scope: Scope, name: bytes) -> str:
    """A header's value, empty if it is not given."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def may_have_body(scope: Scope) -> bool:
    """A GET without a length has none, and waiting for it costs as much as reading the query."""
    if scope["method"] != "GET" or scope.get("http_version") == "2":  # type: ignore[typeddict-item]
        return True
    return not _LENGTHS.isdisjoint(dict(scope["headers"]))


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


def answer_for(done: Received, *, too_long: bool = False) -> Answer:
    """The outcome of a request, for its sender."""
    if done.outcome in _PLAIN and not done.reason:
        return _PLAIN[done.outcome]
    content: dict[str, Any] = {"outcome": done.outcome}
    if done.outcome is Outcome.REJECTED or done.reason:
        content["reason"] = done.reason
    if too_long:
        return Answer(413, content)
    if done.reason == FAILED:
        return Answer(500, content)
    return Answer(400 if done.outcome is Outcome.REJECTED else 200, content)


def spooled_answer(signal: Signal) -> Answer:
    """For the sender of a request that is on disk and is placed when the database is back."""
    if signal.outcome is Outcome.REJECTED:
        reason = "; ".join(signal.notes)
        return Answer(413 if signal.notes == ONLY_TOO_LONG else 400, {"outcome": signal.outcome, "reason": reason})
    return SPOOLED


#: What nearly all get.
_PLAIN = {outcome: Answer(200, {"outcome": outcome}) for outcome in Outcome if outcome is not Outcome.REJECTED}
UNKNOWN = Answer(404, {"title": "Not Found", "status": 404, "detail": "no such postback key"})
NOT_ALLOWED = Answer(
    405, {"title": "Method Not Allowed", "status": 405, "detail": "GET or POST"}, (b"allow", b"GET, POST, PUT, HEAD")
)
SPOOLED = Answer(200, {"outcome": Outcome.ACCEPTED, "reason": "kept on disk: it is placed when the database is back"})
UNAVAILABLE = Answer(503, {"title": "Unavailable", "status": 503, "detail": "not stored: please send it again"})
