"""Report figures as people read them: money in their currency, ratios in percent, "–" where nothing is measured."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Protocol

import msgspec
from babel.numbers import format_currency

from bot.core.message import Chart, Series, Table
from storage.ledger.money import ratio, units
from storage.ledger.reports.arrange import measure, measure_named
from storage.ledger.reports.forecast import Accuracy
from storage.ledger.reports.report_rows import ComparedRange, Layers, MergedReport, ReportRow
from storage.ledger.revenue.sanity import AMOUNTS

NONE = "–"
PENDING = "pending"
NO_RATE = "no rate"  # the amount is known, in a currency without an exchange rate
MARKS = {"settled": "✓", "provisional": "…", "partial": "◐"}
LEGEND = "✓ settled · … provisional · ◐ partly settled · ≈ allocated · (n) by postbacks"
COLUMNS = ("Clicks", "Regs", "FTDs", "CR", "Reg2dep", "EPC", "Commission", "Spend", "Profit", "ROI", "State")

FEW_OUTCOMES = 10  # fewer are counted, since a share of them says more than it knows
MOST_ROWS = 100  # as many as a chat's table holds

_TITLES = {"day": "Day", "week": "Week", "month": "Month"}


def outcomes_inside(accuracy: Accuracy) -> str:
    """How past forecasts did; empty where none has an outcome yet."""
    if accuracy.share is None:
        return ""
    if accuracy.days < FEW_OUTCOMES:
        outcomes = "outcome was inside its range" if accuracy.days == 1 else "outcomes were inside their range"
        return f"{accuracy.inside} of {accuracy.days} past {outcomes}."
    return f"Of {accuracy.days:,} past outcomes {accuracy.share:.0%} were inside their range."


def count(number: int | None) -> str:
    return NONE if number is None else f"{number:,}"


def decimal(number: float | None) -> str:
    """A number of unknown size: two decimals, more where it is small."""
    if number is None:
        return NONE
    return f"{number:,.2f}" if abs(number) >= 0.1 or number == 0 else f"{number:,.4f}"


def money(micros: int | None, currency: str, *, missing: str = NONE) -> str:
    """Micro-units as an amount: €1,234.50."""
    if micros is None:
        return missing
    return _money(units(micros), currency, exact=True)


def amount(micros: int | None, currency: str | None) -> str:
    """The same of an amount whose currency may be unknown: 1,234.50."""
    if micros is None or currency:
        return money(micros, currency or "")
    return f"{units(micros):,.2f}"


class Moved(Protocol):
    """A figure that a platform reports otherwise than before."""

    @property
    def measure(self) -> str: ...
    @property
    def currency(self) -> str: ...
    @property
    def before(self) -> int | None: ...
    @property
    def now(self) -> int | None: ...


def before_and_now(figure: Moved) -> tuple[str, str]:
    """Both values: counts, or amounts in their currency."""
    if figure.measure == "commission" or figure.measure in AMOUNTS:
        return money(figure.before, figure.currency), money(figure.now, figure.currency)
    return count(figure.before), count(figure.now)


def round_money(micros: int, currency: str) -> str:
    """For a title: whole units from a hundred up."""
    amount = units(micros)
    if abs(amount) < 100:
        return _money(amount, currency, exact=True)
    return _money(round(amount), currency, exact=False)


@cache
def _pattern(exact: bool) -> str | None:
    return None if exact else "¤#,##0"


def _money(amount: Decimal | int, currency: str, *, exact: bool) -> str:
    return format_currency(amount, currency, _pattern(exact), locale="en", currency_digits=exact)


def percent(part: int | None, whole: int | None) -> str:
    """A ratio in percent; "–" without a denominator."""
    if part is None or not whole:
        return NONE
    share = ratio(part * 100, whole)
    return f"{share:,.0f}%" if abs(share) >= 100 else f"{share:.1f}%"


def share(part: float | None, digits: int = 0) -> str:
    """A fraction of one in percent; "–" where it is not known."""
    return NONE if part is None else f"{part:.{digits}%}"


def each(micros: int | None, number: int | None, currency: str) -> str:
    """Money per piece: EPC, CPA."""
    if micros is None or not number:
        return NONE
    return _money(units(micros) / number, currency, exact=True)


def change(value: float | None, usual: float | None, *, gap: str = "") -> str:
    """How a figure moved against another, +12%; ×11 where a positive one grew more than tenfold. Beyond a thousand
    per cent it says no more than that much, since a large percentage of little is no figure; empty where nothing can
    be said. `gap` stands before the percent sign."""
    if value is None or not usual:
        return ""
    moved = round((value - usual) / abs(usual) * 100)
    if abs(moved) < _MOST_CHANGE:
        return f"{moved:+}{gap}%" if moved else f"0{gap}%"
    if usual > 0 and moved > 0:
        return f"×{value / usual:,.0f}"
    return f"above +999{gap}%" if moved > 0 else f"below -999{gap}%"


_MOST_CHANGE = 1_000  # per cent


def how_sure(estimate: int | None, spread: int | None) -> str:
    """How far an estimate can be relied on, by its standard deviation."""
    if estimate is None or spread is None:
        return NONE
    return next((words for most, words in _SURE if spread <= most * abs(estimate)), "hardly known yet")


_SURE = ((0.12, "well known"), (0.3, "roughly known"), (0.6, "a rough guess"))
HOW_SURE = "How sure: well known is within a fifth, a rough guess may be half or double"


def commission(row: ReportRow, currency: str) -> str:
    """Revenue of days that are not settled yet is pending, never 0."""
    return money(row.commission, currency, missing=missing(row, "commission"))


def spend(row: ReportRow, currency: str) -> str:
    return money(row.spend, currency, missing=NO_RATE if lacks_rate(row, "spend") else NONE)


def missing(row: ReportRow, measure: str) -> str:
    """What stands where an amount of a platform is not known."""
    if lacks_rate(row, measure):
        return NO_RATE
    return NONE if row.settlement == "settled" else PENDING


def lacks_rate(row: ReportRow, measure: str) -> bool:
    """Whether some of an amount is left out of its sum for lack of an exchange rate."""
    figures = row.unconverted_figures
    return isinstance(figures, dict) and any(measure in of_currency for of_currency in figures.values())


def worded_commission(row: ReportRow, currency: str, *, exact: bool = False) -> str:
    """For a sentence: what is known so far, and whether more is to come."""
    if row.commission is None:
        return missing(row, "commission")
    text = money(row.commission, currency) if exact else round_money(row.commission, currency)
    return text if row.settlement == "settled" else f"{text} so far"


def profit(row: ReportRow, currency: str) -> str:
    """Pending while the revenue is: spend alone is no loss yet. Without a rate for one of them there is none."""
    lacking = [measure for measure in ("commission", "spend") if lacks_rate(row, measure)]
    if any(getattr(row, measure) is None for measure in lacking):
        return NO_RATE
    if row.commission is None and row.settlement != "settled" and row.spend is not None:
        return PENDING
    return money(row.profit, currency)


def roi(row: ReportRow) -> str:
    return NONE if row.commission is None else percent(row.profit, row.spend)


def layered(layers: Layers) -> str:
    """The merged count, with the postbacks' beside it where the two differ."""
    if layers.postback is None or layers.merged is None or layers.postback == layers.merged:
        return count(layers.merged)
    return f"{layers.merged:,} ({layers.postback:,})"


