"""The merged report as machines read it: exact days in, every measure of both layers out."""

from datetime import date
from typing import Annotated

from msgspec import Meta

from bot.commands.stats import StatsQuery, reported, stats_message
from bot.core.command import command
from bot.core.context import Context
from bot.core.limits import day_range
from bot.core.permissions import Scope
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.ledger.reports.report_rows import MergedReport


class ReportArguments(StatsQuery, kw_only=True):
    from_: Annotated[date, day_range("first day, in the reporting time zone")]
    to: Annotated[date, Meta(description="last day, included")]
    range: str = ""


@command(
    "report merged",
    role=Role.VIEWER,
    scope=Scope.OWN,
    render=stats_message,
    reads=True,
    positional=("from", "to"),
    keywords=("by", "top"),
)
async def report_merged(ctx: Context, new: ReportArguments) -> MergedReport:
    """Both layers of a range merged, by any dimensions."""
    if new.to < new.from_:
        raise Refused(f"to: {new.to} is before {new.from_}: the other way round?", field="to")
    new.range = f"{new.from_.isoformat()}..{new.to.isoformat()}"
    report: MergedReport = await reported(ctx, new)
    return report
