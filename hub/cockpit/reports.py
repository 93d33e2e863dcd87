"""Reports: a range, grouped and filtered, compared with another range, as believed at any moment."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler

from bot.forms.report_view import FILTERS, ReportView, read_view
from hub.cockpit.charts import lines_chart
from hub.cockpit.forms import rooms_of
from hub.cockpit.page import Cockpit, Visit, each
from hub.cockpit.parts import joined
from hub.cockpit.report_table import BY_KEY, COLUMNS, Column, ReportTable, Value, value_of
from storage.ledger.reports.report_rows import DIMENSIONS, ENTITIES, MergedReport, ReportRow

PRESETS = ("today", "yesterday", "7d", "30d", "mtd", "90d")
PAGE = 200
UNASSIGNED = 50  # rows of revenue that no offer claims
OFFERED = 300  # names that a filter offers
DIGEST_CAMPAIGNS = 200  # as many as a digest takes
#: Dimensions whose values are entities with names.


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
        _believed_now(visit, view, first, last), visit.labels(*ENTITIES), visit.ask_if_allowed("view list", limit=100),
    )  # fmt: skip
    table = ReportTable(visit.show, view, names, other=other, now=now)
    rows = _sorted(report.rows, table)
    return await visit.html(
        "reports.html", section="reports", title="Reports", asked=view, first=first, last=last, report=report,
        lines=joined(await each(rows[:PAGE], table.row)), total=joined([table.figures(report.totals)]),
        more=len(rows) - PAGE, unassigned=joined(map(table.unassigned, report.unassigned[:UNASSIGNED])),
        presets=PRESETS, dimensions=DIMENSIONS, filters=FILTERS, offered=_offered(table), shown=table.columns,
        choices=_choices(table), chart=_chart(report, table), believed=_believed(visit, view, first),
        saved=saved.items if saved else [],
    )  # fmt: skip


def _choices(table: ReportTable) -> list[tuple[Column, bool]]:
    """Every column and whether it is shown, the shown ones first and in their order."""
    shown = [column for column in table.columns if column.kind != "own"]
    return [(column, True) for column in shown] + [(column, False) for column in COLUMNS if column not in shown]


def _offered(table: ReportTable) -> dict[str, Mapping[str, str]]:
    """Names that a filter offers, where they are not too many to read."""
    return {noun: names for noun, names in table.names.items() if 0 < len(names) <= OFFERED}


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


def _sorted(rows: list[ReportRow], table: ReportTable) -> list[ReportRow]:
    column = _sort_column(table)
    if column is None:
        return rows
    value = value_of(column)
    valued = [row for row in rows if value(row) is not None]
    rest = [row for row in rows if value(row) is None]
    return sorted(valued, key=lambda row: value(row) or 0.0, reverse=table.view.sort.startswith("-")) + rest


def _sort_column(table: ReportTable) -> Column | None:
    key = table.view.sort.removeprefix("-")
    return next((column for column in (*table.columns, *COLUMNS) if column.key == key), None)


def _chart(report: MergedReport, table: ReportTable) -> dict[str, Any] | None:
    """Where days are a group: the sorted column (else commission, else clicks) over days, a line for each group."""
    view = table.view
    if "day" not in view.by or len(report.rows) < 2:
        return None
    column = _sort_column(table) or BY_KEY["commission"]
    if all(value_of(column)(row) is None for row in report.rows):
        column = BY_KEY["clicks"]
    value = value_of(column)
    group = next((name for name in view.by if name != "day"), None)
    top = _largest(report.rows, group, value) if group else None
    scale = 1e6 if column.kind in {"money", "each", "amounts"} else 1.0
    points = []
    for row in report.rows:
        figure, member = value(row), row.group.get(group) if group else None
        if figure is not None and (top is None or member in top):
            name = table.name(group or "", member)
            points.append({"day": row.group["day"], "value": figure / scale, "group": name,
                           "provisional": row.settlement != "settled"})  # fmt: skip
    title = column.title + (f", {report.currency}" if scale > 1 else "")
    return lines_chart(points, x="day", measure=title, group="group" if group else None)


def _largest(rows: list[ReportRow], group: str, value: Value) -> set[str | None]:
    sums: dict[str | None, float] = {}
    for row in rows:
        sums[row.group.get(group)] = sums.get(row.group.get(group), 0.0) + abs(value(row) or 0.0)
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
