"""Macros of another tracker's offer addresses, translated to ours; what is not known stays as it is, and is named."""

import re
from collections.abc import Mapping

from storage.ledger.clicks.macros import MACROS, check_url
from storage.ledger.errors import Refused
from storage.ledger.facts import SUBS

_MACRO = re.compile(r"\{([^{}]*)\}")


def translated(url: str, ours_of: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """The address with our macros, and the names of those unknown, which keep their braces percent-encoded."""
    unknown: list[str] = []

    def replace(match: re.Match[str]) -> str:
        name = match[1].lower()
        ours = ours_of.get(name)
        if ours is None and name in MACROS:
            ours = name
        if ours is None:
            unknown.append(match[1])
            return f"%7B{match[1]}%7D"
        return f"{{{ours}}}"

    return _MACRO.sub(replace, url.strip()), tuple(dict.fromkeys(unknown))


def with_query(url: str, query: str) -> str:
    """An address with more parameters behind its own."""
    query = query.strip().lstrip("?&")
    if not query:
        return url
    return f"{url}{'&' if '?' in url else '?'}{query}"


def address_fault(url: str) -> str:
    """Why an address can never be redirected to; empty if it can."""
    try:
        check_url(url)
    except Refused as error:
        return str(error)
    return ""


def subs(name: str) -> dict[str, str]:
    """`{sub_id_1}` … as our sub1 …: `name` has `#` in place of the number."""
    return {name.replace("#", str(n)): ours for n, ours in enumerate(SUBS, 1)}
