"""Own columns of reports: formulas over measures, and what is refused."""

from fractions import Fraction
from typing import Any

import msgspec
import pytest

from storage.ledger.errors import Refused
from storage.ledger.reports.formula import read_formula
from storage.ledger.reports.report_rows import Layers, ReportRow


def row(**values: Any) -> ReportRow:
    layers = {name: Layers(postback=None, platform=None, merged=None) for name in
              ("registrations", "first_deposits", "deposits", "deposit_amount", "qualified")}  # fmt: skip
    defaults = {field.name: None for field in msgspec.structs.fields(ReportRow) if field.required}
    return ReportRow(**{**defaults, **layers, "group": {}, "settlement": "settled", "allocated": False, **values})


def test_amounts_are_whole_units_and_counts_are_counts() -> None:
    shown = row(
        clicks=200, commission=500_000_000, spend=300_000_000, profit=200_000_000,
        first_deposits=Layers(postback=9, platform=10, merged=10),
    )  # fmt: skip
    for text, value in {
        "profit / commission * 100": 40, "commission - spend": 200, "commission/first_deposits": 50,
        "-(spend + 1.5) * 2": -603, "first_deposits.platform - first_deposits.postback": 1, "roi": Fraction(2, 3),
        "CLICKS / 1000": Fraction(1, 5), "epc * clicks": 500,
    }.items():  # fmt: skip
        assert read_formula(text)(shown) == value, text


@pytest.mark.parametrize(
    "text",
    ["commission / spend", "commission + 1", "clicks / (clicks - 200)", "clicks * 1e29", "1e20 * " * 20 + "clicks"],
)
def test_what_is_not_known_divides_by_zero_or_passes_all_bounds_gives_nothing(text: str) -> None:
    assert read_formula(text)(row(clicks=200, commission=None, spend=None)) is None


@pytest.mark.parametrize(
    "text",
    ["", "profit /", "profit ** 9", "2 ** 99999999", "__import__('os')", "open", "clicks if 1 else 2", "[1]", "'a'",
     "clicks.__class__", "comission", "(" * 190, "1" * 199, "clicks" * 60, "lambda: 1", "True", "1j", "a\x00b",
     "clicks // 2", "clicks, spend", "1e400", "1e31"],
)  # fmt: skip
def test_anything_else_is_refused_at_its_field(text: str) -> None:
    with pytest.raises(Refused) as refused:
        read_formula(text)
    assert refused.value.field == "own"


def test_a_mistyped_measure_gets_the_nearest() -> None:
    with pytest.raises(Refused, match="did you mean 'commission'"):
        read_formula("comission / clicks")
