"""Amounts in every platform's report: read right, or the report is refused with the column and what stood there."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import registry
from connectors.base import Connection, Window
from connectors.reading import RawRecords, Record
from connectors.sheet import Sheet
from storage.ledger.errors import ConnectorError
from storage.ledger.facts import PLATFORM_COUNTS, Report
from tests.storage.ledger.written import REFUSED, RIGHT, written_amounts

DAY = date(2026, 10, 1)
FIXED = {"tag": "alpha", "tag_name": "", "sub": "", "part": ""}
CONNECTION = Connection(timezone="UTC", currency="EUR")
NAMES = sorted({*registry.PLATFORMS} - {"postback_only"})
WITH_MONEY = [name for name in NAMES if name != "trackbox"]  # which tells of players, and no money


def ngr_report(name: str, text: object) -> Report:
    """The report of one record whose only figure is the NGR."""
    platform = registry.platform(name)
    columns = platform.columns(CONNECTION)
    measure = "ngr" if "ngr" in columns.measures else "commission"
    sheet = Sheet(platform, CONNECTION, Window(first=DAY, last=DAY), b"")
    sheet.add({columns.measures[measure][0].split(" + ")[0]: text}, FIXED, day=DAY)
    return sheet.report()


def ngr_of(name: str, text: object) -> tuple[int | None, str]:
    (row,) = ngr_report(name, text).rows
    figures = row.figures
    return (figures.ngr if figures.ngr is not None else figures.commission_other), row.currency


@pytest.mark.parametrize("name", WITH_MONEY)
def test_an_amount_in_a_report_is_read_right(name: str) -> None:
    for text, (value, currency) in RIGHT.items():
        assert ngr_of(name, text) == (int(Decimal(value) * 1_000_000), currency or "EUR"), text


@pytest.mark.parametrize("name", WITH_MONEY)
def test_what_is_no_amount_is_refused_with_its_column(name: str) -> None:
    for text in REFUSED:
        with pytest.raises(ConnectorError, match="column '") as refused:
            ngr_of(name, text)
        assert text.split()[-1].rstrip(".") in str(refused.value)


@given(st.sampled_from(WITH_MONEY), written_amounts())
def test_an_amount_in_any_convention_is_read_back_from_a_report(name: str, written: tuple[str, Decimal, str]) -> None:
    text, value, currency = written
    assert ngr_of(name, text) == (int(value * 1_000_000), currency or "EUR")


@pytest.mark.parametrize("name", NAMES)
def test_a_count_with_a_fraction_is_refused(name: str) -> None:
    platform = registry.platform(name)
    columns = platform.columns(CONNECTION)
    count = next(columns.measures[measure][0] for measure in PLATFORM_COUNTS if measure in columns.measures)
    for text in ("-0.004", "2.5", 2.5, "1/2", "12%"):
        sheet = Sheet(platform, CONNECTION, Window(first=DAY, last=DAY), b"")
        with pytest.raises(ConnectorError, match="column '"):
            sheet.add({count.split(" + ")[0]: text}, FIXED, day=DAY)


JSON_CELLS = st.one_of(
    st.integers(-10, 10_000), st.decimals(-1_000, 1_000, places=3), st.none(), st.booleans(),
    st.sampled_from(["", "3", "1.234", "1,5", "€12", "12 USD", "x", Decimal("1e14"), 10**14, 10**19]),
)  # fmt: skip


@st.composite
def json_records(draw: st.DrawFn) -> list[dict[str, object]]:
    """Records of a platform, most of them alike, and some with something odd."""
    plain = draw(st.lists(st.integers(0, 40), min_size=1, max_size=8))
    records: list[dict[str, object]] = [
        {"dt": f"2026-10-{1 + n % 4:02d}", "link_id": n % 3, "link_name": f" Link {n % 3}", "afp": f"s{place}",
         "brand_id": n % 2, "visit_count": n, "registration_count": n, "ftd_count": None, "net_pl": Decimal(n) / 8,
         "commissions_cpa": 40, "commissions_total": Decimal("40.25")} for place, n in enumerate(plain)
    ]  # fmt: skip
    names = st.sampled_from(sorted(records[0]))
    for place, name, cell in draw(st.lists(st.tuples(st.sampled_from(range(len(plain))), names, JSON_CELLS))):
        records[place][name] = cell
    for place in draw(st.sets(st.sampled_from(range(len(plain))), max_size=1)):
        del records[place][draw(names)]
    return records


def outcome(records: Iterable[Record], *, together: bool, latest: date = date.max) -> Report | str:
    """The report of these records, or why there is none."""
    sheet = Sheet(registry.platform("smartico"), CONNECTION, Window(first=DAY, last=date(2026, 10, 3)), b"")
    sheet.latest = latest
    try:
        if together:
            sheet.add_all(records)
        else:
            for record in records:
                sheet.add(record)
        return sheet.report()
    except ConnectorError as error:
        return str(error)


@given(json_records(), st.sampled_from([date.max, date(2026, 10, 2)]))
def test_records_read_a_column_at_a_time_are_those_read_one_by_one(
    records: list[dict[str, object]], latest: date
) -> None:
    assert outcome(records, together=True, latest=latest) == outcome(records, together=False, latest=latest)


ODD_NUMBERS = st.one_of(
    st.decimals(-(10**13), 10**13, allow_nan=False), st.decimals(-1_000, 1_000, places=7),
    st.sampled_from(["-0.0", "12.50", "1e3", "1e9", "0.0000005", "0.00000050000000000000001", "9007199254.740993"])
    .map(Decimal),
)  # fmt: skip
_NUMBERS = msgspec.json.Encoder(decimal_format="number")


@given(json_records(), st.sampled_from(["net_pl", "commissions_cpa", "visit_count", "link_id", "afp"]), ODD_NUMBERS)
def test_numbers_of_json_are_read_as_they_are_written_with_floats_or_without(
    records: list[Record], name: str, number: Decimal
) -> None:
    records[-1][name] = number
    raw = RawRecords(msgspec.Raw(_NUMBERS.encode(records)), b"", CONNECTION)
    assert outcome(raw, together=True) == outcome(list(raw), together=False)


def test_a_count_past_64_bits_is_refused_in_a_whole_column() -> None:
    record: dict[str, object] = {"dt": "2026-10-01", "link_id": 1, "visit_count": 10**19, "registration_count": 1}
    assert "column 'visit_count'" in str(outcome([record], together=True))


@given(
    json_records(), st.sampled_from(["link_name", "afp"]), st.sampled_from(["},{", '"} , {"', '\\"},\n{', "}"]),
    st.integers(1, 400), st.sampled_from([None, 1]),
)  # fmt: skip
def test_a_long_answer_is_taken_apart_between_its_objects_only(
    records: list[Record], name: str, text: str, size: int, indent: int | None
) -> None:
    records[0][name] = records[-1]["more"] = text
    body = _NUMBERS.encode(records)
    raw = RawRecords(
        msgspec.Raw(body if indent is None else msgspec.json.format(body, indent=indent)), body, CONNECTION
    )
    parts = list(raw.parts(size))
    assert [record for part, _ in parts for record in part] == list(raw)
    assert outcome(raw, together=True) == outcome(list(raw), together=False)
    for part, columns in parts:
        if columns is not None:
            exact = [{name: float(cell) if isinstance(cell, Decimal) else cell for name, cell in record.items()}
                     for record in part]  # fmt: skip
            assert [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)] == exact
