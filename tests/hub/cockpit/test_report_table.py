"""Figures of the report's table beside those of another range."""

from datetime import date

from bot.forms.report_view import ReportView
from hub.cockpit.figures import Show
from hub.cockpit.report_table import ReportTable
from storage.ledger.reports.report_rows import MergedReport, ReportRow


def _row(spend: int, commission: int | None) -> ReportRow:
    profit = (commission or 0) - spend
    return ReportRow(group={"campaign": "a"}, spend=spend, commission=commission, profit=profit)


def _cells(row: ReportRow, other: ReportRow) -> str:
    before = MergedReport(timezone="UTC", currency="EUR", from_=date(2026, 1, 1), to=date(2026, 1, 2), rows=[other],
                          unassigned=[], totals=other)  # fmt: skip
    view, show = ReportView(columns=("spend", "roi")), Show(locale="en", currency="EUR", timezone="UTC")
    return ReportTable(show, view, {}, other=before, now=None).figures(row)


def test_a_figure_that_is_not_known_has_no_change() -> None:
    spend = '<td class="number ">€2.00<small>+100\u00a0%</small></td>'
    unknown = _cells(_row(2_000_000, None), _row(1_000_000, None))
    assert unknown.startswith(f'{spend}<td class="number ">–</td>')
    known = _cells(_row(2_000_000, 3_000_000), _row(1_000_000, 1_250_000))
    assert known.startswith(f'{spend}<td class="number ">50.0\u00a0%<small>+100\u00a0%</small></td>')


def test_a_change_beyond_reading_is_said_so() -> None:
    """A profit of 10 becomes a loss of 5,924, and spend is 298 times as much."""
    shown = _cells(_row(5_950_000_000, 26_000_000), _row(20_000_000, 30_000_000))
    assert "€5,950.00<small>×298</small>" in shown
    view, show = ReportView(columns=("profit",)), Show(locale="en", currency="EUR", timezone="UTC")
    lost, won = _row(5_950_000_000, 26_000_000), _row(20_000_000, 30_000_000)
    before = MergedReport(timezone="UTC", currency="EUR", from_=date(2026, 1, 1), to=date(2026, 1, 2), rows=[won],
                          unassigned=[], totals=won)  # fmt: skip
    cells = ReportTable(show, view, {}, other=before, now=None).figures(lost)
    assert "-€5,924.00<small>below −999\u00a0%</small>" in cells
