"""The report's table as HTML: a function for each column, made once a page, since a page has thousands of cells."""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote_plus

import msgspec

from bot.forms.report_view import ReportView
from bot.render.figures import NO_RATE, lacks_rate
from hub.cockpit.figures import NONE, Show
from hub.cockpit.parts import safe, state
from storage.ledger.reports.arrange import Measure
from storage.ledger.reports.formula import read_formula
from storage.ledger.reports.report_rows import PERIODS, Layers, MergedReport, ReportRow


class Column(msgspec.Struct, frozen=True):
    """A column of the report: its key in addresses, its head, what it shows."""

    key: str
    title: str
    kind: str  # count, layers, money, amounts, ratio, each, own
    formula: Measure | None = None


COLUMNS = (
    Column("clicks", "Clicks", "count"),
    Column("unique_clicks", "Unique", "count"),
    Column("bot_clicks", "Bots", "count"),
    Column("registrations", "Regs", "layers"),
    Column("first_deposits", "FTDs", "layers"),
    Column("deposits", "Deposits", "layers"),
    Column("qualified", "Qualified", "layers"),
    Column("deposit_amount", "Deposited", "amounts"),
    Column("ngr", "NGR", "money"),
    Column("commission", "Commission", "money"),
    Column("commission_cpa", "CPA commission", "money"),
    Column("commission_revshare", "Rev share", "money"),
    Column("spend", "Spend", "money"),
    Column("profit", "Profit", "money"),
    Column("cr", "CR", "ratio"),
    Column("reg2dep", "Reg2dep", "ratio"),
    Column("epc", "EPC", "each"),
    Column("cpa", "CPA", "each"),
    Column("roi", "ROI", "ratio"),
)
DEFAULT = ("clicks", "registrations", "first_deposits", "cr", "reg2dep", "epc", "commission", "spend", "profit", "roi")
#: Amounts that come from the platform: pending until a day is settled.
PENDING = {"ngr", "commission", "commission_cpa", "commission_revshare", "profit"}
BY_KEY = {column.key: column for column in COLUMNS}
RATIOS: dict[str, tuple[str, str]] = {
    "cr": ("registrations", "clicks"), "reg2dep": ("first_deposits", "registrations"), "epc": ("commission", "clicks"),
    "cpa": ("spend", "first_deposits"), "roi": ("profit", "spend"),
}  # fmt: skip

Value = Callable[[ReportRow], Any]


class Cell(NamedTuple):
    """One figure as it is shown: its words, the other layer's beside it."""

    text: str
    tone: str = ""
    gap: str = ""


def columns_of(view: ReportView) -> tuple[Column, ...]:
    """The columns that a view shows, its own by formula last."""
    own = tuple(Column(column.name, column.name, "own", read_formula(column.formula)) for column in view.own)
    chosen = tuple(BY_KEY[key] for key in view.columns if key in BY_KEY)
    return (chosen or tuple(BY_KEY[key] for key in DEFAULT)) + own


def value_of(column: Column) -> Value:
    """A column's figure of a row, for sorting, comparing and charts: amounts in micro-units."""
    return _own_value(column.formula) if column.formula is not None else _value_of(column.key)


def _own_value(formula: Measure) -> Value:
    def value(row: ReportRow) -> float | None:
        fraction = formula(row)
        return None if fraction is None else fraction.numerator / fraction.denominator

    return value


@lru_cache
def _value_of(key: str) -> Value:
    if key in RATIOS:
        part_of, whole_of = (_value_of(name) for name in RATIOS[key])

        def quotient(row: ReportRow) -> float | None:
            part, whole = part_of(row), whole_of(row)
            return None if part is None or not whole else part / whole

        return quotient
    if BY_KEY[key].kind in {"layers", "amounts"}:

        def merged(row: ReportRow) -> int | None:
            layers: Layers = getattr(row, key)
            return layers.merged

        return merged
    return lambda row: getattr(row, key)


def _cell_of(show: Show, column: Column) -> Callable[[ReportRow], Cell]:
    """How a column's figure is shown."""
    if column.kind == "own":
        value = value_of(column)
        return lambda row: Cell(show.decimal(value(row)))
    if column.kind in {"layers", "amounts"}:
        return _layers(show.money if column.kind == "amounts" else show.count, column.key)
    if column.kind == "money":
        return _money(show, column.key)
    if column.kind in {"ratio", "each"}:
        return _ratio(show, column)
    value = value_of(column)
    return lambda row: Cell(show.count(value(row)))


def _layers(words: Callable[[int | None], str], key: str) -> Callable[[ReportRow], Cell]:
    def cell(row: ReportRow) -> Cell:
        layers: Layers = getattr(row, key)
        postback, platform = layers.postback, layers.platform
        if postback is None or platform is None or postback == platform:
            return Cell(words(layers.merged))
        gap = f"{words(postback)} by postback, {words(platform)} by the platform"
        return Cell(words(layers.merged), gap=gap)

    return cell


def _money(show: Show, key: str) -> Callable[[ReportRow], Cell]:
    pending = key in PENDING

    def cell(row: ReportRow) -> Cell:
        figure = getattr(row, key)
        if figure is not None:
            return Cell(show.money(figure), "down" if figure < 0 else "")
        waits = pending and row.settlement != "settled"
        text = NO_RATE if lacks_rate(row, key) else "pending" if waits else NONE
        return Cell(text, "pending" if waits else "")

    return cell


