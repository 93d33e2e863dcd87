"""Cloudflare: registrar and DNS host.

Source: the official SDK cloudflare 5.9.0 and developers.cloudflare.com/api (registrar, zones, dns_records). Prices are
strings; a registration is billed at once and cannot be returned, the domain's name being its idempotency key.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from connectors.domains.base import Login, Order, Quote, Zone, decoded, micros, registered_until
from connectors.http import Http
from storage.ledger.errors import ConnectorError
from storage.ledger.hostnames import bought

name = "cloudflare"
title = "Cloudflare"
base_url = "https://api.cloudflare.com/client/v4"
sells = True
hosts_dns = True
_STATES = {"succeeded": "registered", "failed": "failed", "blocked": "failed"}


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    token: Annotated[str, Meta(description="API token with registrar, zone and DNS rights")]
    account_id: Annotated[str, Meta(description="account id")]


credentials = Credentials


async def check(http: Http, login: Login, names: Sequence[str]) -> list[Quote]:
    result = await _call(http, login, "POST", _registrar(login, "domain-check"), {"domains": list(names)})
    return [_quote(offer) for offer in result.get("domains", [])]


def _quote(offer: dict[str, Any]) -> Quote:
    pricing = offer.get("pricing") or {}
    return Quote(
        name=offer["name"], available=bool(offer.get("registrable")), price=micros(pricing.get("registration_cost")),
        renewal=micros(pricing.get("renewal_cost")), currency=pricing.get("currency", "USD"),
        premium=offer.get("tier") == "premium", reason=(offer.get("reason") or "").replace("_", " "),
    )  # fmt: skip


async def register(http: Http, login: Login, quote: Quote) -> Order:
    body = {"domain_name": quote.name, "years": 1, "auto_renew": False, "privacy_mode": "redaction"}
    try:
        result = await _call(http, login, "POST", _registrar(login, "registrations"), body, tries=1)
    except ConnectorError as error:
        if error.permanent:
            return Order(state="failed", detail=str(error))
        return Order(state="unknown", detail=str(error))
    return _order(result)


async def order(http: Http, login: Login, domain: str) -> Order:
    try:
        path = _registrar(login, f"registrations/{domain}/registration-status")
        return _order(await _call(http, login, "GET", path))
    except _NotFound:
        return Order(state="absent", detail="Cloudflare knows of no order")


def _order(result: dict[str, Any]) -> Order:
    state = result.get("state", "pending")
    error = result.get("error") or {}
    detail = error.get("message") or (
        "action required in the Cloudflare panel" if state == "action_required" else state
    )
    return Order(
        state=_STATES.get(state, "pending"), detail=detail,  # type: ignore[arg-type]
        registered_until=registered_until((result.get("context") or {}).get("expires_at")),
    )  # fmt: skip


async def zone(http: Http, login: Login, domain: str) -> Zone:
    root = bought(domain)
    zones = await _call(http, login, "GET", "/zones", params=(("name", root),))
    if not zones:
        body = {"name": root, "account": {"id": login.credentials["account_id"]}, "type": "full"}
        zones = [await _call(http, login, "POST", "/zones", body)]
    zone = zones[0]
    return Zone(id=zone["id"], servers=tuple(zone.get("name_servers") or ()), active=zone.get("status") == "active")


async def put_records(http: Http, login: Login, zone: Zone, records: Sequence[Any]) -> None:
    for host in dict.fromkeys(record.name for record in records):
        there = await _call(http, login, "GET", f"/zones/{zone.id}/dns_records", params=(("name", host),))
        needed = [(record.type, record.value) for record in records if record.name == host]
        for old in there:
            if old["type"] in {"A", "AAAA", "CNAME"} and (old["type"], old["content"]) not in needed:
                await _call(http, login, "DELETE", f"/zones/{zone.id}/dns_records/{old['id']}")
        have = {(old["type"], old["content"]) for old in there}
        for type_, value in needed:
            if (type_, value) not in have:
                body = {"type": type_, "name": host, "content": value, "ttl": 1, "proxied": False}
                await _call(http, login, "POST", f"/zones/{zone.id}/dns_records", body)


class _NotFound(ConnectorError):
    pass


def _registrar(login: Login, path: str) -> str:
    return f"/accounts/{login.credentials['account_id']}/registrar/{path}"


async def _call(
    http: Http,
    login: Login,
    method: str,
    path: str,
    body: Any = None,
    *,
    params: Sequence[tuple[str, str]] = (),
    tries: int = 3,
) -> Any:
    """The `result` of an answer's envelope. Raises ConnectorError with Cloudflare's own words."""
    headers = {"Authorization": f"Bearer {login.credentials['token']}", "Content-Type": "application/json"}
    answer = await http.send(
        method, login.base_url + path, headers=headers, params=params, secrets=login.secrets, redirects=0, tries=tries,
        body=msgspec.json.encode(body) if body is not None else None,
    )  # fmt: skip
    content = decoded(answer, title)
    if isinstance(content, dict) and content.get("success"):
        return content.get("result")
    errors = content.get("errors") or [] if isinstance(content, dict) else []
    words = "; ".join(str(error.get("message", error)) for error in errors) or f"status {answer.status}"
    kind = _NotFound if answer.status == 404 else ConnectorError
    raise kind(f"Cloudflare: {words}", permanent=400 <= answer.status < 500 and answer.status not in {408, 429})
