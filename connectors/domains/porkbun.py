"""Porkbun: registrar and DNS host.

Source: porkbun.com/api/json/v3/spec and the package pkb-client 2.3.1. One availability check per ten seconds or so.
`domain/create` wants the cost in whole US cents, equal to the quote; the names of its fields are taken from the guide
and not verified against a purchase, so `cost_field` and `terms_field` can be set.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from connectors.domains.base import Login, Order, Quote, Zone, decoded, micros, registered_until
from connectors.http import Http
from storage.ledger.errors import ConnectorError
from storage.ledger.hostnames import bought, within

name = "porkbun"
title = "Porkbun"
base_url = "https://api.porkbun.com/api/json/v3"
sells = True
hosts_dns = True


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    api_key: Annotated[str, Meta(description="API key (pk1_…)")]
    secret_key: Annotated[str, Meta(description="secret API key (sk1_…)")]


credentials = Credentials


async def check(http: Http, login: Login, names: Sequence[str]) -> list[Quote]:
    return [_quote(name, await _call(http, login, f"/domain/checkDomain/{name}")) for name in names]


def _quote(domain: str, answer: dict[str, Any]) -> Quote:
    offer = answer.get("response") or {}
    renewal = ((offer.get("additional") or {}).get("renewal") or {}).get("price")
    return Quote(
        name=domain, available=offer.get("avail") == "yes", price=micros(offer.get("price")),
        renewal=micros(renewal or offer.get("regularPrice")), premium=offer.get("premium") == "yes",
        reason="" if offer.get("avail") == "yes" else "taken",
    )  # fmt: skip


async def register(http: Http, login: Login, quote: Quote) -> Order:
    if quote.price is None:
        return Order(state="failed", detail="Porkbun named no price")
    cost, terms = login.options.get("cost_field", "cost"), login.options.get("terms_field", "agreeToTerms")
    body = {cost: quote.price // 10_000, terms: "yes"}
    try:
        headers = {"Idempotency-Key": f"casinoflux-{quote.name}"}
        await _call(http, login, f"/domain/create/{quote.name}", body, tries=1, headers=headers)
    except ConnectorError as error:
        return Order(state="failed" if error.permanent else "unknown", detail=str(error))
    try:
        return await order(http, login, quote.name)
    except ConnectorError as error:  # it is paid: what failed is the look at it
        return Order(state="pending", detail=str(error))


async def order(http: Http, login: Login, domain: str) -> Order:
    answer = await _call(http, login, "/domain/listAll", {"start": "0"})
    for entry in answer.get("domains") or []:
        if str(entry.get("domain", "")).lower() == domain:
            until = registered_until(entry.get("expireDate"))
            return Order(state="registered", detail="registered at Porkbun", registered_until=until)
    return Order(state="absent", detail="not among the account's domains")


async def zone(http: Http, login: Login, domain: str) -> Zone:
    root = bought(domain)
    await _call(http, login, f"/dns/retrieve/{root}")
    return Zone(id=root)


async def put_records(http: Http, login: Login, zone: Zone, records: Sequence[Any]) -> None:
    there = (await _call(http, login, f"/dns/retrieve/{zone.id}")).get("records") or []
    needed = {(record.type, record.name, record.value) for record in records}
    names = {record.name for record in records}
    have = {(entry["type"], entry["name"].lower(), entry["content"]) for entry in there}
    for old in there:
        key = old["type"], old["name"].lower(), old["content"]
        if key[1] in names and key[0] in {"A", "AAAA", "CNAME", "ALIAS"} and key not in needed:
            await _call(http, login, f"/dns/delete/{zone.id}/{old['id']}")
    for type_, host, value in sorted(needed - have):
        body = {"type": type_, "name": within(host), "content": value, "ttl": "600"}
        await _call(http, login, f"/dns/create/{zone.id}", body)


async def _call(
    http: Http,
    login: Login,
    path: str,
    body: dict[str, Any] | None = None,
    *,
    tries: int = 3,
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    """An answer with status SUCCESS. Raises ConnectorError with Porkbun's own words."""
    keys = {"apikey": login.credentials["api_key"], "secretapikey": login.credentials["secret_key"]}
    answer = await http.send(
        "POST", login.base_url + path, headers={"Content-Type": "application/json", **(headers or {})}, tries=tries,
        body=msgspec.json.encode({**keys, **(body or {})}), secrets=login.secrets, redirects=0,
    )  # fmt: skip
    content = decoded(answer, title)
    if isinstance(content, dict) and content.get("status") == "SUCCESS":
        return content
    words = content.get("message") if isinstance(content, dict) else None
    raise ConnectorError(
        f"Porkbun: {words or f'status {answer.status}'}",
        permanent=400 <= answer.status < 500 and answer.status not in {408, 429},
    )
