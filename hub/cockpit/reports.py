"""Reports: a range, grouped and filtered, compared with another range, as believed at any moment."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler

from bot.core.tokenizer import period
from hub.cockpit.charts import lines_chart
from hub.cockpit.page import Cockpit, Visit
from storage.ledger.errors import Refused
from storage.ledger.reports.report_rows import DIMENSIONS, Layers, MergedReport, ReportRow

PRESETS = ("today", "yesterday", "7d", "30d", "mtd", "90d")
FILTERS = (
    "campaign",
    "site",
    "offer",
    "casino",
    "account",
    "source",
    "country",
    "device",
    *(f"sub{n}" for n in range(1, 11)),
)
MOST_GROUPS = 3
PAGE = 200


class Column(msgspec.Struct, frozen=True):
    """A column of the report: its key in addresses, its head, what it shows."""

    key: str
    title: str
    kind: str  # count, layers, money, amounts, ratio, each


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
    tone: str = ""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table: its group's values with links to drill down, and its cells."""

    groups: tuple[tuple[str, str, str], ...]  # dimension, value, name
    cells: tuple[Cell, ...]
    settlement: str
    allocated: bool
    unconverted: str = ""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the page's address asks for."""

    first: date
    last: date
    by: tuple[str, ...]
    filters: dict[str, str]
    columns: tuple[str, ...]
    sort: str
    clock: str
    as_of: str
    versus: str

    def arguments(self, first: date, last: date) -> dict[str, Any]:
        found: dict[str, Any] = {
            "from": first.isoformat(),
            "to": last.isoformat(),
            "by": list(self.by),
            "clock": self.clock,
        }
        found |= self.filters
        if self.as_of:
            found["as_of"] = self.as_of
        return found


def read_query(visit: Visit) -> Asked:
    """The address' parameters. Raises Refused naming the one at fault."""
    query = visit.query
    try:
        first, last = period(query.get("range", "7d"), visit.context().today)
    except ValueError as error:
        raise Refused(f"range: {error}", field="range") from None
    by = tuple(dict.fromkeys(part for part in query.get("by", "campaign").split(",") if part in DIMENSIONS))[
        :MOST_GROUPS
    ]
    columns = tuple(key for key in query.get("columns", "").split(",") if key in BY_KEY) or DEFAULT
    return Asked(
        first=first, last=last, by=by or ("day",), columns=columns, sort=query.get("sort", ""),
        filters={name: query[name] for name in FILTERS if query.get(name)}, as_of=query.get("as_of", ""),
        clock="visit" if query.get("clock") == "visit" else "event", versus=query.get("vs", ""),
    )  # fmt: skip


def report_routes(cockpit: Cockpit) -> list[HTTPRouteHandler]:
    @cockpit.get("/cockpit/reports")
    async def reports(visit: Visit) -> Response[Any]:
        asked = read_query(visit)
        report: MergedReport = await visit.ask("report merged", **asked.arguments(asked.first, asked.last))
        other = await _compared(visit, asked)
        names = await _names(visit, asked.by)
        rows = _sorted(report.rows, asked)
        shown = [_line(visit, row, asked, names, _match(row, other)) for row in rows[:PAGE]]
        return visit.html(
            "reports.html", section="reports", title="Reports", asked=asked, report=report, lines=shown,
            total=_line(visit, report.totals, asked, {}, other.totals if other else None), more=len(rows) - len(shown),
            unassigned=[_line(visit, row, asked, names, None) for row in report.unassigned[:50]], presets=PRESETS,
            dimensions=DIMENSIONS, filters=FILTERS, columns=COLUMNS, by_key=BY_KEY, chart=_chart(report, asked, names),
            csv=_csv_link(asked), stats=_stats_line(asked), believed=_believed(visit, asked),
        )  # fmt: skip

    @cockpit.get("/cockpit/reports.csv")
    async def csv(visit: Visit) -> Response[Any]:
        from bot.render.report_csv import report_file

        asked = read_query(visit)
        report = await visit.ask("report merged", **asked.arguments(asked.first, asked.last))
        name = f"report-{asked.first}-{asked.last}.csv"
        content = report_file(report, list(asked.by)).content
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type="text/csv; charset=utf-8", headers=headers)

    return [reports, csv]


async def _compared(visit: Visit, asked: Asked) -> MergedReport | None:
    """The same report of the range before, or of the same days a year ago."""
    days = (asked.last - asked.first).days + 1
    if asked.versus == "previous":
        first, last = asked.first - timedelta(days=days), asked.first - timedelta(days=1)
    elif asked.versus == "year":
        first, last = asked.first - timedelta(days=364), asked.last - timedelta(days=364)
    else:
        return None
    other: MergedReport = await visit.ask("report merged", **asked.arguments(first, last))
    return other


def _match(row: ReportRow, other: MergedReport | None) -> ReportRow | None:
    """The other range's row of the same group; groups of days have none."""
    if other is None or {"day", "week", "month"} & row.group.keys():
        return None
    return next((found for found in other.rows if found.group == row.group), None)


async def _names(visit: Visit, by: Sequence[str]) -> dict[str, dict[str, str]]:
    """Names of the entities that groups show codes of."""
    found: dict[str, dict[str, str]] = {}
    for noun in by:
        if f"{noun} list" in ("campaign list", "site list", "offer list", "casino list", "account list", "source list"):
            listed = await visit.ask_if_allowed(f"{noun} list", limit=500)
            found[noun] = {item.code: item.name for item in listed.items} if listed else {}
    return found


def value(row: ReportRow, key: str) -> float | None:
    """A column's figure, for sorting and charts."""
    if key in RATIOS:
        part, whole = (value(row, name) for name in RATIOS[key])
        return None if part is None or not whole else part / whole
    found = getattr(row, key)
    return found.merged if isinstance(found, Layers) else found


