"""Country of an address, and city and region where the file has them, offline: the team's own .mmdb if there is one,
else the table of countries that comes with iptocc."""

from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Any

import iptocc
import maxminddb
import msgspec

from storage.ledger.errors import CasinoFluxError


class Geo(msgspec.Struct, frozen=True):
    """Where an address is, in lower case. `regions`: ISO code (`by`), with the country's (`de-by`), and name."""

    city: str = ""
    regions: tuple[str, ...] = ()


NOWHERE = Geo()


class Countries:
    """Looks addresses up in memory (a microsecond); an unknown one has the country ''."""

    def __init__(self, mmdb: str | None = None) -> None:
        self._file = MaxMindFile(mmdb) if mmdb else None
        self._look: Callable[[str], str | None] = self._file.country if self._file else iptocc.country_code

    def geo(self, address: str) -> Geo:
        """City and regions of an address; NOWHERE if they are not known."""
        try:
            return self._file.geo(address) if self._file else NOWHERE
        except ValueError:
            return NOWHERE

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

    def _record(self, address: str) -> dict[str, Any]:
        """What the file has of an address. Raises ValueError if it is none."""
        parsed = ip_address(address)
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
            parsed = parsed.ipv4_mapped
        record = self._reader.get(parsed)
        return record if isinstance(record, dict) else {}

    def geo(self, address: str) -> Geo:
        """City and regions of an address. Raises ValueError if it is none."""
        record = self._record(address)
        divisions = record.get("subdivisions") or [record.get("region") or record.get("region_name") or ""]
        regions = [name.lower() for division in divisions for name in _names(division)]
        codes = [division.get("iso_code") for division in divisions if isinstance(division, dict)]
        country = _code(record)
        full = [f"{country}-{code}".lower() for code in codes if code and country]
        city = next(iter(_names(record.get("city") or record.get("city_name") or "")), "")
        return Geo(city.lower(), tuple(dict.fromkeys([*regions, *full])))

    def country(self, address: str) -> str | None:
        """ISO country code of an address. Raises ValueError if it is none."""
        return _code(self._record(address))


def _names(value: Any) -> list[str]:
    """The English name and the code of a place, or the text it is."""
    if not isinstance(value, dict):
        return [value] if isinstance(value, str) and value else []
    names = value.get("names") or {}
    name = names.get("en") or next(iter(names.values()), None) or value.get("name")
    return [str(text) for text in (name, value.get("iso_code")) if text]


def _code(record: dict[str, Any]) -> str | None:
    country = record.get("country") or record.get("registered_country") or record.get("country_code")
    code = country.get("iso_code") if isinstance(country, dict) else country
    return code.upper() if isinstance(code, str) and len(code) == 2 else None
