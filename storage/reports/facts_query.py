"""What a look at the facts of a day is told: whose, how fine, believed when."""

from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from storage.ledger.reports.attribution import COARSE, Grain


class FactsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Whose facts, told how far apart, believed at which instant (None: now)."""

    team_id: int
    zone: ZoneInfo
    grain: Grain = COARSE
    as_of: datetime | None = None
