"""How often a token and an address may ask. Clicks and postbacks are never limited."""

import math
import time
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from litestar import Response

from hub.requests.problems import problem
from hub.requests.proxies import Proxies
from hub.runtime.settings import Settings
from storage.ledger.rate_limit import RateLimit


class Limits:
    """The limits of one process; each is a number of requests a minute, and 0 switches it off."""

    def __init__(self, settings: Settings) -> None:
        self._proxies = Proxies(settings.trusted_proxies)
        self.token = RateLimit(settings.limit_token)
        self.requests = RateLimit(settings.limit_address)
        self.sign_ins = RateLimit(settings.limit_sign_in)
        self.beacons = RateLimit(settings.limit_beacon)
        self.audited_failures = RateLimit(60, most_keys=1)

    def address(self, scope: Any) -> str:
        """Whom an address stands for: itself, or the /64 of an IPv6 one, which is one connection's."""
        address = self._proxies.address(scope, dict(scope["headers"]))
        try:
            parsed = ip_address(address)
        except ValueError:
            return address[:64]
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
            return str(ip_network(f"{parsed}/64", strict=False))
        return address


def use(limit: RateLimit, key: str) -> Response[bytes] | None:
    """Count one request; the answer 429 if there were too many."""
    return too_many(limit.use(key, time.monotonic()))


def waiting(limit: RateLimit, key: str) -> Response[bytes] | None:
    """The answer 429 if there were too many already; counts nothing."""
    return too_many(limit.wait(key, time.monotonic()))


def too_many(wait: float) -> Response[bytes] | None:
    """429 with the seconds to wait, if there are any."""
    if not wait:
        return None
    seconds = math.ceil(wait)
    return problem(429, f"too many requests: try again in {seconds} s", headers={"retry-after": str(seconds)})
