"""Macros in offer URLs: `{click_id}`, `{sub1}` … checked when an offer is saved, filled in when a click goes there."""

import difflib
import re
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import quote

from storage.ledger.addresses import web_address
from storage.ledger.errors import Refused
from storage.ledger.facts import SUBS

MACROS = (
    "click_id",
    "campaign",
    "site",
    "offer",
    "source",
    "source_click_id",
    *SUBS,
    "country",
    "device",
    "timestamp",
    "random",
)
_ALWAYS_PLAIN = frozenset({"click_id", "timestamp", "random"})  # macros whose values are letters and digits of ours
_MACRO = re.compile(r"\{([^{}]*)\}")
_UNREPLACED = re.compile(r"\$?\{.+\}|\[.+\]|##.+##|__.+__", re.DOTALL)
_PLAIN = re.compile(r"[A-Za-z0-9._~-]*").fullmatch  # what URL-encoding leaves as it is
_UNSAFE = re.compile(r"[\x00-\x20\x7f]")
# What may stand in a URL as it is; anything else of a configured URL is percent-encoded, `%` being left alone.
_URL_SAFE = "!#$%&'()*+,/:;=?@[]~{}"

T = TypeVar("T")
Values = Callable[[str], str]
"""Gives a macro's value for one click, not yet encoded."""


class Template:
    """An offer or fallback URL taken apart once, filled in per click."""

    __slots__ = ("_places", "parts", "text")

    def __init__(self, url: str) -> None:
        self.text = url
        pieces = _MACRO.split(quote(url.strip(), safe=_URL_SAFE))
        #: Fixed text and macro names in turn; the first and the last are fixed text.
        self.parts: tuple[str, ...] = tuple(pieces)
        self._places = tuple((n, macro, macro in _ALWAYS_PLAIN) for n, macro in tuple(enumerate(pieces))[1::2])

    def fill(self, values: Values) -> str:
        """The URL with every macro replaced by its URL-encoded value."""
        parts = self.parts
        if len(parts) == 1:
            return parts[0]
        out = list(parts)
        for n in range(1, len(out), 2):
            out[n] = _encoded(values(out[n]))
        return "".join(out)

    def fill_for(self, subject: T, readers: Mapping[str, Callable[[T], str]]) -> str:
        """The same, each macro's value read from `subject` by its reader; two calls less per macro."""
        out = list(self.parts)
        for n, macro, always_plain in self._places:
            value = readers[macro](subject)
            plain = always_plain or (value.isascii() and value.isalnum()) or _PLAIN(value)
            out[n] = value if plain else quote(value, safe="", errors="replace")
        return "".join(out)

    @property
    def macros(self) -> tuple[str, ...]:
        return self.parts[1::2]


def _encoded(value: str) -> str:
    if (value.isalnum() and value.isascii()) or _PLAIN(value):
        return value
    return quote(value, safe="", errors="replace")


def check_url(url: str, *, field: str = "url", wants_click_id: bool = True) -> list[str]:
    """Warnings about a tracking URL. Raises Refused at `field` for what can never be redirected to.

    Refused are other schemes than http and https, a macro in the host, an unknown macro (with the nearest), spaces
    and control characters. Without `{click_id}` there is a warning, since conversions could not be matched.
    """
    text = url.strip()
    if _UNSAFE.search(text):
        raise Refused(f"{field} holds a space or control character: remove or percent-encode it", field=field)
    _check_host(text, field)
    for name in _MACRO.findall(text):
        if name not in MACROS:
            raise Refused(f"{field}: no macro {{{name}}}: {_nearest(name)}", field=field)
    if wants_click_id and "{click_id}" not in text:
        return ["the URL carries no {click_id}: postbacks and revenue cannot be matched to clicks"]
    return []


def _check_host(text: str, field: str) -> None:
    netloc = text.partition("://")[2].partition("/")[0].partition("?")[0]
    if "{" in netloc or "}" in netloc:
        raise Refused(f"{field}: a macro cannot stand in the host {netloc[:80]!r}: write the host out", field=field)
    web_address(text, field=field)


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), MACROS, n=1, cutoff=0.4)
    macros = ", ".join(f"{{{macro}}}" for macro in MACROS if macro not in SUBS[1:-1])
    return f"did you mean {{{near[0]}}}?" if near else f"there is {macros}"


def unreplaced(value: str) -> bool:
    """Whether a parameter's whole value is a macro that the traffic source did not fill in."""
    return value[:1] in {"{", "$", "[", "#", "_"} and _UNREPLACED.fullmatch(value) is not None
