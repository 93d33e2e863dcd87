"""Country of an address, offline: the team's own .mmdb if there is one, else the table that comes with iptocc."""

from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

import iptocc
import maxminddb

from storage.ledger.errors import CasinoFluxError


class Countries:
    """Looks addresses up in memory (a microsecond); an unknown one has the country ''."""

    def __init__(self, mmdb: str | None = None) -> None:
        self._look: Callable[[str], str | None] = MaxMindFile(mmdb).country if mmdb else iptocc.country_code

    def of(self, address: str) -> str:
        """ISO 3166-1 alpha-2, upper case."""
        try:
            return self._look(address) or ""
        except ValueError:
            return ""


class MaxMindFile:
    """An open .mmdb file of countries: GeoLite2, DB-IP, IPinfo. Raises CasinoFluxError if it is none."""

    def __init__(self, path: str) -> None:
        try:
            self._reader = maxminddb.open_database(path, maxminddb.MODE_AUTO)
        except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
            raise CasinoFluxError(f"CASINOFLUX_GEOIP_FILE: {path} is no MaxMind database ({error})") from None

    def country(self, address: str) -> str | None:
        """ISO country code of an address. Raises ValueError if it is none."""
        parsed = ip_address(address)
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
            parsed = parsed.ipv4_mapped
        record = self._reader.get(parsed)
        if not isinstance(record, dict):
            return None
        country = record.get("country") or record.get("registered_country") or record.get("country_code")
        code = country.get("iso_code") if isinstance(country, dict) else country
        return code.upper() if isinstance(code, str) and len(code) == 2 else None
