"""The schema's version: upgraded at start, and never run backwards."""

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from storage.db.engine import Database
from storage.ledger.errors import CasinoFluxError

MIGRATIONS = Path(__file__).parent.parent / "migrations"
HEAD = "0008"
_LOCK = 7_215_309_001  # any fixed number: one process upgrades a PostgreSQL at a time


async def upgrade(database: Database) -> None:
    """Bring the database to this version's schema. Raises CasinoFluxError if it is a newer one's."""
    if await current(database) == HEAD:
        return
    if database.sqlite:
        async with database.begin() as tx:
            await tx.run_sync(_upgrade)
        return
    async with database.begin() as tx:
        await tx.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        await tx.run_sync(_upgrade)


async def current(database: Database) -> str | None:
    """The revision the database is at; None for an empty one."""
    try:
        async with database.read() as tx:
            return (await tx.execute(text("SELECT version_num FROM alembic_version"))).scalar_one_or_none()
    except DBAPIError:
        return None


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
    known: Any = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if at is not None and at not in known:
        raise CasinoFluxError(
            f"the database is at schema {at}, which this version does not know: "
            "start the version that wrote it, or a newer one"
        )
    command.upgrade(config, "head")
