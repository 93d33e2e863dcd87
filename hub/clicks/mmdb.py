"""Reads a MaxMind DB (.mmdb) file, as far as a country needs it: GeoLite2, DB-IP, IPinfo.

Format: https://maxmind.github.io/MaxMind-DB/ (a binary search tree over address bits, then a data section).
"""

import mmap
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any

from storage.ledger.errors import CasinoFluxError

_MARKER = b"\xab\xcd\xefMaxMind.com"
_SEPARATOR = 16  # zero bytes between tree and data


class Mmdb:
    """One open file. Raises CasinoFluxError if it is none."""

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise CasinoFluxError(f"CASINOFLUX_GEOIP_FILE: cannot read {path} ({error})") from None
        start = self._data.rfind(_MARKER)
        if start < 0:
            raise CasinoFluxError(f"CASINOFLUX_GEOIP_FILE: {path} is no MaxMind database")
        about = self._value(start + len(_MARKER), base=start + len(_MARKER))[0]
        self._nodes, self._bits = int(about["node_count"]), int(about["record_size"])
        self._version = int(about["ip_version"])
        if self._bits not in {24, 28, 32}:
            raise CasinoFluxError(f"CASINOFLUX_GEOIP_FILE: {path} has records of {self._bits} bits, not 24, 28 or 32")
        self._base = self._nodes * self._bits // 4 + _SEPARATOR

    def country(self, address: str) -> str | None:
        """ISO country code of an address. Raises ValueError if it is none."""
        found = self.find(address)
        if not isinstance(found, dict):
            return None
        country = found.get("country") or found.get("registered_country") or found.get("country_code")
        code = country.get("iso_code") if isinstance(country, dict) else country
        return code.upper() if isinstance(code, str) and len(code) == 2 else None

    def find(self, address: str) -> Any:
        """The record of an address, None if there is none."""
        parsed = ip_address(address)
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
            parsed = parsed.ipv4_mapped
        if parsed.version == 6 and self._version == 4:
            return None
        bits, number = (128, int(parsed)) if self._version == 6 else (32, int(parsed))
        node = 0
        for place in range(bits - 1, -1, -1):
            if node >= self._nodes:
                break
            node = self._child(node, number >> place & 1)
        return None if node <= self._nodes else self._value(node - self._nodes - _SEPARATOR + self._base)[0]

    def _child(self, node: int, side: int) -> int:
        data, size = self._data, self._bits // 4
        at = node * size
        if self._bits == 28:
            middle = data[at + 3]
            high = middle & 0x0F if side else middle >> 4
            first = at + 4 if side else at
            return high << 24 | int.from_bytes(data[first : first + 3], "big")
        width = self._bits // 8
        return int.from_bytes(data[at + side * width : at + (side + 1) * width], "big")

    def _value(self, at: int, base: int | None = None) -> tuple[Any, int]:
        """A value of the data section and where the next one begins."""
        base = self._base if base is None else base
        control = self._data[at]
        kind, at = control >> 5, at + 1
        if kind == 1:
            return self._pointed(control, at, base)
        if kind == 0:
            kind, at = self._data[at] + 7, at + 1
        size, at = self._size(control & 0x1F, at)
        if kind in {7, 11}:
            return self._collection(kind, size, at, base)
        raw = self._data[at : at + size]
        if kind == 2:
            return raw.decode(), at + size
        if kind == 14:
            return bool(size), at
        return (int.from_bytes(raw, "big") if kind in {5, 6, 8, 9, 10} else raw), at + size

    def _size(self, size: int, at: int) -> tuple[int, int]:
        if size < 29:
            return size, at
        width = size - 28
        extra = int.from_bytes(self._data[at : at + width], "big")
        return (29, 285, 65821)[width - 1] + extra, at + width

    def _pointed(self, control: int, at: int, base: int) -> tuple[Any, int]:
        width = control >> 3 & 3
        raw = int.from_bytes(self._data[at : at + width + 1], "big")
        high = (control & 7) << 8 * (width + 1) if width < 3 else 0
        offset = (high | raw) + (0, 2048, 526336, 0)[width]
        return self._value(base + offset, base)[0], at + width + 1

    def _collection(self, kind: int, size: int, at: int, base: int) -> tuple[Any, int]:
        if kind == 11:
            items = []
            for _ in range(size):
                item, at = self._value(at, base)
                items.append(item)
            return items, at
        found = {}
        for _ in range(size):
            key, at = self._value(at, base)
            found[key], at = self._value(at, base)
        return found, at
