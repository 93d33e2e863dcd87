"""Reports: a range, grouped and filtered, compared with another range, as believed at any moment."""

from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler

from bot.forms.report_view import FILTERS, ReportView, read_view
from bot.render.figures import NO_RATE, lacks_rate
from hub.cockpit.charts import lines_chart
from hub.cockpit.forms import rooms_of
from hub.cockpit.page import Cockpit, Visit, each
from storage.ledger.reports.arrange import Measure
from storage.ledger.reports.formula import read_formula
from storage.ledger.reports.report_rows import DIMENSIONS, Layers, MergedReport, ReportRow

PRESETS = ("today", "yesterday", "7d", "30d", "mtd", "90d")
PAGE = 200
OFFERED = 300  # names that a filter offers
DIGEST_CAMPAIGNS = 200  # as many as a digest takes


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
#: Dimensions whose values are entities with names.
NAMED = ("campaign", "site", "offer", "casino", "account", "source", "group")
#: Amounts that come from the platform: pending until a day is settled.
PENDING = {"ngr", "commission", "commission_cpa", "commission_revshare", "profit"}
BY_KEY = {column.key: column for column in COLUMNS}
RATIOS: dict[str, tuple[str, str]] = {
    "cr": ("registrations", "clicks"), "reg2dep": ("first_deposits", "registrations"), "epc": ("commission", "clicks"),
    "cpa": ("spend", "first_deposits"), "roi": ("profit", "spend"),
}  # fmt: skip


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One figure as it is shown: its words, the other layer's beside it, its change against the other range."""

    text: str
    gap: str = ""
    change: str = ""
    now: str = ""
    tone: str = ""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table: its group's values with links to drill down, and its cells."""

    groups: tuple[tuple[str, str, str], ...]  # dimension, value, name
    cells: tuple[Cell, ...]
    settlement: str
    allocated: bool
    unconverted: str = ""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """How the page shows a view: its columns, the report of another range or of now beside it, names by code."""

    view: ReportView
    columns: tuple[Column, ...]
    names: dict[str, dict[str, str]]
    other: dict[str, ReportRow] = {}  # the compared range's rows by group
    now: dict[str, ReportRow] = {}  # today's belief, where the page shows an earlier one


def report_routes(cockpit: Cockpit) -> list[HTTPRouteHandler]:
    @cockpit.get("/cockpit/reports")
    async def reports(visit: Visit) -> Response[Any]:
        view = read_view(visit.query, visit.context().today)
        return await _page(visit, view)

    @cockpit.get("/cockpit/reports.csv")
    async def csv(visit: Visit) -> Response[Any]:
        from bot.render.report_csv import report_file

        view = read_view(visit.query, visit.context().today)
        first, last = view.days(visit.context().today)
        own = [f"{column.name} = {column.formula}" for column in view.own]
        report = await visit.ask("report merged", **view.arguments(first, last), own=own)
        name = f"report-{first}-{last}.csv"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        content = (await report_file(report, list(view.by))).text
        return Response(content, media_type="text/csv", headers=headers)

    @cockpit.get("/cockpit/reports/digest")
    async def digest(visit: Visit) -> Response[Any]:
        return await _digest(visit, read_view(visit.query, visit.context().today))

    return [reports, csv, digest]


async def _digest(visit: Visit, view: ReportView) -> Response[Any]:
    """The form of a digest, filled in with what the report shows: how often by its range, its campaigns, the room."""
    first, last = view.days(visit.context().today)
    rooms = await rooms_of(visit)
    values = {"every": _how_often(view.range, first, last), "campaigns": ",".join(await _campaigns(visit, view)),
              "channel": rooms[0][0] if len(rooms) == 1 else "", "back": "/cockpit/digests"}  # fmt: skip
    return visit.leave_for(f"/cockpit/do/digest/subscribe?{urlencode(values)}")


def _how_often(text: str, first: date, last: date) -> str:
    """A day, a week or a month, whichever the range is or comes nearest to."""
    named = text.strip().lower()
    if "month" in named or named == "mtd":
        return "month"
    if "week" in named or named == "wtd":
        return "week"
    days = (last - first).days + 1
    return "day" if days <= 2 else "week" if days <= 14 else "month"


async def _campaigns(visit: Visit, view: ReportView) -> list[str]:
    """The campaigns a report is about: those it is filtered by, else those in its rows; none where it shows all."""
    if not view.filters:
        return []
    if view.filters.keys() == {"campaign"}:
        return view.filters["campaign"].split(",")
    by_campaign = msgspec.structs.replace(view, by=("campaign",), sort="")
    first, last = view.days(visit.context().today)
    report: MergedReport = await visit.ask("report merged", **by_campaign.arguments(first, last))
    return [code for row in report.rows if (code := row.group["campaign"])][:DIGEST_CAMPAIGNS]


