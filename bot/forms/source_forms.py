"""Fields of a traffic source, read and checked: parameter names, postback templates, settings."""

import difflib
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from storage.clicks.plans import OURS
from storage.ledger.addresses import web_address
from storage.ledger.credentials import (
    HIDDEN,
    hide_credentials,
    is_credential_name,
    plain_credential,
    replace_credentials,
    replace_in_header,
)
from storage.ledger.errors import Refused
from storage.ledger.facts import Event
from storage.ledger.outbound.templates import MACROS, Success, unknown_macros

_EVENTS = tuple(event.value for event in Event)


def read_parameters(new: Any) -> dict[str, str]:
    """Our name -> theirs. Raises Refused for a name of ours there is none of."""
    parameters = dict(new.parameters)
    for ours in OURS:
        if getattr(new, ours) is not None:
            parameters[ours] = getattr(new, ours)
    for ours, theirs in parameters.items():
        if ours not in OURS:
            near = difflib.get_close_matches(ours, OURS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(OURS)}"
            raise Refused(f"parameters: no parameter {ours!r} of ours: {hint}", field="parameters")
        if not theirs or re.search(r"[\s&=#?]", theirs):
            raise Refused(f"{ours}: {theirs!r} cannot be a parameter name in a link", field=ours)
    return parameters


def read_postbacks(new: Any, stored: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Event -> template; `stored` are the source's own. Raises Refused naming the event whose template cannot work."""
    postbacks: dict[str, Any] = dict(new.postbacks)
    for event in _EVENTS:
        if getattr(new, event) is not None:
            postbacks[event] = getattr(new, event)
    return {event: _template(event, template) for event, template in restore_hidden(postbacks, stored).items()}


def separate_credentials(templates: Mapping[str, dict[str, Any]]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Templates with a placeholder for each credential written into them, and the credentials as the source's settings.

    So a credential is kept encrypted, and neither lists nor the audit trail nor the outbox hold it.
    """
    settings: dict[str, str] = {}
    return {event: _separate(event, template, settings) for event, template in templates.items()}, settings


def _separate(event: str, template: dict[str, Any], settings: dict[str, str]) -> dict[str, Any]:
    def placeholder(name: str, value: str) -> str:
        base = re.sub(r"[^a-z0-9]+", "_", f"{event}_{name}".lower()).strip("_")
        names = (base, *(f"{base}_{n}" for n in range(2, len(settings) + 3)))
        chosen = next(each for each in names if settings.get(each, value) == value)
        settings[chosen] = value
        return "{" + chosen.upper() + "}"

    texts = {part: replace_credentials(template[part], placeholder) for part in ("url", "body") if template.get(part)}
    headers = {
        name: replace_in_header(name, value, placeholder) for name, value in (template.get("headers") or {}).items()
    }
    return {**template, **texts, **({"headers": headers} if headers else {})}


def restore_hidden(postbacks: dict[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Templates that came back as they are shown, with the stored ones in their place. Raises Refused at the event."""
    shown = {event: hide_credentials(template) for event, template in stored.items()}
    return {event: _unhidden(event, template, shown, stored) for event, template in postbacks.items()}


def _unhidden(event: str, template: Any, shown: Mapping[str, Any], stored: Mapping[str, Any]) -> Any:
    parts = {"url": template} if isinstance(template, str) else dict(template)
    for part in ("url", "body", "headers"):
        if HIDDEN not in str(parts.get(part) or ""):
            continue
        if event not in shown or parts[part] != shown[event].get(part):
            raise Refused(f"{event}: write the credential itself where {HIDDEN} stands", field=event)
        parts[part] = stored[event][part]
    return parts["url"] if isinstance(template, str) else parts


def _template(event: str, value: Any) -> dict[str, Any]:
    if event not in _EVENTS:
        near = difflib.get_close_matches(event, _EVENTS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(_EVENTS)}"
        raise Refused(f"postbacks: no event {event!r}: {hint}", field="postbacks")
    template: dict[str, Any] = (
        {"url": value} if isinstance(value, str) else {n: v for n, v in value.items() if v is not None}
    )
    if template.get("api") or template.get("url") == "-":
        return template
    template["url"] = check_url(str(template.get("url") or ""), event)
    for text in (template["url"], str(template.get("body") or "")):
        _check_macros(text, event)
    method = str(template.get("method") or "GET").upper()
    if method not in {"GET", "POST", "PUT"}:
        raise Refused(f"{event}: method is GET, POST or PUT", field=event)
    return {**template, "method": method, **_success(template.get("success"), event)}


def _success(rule: Any, event: str) -> dict[str, Any]:
    """When an answer counts as taken, as it is kept. Raises Refused at the event for a rule that would say nothing."""
    if rule is None:
        return {}
    known = Success.__struct_fields__
    if not isinstance(rule, Mapping) or not rule or not set(rule) <= set(known):
        raise Refused(f"{event}: success holds {', '.join(known[:-1])} or {known[-1]}", field=event)
    texts = {
        name: [text] if isinstance(text := rule[name], str) else text for name in ("contains", "lacks") if name in rule
    }
    try:
        checked = msgspec.convert({**rule, **texts}, Success)
    except msgspec.ValidationError as error:
        raise Refused(f"{event}: success: {error}", field=event) from None
    if not all((*checked.contains, *checked.lacks)):
        raise Refused(f"{event}: success: an empty text is in every answer", field=event)
    return {"success": {name: value for name, value in msgspec.to_builtins(checked).items() if value}}


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
        hint = f"did you mean {{{near[0]}}}?" if near else f"there is {', '.join(f'{{{macro}}}' for macro in MACROS)}"
        raise Refused(f"{event}: no macro {{{unknown[0]}}}: {hint}", field=event)


def read_settings(words: list[str] | Mapping[str, str]) -> dict[str, str]:
    """The account's own values, names in lower case. Raises Refused for a word that is not name=value."""
    if isinstance(words, Mapping):
        return {name.lower(): _setting(name, str(value)) for name, value in words.items()}
    settings = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.strip():
            raise Refused(f"settings: {word[:20]!r} is not name=value, e.g. aid=123", field="settings")
        settings[name.strip().lower()] = _setting(name.strip(), value.strip())
    return settings


def _setting(name: str, value: str) -> str:
    return plain_credential(value, field="settings") if value and is_credential_name(name) else value
