"""Country of an address, offline: the team's own .mmdb if there is one, else the table that comes with iptocc."""

from collections.abc import Callable
from pathlib import Path

import iptocc

from hub.clicks.mmdb import Mmdb


class Countries:
    """Looks addresses up in memory (a microsecond); one that nobody knows has the country ''."""

    def __init__(self, mmdb: str | None = None) -> None:
        self._look: Callable[[str], str | None] = Mmdb(Path(mmdb)).country if mmdb else iptocc.country_code

    def of(self, address: str) -> str:
        """ISO 3166-1 alpha-2, upper case."""
        try:
            return self._look(address) or ""
        except ValueError:
            return ""
