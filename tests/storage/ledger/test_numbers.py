"""Numbers and days as platforms write them."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.ledger.numbers import day, micro, number, whole


@pytest.mark.parametrize(
    ("text", "value"),
    [("1,234.50", "1234.50"), ("1.234,50", "1234.50"), ("€-0.83", "-0.83"), ("(12.50)", "-12.50"), ("0,00 $", "0.00"),
     ("1\u00a0234,5", "1234.5"), ("1'234.5", "1234.5"), ("\u221212", "-12"), ("12-", "-12"), ("1,234", "1234"),
     ("1,23", "1.23"), ("1.234.567", "1234567"), ("1.5", "1.5"), ("1.5e3", "1500"), ("12.50EUR", "12.50"),
     ("EUR 12.50", "12.50"), ("+7", "7"), ("R$ 3", "3")],
)  # fmt: skip
def test_amounts_are_read_exactly(text: str, value: str) -> None:
    assert number(text) == Decimal(value)


@pytest.mark.parametrize("text", ["abc", "NaN", "Infinity", "1 of 2", "12abc34", "--5", "1e999999", "1,2.3,4e"])
def test_what_is_no_number_is_never_taken_for_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"no number|too large"):
        micro(text)


@pytest.mark.parametrize("text", ["", "-", "–", "n/a", None, "null"])
def test_what_is_not_said_is_not_zero(text: str | None) -> None:
    assert number(text) is None
    assert micro(text) is None
    assert whole(text) is None


def test_counts_are_whole() -> None:
    assert [whole(value) for value in ("40", 40, "1.041", "1,041", 3.0, Decimal("4.0"), "-1")] == [
        40, 40, 1041, 1041, 3, 4, -1,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="no whole number"):
        whole("3.5")
    with pytest.raises(ValueError, match="no number"):
        whole(True)


@given(st.decimals(min_value=-(10**11), max_value=10**11, places=6))
def test_an_amount_keeps_every_micro_unit(amount: Decimal) -> None:
    assert micro(f"{amount:f}") == int(amount * 1_000_000) == micro(amount)


@pytest.mark.parametrize(
    "text", ["2026-10-01", "2026/10/01", "20261001", "01.10.2026", "10/01/2026", "2026-10-01T00:00:00.000Z",
             "10/1/2026 11:59:59 PM", "2026-10-01 23:00"],
)  # fmt: skip
def test_a_day_is_the_platforms_own_label(text: str) -> None:
    assert day(text) == date(2026, 10, 1)


def test_a_day_order_is_a_setting() -> None:
    assert day("01/10/2026", "dmy") == date(2026, 10, 1)
    with pytest.raises(ValueError, match="no day"):
        day("2026-10")
    with pytest.raises(ValueError, match="month must be"):
        day("13/13/2026")
