"""From settings to a runtime: database opened and upgraded, first team, fixed facts checked."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

from hub import rates
from hub.ports import HubPorts
from hub.runtime import Runtime
from hub.settings import Settings
from storage import settle, teams
from storage.clicks import ensure_codec
from storage.engine import Database
from storage.ledger.errors import CasinoFluxError
from storage.schema import upgrade
from storage.secrets import Box


def quiet_logs() -> None:
    """Warnings and our own lines only: httpx would log every URL at INFO, Telegram's with the bot token in it."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    for name in ("httpx", "httpcore", "apscheduler", "aiosqlite", "granian", "slack_bolt", "slack_sdk", "telegram"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # A job that is still running when its next turn comes is how back-pressure looks here, not a fault.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=("timestamp", "level", "event")),
        ],
        logger_factory=structlog.PrintLoggerFactory(file=None),
        cache_logger_on_first_use=True,
    )


def new_runtime(settings: Settings, ports: HubPorts | None = None) -> Runtime:
    """Everything that needs no event loop yet; the team is known after `prepare`."""
    return Runtime(
        settings=settings,
        database=Database(settings.database_url),
        box=Box(settings.secret_key),
        ports=ports or HubPorts(settings),
        team_id=0,
        clock=shifted_clock(settings.clock_offset),
    )


def shifted_clock(seconds: int) -> Callable[[], datetime]:
    """The real clock, or one that many seconds apart (demo and tests)."""
    apart = timedelta(seconds=seconds)
    return lambda: datetime.now(UTC) + apart


async def prepare(runtime: Runtime) -> None:
    """Upgrade the schema, make the first team, and refuse settings that contradict stored facts."""
    await upgrade(runtime.database)
    async with runtime.database.begin() as tx:
        runtime.team_id = await teams.first(tx, runtime.clock())
        await ensure_codec(tx)
        await _keep_timezone(runtime, await teams.fact(tx, "report_timezone"))
        await teams.keep_fact(tx, "report_timezone", runtime.settings.report_timezone)
    await rates.fill(runtime)


async def recover(runtime: Runtime) -> None:
    """What a killed process may have left undone; part of every start."""
    async with runtime.database.begin() as tx:
        await settle.touch_latest(tx)


async def _keep_timezone(runtime: Runtime, stored: str | None) -> None:
    """Report days are stored: a deployment's reporting zone is chosen once."""
    wanted = runtime.settings.report_timezone
    if stored is not None and stored != wanted:
        raise CasinoFluxError(
            f"CASINOFLUX_REPORT_TIMEZONE: {wanted!r}, but this database's days were counted in {stored!r}: "
            "set it back, or start a new database"
        )
