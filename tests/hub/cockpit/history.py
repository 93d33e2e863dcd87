"""A database whose team has 30 days of history: the demo's, written in ten seconds."""

from pathlib import Path

import bot.commands  # noqa: F401  registers every command
from hub.cli.demo_history import History
from hub.runtime import boot
from hub.runtime.settings import read_settings

KEY = "journey-secret-key"  # the one tests.journeys.deployment serves with


async def write_history(folder: Path) -> None:
    environment = {"CASINOFLUX_DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'casinoflux.db'}",
                   "CASINOFLUX_SECRET_KEY": KEY, "CASINOFLUX_PUBLIC_URL": "http://127.0.0.1"}  # fmt: skip
    runtime = boot.new_runtime(read_settings(environment, folder=folder))
    try:
        await boot.prepare(runtime)
        await History(runtime, folder).write()
    finally:
        await runtime.database.close()
