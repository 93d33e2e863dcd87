"""Databases opened to read only, as the helper process does it: nothing can be written, and connections are kept."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.engine import Database

_TURNS = 3
"""Turns of an event loop that stood still between two uses: the end of a connection is read before one is chosen."""

Request = TypeVar("Request")
Result = TypeVar("Result")

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


async def here_or_in_helper(
    database: Database, request: Request, in_helper: Callable[[Request], Awaitable[Result | None]] | None, *,
    is_light: Callable[[AsyncConnection, Request], Awaitable[bool]],
    here: Callable[[AsyncConnection, Request], Awaitable[Result]],
) -> Result:  # fmt: skip
    """What `here` reads in this process, or what the helper process gives (`in_helper`) where there is one and the
    request is not light; where the helper gives none, it is done here after all."""
    if in_helper is not None:
        async with database.read() as tx:
            light = await is_light(tx, request)
        if not light and (result := await in_helper(request)) is not None:
            return result
    async with database.read() as tx:
        return await here(tx, request)


async def close() -> None:
    """Close the connections that `read_only` keeps."""
    while _databases:
        await _databases.popitem()[1].close()
