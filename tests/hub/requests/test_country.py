"""A team's own .mmdb tells countries; what is none is refused with the setting's name."""

from pathlib import Path

import pytest

from hub.requests.country import Countries, Geo
from hub.runtime.geoip import knows_places
from storage.ledger.errors import CasinoFluxError


def text(value: str) -> bytes:
    return bytes([2 << 5 | len(value)]) + value.encode()


def number(value: int, kind: int) -> bytes:
    raw = value.to_bytes(4, "big").lstrip(b"\0")
    return bytes([kind << 5 | len(raw)]) + raw


def mapping(*pairs: tuple[str, bytes]) -> bytes:
    return bytes([7 << 5 | len(pairs)]) + b"".join(text(name) + value for name, value in pairs)


GERMANY = mapping(("country", mapping(("iso_code", text("DE")))))


def database(bits: int, record: bytes = GERMANY, kind: str = "Country") -> bytes:
    """One node: of addresses below 128.0.0.0 the record tells, of the others nothing is known."""
    result, nothing = 1 + 16, 1
    if bits == 28:
        node = result.to_bytes(3, "big") + b"\0" + nothing.to_bytes(3, "big")
    else:
        node = result.to_bytes(bits // 8, "big") + nothing.to_bytes(bits // 8, "big")
    about = mapping(
        ("node_count", number(1, 6)), ("record_size", number(bits, 5)), ("ip_version", number(4, 5)),
        ("database_type", text(kind)), ("languages", bytes([0, 11 - 7])), ("description", mapping()),
        ("binary_format_major_version", number(2, 5)), ("binary_format_minor_version", number(0, 5)),
        ("build_epoch", bytes([1, 9 - 7, 1])),
    )  # fmt: skip
    return node + b"\0" * 16 + record + b"\xab\xcd\xefMaxMind.com" + about


@pytest.mark.parametrize("bits", [24, 28, 32])
def test_a_country_is_found_in_records_of_every_size(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "team.mmdb"
    path.write_bytes(database(bits))
    countries = Countries(str(path))
    assert countries.of("84.1.2.3") == "DE"
    assert countries.of("::ffff:84.1.2.3") == "DE"
    assert countries.of("200.1.2.3") == countries.of("2001:db8::1") == countries.of("nonsense") == ""


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.mmdb").write_bytes(b"nothing of the kind")
    for path in (tmp_path / "x.mmdb", tmp_path / "missing.mmdb"):
        with pytest.raises(CasinoFluxError, match="CASINOFLUX_GEOIP_FILE"):
            Countries(str(path))


def test_without_one_the_bundled_table_is_asked() -> None:
    assert Countries().of("8.8.8.8") == "US"
    assert Countries().of("127.0.0.1") == ""


@pytest.mark.parametrize(
    ("record", "city", "regions"),
    [
        (mapping(("city", text("Graz")), ("region", text("Styria")), ("country", text("AT"))), "graz", ("styria",)),
        (mapping(("city", mapping(("names", mapping(("en", text("Linz"))))))), "linz", ()),
        (GERMANY, "", ()),
    ],
)
def test_cities_and_regions_are_read_in_the_forms_there_are(
    tmp_path: Path, record: bytes, city: str, regions: tuple[str, ...]
) -> None:
    path = tmp_path / "city.mmdb"
    path.write_bytes(database(24, record, "ipinfo standard_location"))
    countries = Countries(str(path))
    assert knows_places(str(path))
    assert countries.geo("84.1.2.3") == Geo(city, regions)
    assert countries.geo("200.1.2.3") == countries.geo("nonsense") == Geo()
