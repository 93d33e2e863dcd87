"""What the parts of one process share: settings, database, clock. Made once, in hub.web.app."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bot.core.context import Deployment, Ports
from hub.runtime.geoip import knows_places
from hub.runtime.settings import Settings
from storage.db.engine import Database
from storage.db.report_database import ReportDatabase
from storage.db.secrets import Box
from storage.db.snapshot import Snapshot


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Runtime:
    """Handed to every part of the hub; tests make their own with another clock."""

    settings: Settings
    database: Database
    box: Box
    ports: Ports
    team_id: int  # the deployment's first team
    clock: Callable[[], datetime] = utc_now
    telegram_name: str = ""
    reports: ReportDatabase | None = None  # where reports are read from, if not from the database
    snapshot: Snapshot | None = None  # what the process started from, while the database has been away since
    state: dict[str, Any] = field(default_factory=dict)

    async def close(self) -> None:
        """Close the databases."""
        for opened in (self.snapshot, self.reports, self.database):
            if opened is not None:
                await opened.close()

    @property
    def configuration(self) -> Database | Snapshot:
        """Where plans, sites and accounts are read from."""
        return self.snapshot or self.database

    @property
    def deployment(self) -> Deployment:
        return Deployment(
            public_url=self.settings.public_url,
            timezone=self.settings.report_timezone,
            currency=self.settings.report_currency,
            telegram_name=self.telegram_name,
            casino_hub=self.settings.casino_hub,
            limit_seconds=self.settings.limit_seconds,
            knows_places=knows_places(self.settings.geoip_file),
        )