def first_deposits(row: ReportRow) -> str:
    return layered(row.first_deposits)


def unconverted(report: MergedReport) -> str | None:
    """What is left out of the sums for lack of an exchange rate, commission and spend apart; None if nothing is."""
    figures = report.totals.unconverted_figures
    if not isinstance(figures, dict) or not figures:
        return None
    parts = []
    for currency, amounts in figures.items():
        named = {name: amounts[name] for name in ("commission", "spend") if name in amounts} or dict(
            [*amounts.items()][:1]
        )
        parts += [f"{_AMOUNTS.get(name, name)} {money(amount, currency)}" for name, amount in named.items()]
    return f"no exchange rate for {', '.join(parts)}: left out of the sums; rate set adds one"


_AMOUNTS = {"ngr": "NGR", "deposit_amount": "deposits", "postback_amount": "deposits"}


def marks(row: ReportRow) -> str:
    return MARKS[row.settlement] + ("≈" if row.allocated else "")


def cells(row: ReportRow, currency: str) -> tuple[str, ...]:
    """One row of figures, in the order of COLUMNS."""
    regs, ftds = row.registrations.merged, row.first_deposits.merged
    return (
        count(row.clicks), layered(row.registrations), first_deposits(row), percent(regs, row.clicks),
        percent(ftds, regs),
        each(row.commission, row.clicks, currency), commission(row, currency), spend(row, currency),
        profit(row, currency), roi(row), marks(row),
    )  # fmt: skip


def label(value: str | None, dimension: str) -> str:
    return value or (f"no {dimension}" if dimension not in {"country", "device"} else "unknown")


def compact(table: Table) -> Table:
    """Without the ratios that a phone has no room for."""
    columns = [n for n, name in enumerate(table.columns) if name not in {"CR", "Reg2dep", "EPC"}]
    rows = tuple(tuple(row[n] for n in columns) for row in table.rows)
    numeric = tuple(place for place, n in enumerate(columns) if n in table.numeric)
    phone = tuple(columns.index(n) for n in table.phone)
    return msgspec.structs.replace(
        table, columns=tuple(table.columns[n] for n in columns), rows=rows, numeric=numeric, phone=phone
    )


