"""Connections to PostgreSQL that a silent network cannot hold up: each host has a time of its own, and so has each
packet until its receipt."""

import os
import socket
from collections.abc import Iterator
from typing import Any

UNANSWERED_MS = 5_000  # how long what was sent may stay without a receipt before the connection counts as lost
_IDLE, _EVERY, _TIMES = 5, 2, 3  # seconds of silence before a probe, seconds between probes, probes without an answer


class PostgresConnector:
    """Opens connections to the first of a URL's hosts that fits, beginning with the one that did last.

    asyncpg itself gives all hosts one time together: a host that swallows packets leaves the others none of it.
    """

    def __init__(self) -> None:
        self._first = 0

    async def __call__(self, *, host: Any, timeout: float, port: Any = None, **arguments: Any) -> Any:
        """Connect as `asyncpg.connect` does; `timeout` is for each host. Raises what the last one raised."""
        import asyncpg  # 3 MB, loaded where PostgreSQL is used only

        hosts = [host] if isinstance(host, str) else list(host)
        ports = port if isinstance(port, list) else [port] * len(hosts)
        last: Exception = OSError("no host is named")
        for attributes in _preferences(arguments):
            for place in [(self._first + n) % len(hosts) for n in range(len(hosts))]:
                self._first = (place + 1) % len(hosts)  # for whoever loses patience with this one
                try:
                    connection = await asyncpg.connect(
                        host=hosts[place], port=ports[place], timeout=timeout, **arguments | attributes
                    )
                except Exception as error:  # among them that a host is a standby, which is no PostgresError
                    last = error
                    continue
                self._first = place
                limit_silence(connection)
                return connection
        raise last


def _preferences(arguments: dict[str, Any]) -> Iterator[dict[str, str]]:
    """What a server must be, in the order of preference."""
    if arguments.get("target_session_attrs") == "prefer-standby":
        yield from ({"target_session_attrs": "standby"}, {"target_session_attrs": "any"})
    else:
        yield {}


def limit_silence(connection: Any) -> None:
    """Have the system give a connection up whose other end is gone without a word; without this it waits for minutes.

    https://man7.org/linux/man-pages/man7/tcp.7.html: TCP_USER_TIMEOUT for what was sent, probes for what is awaited.
    """
    own = connection._transport.get_extra_info("socket")  # asyncpg has no public way to its socket
    if own is None or own.family == socket.AF_UNIX:
        return
    with socket.socket(fileno=os.dup(own.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (
            ("TCP_KEEPIDLE", _IDLE), ("TCP_KEEPINTVL", _EVERY), ("TCP_KEEPCNT", _TIMES),
            ("TCP_USER_TIMEOUT", UNANSWERED_MS),
        ):  # fmt: skip
            if (option := getattr(socket, name, None)) is not None:  # not every system has each
                same.setsockopt(socket.IPPROTO_TCP, option, value)
