"""What tells an SQLite file apart from every other database and from older copies of itself: its number and its age.

Both are in the file's header (`user_version`, `application_id`), where DatabaseFile reads them without a query.
"""

import secrets

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.engine import Database

EVERY = 5.0  # seconds between two steps of the age; copies that differ by less are not distinguished


async def ensure_number(database: Database) -> None:
    """Give the database its number if it has none yet."""
    if not database.sqlite:
        return
    async with database.read() as tx:
        number = await _pragma(tx, "user_version")
    if not number:
        async with database.begin() as tx:
            if not await _pragma(tx, "user_version"):  # another process may have been first
                await tx.execute(text(f"PRAGMA user_version={1 + secrets.randbelow((1 << 31) - 1)}"))
    if not database.file.number:
        await _checkpoint(database)
        database.file.check()


async def grow_older(database: Database) -> None:
    """One step, to be called every EVERY seconds by the process that serves."""
    await database.run(_step)
    if not database.file.number:
        await _checkpoint(database)


async def _step(tx: AsyncConnection) -> None:
    await tx.execute(text(f"PRAGMA application_id={await _pragma(tx, 'application_id') + 1}"))


async def _pragma(tx: AsyncConnection, name: str) -> int:
    return int((await tx.execute(text(f"PRAGMA {name}"))).scalar_one())


async def _checkpoint(database: Database) -> None:
    """Bring the header into the file; left to the next checkpoint while others are reading."""
    async with database.engine.connect() as connection:
        await connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
