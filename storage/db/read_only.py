"""Databases opened to read only, as the helper process does it: nothing can be written, and connections are kept."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.engine import Database

_TURNS = 3
"""Turns of an event loop that stood still between two uses: the end of a connection is read before one is chosen."""

_databases: dict[str, Database] = {}


@asynccontextmanager
async def read_only(url: str) -> AsyncIterator[AsyncConnection]:
    """A consistent view of a database in which nothing can be written; its connections are kept for the next."""
    database = _databases.setdefault(url, Database(url))
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    async with database.read() as tx:
        await tx.execute(text("PRAGMA query_only=ON" if database.sqlite else "SET TRANSACTION READ ONLY"))
        yield tx


async def close() -> None:
    """Close the connections that `read_only` keeps."""
    while _databases:
        await _databases.popitem()[1].close()
