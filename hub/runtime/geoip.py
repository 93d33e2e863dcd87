"""Whether a GeoIP file has cities and regions, as its own metadata says."""

from functools import lru_cache

import maxminddb

_OF_CITIES = ("city", "location", "standard", "enterprise", "plus")  # GeoLite2-City, DBIP-City, IPinfo's names


@lru_cache(maxsize=8)
def knows_places(mmdb: str | None) -> bool:
    """False without a file, and for one that cannot be read: the start names that fault."""
    if not mmdb:
        return False
    try:
        with maxminddb.open_database(mmdb) as reader:
            kind = reader.metadata().database_type.lower()
    except (OSError, ValueError, maxminddb.InvalidDatabaseError):
        return False
    return any(word in kind for word in _OF_CITIES)
