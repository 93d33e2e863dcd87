"""Amounts in every platform's report: read right, or the report is refused with the column and what stood there."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import registry
from connectors.base import Connection, Window
from connectors.columns import COUNTS
from connectors.sheet import Sheet
from storage.ledger.errors import ConnectorError
from storage.ledger.facts import Report
from tests.storage.ledger.written import REFUSED, RIGHT, written_amounts

DAY = date(2026, 10, 1)
FIXED = {"tag": "alpha", "tag_name": "", "sub": "", "part": ""}
CONNECTION = Connection(timezone="UTC", currency="EUR")
NAMES = sorted({*registry.PLATFORMS} - {"postback_only"})


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


@pytest.mark.parametrize("name", NAMES)
def test_an_amount_in_a_report_is_read_right(name: str) -> None:
    for text, (value, currency) in RIGHT.items():
        assert ngr_of(name, text) == (int(Decimal(value) * 1_000_000), currency or "EUR"), text


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_amount_is_refused_with_its_column(name: str) -> None:
    for text in REFUSED:
        with pytest.raises(ConnectorError, match="column '") as refused:
            ngr_of(name, text)
        assert text.split()[-1].rstrip(".") in str(refused.value)


@given(st.sampled_from(NAMES), written_amounts())
def test_an_amount_in_any_convention_is_read_back_from_a_report(name: str, written: tuple[str, Decimal, str]) -> None:
    text, value, currency = written
    assert ngr_of(name, text) == (int(value * 1_000_000), currency or "EUR")


@pytest.mark.parametrize("name", NAMES)
def test_a_count_with_a_fraction_is_refused(name: str) -> None:
    platform = registry.platform(name)
    columns = platform.columns(CONNECTION)
    count = next(columns.measures[measure][0] for measure in COUNTS if measure in columns.measures)
    for text in ("-0.004", "2.5", 2.5, "1/2", "12%"):
        sheet = Sheet(platform, CONNECTION, Window(first=DAY, last=DAY), b"")
        with pytest.raises(ConnectorError, match="column '"):
            sheet.add({count.split(" + ")[0]: text}, FIXED, day=DAY)
