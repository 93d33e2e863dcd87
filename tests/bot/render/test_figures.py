"""Figures as people read them where something is missing: not measured, still to come, or without an exchange rate."""

import pytest

from bot.render import figures
from storage.ledger.facts import Settlement
from storage.ledger.reports.forecast import Accuracy
from storage.ledger.reports.report_rows import ReportRow


@pytest.mark.parametrize("settlement", ["settled", "provisional", "partial"])
def test_an_amount_without_a_rate_is_neither_pending_nor_unmeasured(settlement: Settlement) -> None:
    lacking = {"KZT": {"commission": 5_000_000, "spend": 7_000_000}}
    row = ReportRow(group={}, settlement=settlement, unconverted_figures=lacking)
    shown = figures.commission(row, "EUR"), figures.spend(row, "EUR"), figures.profit(row, "EUR")
    assert (*shown, figures.worded_commission(row, "EUR")) == ("no rate",) * 4


@pytest.mark.parametrize(
    ("settlement", "commission", "profit"), [("settled", "–", "-€3.00"), ("provisional", "pending", "pending")]
)
def test_an_amount_that_no_one_has_stated_waits_until_its_day_is_settled(
    settlement: Settlement, commission: str, profit: str
) -> None:
    row = ReportRow(group={}, settlement=settlement, spend=3_000_000, profit=-3_000_000)
    assert (figures.commission(row, "EUR"), figures.profit(row, "EUR")) == (commission, profit)


def test_the_part_of_an_amount_that_has_a_rate_is_shown() -> None:
    row = ReportRow(
        group={}, commission=2_000_000, spend=500_000, profit=1_500_000, settlement="settled",
        unconverted_figures={"KZT": {"commission": 5_000_000}},
    )  # fmt: skip
    assert (figures.commission(row, "EUR"), figures.profit(row, "EUR")) == ("€2.00", "€1.50")


@pytest.mark.parametrize(
    ("now", "before", "shown"),
    [
        (112, 100, "+12%"), (96, 100, "-4%"), (100, 100, "0%"), (0, 100, "-100%"), (1_050, 100, "+950%"),
        (1_100, 100, "×11"), (59_400, 100, "×594"), (1_234_567, 1, "×1,234,567"),
        (-5_924, 10, "below -999%"), (5_924, -10, "above +999%"), (-5_000, -10, "below -999%"), (-50, 100, "-150%"),
        (50, -100, "+150%"), (5, 0, ""), (None, 10, ""), (5, None, ""),
    ],
)  # fmt: skip
def test_a_change_is_read_at_a_glance(now: int | None, before: int | None, shown: str) -> None:
    assert figures.change(now, before) == shown


@pytest.mark.parametrize(
    ("inside", "days", "shown"),
    [
        (0, 0, ""),
        (1, 1, "1 of 1 past outcome was inside its range."),
        (2, 9, "2 of 9 past outcomes were inside their range."),
        (8, 10, "Of 10 past outcomes 80% were inside their range."),
        (900, 1200, "Of 1,200 past outcomes 75% were inside their range."),
    ],
)
def test_few_past_outcomes_are_counted_and_many_are_a_share(inside: int, days: int, shown: str) -> None:
    assert figures.outcomes_inside(Accuracy(days=days, inside=inside)) == shown
