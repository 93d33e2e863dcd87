"""Headers that every answer carries; what a handler sets itself stays as it is."""

from collections.abc import Callable
from typing import Any

Headers = tuple[tuple[bytes, bytes], ...]

_HSTS = (b"strict-transport-security", b"max-age=31536000")
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
_PAGES: Headers = (
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), payment=()"),
    (b"cache-control", b"no-store"),
)


class SecurityHeaders:
    """Wraps a `send` so that a response begins with the headers of its kind."""

    def __init__(self, *, https: bool) -> None:
        #: Those of `for_visitors`, for who puts them in himself.
        self.visitors: Headers = (_HSTS, _NO_SNIFFING) if https else (_NO_SNIFFING,)
        self.visitors_lines = b"".join(b"%b: %b\r\n" % header for header in self.visitors)
        self._team: Headers = self.visitors + _PAGES

    def for_visitors(self, send: Any) -> Callable[[Any], Any]:
        """Clicks, postbacks and sites: nothing that changes what a browser tells the next page."""
        return _with(send, self.visitors)

    def for_team(self, send: Any) -> Callable[[Any], Any]:
        """The API, the cockpit and the chats' endpoints: nothing of them is kept, framed or referred to."""
        return _with(send, self._team)


def _with(send: Any, added: Headers) -> Callable[[Any], Any]:
    def sending(event: Any) -> Any:
        if event["type"] == "http.response.start":
            headers = list(event["headers"])
            present = {name for name, _ in headers}
            event = {**event, "headers": headers + [header for header in added if header[0] not in present]}
        return send(event)

    return sending
