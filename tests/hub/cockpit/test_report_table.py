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
