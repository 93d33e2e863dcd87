"""Namecheap: registrar and DNS host, in XML. Our address must be on its list of allowed ones.

Source: dns-lexicon 3.25.2 and namecheap.com/support/api. `setHosts` replaces the whole set, so what is there is read
first.
"""

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import msgspec
from msgspec import Meta

from connectors.domains.base import Login, Order, Quote, Zone, micros, registered_until
from connectors.http import Http
from connectors.reading import xml_root
from storage.ledger.errors import ConnectorError
from storage.ledger.hostnames import bought, within

name = "namecheap"
title = "Namecheap"
base_url = "https://api.namecheap.com/xml.response"
sells = True
hosts_dns = True
_SPACE = "{http://api.namecheap.com/xml.response}"
_ADDRESS_TYPES = {"A", "AAAA", "CNAME", "ALIAS", "URL", "URL301", "FRAME"}
_LOGIN_ERRORS = {"1011102", "1011105", "1011150", "1010102", "1010104"}


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    api_user: Annotated[str, Meta(description="user name")]
    api_key: Annotated[str, Meta(description="API key")]
    client_ip: Annotated[str, Meta(description="this server's address, as allowed at Namecheap")]


credentials = Credentials


async def check(http: Http, login: Login, names: Sequence[str]) -> list[Quote]:
    answer = await _call(http, login, "namecheap.domains.check", [("DomainList", ",".join(names))])
    results = answer.iter(f"{_SPACE}DomainCheckResult")
    return [await _quote(http, login, result.attrib) for result in results]


async def _quote(http: Http, login: Login, result: dict[str, str]) -> Quote:
    domain, premium = result["Domain"].lower(), result.get("IsPremiumName") == "true"
    available = result.get("Available") == "true"
    prices: tuple[int | None, int | None] = (None, None)
    if available and premium:
        prices = micros(result.get("PremiumRegistrationPrice")), micros(result.get("PremiumRenewalPrice"))
    elif available:
        tld = domain.partition(".")[2]
        prices = await _price(http, login, tld, "REGISTER"), await _price(http, login, tld, "RENEW")
    return Quote(
        name=domain, available=available, price=prices[0], renewal=prices[1], premium=premium,
        reason="" if available else "taken",
    )  # fmt: skip


async def _price(http: Http, login: Login, tld: str, action: str) -> int | None:
    parameters = [("ProductType", "DOMAIN"), ("ActionName", action), ("ProductName", tld.upper())]
    answer = await _call(http, login, "namecheap.users.getPricing", parameters)
    for price in answer.iter(f"{_SPACE}Price"):
        if price.get("Duration") == "1" and price.get("DurationType", "YEAR") == "YEAR":
            return micros(price.get("YourPrice") or price.get("Price"))
    return None


async def register(http: Http, login: Login, quote: Quote) -> Order:
    """Contact details are those in the login's options (`contact`: the fields of namecheap.domains.create)."""
    parameters = [("DomainName", quote.name), ("Years", "1"), *((login.options.get("contact") or {}).items())]
    try:
        answer = await _call(http, login, "namecheap.domains.create", parameters, tries=1)
    except ConnectorError as error:
        return Order(state="failed" if error.permanent else "unknown", detail=str(error))
    result = next(answer.iter(f"{_SPACE}DomainCreateResult"), None)
    done = result is not None and result.get("Registered") == "true"
    return Order(
        state="registered" if done else "pending", detail="registered at Namecheap" if done else "being registered"
    )


async def order(http: Http, login: Login, domain: str) -> Order:
    answer = await _call(http, login, "namecheap.domains.getList", [("SearchTerm", domain)])
    for entry in answer.iter(f"{_SPACE}Domain"):
        if entry.get("Name", "").lower() == domain:
            until = registered_until(entry.get("Expires"))
            return Order(state="registered", detail="registered at Namecheap", registered_until=until)
    return Order(state="absent", detail="not among the account's domains")


async def zone(http: Http, login: Login, domain: str) -> Zone:
    return Zone(id=bought(domain))


async def put_records(http: Http, login: Login, zone: Zone, records: Sequence[Any]) -> None:
    """Add records and keep the others, mail included: `setHosts` deletes what it is not given."""
    sld, _, tld = zone.id.partition(".")
    place = [("SLD", sld), ("TLD", tld)]
    answer = await _call(http, login, "namecheap.domains.dns.getHosts", place)
    result = next(answer.iter(f"{_SPACE}DomainDNSGetHostsResult"), None)
    if result is not None and result.get("IsUsingOurDNS", "true").lower() == "false":
        raise ConnectorError(
            f"{zone.id} has other nameservers than Namecheap's, so records set there have no effect: choose "
            "Namecheap BasicDNS in its panel, or add the records where its DNS is",
            permanent=True,
        )
    replaced = {within(record.name) or "@" for record in records}
    other_hosts = [
        (host.attrib["Name"], host.attrib["Type"], host.attrib["Address"], host.get("TTL", "1800"),
         host.get("MXPref", "10"))
        for host in answer.iter(f"{_SPACE}host")
        if not (host.attrib["Name"] in replaced and host.attrib["Type"] in _ADDRESS_TYPES)
    ]  # fmt: skip
    ours = [(within(record.name) or "@", record.type, record.value, "600", "10") for record in records]
    fields = ("HostName", "RecordType", "Address", "TTL", "MXPref")
    hosts = [
        (f"{field}{n}", value)
        for n, host in enumerate([*other_hosts, *ours], 1)
        for field, value in zip(fields, host, strict=True)
    ]
    mail = _email_type(result, {kind for _, kind, *_ in other_hosts})
    await _call(http, login, "namecheap.domains.dns.setHosts", [*place, *mail, *hosts], method="POST")


def _email_type(result: ElementTree.Element | None, kinds: set[str]) -> list[tuple[str, str]]:
    """The domain's mail setting, repeated: without it Namecheap drops the MX records."""
    stated = "" if result is None else result.get("EmailType", "")
    stated = stated or next((kind for kind in ("MX", "MXE") if kind in kinds), "")
    return [("EmailType", stated)] if stated else []


async def _call(
    http: Http,
    login: Login,
    command: str,
    parameters: Sequence[tuple[str, str]],
    *,
    tries: int = 3,
    method: str = "GET",
) -> ElementTree.Element:
    """An answer with status OK; by POST where the parameters can be longer than a URL may be.

    Raises ConnectorError with Namecheap's own words.
    """
    who = login.credentials
    keys = [
        ("ApiUser", who["api_user"]), ("ApiKey", who["api_key"]), ("UserName", who["api_user"]),
        ("ClientIp", who["client_ip"]), ("Command", command),
    ]  # fmt: skip
    values = [*keys, *parameters]
    form: dict[str, Any] = {"params": values}
    if method == "POST":
        form = {"body": urlencode(values), "headers": {"Content-Type": "application/x-www-form-urlencoded"}}
    answer = await http.send(method, login.base_url, secrets=login.secrets, redirects=0, tries=tries, **form)
    try:
        root = xml_root(answer.body)
    except ElementTree.ParseError:
        raise ConnectorError(f"Namecheap answered {answer.status} with what is no XML", raw=answer.body) from None
    if root.get("Status") == "OK":
        return root
    errors = list(root.iter(f"{_SPACE}Error"))
    words = "; ".join((error.text or "").strip() for error in errors) or f"status {answer.status}"
    refused = any(error.get("Number") in _LOGIN_ERRORS for error in errors)
    raise ConnectorError(f"Namecheap: {words}", permanent=bool(errors) or refused)
