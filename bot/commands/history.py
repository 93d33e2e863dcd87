"""Figures of the tracker a team had before, in a report of their own."""

from typing import Annotated

from msgspec import Meta

from bot.commands.stats import RANGES, filters_of
from bot.core.arguments import Arguments, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.limits import day_range
from bot.core.message import Message, Notice, Table, Text
from bot.core.permissions import Scope
from bot.core.tokenizer import period
from bot.render.figures import count, days, money, plural
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.reports.history import DIMENSIONS, HistoryQuery, HistoryReport, HistoryRow, history
from storage.tables import accounts, campaigns, casinos, offers, sources

SHOWN = 40
_FILTERS = {"campaign": campaigns, "offer": offers, "source": sources, "account": accounts, "casino": casinos}


class HistoryArguments(Arguments):
    range: Annotated[str, day_range(RANGES)] = "30d"
    by: Annotated[list[str] | None, Meta(description=f"{', '.join(DIMENSIONS)}; default: campaign")] = None
    campaign: Annotated[list[str], refers("campaign", "only these campaigns")] = []
    offer: Annotated[list[str], refers("offer", "only these offers")] = []
    source: Annotated[list[str], refers("source", "only these traffic sources")] = []
    account: Annotated[list[str], refers("account", "only these platform accounts")] = []
    casino: Annotated[list[str], refers("casino", "only these brands")] = []
    country: Annotated[list[str], Meta(description="only visitors of these countries: DE, AT")] = []


def history_message(ctx: Context, report: HistoryReport) -> Message:
    by = list(report.rows[0].group) if report.rows else []
    totals = report.totals
    title = (
        f"Imported, {days(report.from_, report.to)}: {plural(totals.clicks, 'click')}, "
        f"{plural(totals.conversions, 'conversion')}, {money(totals.revenue, report.currency)} by its postbacks"
    )
    if not report.rows:
        return Message(f"{days(report.from_, report.to)}: no imported figures before the cut-over", private=True)
    shown = sorted(report.rows, key=lambda row: -(row.clicks or 0)) if "day" not in by else report.rows
    rows = tuple(_cells(report, row, by) for row in shown[:SHOWN])
    measures = ("Clicks", "Conversions", "Regs", "FTDs", "Revenue", "Cost", "Profit")
    columns = (*(name.capitalize() for name in by), *measures)
    first = len(by)
    table = Table(columns, rows, numeric=tuple(range(first, first + 7)), phone=(0, first, first + 1, first + 4),
                  more=len(report.rows) - len(rows))  # fmt: skip
    note = Text("What the old tracker counted before each campaign's cut-over day; in no other report.")
    lacking = sorted({currency for currencies in totals.unconverted.values() for currency in currencies})
    notes = (Notice("warning", f"no rate for {', '.join(lacking)}: rate set"),) if lacking else ()
    return Message(title, (table, *notes, note), private=True)


def _cells(report: HistoryReport, row: HistoryRow, by: list[str]) -> tuple[str, ...]:
    group = (report.names.get(name, {}).get(row.group[name] or "", row.group[name] or "–") for name in by)
    amounts = (money(amount, report.currency) for amount in (row.revenue, row.cost, row.profit))
    return (*group, *map(count, (row.clicks, row.conversions, row.registrations, row.first_deposits)), *amounts)


@command(
    "history", role=Role.VIEWER, scope=Scope.OWN, render=history_message, reads=True, positional=("range",),
    keywords=("by",),
)  # fmt: skip
async def show_history(ctx: Context, new: HistoryArguments) -> HistoryReport:
    """What the tracker before counted, until each campaign's cut-over day: never summed with our own figures."""
    try:
        first, last = period(new.range, ctx.today)
    except ValueError as error:
        raise Refused(f"range: {error}", field="range") from None
    chosen = {name: await filters_of(ctx, table, getattr(new, name), name) for name, table in _FILTERS.items()}
    chosen["country"] = [country.upper() for country in new.country]
    query = HistoryQuery(
        team_id=ctx.team_id,
        first=first,
        last=last,
        by=tuple(new.by or ("campaign",)),
        currency=ctx.deployment.currency,
        filters={name: codes for name, codes in chosen.items() if codes},
        campaigns=ctx.actor.campaigns,
    )
    return await history(ctx.tx, query)
