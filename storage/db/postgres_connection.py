"""A connection to PostgreSQL through asyncpg: to the first of several hosts that can be used, given up when silent."""

import os
import socket
from typing import Any

from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.database_url import hosts_of, is_pooled, postgres_url
from storage.db.unavailable import NoHost

CONNECT_TIMEOUT = 10  # seconds PostgreSQL is given to take a connection
SILENT_MS = 10_000  # after which a server that confirms nothing counts as gone


def driver_of(connection: AsyncConnection) -> Any:
    """asyncpg's own connection beneath one that is open."""
    assert connection.sync_connection is not None  # noqa: S101 - it is open
    return connection.sync_connection.connection.driver_connection


def connect_arguments(url: URL) -> dict[str, Any]:
    """What `connect` takes."""
    dialect = asyncpg_dialect.dialect()  # type: ignore[no-untyped-call]
    _, arguments = dialect.create_connect_args(postgres_url(url))  # type: ignore[no-untyped-call]
    return {**arguments, "timeout": seconds_per_host(url), **(POOLED if is_pooled(url) else {})}


def seconds_per_host(url: URL) -> float:
    """How long each of the hosts is given to take a connection."""
    return max(2, CONNECT_TIMEOUT / max(1, len(hosts_of(url))))


POOLED = {"statement_cache_size": 0}
"""Behind PgBouncer: asyncpg uses unnamed statements then; a named one is of one server only."""
_good: dict[tuple[str, ...], int] = {}
"""Of hosts in a list, the one that was connected to last."""


async def connect(*, host: Any = None, port: Any = None, **arguments: Any) -> Any:
    """An asyncpg connection to the first of the hosts that can be used, beginning with the one that could be last.

    Each host has `timeout` seconds: asyncpg's own list shares one timeout, so that a host which does not answer would
    keep the others out. Raises NoHost: of several hosts it says of each why.
    """
    import asyncpg  # 3 MB, loaded where PostgreSQL is used only

    arguments["server_settings"] = {"application_name": f"casinoflux {socket.gethostname()}:{os.getpid()}"[:63]}
    if not isinstance(host, list | tuple) or len(host) < 2:
        try:
            return _watched(await asyncpg.connect(host=host, port=port, **arguments))
        except OSError as error:
            raise NoHost(_fault_of(error)) from error
    hosts = [f"{name}:{number}" for name, number in zip(host, port, strict=True)]
    first, faults, cause = _good.get(tuple(hosts), 0), {}, None
    for n in (*range(first, len(hosts)), *range(first)):
        try:
            connection = await asyncpg.connect(host=host[n], port=port[n], **arguments)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            faults[hosts[n]] = _fault_of(error)
            cause = error if isinstance(error, asyncpg.PostgresError) or cause is None else cause
        else:
            _good[tuple(hosts)] = n
            return _watched(connection)
    raise NoHost(", ".join(f"{name}: {fault}" for name, fault in faults.items())) from cause


def _fault_of(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    if type(error).__name__ == "TargetServerAttributeNotMatched":
        return "takes no writes (a standby)"
    return (str(error).partition("\n")[0] or type(error).__name__)[:200]


def _watched(connection: Any) -> Any:
    """Have the kernel give the connection up when its server has been silent for some seconds, also while a query is
    on its way: asyncpg sets nothing, and the default is a quarter of an hour."""
    opened = connection._transport.get_extra_info("socket")  # asyncpg has no other way to it
    if opened is not None and opened.family != socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_MS)
    return connection
