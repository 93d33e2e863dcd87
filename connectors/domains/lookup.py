"""Where a name leads by its own name servers, and whether the world has heard of it yet."""

import socket
from collections.abc import Sequence

import msgspec

from connectors.domains.dns import PUBLIC, Record, Reply, Server, ask, ask_any
from connectors.guard import is_public
from storage.ledger.errors import ConnectorError

PORT = 53


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What DNS says. `servers` are the authoritative ones; `addresses` what they give, `public` what resolvers give."""

    exists: bool
    zone: str = ""
    servers: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    alias: str | None = None
    public: tuple[str, ...] = ()


class Lookup:
    """Asks public resolvers for the way, then a zone's own servers for the truth."""

    def __init__(self, resolvers: Sequence[Server] = PUBLIC, *, port: int = PORT, allow_private: bool = False) -> None:
        self._resolvers = tuple(resolvers)
        self._allow_private = allow_private  # ask name servers on private addresses, too
        self._port = port  # of authoritative servers; another one in tests

    async def addresses(self, name: str) -> tuple[str, ...]:
        """IPv4 and IPv6 addresses of a name, as resolvers see it. Raises ConnectorError if none answers."""
        servers: list[str] = []
        for type_ in ("A", "AAAA"):
            servers += (await ask_any(self._resolvers, name, type_)).values(type_)
        return tuple(servers)

    async def find(self, name: str) -> Found:
        """Raises ConnectorError if no name server answers at all."""
        zone, servers = await self._zone(name)
        if not servers:
            return Found(exists=False)
        replies = await self._truth(servers, name)
        addresses = tuple(dict.fromkeys(address for type_ in ("A", "AAAA") for address in replies[type_].values(type_)))
        alias = next(iter(replies["A"].values("CNAME")), None)
        if alias and not addresses:
            addresses = await self.addresses(alias)
        return Found(
            exists=replies["A"].code != 3, zone=zone, servers=tuple(sorted(servers)), addresses=addresses, alias=alias,
            public=await self.addresses(name),
        )  # fmt: skip

    async def _zone(self, name: str) -> tuple[str, tuple[str, ...]]:
        """The closest name above that has name servers of its own."""
        labels = name.split(".")
        for start in range(len(labels) - 1):
            zone = ".".join(labels[start:])
            reply = await ask_any(self._resolvers, zone, "NS")
            if servers := reply.values("NS"):
                return zone, tuple(servers)
        return "", ()

    async def _truth(self, servers: Sequence[str], name: str) -> dict[str, Reply]:
        reached = [(address, self._port) for server in servers[:4] for address in await self._host(server)]
        for server in reached:
            try:
                return {type_: await ask(server, name, type_) for type_ in ("A", "AAAA")}
            except ConnectorError:
                continue
        raise ConnectorError(f"none of the name servers of {name} answers: {', '.join(servers[:4])}")

    async def _host(self, server: str) -> tuple[str, ...]:
        reply = await ask_any(self._resolvers, server, "A")
        return tuple(address for address in reply.values("A") if self._allow_private or is_public(address))


def resolved(host: str) -> tuple[str, ...]:
    """Addresses of a host as this machine resolves it; none if it cannot. Blocks: call it in a thread."""
    try:
        return tuple(sorted({str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}))
    except OSError:
        return ()


__all__ = ["Found", "Lookup", "Record", "resolved"]
