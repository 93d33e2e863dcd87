"""What people give of a traffic source, read and checked: parameter names, postback templates, settings."""

import difflib
import re
from collections.abc import Mapping
from typing import Any

from storage.ledger.addresses import web_address
from storage.ledger.errors import Refused
from storage.ledger.facts import Event
from storage.ledger.postbacks.outbound_templates import MACROS, unknown_macros

OURS = ("click_id", "cost", "currency", *(f"sub{n}" for n in range(1, 11)))
_EVENTS = tuple(event.value for event in Event)


def given_parameters(new: Any) -> dict[str, str]:
    """Our name -> theirs. Raises Refused for a name of ours there is none of."""
    found = dict(new.parameters)
    for ours in OURS:
        if getattr(new, ours) is not None:
            found[ours] = getattr(new, ours)
    for ours, theirs in found.items():
        if ours not in OURS:
            near = difflib.get_close_matches(ours, OURS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(OURS)}"
            raise Refused(f"parameters: no parameter {ours!r} of ours: {hint}", field="parameters")
        if not theirs or re.search(r"[\s&=#?]", theirs):
            raise Refused(f"{ours}: {theirs!r} cannot be a parameter name in a link", field=ours)
    return found


def given_postbacks(new: Any) -> dict[str, dict[str, Any]]:
    """Event -> template. Raises Refused naming the event whose template cannot work."""
    told: dict[str, Any] = dict(new.postbacks)
    for event in _EVENTS:
        if getattr(new, event) is not None:
            told[event] = getattr(new, event)
    return {event: _template(event, one) for event, one in told.items()}


def _template(event: str, given: Any) -> dict[str, Any]:
    if event not in _EVENTS:
        near = difflib.get_close_matches(event, _EVENTS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(_EVENTS)}"
        raise Refused(f"postbacks: no event {event!r}: {hint}", field="postbacks")
    one: dict[str, Any] = {"url": given} if isinstance(given, str) else dict(given)
    if one.get("api") or one.get("url") == "-":
        return one
    one["url"] = check_url(str(one.get("url") or ""), event)
    for text in (one["url"], str(one.get("body") or "")):
        _check_macros(text, event)
    method = str(one.get("method") or "GET").upper()
    if method not in {"GET", "POST", "PUT"}:
        raise Refused(f"{event}: method is GET, POST or PUT", field=event)
    return {**one, "method": method}


def check_url(url: str, field: str) -> str:
    """A template's address. Raises Refused at `field`."""
    url = url.strip()
    netloc = url.partition("://")[2].partition("/")[0].partition("?")[0]
    if re.search(r"\{[a-z]", netloc):
        raise Refused(
            f"{field}: a macro in the host would send conversions anywhere: put it after the host", field=field
        )
    return web_address(url, field=field, user_info=True)


def _check_macros(text: str, event: str) -> None:
    unknown = unknown_macros(text)
    if unknown:
        near = difflib.get_close_matches(unknown[0], MACROS, n=1, cutoff=0.4)
        hint = f"did you mean {{{near[0]}}}?" if near else f"there is {', '.join(f'{{{one}}}' for one in MACROS)}"
        raise Refused(f"{event}: no macro {{{unknown[0]}}}: {hint}", field=event)


def given_settings(given: list[str] | Mapping[str, str]) -> dict[str, str]:
    """The account's own values, names in lower case. Raises Refused for a word that is not name=value."""
    if isinstance(given, Mapping):
        return {name.lower(): str(value) for name, value in given.items()}
    found = {}
    for word in given:
        name, equals, value = word.partition("=")
        if not equals or not name.strip():
            raise Refused(f"settings: {word[:20]!r} is not name=value, e.g. aid=123", field="settings")
        found[name.strip().lower()] = value.strip()
    return found
