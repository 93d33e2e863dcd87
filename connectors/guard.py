"""Which addresses an outgoing connection may reach, decided on the address it really connects to.

A name is resolved here, each address judged, and the connection made to a judged address: a name that answers with
a public address first and a private one later (DNS rebinding) gets nowhere.
"""

import asyncio
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import httpcore
from httpcore._backends.anyio import AnyIOBackend

_NAT64 = IPv6Network("64:ff9b::/96")
_INTERNET = IPv6Network("2000::/3")  # all that is given out of IPv6: no site-local address (fec0::/10) is in it
#: What Python takes for public: IETF protocols, 6to4 relays (RFC 7526) and documentation (RFC 9637).
_SPECIAL = IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"), IPv6Network("3fff::/20")
Options = Iterable[httpcore.SOCKET_OPTION]


class PrivateAddress(Exception):
    """The host is, or resolves to, an address that is not on the public internet."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.host = host


def is_public(text: str) -> bool:
    """Whether an IP address is on the public internet; IPv4 addresses wrapped in IPv6 are judged as themselves."""
    address: IPv4Address | IPv6Address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        address = inner or address
    if isinstance(address, IPv6Address) and address not in _INTERNET:
        return False
    if any(address in network for network in _SPECIAL):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


class PublicOnly(httpcore.AsyncNetworkBackend):
    """Connects to public addresses only; raises PrivateAddress for the others."""

    def __init__(self) -> None:
        self._inner = AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Options | None = None,
    ) -> httpcore.AsyncNetworkStream:
        public = await public_addresses(host, port)
        failure: Exception | None = None
        for address in public[:4]:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        assert failure is not None  # noqa: S101 - the loop ran at least once
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        socket_options: Options | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise PrivateAddress(path)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def public_addresses(host: str, port: int, *, allow_private: bool = False) -> list[str]:
    """The addresses of a host that may be connected to. Raises PrivateAddress if there are others only."""
    addresses = await _resolve(host, port)
    allowed = [address for address in addresses if allow_private or is_public(address)]
    if not allowed:
        raise PrivateAddress(host)
    return allowed


async def _resolve(host: str, port: int) -> list[str]:
    try:
        infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"no such host: {host}") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in infos))
