"""What a visitor's browser gets: redirects, cookies, the few small pages."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from storage.clicks.write_jobs import Agent
from storage.ledger.clicks.visitor import DAY_SECONDS, cookie_text

_NO_STORE = (b"cache-control", b"no-store")
_EMPTY = (b"content-length", b"0")
_HTML = (b"content-type", b"text/html; charset=utf-8")
_NO_BODY: dict[str, Any] = {"type": "http.response.body", "body": b""}
_CARRIED = "cf_click"

Headers = Sequence[tuple[bytes, bytes]]
Answer = tuple[dict[str, Any], dict[str, Any]]
"""The two messages ASGI wants: start with headers, body."""

#: The user agent of a click whose request could not be read.
UNREAD = Agent("", "other")

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;margin:20vh auto;max-width:24rem;padding:0 1rem;text-align:center}}
@media(prefers-color-scheme:dark){{body{{background:#111;color:#eee}}}}</style>
<h1>{title}</h1><p>{text}</p></html>"""


def as_json(extra: Any) -> str:
    return msgspec.json.encode(extra).decode()


def redirection(url: str, cookies: Iterable[str] = ()) -> Answer:
    """302 to a configured URL; the only places a visitor is ever sent to. `cookies` are the values of their headers."""
    location = (b"location", url.encode("ascii", "ignore"))
    headers = [location, _NO_STORE, _EMPTY, *((b"set-cookie", cookie.encode()) for cookie in cookies)]
    return {"type": "http.response.start", "status": 302, "headers": headers}, _NO_BODY


class Added:
    """Headers that every answer is to carry; `rest` is a redirect's head from where it leads on, without cookies."""

    __slots__ = ("headers", "rest")

    def __init__(self, headers: Headers = ()) -> None:
        self.headers = headers
        self.rest = b"".join(b"%b: %b\r\n" % header for header in (_NO_STORE, _EMPTY, *headers))


NOTHING_ADDED = Added()


def redirection_at_once(url: str, cookies: Sequence[str], added: Added) -> dict[str, Any]:
    """The same, with the values of cookies, as the one message that a `send` of hub.web.listener takes as well."""
    lines = [f"location: {url}"]
    for cookie in cookies:
        lines.append(f"set-cookie: {cookie}")
    return {"type": "http.response.whole", "status": 302, "lines": lines, "rest": added.rest}


def with_headers(answer: Answer, added: Headers) -> Answer:
    """An answer with further headers."""
    start, body = answer
    return {**start, "headers": [*start["headers"], *added]}, body


def without_redirect(word: str, origin: str) -> Answer:
    """The click's id for the script of a page that lies elsewhere, which may read it at that page's origin only."""
    body = msgspec.json.encode({"click": word})
    headers = [
        (b"content-type", b"application/json"), _NO_STORE, (b"content-length", str(len(body)).encode()),
        (b"access-control-allow-origin", origin.encode()), (b"vary", b"origin"),
    ]  # fmt: skip
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    return start, {"type": "http.response.body", "body": body}


def asks_for_id(headers: Mapping[bytes, bytes], origin: str) -> bool:
    """Whether a request comes from the script of the page at that origin."""
    return headers.get(b"accept") == b"application/json" and headers.get(b"origin", b"") == origin.encode()


def without_body(answer: Answer, method: str) -> Answer:
    """The answer to HEAD has the headers only."""
    return (answer[0], _NO_BODY) if method == "HEAD" else answer


async def give(send: Any, answer: Answer) -> None:
    """Send an answer the ASGI way."""
    await send(answer[0])
    await send(answer[1])


def _page(title: str, text: str, *, status: int = 404) -> Answer:
    page = _PAGE.format(title=title, text=text).encode()
    headers = [_HTML, _NO_STORE, (b"content-length", str(len(page)).encode())]
    start = {"type": "http.response.start", "status": status, "headers": headers}
    return start, {"type": "http.response.body", "body": page}


UNKNOWN = _page("Page not found", "This link is not in use. Please check the address.")
#: The campaign has neither offer nor site nor fallback.
NOWHERE = _page("Not available", "There is nothing here at the moment.")
#: All offers are paused or full, and there is no fallback.
NOTHING_OPEN = _page("Not available", "There is nothing here at the moment.", status=200)
NOT_ALLOWED: Answer = (
    {"type": "http.response.start", "status": 405, "headers": [(b"allow", b"GET, HEAD"), _EMPTY]},
    _NO_BODY,
)


class CookieFactory:
    """Makes the values of our set-cookie headers."""

    def __init__(self, *, secure: bool) -> None:
        self._rest = f"; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"
        self._day = {path: f"; Max-Age={DAY_SECONDS}; Path={path}{self._rest}" for path in ("/c/", "/go/")}

    def remembered(self, place: int, word: str, offers: Iterable[int], *, path: str, seconds: int = DAY_SECONDS) -> str:
        """First click and offers seen at a place (storage.ledger.clicks.visitor)."""
        return f"cf{place}={cookie_text(word, offers)}; Max-Age={seconds}; Path={path}{self._rest}"

    def first(self, place: int, word: str, offer_id: int, path: str) -> str:
        """The same of a visitor's first click, for a day: what most clicks set."""
        return f"cf{place}={word}-{offer_id}{self._day[path]}"

    def carried(self, word: str) -> str:
        """The click a visitor takes along from a campaign to its site, should the site's link lose it."""
        return f"{_CARRIED}={word}; Max-Age={DAY_SECONDS}; Path=/go/{self._rest}"


def cookie_value(header: bytes, place: int) -> str | None:
    return _value(header, f"cf{place}=")


def carried_value(header: bytes) -> str | None:
    return _value(header, f"{_CARRIED}=")


def _value(header: bytes, start: str) -> str | None:
    for part in header.decode("latin-1").split(";"):
        part = part.strip()
        if part.startswith(start):
            return part[len(start) :]
    return None