def _sorted(rows: list[ReportRow], asked: Asked) -> list[ReportRow]:
    key = asked.sort.removeprefix("-")
    if key not in BY_KEY:
        return rows
    known = [row for row in rows if value(row, key) is not None]
    rest = [row for row in rows if value(row, key) is None]
    return sorted(known, key=lambda row: value(row, key) or 0.0, reverse=asked.sort.startswith("-")) + rest


def _line(
    visit: Visit, row: ReportRow, asked: Asked, names: dict[str, dict[str, str]], other: ReportRow | None
) -> Line:
    groups = tuple(
        (dimension, code or "", names.get(dimension, {}).get(code or "", code or "none"))
        for dimension, code in row.group.items()
    )
    unconverted = row.unconverted if isinstance(row.unconverted, dict) else {}
    return Line(
        groups=groups, cells=tuple(_cell(visit, row, BY_KEY[key], other) for key in asked.columns),
        settlement=row.settlement, allocated=row.allocated,
        unconverted=", ".join(visit.show.money(amount, currency) for currency, amount in unconverted.items()),
    )  # fmt: skip


def _cell(visit: Visit, row: ReportRow, column: Column, other: ReportRow | None) -> Cell:
    show, found = visit.show, getattr(row, column.key, None)
    change = show.change(value(row, column.key), value(other, column.key)) if other else ""
    if column.kind in {"layers", "amounts"} and isinstance(found, Layers):
        words = show.money if column.kind == "amounts" else show.count
        gap = found.postback is not None and found.platform is not None and found.postback != found.platform
        beside = f"{words(found.postback)} by postback, {words(found.platform)} by the platform" if gap else ""
        return Cell(text=words(found.merged), gap=beside, change=change)
    if column.kind == "money":
        missing = (
            "pending" if column.key.startswith(("commission", "ngr", "profit")) and row.settlement != "settled" else "–"
        )
        tone = (
            "down" if found is not None and found < 0 else "pending" if found is None and missing == "pending" else ""
        )
        return Cell(text=show.money(found, missing=missing), change=change, tone=tone)
    if column.kind in {"ratio", "each"}:
        part, whole = (value(row, name) for name in RATIOS[column.key])
        return Cell(text=_ratio(visit, column, row, part, whole), change=change)
    return Cell(text=show.count(found), change=change)


def _ratio(visit: Visit, column: Column, row: ReportRow, part: float | None, whole: float | None) -> str:
    if column.key == "roi" and row.commission is None:
        return "–"
    if column.kind == "each":
        return visit.show.each(None if part is None else round(part), None if whole is None else round(whole))
    return visit.show.percent(None if part is None else round(part), None if whole is None else round(whole))


def _chart(report: MergedReport, asked: Asked, names: dict[str, dict[str, str]]) -> dict[str, Any] | None:
    """Where days are a group: the sorted column (else commission, else clicks) over days, a line for each group."""
    if "day" not in asked.by or len(report.rows) < 2:
        return None
    key = asked.sort.removeprefix("-") if asked.sort.removeprefix("-") in BY_KEY else "commission"
    if all(value(row, key) is None for row in report.rows):
        key = "clicks"
    group = next((name for name in asked.by if name != "day"), None)
    top = _largest(report.rows, group, key) if group else None
    scale = 1e6 if BY_KEY[key].kind in {"money", "each", "amounts"} else 1.0
    points = []
    for row in report.rows:
        figure, member = value(row, key), row.group.get(group) if group else None
        if figure is not None and (top is None or member in top):
            name = names.get(group or "", {}).get(member or "", member or "none")
            points.append(
                {
                    "day": row.group["day"],
                    "value": figure / scale,
                    "group": name,
                    "provisional": row.settlement != "settled",
                }
            )
    title = BY_KEY[key].title + (f", {report.currency}" if scale > 1 else "")
    return lines_chart(points, x="day", measure=title, group="group" if group else None)


def _largest(rows: list[ReportRow], group: str, key: str) -> set[str | None]:
    sums: dict[str | None, float] = {}
    for row in rows:
        sums[row.group.get(group)] = sums.get(row.group.get(group), 0.0) + abs(value(row, key) or 0.0)
    return set(sorted(sums, key=lambda member: -sums[member])[:6])


def _csv_link(asked: Asked) -> str:
    from urllib.parse import urlencode

    query = {"range": f"{asked.first}..{asked.last}", "by": ",".join(asked.by), **asked.filters}
    query |= {"clock": asked.clock, **({"as_of": asked.as_of} if asked.as_of else {})}
    return f"/cockpit/reports.csv?{urlencode(query)}"


def _stats_line(asked: Asked) -> str:
    """The same as a chat command, to copy."""
    words = [f"stats {asked.first}..{asked.last}", "by", ",".join(asked.by)]
    words += [f"{name}={text}" for name, text in asked.filters.items()]
    if asked.clock == "visit":
        words.append("clock=visit")
    if asked.as_of:
        words.append(f"as_of={asked.as_of}")
    return " ".join(words)


def _believed(visit: Visit, asked: Asked) -> dict[str, Any]:
    """The slider over `as_of`: each evening from the range's first day until now."""
    today = visit.context().today
    first = max(asked.first, today - timedelta(days=60))
    days = [first + timedelta(days=n) for n in range((today - first).days)]
    at = asked.as_of[:10]
    here = next((n for n, day in enumerate(days) if day.isoformat() == at), len(days))
    return {"days": [day.isoformat() for day in days], "here": here, "moment": _moment(asked.as_of)}


def _moment(as_of: str) -> datetime | None:
    try:
        return datetime.fromisoformat(as_of) if as_of else None
    except ValueError:
        return None