async def _page(visit: Visit, view: ReportView) -> Response[Any]:
    first, last = view.days(visit.context().today)
    report, other, now, names, saved = await visit.together(
        visit.ask("report merged", **view.arguments(first, last)), _compared(visit, view, first, last),
        _believed_now(visit, view, first, last), visit.labels(*NAMED), visit.ask_if_allowed("view list", limit=100),
    )  # fmt: skip
    table = Table(view=view, columns=_columns(view), names=names, other=_by_group(other), now=_by_group(now))
    rows = _sorted(report.rows, table)
    return await visit.html(
        "reports.html", section="reports", title="Reports", asked=view, first=first, last=last, report=report,
        lines=await each(rows[:PAGE], lambda row: _line(visit, row, table)), total=_line(visit, report.totals, table),
        more=len(rows) - PAGE, unassigned=[_line(visit, row, table) for row in report.unassigned[:50]],
        presets=PRESETS, dimensions=DIMENSIONS, filters=FILTERS, offered=_offered(table), shown=table.columns,
        choices=_choices(table), chart=_chart(report, table), believed=_believed(visit, view, first),
        saved=saved.items if saved else [],
    )  # fmt: skip


def _columns(view: ReportView) -> tuple[Column, ...]:
    own = tuple(Column(column.name, column.name, "own", read_formula(column.formula)) for column in view.own)
    chosen = tuple(BY_KEY[key] for key in view.columns if key in BY_KEY)
    return (chosen or tuple(BY_KEY[key] for key in DEFAULT)) + own


def _choices(table: Table) -> list[tuple[Column, bool]]:
    """Every column and whether it is shown, the shown ones first and in their order."""
    shown = [column for column in table.columns if column.kind != "own"]
    return [(column, True) for column in shown] + [(column, False) for column in COLUMNS if column not in shown]


def _offered(table: Table) -> dict[str, dict[str, str]]:
    """Names that a filter offers, where they are not too many to read."""
    return {noun: names for noun, names in table.names.items() if 0 < len(names) <= OFFERED}


def _by_group(report: MergedReport | None) -> dict[str, ReportRow]:
    return {} if report is None else {"": report.totals, **{_group_key(row): row for row in report.rows}}


def _group_key(row: ReportRow) -> str:
    return "\n".join(f"{dimension}={code}" for dimension, code in row.group.items())


async def _believed_now(visit: Visit, view: ReportView, first: date, last: date) -> MergedReport | None:
    """The same report as it is believed today, for a page that shows an earlier belief."""
    if not view.as_of:
        return None
    now: MergedReport = await visit.ask(
        "report merged", **msgspec.structs.replace(view, as_of="").arguments(first, last)
    )  # fmt: skip
    return now


async def _compared(visit: Visit, view: ReportView, first: date, last: date) -> MergedReport | None:
    """The same report of the range before, or of the same days a year ago; groups of days have no counterpart."""
    if not view.versus or {"day", "week", "month"} & set(view.by):
        return None
    back = timedelta(days=(last - first).days + 1 if view.versus == "previous" else 364)
    other: MergedReport = await visit.ask("report merged", **view.arguments(first - back, last - back))
    return other


def value(row: ReportRow, column: Column) -> float | None:
    """A column's figure, for sorting, comparing and charts: amounts in micro-units."""
    if column.kind == "own" and column.formula is not None:
        fraction = column.formula(row)
        return None if fraction is None else fraction.numerator / fraction.denominator
    if column.key in RATIOS:
        part, whole = (value(row, BY_KEY[name]) for name in RATIOS[column.key])
        return None if part is None or not whole else part / whole
    figure = getattr(row, column.key)
    return figure.merged if isinstance(figure, Layers) else figure


def _sorted(rows: list[ReportRow], table: Table) -> list[ReportRow]:
    column = _sort_column(table)
    if column is None:
        return rows
    valued = [row for row in rows if value(row, column) is not None]
    rest = [row for row in rows if value(row, column) is None]
    return sorted(valued, key=lambda row: value(row, column) or 0.0, reverse=table.view.sort.startswith("-")) + rest


def _sort_column(table: Table) -> Column | None:
    key = table.view.sort.removeprefix("-")
    return next((column for column in (*table.columns, *COLUMNS) if column.key == key), None)


