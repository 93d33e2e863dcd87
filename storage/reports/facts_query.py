"""What a query for the facts of a day asks for: whose, how finely grouped, known when."""

from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from storage.ledger.reports.attribution import COARSE, Grain


class FactsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Whose facts, how finely grouped, as known at which instant (None: now)."""

    team_id: int
    zone: ZoneInfo
    grain: Grain = COARSE
    as_of: datetime | None = None
