"""The client of a request: address behind trusted proxies, country, browser, language, whether it is a machine.

Headers are cut before they are a cache's key, and caches are bounded: what strangers send takes no memory to speak of.
"""

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec

from hub.requests.country import Countries
from hub.requests.proxies import Headers, Network, Proxies, unmapped
from hub.requests.user_agents import UserAgents
from storage.clicks.write_jobs import Agent
from storage.ledger.facts import Bot

_KEPT = 5_000
_LONGEST_REFERRER = 500  # characters
_LONGEST_LANGUAGE = 40  # bytes; the first language stands at the start
_PURPOSES = (b"sec-purpose", b"purpose", b"x-moz", b"x-purpose")
_NO = Bot.NO  # looked up once: in Python 3.11 that is a call


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
        self.address = Proxies(trusted).address
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
        if len(raw) > _LONGEST_REFERRER:
            raw = raw[: 4 * _LONGEST_REFERRER]
        text = raw.decode("utf-8", "replace").replace("\x00", "")
        return text[:_LONGEST_REFERRER] if len(text) > _LONGEST_REFERRER else text

    def language(self, headers: Headers) -> str:
        """`de` of `de-AT,de;q=0.9,en;q=0.8`."""
        raw = headers.get(b"accept-language")
        if not raw:
            return ""
        if len(raw) > _LONGEST_LANGUAGE:
            raw = raw[:_LONGEST_LANGUAGE]
        language = self._languages.get(raw)
        if language is None:
            if len(self._languages) >= _KEPT:
                self._languages.clear()
            first = raw.decode("latin-1").partition(",")[0].partition(";")[0].partition("-")[0].strip().lower()
            language = self._languages[raw] = first if first.isalpha() and first.isascii() and len(first) <= 3 else ""
        return language


def machine(method: str, headers: Headers) -> int:
    """Bot.HEAD or Bot.PREFETCH, if the request says so itself."""
    if method == "HEAD":
        return Bot.HEAD
    if headers.keys().isdisjoint(_PURPOSES):
        return _NO
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
        parsed = unmapped(ip_address(address))
    except ValueError:
        return ""
    return str(ip_network(f"{parsed}/{24 if parsed.version == 4 else 48}", strict=False))