def _line(visit: Visit, row: ReportRow, table: Table) -> Line:
    groups = tuple(
        (dimension, code or "", table.names.get(dimension, {}).get(code or "", code or "none"))
        for dimension, code in row.group.items()
    )
    unconverted = row.unconverted if isinstance(row.unconverted, dict) else {}
    key = _group_key(row)
    other, now = table.other.get(key), table.now.get(key)
    return Line(
        groups=groups, cells=tuple(_cell(visit, row, column, other, now) for column in table.columns),
        settlement=row.settlement, allocated=row.allocated,
        unconverted=", ".join(visit.show.money(amount, currency) for currency, amount in unconverted.items()),
    )  # fmt: skip


def _cell(visit: Visit, row: ReportRow, column: Column, other: ReportRow | None, now: ReportRow | None) -> Cell:
    """A figure with its change against the other range, and what is believed of it now where that differs."""
    cell = _figure(visit, row, column)
    change = visit.show.change(value(row, column), value(other, column)) if other else ""
    today = _figure(visit, now, column).text if now else cell.text
    return msgspec.structs.replace(cell, change=change, now=today if today != cell.text else "")


def _figure(visit: Visit, row: ReportRow, column: Column) -> Cell:
    show, figure = visit.show, getattr(row, column.key, None) if column.kind != "own" else None
    if column.kind == "own":
        return Cell(text=show.decimal(value(row, column)))
    if column.kind in {"layers", "amounts"} and isinstance(figure, Layers):
        words = show.money if column.kind == "amounts" else show.count
        gap = figure.postback is not None and figure.platform is not None and figure.postback != figure.platform
        beside = f"{words(figure.postback)} by postback, {words(figure.platform)} by the platform" if gap else ""
        return Cell(text=words(figure.merged), gap=beside)
    if column.kind == "money":
        waits = column.key in PENDING and row.settlement != "settled"
        tone = "down" if figure is not None and figure < 0 else "pending" if figure is None and waits else ""
        lacking = lacks_rate(row, column.key)
        return Cell(text=show.money(figure, missing=NO_RATE if lacking else "pending" if waits else "–"), tone=tone)
    if column.kind in {"ratio", "each"}:
        part, whole = (value(row, BY_KEY[name]) for name in RATIOS[column.key])
        return Cell(text=_ratio(visit, column, row, part, whole))
    return Cell(text=show.count(figure))


def _ratio(visit: Visit, column: Column, row: ReportRow, part: float | None, whole: float | None) -> str:
    if column.key == "roi" and row.commission is None:
        return "–"
    if column.kind == "each":
        return visit.show.each(None if part is None else round(part), None if whole is None else round(whole))
    return visit.show.percent(None if part is None else round(part), None if whole is None else round(whole))


def _chart(report: MergedReport, table: Table) -> dict[str, Any] | None:
    """Where days are a group: the sorted column (else commission, else clicks) over days, a line for each group."""
    view = table.view
    if "day" not in view.by or len(report.rows) < 2:
        return None
    column = _sort_column(table) or BY_KEY["commission"]
    if all(value(row, column) is None for row in report.rows):
        column = BY_KEY["clicks"]
    group = next((name for name in view.by if name != "day"), None)
    top = _largest(report.rows, group, column) if group else None
    scale = 1e6 if column.kind in {"money", "each", "amounts"} else 1.0
    points = []
    for row in report.rows:
        figure, member = value(row, column), row.group.get(group) if group else None
        if figure is not None and (top is None or member in top):
            name = table.names.get(group or "", {}).get(member or "", member or "none")
            points.append({"day": row.group["day"], "value": figure / scale, "group": name,
                           "provisional": row.settlement != "settled"})  # fmt: skip
    title = column.title + (f", {report.currency}" if scale > 1 else "")
    return lines_chart(points, x="day", measure=title, group="group" if group else None)


def _largest(rows: list[ReportRow], group: str, column: Column) -> set[str | None]:
    sums: dict[str | None, float] = {}
    for row in rows:
        sums[row.group.get(group)] = sums.get(row.group.get(group), 0.0) + abs(value(row, column) or 0.0)
    return set(sorted(sums, key=lambda member: -sums[member])[:6])


def _believed(visit: Visit, view: ReportView, first_day: date) -> dict[str, Any]:
    """The slider over `as_of`: each evening from the range's first day until now."""
    today = visit.context().today
    first = max(first_day, today - timedelta(days=60))
    days = [first + timedelta(days=n) for n in range((today - first).days)]
    at = view.as_of[:10]
    here = next((n for n, day in enumerate(days) if day.isoformat() == at), len(days))
    return {"days": [day.isoformat() for day in days], "here": here, "moment": _moment(view.as_of)}


def _moment(as_of: str) -> datetime | None:
    try:
        return datetime.fromisoformat(as_of) if as_of else None
    except ValueError:
        return None
