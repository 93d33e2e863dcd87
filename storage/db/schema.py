"""The schema's version: upgraded at start, and never run backwards."""

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.database_age import ensure_number
from storage.db.engine import Database
from storage.ledger.errors import CasinoFluxError
from storage.tables import metadata

MIGRATIONS = Path(__file__).parent.parent / "migrations"
HEAD = "0031"
UPGRADE_WAIT = 600.0  # seconds another process's upgrade is waited for
_LOCK = 7_215_309_001  # any fixed number: one process upgrades a PostgreSQL at a time


async def upgrade(database: Database) -> None:
    """Bring the database to this version's schema; processes that start at once do it one after the other.

    Raises CasinoFluxError if the schema is a newer version's, or another program's tables have names of ours.
    """
    if await current(database) != HEAD:
        async with database.begin(patience=UPGRADE_WAIT) as tx:
            await lock_start(tx)
            await tx.run_sync(_upgrade)
    await ensure_number(database)


async def lock_start(tx: AsyncConnection) -> None:
    """Until the transaction ends, no other process upgrades or sets up the database (SQLite has one writer anyway)."""
    if tx.dialect.name == "postgresql":
        await tx.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))


def is_older(revision: str | None) -> bool:
    """Whether `upgrade` would bring a database at a revision forward: revisions are numbered."""
    return (revision or "") < HEAD


async def current(database: Database) -> str | None:
    """The revision the database is at; None for an empty one."""
    async with database.read() as tx:
        if not await tx.run_sync(lambda connection: inspect(connection).has_table("alembic_version")):
            return None
        return (await tx.execute(text("SELECT version_num FROM alembic_version"))).scalar_one_or_none()


def _upgrade(connection: Connection) -> None:
    # Alembic costs 12 MB of memory and is only needed when there is something to upgrade.
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    at = MigrationContext.configure(connection).get_current_revision()
    revisions: Any = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if at is not None and at not in revisions:
        raise CasinoFluxError(
            f"the database is at schema {at}, which this version does not know: "
            "start the version that wrote it, or a newer one"
        )
    if at is None and (theirs := metadata.tables.keys() & set(inspect(connection).get_table_names())):
        raise CasinoFluxError(
            f"the database holds tables of another program ({', '.join(sorted(theirs)[:3])}): name an empty one"
        )
    command.upgrade(config, "head")