def report_table(
    report: MergedReport, by: Sequence[str], *, most: int = MOST_ROWS, beyond: str = "", sort: str = ""
) -> Table:
    """The report's first rows, what no offer claims, the totals. `beyond`: where the rows are that found no room.

    Columns by formula come before the state. What they are sorted by has a column, on a phone the first.
    """
    own = tuple(report.totals.own) if isinstance(report.totals.own, dict) else ()
    measured = measure_named(sort.removeprefix("-")) if sort and sort.removeprefix("-") not in own else ""
    column = _COLUMN_OF.get(measured, measure_name(measured)[:1].upper() + measure_name(measured)[1:])
    added = (column,) if column and column not in COLUMNS else ()

    def cells_of(row: ReportRow) -> tuple[str, ...]:
        known = cells(row, report.currency)
        value = (_value(row, measured, report.currency) for _ in added)
        return (*known[:-1], *value, *map(decimal, _own(row, own)), known[-1])

    columns = (*COLUMNS[:-1], *added, *own, COLUMNS[-1])
    heads = tuple(_TITLES.get(dimension, dimension.capitalize()) for dimension in by) or ("Range",)
    rows = [(*_labels(row, by, report.names), *cells_of(row)) for row in report.rows[:most]]
    rows += [(*_unassigned(row, by, report.names), *cells_of(row)) for row in report.unassigned[:most]]
    summed = len(rows) != 1
    if summed:
        rows.append((*_first("Total", len(heads)), *cells_of(report.totals)))
    numeric = tuple(range(len(heads), len(heads) + len(columns) - 1))
    shown = dict.fromkeys(([column] if column else []) + [*own, *_ON_A_PHONE])
    phone = (*range(min(len(heads), 2)), *(len(heads) + columns.index(name) for name in list(shown)[: 6 - len(heads)]))
    more = max(len(report.rows) - most, 0) + max(len(report.unassigned) - most, 0)
    return Table(
        heads + columns, tuple(rows), numeric=numeric, phone=phone[:5], total=summed, more=more, rest=beyond,
        legend=LEGEND,
    )  # fmt: skip


def _own(row: ReportRow, names: Sequence[str]) -> Iterator[float | None]:
    for name in names:
        yield row.own.get(name) if isinstance(row.own, dict) else None


_COLUMN_OF = {
    "clicks": "Clicks", "registrations": "Regs", "first_deposits": "FTDs", "cr": "CR", "reg2dep": "Reg2dep",
    "epc": "EPC", "ctr": "CTR", "commission": "Commission", "spend": "Spend", "profit": "Profit", "roi": "ROI",
    "cpa": "CPA",
}  # fmt: skip
_IN_MONEY = ("ngr", "commission", "deposit_amount", "cpa")


def _value(row: ReportRow, name: str, currency: str) -> str:
    """A measure that has no column of its own."""
    if name == "ctr":
        return percent(row.outgoing, row.site_visits)
    value = measure(name)(row)
    if value is None:
        return NONE
    return money(round(value), currency) if name.startswith(_IN_MONEY) else count(round(value))


_ON_A_PHONE = ("Clicks", "FTDs", "Profit", "ROI")
_COMPARED = ("Clicks", "Regs", "FTDs", "Commission", "Profit")


def change_table(report: MergedReport, before: ComparedRange, by: Sequence[str]) -> Table:
    """How each row moved against the same row of the other range; of periods, which never recur, only the total."""
    recurring = bool(by) and not set(by) & set(_TITLES)
    then = {tuple(row.group.get(dimension) for dimension in by): row for row in before.rows}
    rows = [
        (
            " · ".join(_labels(row, by, report.names)),
            *_changes(row, then.get(tuple(row.group.get(dimension) for dimension in by))),
        )
        for row in (report.rows[:MOST_ROWS] if recurring else [])
    ]
    rows.append(("Total", *_changes(report.totals, before.totals)))
    head = " · ".join(dimension.capitalize() for dimension in by) if recurring else "Range"
    return Table((head, *_COMPARED), tuple(rows), numeric=(1, 2, 3, 4, 5), phone=(0, 1, 3, 5), total=True)


def _changes(now: ReportRow, then: ReportRow | None) -> tuple[str, ...]:
    if then is None:
        return ("new", *[NONE] * 4)
    pairs = (
        (now.clicks, then.clicks), (now.registrations.merged, then.registrations.merged),
        (now.first_deposits.merged, then.first_deposits.merged), (now.commission, then.commission),
        (now.profit, then.profit),
    )  # fmt: skip
    return tuple(change(after, earlier) or NONE for after, earlier in pairs)


def by_weight(report: MergedReport) -> MergedReport:
    """The report with its rows by commission, then FTDs, registrations, clicks."""
    return msgspec.structs.replace(report, rows=sorted(report.rows, key=_weight, reverse=True))


