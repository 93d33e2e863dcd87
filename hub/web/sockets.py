"""What a server listens on, and how many files it may have open."""

import asyncio
import os
import resource
import socket
from contextlib import suppress
from typing import Any

from storage.ledger.errors import CasinoFluxError

_MOST_FILES = 65_536
_OTHER_FILES = 128  # the database's, helpers', logs', outgoing requests'
_FEWEST = 64
_FIRST = 3  # number of the first file that systemd hands over


def handed_over() -> range:
    """The files that systemd listens on for us, or for the process whose worker we are (socket activation).

    It keeps them while we are restarted, so that who connects meanwhile waits and is not refused. Source:
    sd_listen_fds(3).
    """
    ours = os.environ.get("LISTEN_PID") in {str(os.getpid()), str(os.getppid())}
    return range(_FIRST, _FIRST + int(os.environ.get("LISTEN_FDS", "0"))) if ours else range(0)


def shown(host: str, port: int) -> str:
    """The address of a host and port, as a browser takes it."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def check_files() -> None:
    """Raises CasinoFluxError if so few files may be open that there are none left for visitors."""
    files = _most_files()
    if files < _FEWEST + _OTHER_FILES:
        raise CasinoFluxError(
            f"only {files} files may be open, and {_FEWEST + _OTHER_FILES} are the fewest: raise LimitNOFILE of the "
            "service, or ulimit -n"
        )


async def bound(host: str, port: int) -> list[socket.socket]:
    """What systemd has handed over, else a socket for each address of a host, which other processes may share.

    `::` takes IPv4 clients too, as it does for other programs. Raises OSError where an address cannot be had.
    """
    if files := handed_over():
        return [_opened(file) for file in files]
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )  # fmt: skip
    sockets: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
            sockets.append(_bound(family, address, both=len(found) == 1))
    except OSError:
        for each in sockets:
            each.close()
        raise
    return sockets


def _opened(file: int) -> socket.socket:
    new = socket.socket(fileno=os.dup(file))
    new.setblocking(False)
    return new


def _bound(family: int, address: Any, *, both: bool) -> socket.socket:
    new = socket.socket(family, socket.SOCK_STREAM)
    try:
        new.setblocking(False)
        new.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        new.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            new.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)
        new.bind(address)
    except OSError:
        new.close()
        raise
    return new


def most_connections() -> int:
    """How many connections there may be beside the files the hub needs itself."""
    return max(_FEWEST, _most_files() - _OTHER_FILES)


def _most_files() -> int:
    """How many files may be open.

    Raises the soft limit, often 1,024 for the sake of old programs, as far as the system lets it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(_MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_FILES if soft == resource.RLIM_INFINITY else min(_MOST_FILES, soft)