def _ratio(show: Show, column: Column) -> Callable[[ReportRow], Cell]:
    part_of, whole_of = (_value_of(name) for name in RATIOS[column.key])
    needs_commission = column.key == "roi"
    words = show.each if column.kind == "each" else show.percent

    def cell(row: ReportRow) -> Cell:
        if needs_commission and row.commission is None:
            return Cell(NONE)
        return Cell(words(part_of(row), whole_of(row)))

    return cell


class ReportTable:
    """How the page shows a view: its columns, the report of another range or of now beside it, names by code."""

    def __init__(
        self, show: Show, view: ReportView, names: Mapping[str, Mapping[str, str]], *,
        other: MergedReport | None, now: MergedReport | None,
    ) -> None:  # fmt: skip
        self.view, self.names, self.columns = view, names, columns_of(view)
        self._show = show
        self._other = _by_group(other)  # the compared range's rows
        self._now = _by_group(now)  # today's belief, where the page shows an earlier one
        self._cells = [(_cell_of(show, column), value_of(column)) for column in self.columns]
        self._links = {dimension: self._link(dimension) for dimension in view.by}

    def row(self, row: ReportRow) -> str:
        """A row of the table: its group's values with links to drill down, and its figures."""
        groups = []
        opening = '<td class="name">'
        for dimension, code in row.group.items():
            groups.append(f"{opening}{self._group(dimension, code or '')}</td>")
            opening = "<td>"
        return f"<tr>{''.join(groups)}{self.figures(row)}</tr>\n"

    def unassigned(self, row: ReportRow) -> str:
        """A row of revenue that no offer claims."""
        named = "".join(f"{safe(self.name(dimension, code))} " for dimension, code in row.group.items())
        first = f'<td class="name" colspan="{len(self.view.by)}"><span class="state warn">no offer</span> {named}</td>'
        return f"<tr>{first}{self.figures(row)}</tr>"

    def figures(self, row: ReportRow) -> str:
        """The figures of a row with what they are compared with, and how settled they are."""
        other = now = None
        if self._other or self._now:
            key = _group_key(row)
            other, now = self._other.get(key), self._now.get(key)
        if other is None and now is None:
            cells = [_html(cell(row)) for cell, _ in self._cells]
        else:
            cells = list(self._compared(row, other, now))
        marks: list[str] = [state(row.settlement)]
        if row.allocated:
            title = "Split over campaigns by their conversions and clicks"
            marks.append(f' <span class="state" title="{title}">allocated</span>')
        if isinstance(row.unconverted, dict) and row.unconverted:
            amounts = ", ".join(self._show.money(amount, currency) for currency, amount in row.unconverted.items())
            marks.append(f' <span class="state warn">no rate: {safe(amounts)}</span>')
        return f'{"".join(cells)}<td class="states">{"".join(marks)}</td>'

    def name(self, dimension: str, code: str | None) -> str:
        """What a group's value is called."""
        return self.names.get(dimension, {}).get(code or "", code or "none")

    def _compared(self, row: ReportRow, other: ReportRow | None, now: ReportRow | None) -> Iterator[str]:
        """Figures with their change against the other range, and what is believed of them now where that differs."""
        for cell, value in self._cells:
            shown = cell(row)
            compares = other is not None and NONE not in {shown.text, cell(other).text}
            change = self._show.change(value(row), value(other)) if other and compares else ""
            today = cell(now).text if now else shown.text
            yield _html(shown, change, today if today != shown.text else "")

    def _group(self, dimension: str, code: str) -> str:
        if dimension in PERIODS:
            if dimension != "day":
                return safe(code)
            before, after = self._links[dimension]
            return f'<a href="{before}{quote_plus(code)}{after}">{safe(self._show.day(code))}</a>'
        if not code:
            return '<span class="soft">none</span>'
        before, after = self._links[dimension]
        name = safe(self.name(dimension, code))
        return f'<a class="clip" title="{name}" href="{before}{quote_plus(code)}{after}">{name}</a>'

    def _link(self, dimension: str) -> tuple[str, str]:
        """What stands before and after the value in the address that drills down into it."""
        if dimension == "day":
            query = self.view.address(range=_VALUE, by="campaign", sort="")
        else:
            rest = ",".join(name for name in self.view.by if name != dimension)
            query = self.view.address(**{dimension: _VALUE, "by": rest or "day", "sort": ""})
        before, _, after = safe(f"/cockpit/reports?{query}").partition(_VALUE)
        return before, after


_VALUE = "0.value.0"  # stands for a group's value in an address; nothing in it is quoted


def _html(cell: Cell, change: str = "", now: str = "") -> str:
    text, tone, gap = cell
    shown = safe(text)
    if not gap and not change and not now:
        return f'<td class="number {tone}">{shown}</td>'
    title, mark = "", ""
    if gap:
        title, mark = f' title="{safe(gap)}"', f' <span class="gap" role="img" aria-label="{safe(gap)}">≠</span>'
    if now:
        shown = f'<mark title="now {safe(now)}">{shown}</mark>'
        mark += f"<small>now {safe(now)}</small>"
    if change:
        mark += f"<small>{safe(change)}</small>"
    return f'<td class="number {tone}"{title}>{shown}{mark}</td>'


def _by_group(report: MergedReport | None) -> dict[str, ReportRow]:
    return {} if report is None else {"": report.totals, **{_group_key(row): row for row in report.rows}}


def _group_key(row: ReportRow) -> str:
    return "\n".join(f"{dimension}={code}" for dimension, code in row.group.items())
