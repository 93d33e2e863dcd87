"""The address of a request's client behind proxies that are trusted (`CASINOFLUX_TRUSTED_PROXIES`)."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from socket import AF_INET, inet_pton
from typing import Any

_KEPT = 5_000
_FORWARDED = b"x-forwarded-for"
_LONGEST_FORWARDED = 2_000  # bytes, from the right: proxies append
Headers = dict[bytes, bytes]
Network = IPv4Network | IPv6Network


class Proxies:
    """Knows which addresses are proxies of ours, and reads what they say of their clients."""

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = tuple(trusted)
        v4 = [network for network in trusted if isinstance(network, IPv4Network)]
        self._trusted_v4 = tuple((int(network.network_address), int(network.netmask)) for network in v4)
        #: The first bytes of the addresses in those: most visitors' addresses begin otherwise.
        self._first_bytes = frozenset(
            first for network in v4 for first in range(network[0].packed[0], network[-1].packed[0] + 1)
        )
        self._proxies: dict[str, bool] = {}

    def address(self, scope: Any, headers: Headers) -> str:
        """The peer, or behind trusted proxies the rightmost address that is not one of them.

        `headers` are those of the scope by name; of several lines of a name it has the last.
        """
        peer = scope.get("client")
        address: str = peer[0] if peer else ""
        forwarded = headers.get(_FORWARDED) if self._trusted else None
        if not forwarded or not (self._proxies.get(address) or self._is_trusted(address)):
            return address
        found, inside = self._walk(address, forwarded)
        if inside:  # a proxy may add a line of its own to those of the proxies before it, as HAProxy does
            lines = [value for name, value in scope["headers"] if name == _FORWARDED]
            if len(lines) > 1:
                found, _ = self._walk(address, b",".join(lines))
        return found

    def _walk(self, address: str, forwarded: bytes) -> tuple[str, bool]:
        """From `address`, a trusted proxy, to the left; and whether all that stands there is trusted."""
        if len(forwarded) > _LONGEST_FORWARDED:
            forwarded = forwarded[-_LONGEST_FORWARDED:]
        rest, comma = forwarded.decode("latin-1"), ","
        while comma:
            rest, comma, part = rest.rpartition(",")
            part = part.strip()
            try:
                packed = inet_pton(AF_INET, part)
            except (OSError, ValueError):
                parsed = _unusual_address(part)
                if parsed is None:
                    return address, False
                address = parsed
                inside = self._within(address)
            else:
                address = part
                inside = packed[0] in self._first_bytes and self._within_v4(packed)
            if not inside:
                return address, False
        return address, True

    def _is_trusted(self, address: str) -> bool:
        is_proxy = self._proxies.get(address)
        if is_proxy is None:
            if len(self._proxies) >= _KEPT:
                self._proxies.clear()
            is_proxy = self._proxies[address] = self._within(address)
        return is_proxy

    def _within_v4(self, packed: bytes) -> bool:
        number = int.from_bytes(packed, "big")
        for network, mask in self._trusted_v4:  # noqa: SIM110  any() takes three times as long
            if number & mask == network:
                return True
        return False

    def _within(self, address: str) -> bool:
        try:
            parsed = unmapped(ip_address(address))
        except ValueError:
            return False
        return any(parsed in network for network in self._trusted)


def _unusual_address(part: str) -> str | None:
    """What is no plain IPv4 address: IPv6, or with port, brackets, quotes."""
    text = part.strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(unmapped(ip_address(text)))
    except ValueError:
        return None


def unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """`::ffff:192.0.2.1` is 192.0.2.1."""
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
