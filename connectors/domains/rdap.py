"""RDAP (RFC 9083): who is registered, until when; answered by the registries through rdap.org."""

from datetime import date
from typing import Any

import msgspec

from connectors.http import Http
from storage.ledger.dates import read_day
from storage.ledger.errors import ConnectorError
from storage.ledger.hostnames import bought

BASE = "https://rdap.org"


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """What the registry says. `status` are its own words, e.g. "client hold"."""

    registered: bool
    until: date | None = None
    status: tuple[str, ...] = ()


async def look_up(http: Http, name: str, *, base: str = BASE) -> Registration:
    """The registration of the domain a name is in. Raises ConnectorError if no registry answers."""
    answer = await http.get(f"{base}/domain/{bought(name)}", headers={"Accept": "application/rdap+json"}, tries=2)
    if answer.status == 404:
        return Registration(registered=False)
    if answer.status != 200:
        raise ConnectorError(f"the registry of {bought(name)} answered {answer.status}")
    return read(answer.body)


def read(raw: bytes) -> Registration:
    try:
        content: dict[str, Any] = msgspec.json.decode(raw)
        events = {event.get("eventAction"): event.get("eventDate") for event in content.get("events") or []}
        expires = events.get("expiration")
        until = read_day(expires) if expires else None
    except (msgspec.DecodeError, AttributeError, ValueError, TypeError):
        raise ConnectorError("the registry's answer cannot be read", raw=raw) from None
    status = tuple(str(text) for text in content.get("status") or [])
    return Registration(registered=True, until=until, status=status)
