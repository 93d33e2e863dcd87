"""What commands ask of registrars, over the real connectors."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from connectors.domains import rdap
from connectors.domains.base import Login, Quote
from connectors.domains.registry import REGISTRARS, registrar
from connectors.http import Http
from hub.runtime.settings import Settings
from storage.catalogue.registrars import SAFE_BROWSING
from storage.ledger.errors import Refused


def kinds() -> dict[str, type[msgspec.Struct]]:
    """Credentials struct of each registrar."""
    return {name: registrar(name).credentials for name in REGISTRARS}


def login_of(kind: str, credentials: Mapping[str, str], options: Mapping[str, Any]) -> Login:
    base_url = options.get("base_url") or registrar(kind).base_url
    return Login(base_url=str(base_url).rstrip("/"), credentials=dict(credentials), options=dict(options))


async def quotes(settings: Settings, login: dict[str, Any] | None, names: Sequence[str]) -> list[dict[str, Any]]:
    """Quotes from a registrar, as plain values; without a login only whether a name is taken (RDAP)."""
    async with Http(allow_private=settings.allow_private_hosts, seconds=20.0) as http:
        if login is None:
            quotes = [await _registered(http, name) for name in names]
        else:
            connector = registrar(login["kind"])
            quotes = await connector.check(http, login_of(login["kind"], login["credentials"], login["options"]), names)
    builtins: list[dict[str, Any]] = msgspec.to_builtins(quotes)
    return builtins


async def _registered(http: Http, name: str) -> Quote:
    registration = await rdap.look_up(http, name)
    reason = f"taken{f' until {registration.until}' if registration.until else ''}" if registration.registered else ""
    return Quote(name=name, available=not registration.registered, reason=reason)


def read_credentials(kind: str, values: Mapping[str, Any]) -> dict[str, str]:
    """The fields a registrar needs. Raises Refused at the one that is missing."""
    safe_browsing = kind.strip().lower() == SAFE_BROWSING
    fields = ["api_key"] if safe_browsing else [f.name for f in msgspec.structs.fields(registrar(kind).credentials)]
    for name in fields:
        if not values.get(name):
            raise Refused(f"{name}: {kind} needs it", field=name)
    return {name: str(values[name]) for name in fields}
