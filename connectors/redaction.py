"""Secrets taken out of whatever people or logs may see."""

import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

from storage.ledger.credentials import HIDDEN

_SECRET_NAME = re.compile(r"(?i)(token|key|secret|pass|auth|sign|credential|session)")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text with every secret of four or more characters replaced, as it is and URL-encoded."""
    for secret in sorted({secret for secret in secrets if len(secret) >= 4}, key=len, reverse=True):
        for form in {secret, quote(secret, safe=""), quote_plus(secret)}:
            text = text.replace(form, HIDDEN)
    return text


def place(url: str) -> str:
    """Where a URL leads, without what may be secret in it: scheme, host, port, path; no query, no user."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "the address"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def query_secrets(url: str) -> list[str]:
    """Values in a URL's query that are likely secrets: named like one, or long and not a list of words."""
    values = []
    for name, value in parse_qsl(urlsplit(url).query):
        if _SECRET_NAME.search(name) or re.fullmatch(r"[A-Za-z0-9_\-+/=.]{20,}", value):
            values.append(value)
    return values
