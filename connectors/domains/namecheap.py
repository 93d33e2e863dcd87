"""Namecheap: registrar and DNS host, in XML. Our address must be on its list of allowed ones.

Source: dns-lexicon 3.25.2 and namecheap.com/support/api. `setHosts` replaces the whole set, so what is there is read
first. The answer is read without a document type: entities are refused.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from xml.etree import ElementTree

import msgspec
from msgspec import Meta

from connectors.domains.base import Login, Order, Quote, Zone, micros
from connectors.http import Http
from storage.ledger.errors import ConnectorError
from storage.ledger.hostnames import bought, within

name = "namecheap"
title = "Namecheap"
base_url = "https://api.namecheap.com/xml.response"
sells = True
hosts_dns = True
_SPACE = "{http://api.namecheap.com/xml.response}"
_LOGIN_ERRORS = {"1011102", "1011105", "1011150", "1010102", "1010104"}


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    api_user: Annotated[str, Meta(description="user name")]
    api_key: Annotated[str, Meta(description="API key")]
    client_ip: Annotated[str, Meta(description="this server's address, as allowed at Namecheap")]


credentials = Credentials


async def check(http: Http, login: Login, names: Sequence[str]) -> list[Quote]:
    found = await _call(http, login, "namecheap.domains.check", [("DomainList", ",".join(names))])
    results = found.iter(f"{_SPACE}DomainCheckResult")
    return [await _quote(http, login, one.attrib) for one in results]


async def _quote(http: Http, login: Login, one: dict[str, str]) -> Quote:
    domain, premium = one["Domain"].lower(), one.get("IsPremiumName") == "true"
    available = one.get("Available") == "true"
    prices: tuple[int | None, int | None] = (None, None)
    if available and premium:
        prices = micros(one.get("PremiumRegistrationPrice")), micros(one.get("PremiumRenewalPrice"))
    elif available:
        tld = domain.partition(".")[2]
        prices = await _price(http, login, tld, "REGISTER"), await _price(http, login, tld, "RENEW")
    return Quote(
        name=domain, available=available, price=prices[0], renewal=prices[1], premium=premium,
        reason="" if available else "taken",
    )  # fmt: skip


async def _price(http: Http, login: Login, tld: str, action: str) -> int | None:
    given = [("ProductType", "DOMAIN"), ("ActionName", action), ("ProductName", tld.upper())]
    found = await _call(http, login, "namecheap.users.getPricing", given)
    for price in found.iter(f"{_SPACE}Price"):
        if price.get("Duration") == "1" and price.get("DurationType", "YEAR") == "YEAR":
            return micros(price.get("YourPrice") or price.get("Price"))
    return None


async def register(http: Http, login: Login, quote: Quote) -> Order:
    """Contact details are those in the login's options (`contact`: the fields of namecheap.domains.create)."""
    given = [("DomainName", quote.name), ("Years", "1"), *((login.options.get("contact") or {}).items())]
    try:
        found = await _call(http, login, "namecheap.domains.create", given, tries=1)
    except ConnectorError as error:
        return Order(state="failed" if error.permanent else "unknown", detail=str(error))
    result = next(found.iter(f"{_SPACE}DomainCreateResult"), None)
    done = result is not None and result.get("Registered") == "true"
    return Order(
        state="registered" if done else "pending", detail="registered at Namecheap" if done else "being registered"
    )


async def order(http: Http, login: Login, domain: str) -> Order:
    found = await _call(http, login, "namecheap.domains.getList", [("SearchTerm", domain)])
    for one in found.iter(f"{_SPACE}Domain"):
        if one.get("Name", "").lower() == domain:
            until = datetime.strptime(one.attrib["Expires"], "%m/%d/%Y").date() if one.get("Expires") else None  # noqa: DTZ007
            return Order(state="registered", detail="registered at Namecheap", registered_until=until)
    return Order(state="absent", detail="not among the account's domains")


async def zone(http: Http, login: Login, domain: str) -> Zone:
    return Zone(id=bought(domain))


async def put_records(http: Http, login: Login, zone: Zone, records: Sequence[Any]) -> None:
    sld, _, tld = zone.id.partition(".")
    place = [("SLD", sld), ("TLD", tld)]
    found = await _call(http, login, "namecheap.domains.dns.getHosts", place)
    names = {within(one.name) or "@" for one in records}
    kept = [
        (one.attrib["Name"], one.attrib["Type"], one.attrib["Address"], one.get("TTL", "1800"), one.get("MXPref", "10"))
        for one in found.iter(f"{_SPACE}host")
        if not (one.attrib["Name"] in names and one.attrib["Type"] in {"A", "AAAA", "CNAME", "ALIAS", "URL"})
    ]
    ours = [(within(one.name) or "@", one.type, one.value, "600", "10") for one in records]
    fields = ("HostName", "RecordType", "Address", "TTL", "MXPref")
    given = [
        (f"{field}{n}", value)
        for n, host in enumerate([*kept, *ours], 1)
        for field, value in zip(fields, host, strict=True)
    ]
    await _call(http, login, "namecheap.domains.dns.setHosts", [*place, *given])


async def _call(
    http: Http, login: Login, command: str, given: Sequence[tuple[str, str]], *, tries: int = 3
) -> ElementTree.Element:
    """An answer with status OK. Raises ConnectorError with Namecheap's own words."""
    who = login.credentials
    keys = [
        ("ApiUser", who["api_user"]), ("ApiKey", who["api_key"]), ("UserName", who["api_user"]),
        ("ClientIp", who["client_ip"]), ("Command", command),
    ]  # fmt: skip
    answer = await http.get(login.base_url, params=[*keys, *given], secrets=login.secrets, redirects=0, tries=tries)
    if b"<!DOCTYPE" in answer.body or b"<!ENTITY" in answer.body:
        raise ConnectorError("Namecheap answered with a document type, which we do not read", raw=answer.body)
    try:
        found = ElementTree.fromstring(answer.body)  # noqa: S314 - entities are refused above
    except ElementTree.ParseError:
        raise ConnectorError(f"Namecheap answered {answer.status} with what is no XML", raw=answer.body) from None
    if found.get("Status") == "OK":
        return found
    errors = list(found.iter(f"{_SPACE}Error"))
    words = "; ".join((one.text or "").strip() for one in errors) or f"status {answer.status}"
    refused = any(one.get("Number") in _LOGIN_ERRORS for one in errors)
    raise ConnectorError(f"Namecheap: {words}", permanent=bool(errors) or refused)
