"""Country of an address, offline: the team's own .mmdb if there is one, else the table that comes with iptocc."""

from collections.abc import Callable
from pathlib import Path

import iptocc

from hub.mmdb import Mmdb

_KEPT = 50_000


class Countries:
    """Looks an address up once and remembers it for a while; an address nobody knows has the country ''."""

    def __init__(self, mmdb: str | None = None) -> None:
        self._known: dict[str, str] = {}
        self._look: Callable[[str], str | None] = Mmdb(Path(mmdb)).country if mmdb else iptocc.country_code

    def of(self, address: str) -> str:
        """ISO 3166-1 alpha-2, upper case."""
        found = self._known.get(address)
        if found is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            found = self._known[address] = self._look_up(address)
        return found

    def _look_up(self, address: str) -> str:
        try:
            return self._look(address) or ""
        except ValueError:
            return ""