TOP = 10
_RANKED = {
    "commission": "Commission",
    "profit": "Profit",
    "first_deposits": "FTDs",
    "registrations": "Regs",
    "clicks": "Clicks",
}


def top_chart(report: MergedReport, by: Sequence[str], *, measure: str = "") -> Chart:
    """The report's first rows as a picture: a bar each, of the measure they are sorted by or the weightiest known."""
    rows = report.rows[:TOP]
    measures = [measure] if measure in _RANKED else list(_RANKED)
    plotted = {name: sum(_plotted(row, name) is not None for row in rows) for name in measures}
    chosen = next((name for name in measures if 2 * plotted[name] > len(rows)), measures[-1])
    labels = tuple(" · ".join(_labels(row, by, report.names)) for row in rows)
    is_money = chosen in {"commission", "profit"}
    values = tuple(_plotted(row, chosen) for row in rows)
    title = f"{_RANKED[chosen]}, the first {len(rows)} of {len(report.rows):,}"
    return Chart(title, labels, (Series(_RANKED[chosen], values, "bar"),), report.currency if is_money else "", True)


def _plotted(row: ReportRow, name: str) -> float | None:
    """A measure's value in a picture; the profit of days whose commission is pending is not known."""
    value = None if name == "profit" and row.commission is None else getattr(row, name)
    value = value.merged if isinstance(value, Layers) else value
    return value if value is None or name not in {"commission", "profit"} else value / 1e6


def _weight(row: ReportRow) -> tuple[int, ...]:
    return (row.commission or 0, row.first_deposits.merged or 0, row.registrations.merged or 0, row.clicks or 0)


def _labels(row: ReportRow, by: Sequence[str], names: dict[str, dict[str, str]]) -> tuple[str, ...]:
    return tuple(_named(row.group.get(dimension), dimension, names) for dimension in by) or ("All",)


def _named(code: str | None, dimension: str, names: dict[str, dict[str, str]]) -> str:
    """The name of an entity as typed; of anything else its value."""
    return label(names.get(dimension, {}).get(code, code) if code else code, dimension)


def days(first: date, last: date) -> str:
    """A range as people read it; both years where they differ."""
    if first == last:
        return f"{first:%d %b %Y}"
    return f"{first:%d %b %Y} to {last:%d %b %Y}" if first.year != last.year else f"{first:%d %b} to {last:%d %b %Y}"


def plural(number: int | None, word: str) -> str:
    """1 day, 2 days, 1 FTD, 1,200 clicks; "–" where it is not measured."""
    return f"{count(number)} {word}" + ("" if number == 1 else "s")


def layered_plural(layers: Layers, word: str) -> str:
    """The same of a merged count, with the postbacks' beside it: 1 FTD, 12 (14) FTDs."""
    return f"{layered(layers)} {word}" + ("" if layers.merged == 1 else "s")


def length_in_words(length: str) -> str:
    """30m, 2h, 3d as people say it: 30 minutes, 2 hours, 3 days."""
    return plural(int(length[:-1]), {"m": "minute", "h": "hour", "d": "day"}[length[-1]])


def instant(moment: datetime | None, *, none: str = NONE) -> str:
    """2026-10-31 09:05 UTC"""
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else none


def event_name(event: str | None) -> str:
    """An event of postbacks as people call it."""
    return {None: NONE, "first_deposit": "FTD"}.get(event, str(event))


def measure_name(measure: str) -> str:
    """A measure of reports as people call it."""
    names = {"first_deposits": "FTDs", "ngr": "NGR", "commission_cpa": "CPA commission",
             "commission_revshare": "rev share commission"}  # fmt: skip
    return names.get(measure, measure.replace("_", " "))


def spoken_measure(sort: str) -> str:
    """What a report is sorted by, as its column or people call it."""
    name = measure_named(sort.removeprefix("-"))
    column = _COLUMN_OF.get(name, measure_name(name))
    return column if column.isupper() or column == "FTDs" else column.lower()


def _unassigned(row: ReportRow, by: Sequence[str], names: dict[str, dict[str, str]]) -> tuple[str, ...]:
    account = _named(row.group.get("account"), "account", names)
    name = f"unassigned: {account} / {row.group.get('tag') or 'no tag'}"
    days = [row.group.get(dimension) or "" for dimension in by if dimension in _TITLES]
    if not days:
        return _first(name, max(len(by), 1))
    others = [dimension for dimension in by if dimension not in _TITLES]
    if not others:
        return (f"{days[0]} {name}", *days[1:])
    texts = iter([name, *[""] * (len(others) - 1)])
    return tuple(row.group.get(dimension) or "" if dimension in _TITLES else next(texts) for dimension in by)


def _first(text: str, width: int) -> tuple[str, ...]:
    return (text, *[""] * (width - 1))
