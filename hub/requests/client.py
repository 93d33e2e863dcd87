"""The client of a request: address behind trusted proxies, country, browser, language, whether it is a machine.

Headers are cut before they are a cache's key, and caches are bounded: what strangers send takes no memory to speak of.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from socket import AF_INET, inet_pton
from typing import Any

import msgspec

from hub.requests.country import Countries
from hub.requests.user_agents import UserAgents
from storage.clicks.write_jobs import Agent
from storage.ledger.facts import Bot

_KEPT = 5_000
_LONGEST_REFERRER = 500  # characters
_LONGEST_LANGUAGE = 40  # bytes; the first language stands at the start
_LONGEST_FORWARDED = 2_000  # bytes, from the right: proxies append
_PURPOSES = (b"sec-purpose", b"purpose", b"x-moz", b"x-purpose")
Headers = dict[bytes, bytes]
Network = IPv4Network | IPv6Network


class Client(msgspec.Struct, gc=False):
    """The client, as far as the request tells. `bot` is a storage.ledger.facts.Bot."""

    address: str
    country: str
    agent: Agent
    bot: int
    language: str
    referrer: str


class Clients:
    """Reads clients out of requests; keeps what it looked up."""

    def __init__(self, trusted: Sequence[Network], countries: Countries, agents: UserAgents) -> None:
        self._trusted = tuple(trusted)
        self._trusted_v4 = tuple(
            (int(network.network_address), int(network.netmask))
            for network in trusted
            if isinstance(network, IPv4Network)
        )
        self._proxies: dict[str, bool] = {}
        self.country = countries.of
        self.geo = countries.geo
        self._agents = agents
        self._languages: dict[bytes, str] = {}

    def warm(self) -> None:
        """Load the tables before the first visitor comes."""
        self._agents.warm()
        self.country("192.0.2.1")

    def identify(self, scope: Any, headers: Headers) -> Client:
        """The client of any request."""
        address, agent = self.address(scope, headers), self.agent(headers)
        return Client(
            address, self.country(address), agent, machine(scope["method"], headers) or agent.bot,
            self.language(headers), self.referrer(headers),
        )  # fmt: skip

    def agent(self, headers: Headers) -> Agent:
        return self._agents.of(headers.get(b"user-agent", b""))

    def referrer(self, headers: Headers) -> str:
        """Where the visitor came from; empty if the browser does not say."""
        raw = headers.get(b"referer")
        if not raw:
            return ""
        return raw[: 4 * _LONGEST_REFERRER].decode("utf-8", "replace").replace("\x00", "")[:_LONGEST_REFERRER]

    def address(self, scope: Any, headers: Headers) -> str:
        """The peer, or behind trusted proxies the rightmost address that is not one of them."""
        peer = scope.get("client")
        address = str(peer[0]) if peer else ""
        forwarded = headers.get(b"x-forwarded-for") if self._trusted else None
        if not forwarded or not self._is_trusted(address):
            return address
        rest, more = forwarded[-_LONGEST_FORWARDED:].decode("latin-1"), ","
        while more:
            rest, more, part = rest.rpartition(",")
            part = part.strip()
            try:
                number = int.from_bytes(inet_pton(AF_INET, part), "big")
            except (OSError, ValueError):
                parsed = _unusual_address(part)
                if parsed is None:
                    return address
                address = parsed
                inside = self._within(address)
            else:
                address = part
                inside = self._within_v4(number)
            if not inside:
                return address
        return address

    def _is_trusted(self, address: str) -> bool:
        is_proxy = self._proxies.get(address)
        if is_proxy is None:
            if len(self._proxies) >= _KEPT:
                self._proxies.clear()
            is_proxy = self._proxies[address] = self._within(address)
        return is_proxy

    def _within_v4(self, number: int) -> bool:
        for network, mask in self._trusted_v4:  # noqa: SIM110  any() takes three times as long
            if number & mask == network:
                return True
        return False

    def _within(self, address: str) -> bool:
        try:
            parsed = _unmapped(ip_address(address))
        except ValueError:
            return False
        return any(parsed in network for network in self._trusted)

    def language(self, headers: Headers) -> str:
        """`de` of `de-AT,de;q=0.9,en;q=0.8`."""
        raw = headers.get(b"accept-language")
        if not raw:
            return ""
        raw = raw[:_LONGEST_LANGUAGE]
        language = self._languages.get(raw)
        if language is None:
            if len(self._languages) >= _KEPT:
                self._languages.clear()
            first = raw.decode("latin-1").partition(",")[0].partition(";")[0].partition("-")[0].strip().lower()
            language = self._languages[raw] = first if first.isalpha() and first.isascii() and len(first) <= 3 else ""
        return language


def _unusual_address(part: str) -> str | None:
    """What is no plain IPv4 address: IPv6, or with port, brackets, quotes."""
    text = part.strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(_unmapped(ip_address(text)))
    except ValueError:
        return None


def _unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """`::ffff:192.0.2.1` is 192.0.2.1."""
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def machine(method: str, headers: Headers) -> int:
    """Bot.HEAD or Bot.PREFETCH, if the request says so itself."""
    if method == "HEAD":
        return Bot.HEAD
    if headers.keys().isdisjoint(_PURPOSES):
        return Bot.NO
    for name in _PURPOSES:
        value = headers.get(name)
        if value is None:
            continue
        purpose = value.lower()
        if b"prefetch" in purpose or b"prerender" in purpose:
            return Bot.PREFETCH
        if b"preview" in purpose:
            return Bot.PREVIEW
    return Bot.NO


def prefix(address: str) -> str:
    """The /24 or /48 an address is in; empty if it is none."""
    try:
        parsed = _unmapped(ip_address(address))
    except ValueError:
        return ""
    return str(ip_network(f"{parsed}/{24 if parsed.version == 4 else 48}", strict=False))
