"""Credentials inside the addresses, bodies and headers that people give: found by their names, or by how they look.

A value that holds a macro (`{click_id}`, `{API_KEY}`) is no credential; it stands for one, or for something else.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, unquote_plus

from storage.ledger.errors import Refused

HIDDEN = "•••"
_LONG = 20  # characters of a value that looks random

_NAME = re.compile(
    r"(?:key|token|secret|pass|passwd|password|passphrase|pwd|signature|auth|authorization|credentials?|cookie|hash)$"
)
_RANDOM = re.compile(rf"(?=[^/]*\d)(?=[^/]*[A-Za-z])[A-Za-z0-9_\-]{{{_LONG},}}")
_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)+")
_ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.\-]*://)(?P<netloc>[^/?#\s]*)(?P<path>[^?#\s]*)(?P<rest>.*)", re.S)
_PAIR = re.compile(r"(?P<before>(?:^|[?&;\s])(?P<name>[\w.\-\[\]]+)=)(?P<value>[^&;#\s\"']+)")
_MEMBER = re.compile(r"(?P<before>\"(?P<name>[\w.\-]+)\"\s*:\s*\")(?P<value>(?:[^\"\\]|\\.)+)")

#: Given a name and a credential as it is sent, what stands in its place.
Replace = Callable[[str, str], str]


def plain_credential(text: str, *, field: str) -> str:
    """A credential as it goes into a header or a query, without blanks around it.

    Raises Refused, without the value, for characters that no platform hands out: a header holds ASCII only.
    """
    value = text.strip()
    odd = next((n for n, letter in enumerate(value, 1) if not " " < letter < "\x7f"), None)
    if odd is None:
        return value
    raise Refused(
        f"{field}: character {odd} is no Latin letter, digit or sign (a space, an accent, a digit of another script): "
        "copy the value from the platform again",
        field=field,
    )


def is_credential_name(name: str) -> bool:
    """Whether a parameter, header or setting of that name holds a credential: `api_key`, `X-Auth-Token`."""
    return _NAME.search(name.lower().strip("[]")) is not None


def looks_secret(word: str) -> bool:
    """Whether a word of a line may be, or hold, a credential: `token=…`, or long and random; codes are not."""
    if hide_credentials(word) != word:
        return True
    value = word.rpartition("=")[2]
    return _RANDOM.fullmatch(value) is not None and _SLUG.fullmatch(value) is None


def replace_credentials(text: str, replace: Replace) -> str:
    """An address, or the body of a request (a form or JSON), with each credential in it replaced."""
    address = _ADDRESS.fullmatch(text.strip())
    if address is None:
        return _MEMBER.sub(_replacing(replace, str), _PAIR.sub(_replacing(replace, unquote_plus), text))
    user, colon, password = address["netloc"].rpartition("@")[0].partition(":")
    netloc = address["netloc"]
    if colon and _is_literal(password):
        netloc = f"{user}:{replace('password', unquote(password))}@{netloc.rpartition('@')[2]}"
    segments = [
        replace("path", unquote(segment)) if _RANDOM.fullmatch(segment) else segment
        for segment in address["path"].split("/")
    ]
    rest = _PAIR.sub(_replacing(replace, unquote_plus, random=True), address["rest"])
    return f"{address['scheme']}{netloc}{'/'.join(segments)}{rest}"


def replace_in_header(name: str, value: str, replace: Replace) -> str:
    """A header's value, replaced where the header is one that holds a credential. `Bearer ` stays."""
    scheme, space, secret = value.rpartition(" ")
    is_secret = is_credential_name(name) or scheme.lower() in {"bearer", "basic", "token"}
    return f"{scheme}{space}{replace(name, secret)}" if is_secret and _is_literal(secret) else value


def hide_credentials(value: Any, name: str = "") -> Any:
    """A value as it may be shown and kept in the audit trail; `name` is what it is called where it stands."""
    if isinstance(value, Mapping):
        return {key: hide_credentials(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [hide_credentials(inner, name) for inner in value]
    if not isinstance(value, str) or not value:
        return value
    if name and is_credential_name(name) and _is_literal(value):
        return HIDDEN
    return replace_in_header(name, replace_credentials(value, _hide), _hide)


def _hide(_name: str, _value: str) -> str:
    return HIDDEN


def _replacing(replace: Replace, decode: Callable[[str], str], *, random: bool = False) -> Callable[[Any], str]:
    def replaced(match: re.Match[str]) -> str:
        name, value = match["name"], match["value"]
        is_secret = is_credential_name(name) or (random and _RANDOM.fullmatch(value) is not None)
        return match["before"] + (replace(name, decode(value)) if is_secret and _is_literal(value) else value)

    return replaced


def _is_literal(value: str) -> bool:
    return bool(value) and "{" not in value and HIDDEN not in value
