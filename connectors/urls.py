"""Questions about URLs and what they carry."""

import contextlib
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qsl, urlencode, urlsplit

from storage.ledger.numbers import read_float


def retry_after(text: str | None, now: datetime) -> float | None:
    """Seconds to wait, from `120` or an HTTP date; None if the header is absent or unreadable."""
    if not text:
        return None
    with contextlib.suppress(ValueError):
        return max(0.0, read_float(text))
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds())


def same_place(first: str, other: str) -> bool:
    """Whether a redirect stays with the host we trusted: same host and port, and never from https down to http."""
    a, b = urlsplit(first), urlsplit(other)
    if a.hostname != b.hostname:
        return False
    if a.scheme == b.scheme:
        return _port(a.scheme, a.port) == _port(b.scheme, b.port)
    return (a.scheme, b.scheme) == ("http", "https") and a.port in {None, 80} and b.port in {None, 443}


def _port(scheme: str, port: int | None) -> int:
    return port or (443 if scheme == "https" else 80)


def without_secrets(url: str, secrets: Iterable[str]) -> str:
    """The URL without the query parameters that hold a secret of ours."""
    parts = urlsplit(url)
    hidden = set(secrets)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    visible = [(name, value) for name, value in pairs if value not in hidden]
    return url if len(visible) == len(pairs) else parts._replace(query=urlencode(visible)).geturl()


def joined(base: str | None, path: str) -> str:
    """An address and a path under it; what people paste of the path into the address is not doubled."""
    bare = (base or "").rstrip("/")
    begun = urlsplit(bare).path
    if begun and path.startswith(f"{begun}/"):
        path = path[len(begun) :]
    return bare + path


def with_params(url: str, params: Iterable[tuple[str, str]]) -> str:
    """The URL with parameters added to those it has."""
    added = urlencode(list(params))
    if not added:
        return url
    bare, _, fragment = url.partition("#")
    glue = "&" if "?" in bare else "?"
    return f"{bare}{glue}{added}" + (f"#{fragment}" if fragment else "")
