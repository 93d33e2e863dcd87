"""A number for each request of the team: in the answer's header and in every log line that the request causes."""

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import structlog

HEADER = b"x-request-id"
_SOUND = re.compile(rb"[A-Za-z0-9._-]{8,64}")


def named(scope: Any, send: Any) -> Callable[[Any], Any]:
    """Bind the request's id to the log of its task, and wrap `send` so that the answer says it.

    A proxy's own id is kept where it has 8 to 64 letters, digits, dots, hyphens or underscores.
    """
    sent = next((value for name, value in scope["headers"] if name == HEADER and _SOUND.fullmatch(value)), b"")
    request_id = sent or uuid4().hex.encode()
    structlog.contextvars.bind_contextvars(request_id=request_id.decode())

    def sending(event: Any) -> Any:
        if event["type"] == "http.response.start":
            event = {**event, "headers": [*event["headers"], (HEADER, request_id)]}
        return send(event)

    return sending
