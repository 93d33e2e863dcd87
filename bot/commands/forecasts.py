"""Forecast: what provisional days may bring, marked as an estimate, with how such estimates did before."""

from datetime import date, timedelta
from typing import Annotated

from msgspec import Meta

from bot.core.arguments import Arguments, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.message import Block, Message, Notice, Table, Text
from bot.core.permissions import Scope
from bot.render.figures import NONE, count, money, outcomes_inside
from storage.catalogue import names
from storage.ledger.facts import Role
from storage.ledger.reports.forecast import Estimate
from storage.reports.forecast import Forecast, forecast
from storage.reports.merged_report import ReportQuery
from storage.tables import campaigns, offers

DAYS = 14  # how far back provisional days are looked for


class ForecastQuery(Arguments):
    from_: Annotated[date | None, Meta(description="first day (two weeks ago, if absent)")] = None
    offer: Annotated[list[str], refers("offer", "only these offers")] = []
    campaign: Annotated[list[str], refers("campaign", "only these campaigns")] = []


def forecast_message(ctx: Context, made: Forecast) -> Message:
    if not made.items:
        return Message("No day is pending: every figure is settled", private=True)
    if made.total is None:
        title = "Pending commission: no estimate yet"
    else:
        title = f"Estimate of pending commission: {_between(made.total, made.currency)}"
    rows = tuple(
        (item.day, ctx.name("offer", item.offer), count(item.first_deposits), money(item.commission, made.currency),
         _between(item.forecast, made.currency))
        for item in made.items
    )  # fmt: skip
    blocks: list[Block] = [
        Table(("Day", "Offer", "FTDs", "Stated so far", "Estimate (80 %)"), rows, numeric=(2, 3, 4)),
        Text(_record(made)),
    ]
    lacking = {item.offer: item.lacking for item in made.items if item.lacking}
    if lacking:
        offers_lacking = "; ".join(f"{ctx.name('offer', offer)} ({why})" for offer, why in lacking.items())
        blocks.append(Notice("info", f"No estimate yet, and not in the total: {offers_lacking}"))
    return Message(title, tuple(blocks), private=True)


def _between(estimate: Estimate | None, currency: str) -> str:
    if estimate is None:
        return NONE
    return (
        f"≈ {money(estimate.estimate, currency)} ({money(estimate.low, currency)} … {money(estimate.high, currency)})"
    )


def _record(made: Forecast) -> str:
    if made.accuracy.share is None:
        return "An estimate from FTDs in hand and the players so far; no past one has an outcome yet."
    return f"An estimate from FTDs in hand and the players so far. {outcomes_inside(made.accuracy)}"


@command(
    "forecast",
    role=Role.VIEWER,
    scope=Scope.OWN,
    render=forecast_message,
    reads=True,
    reports=True,
    positional=("from",),
)
async def show_forecast(ctx: Context, new: ForecastQuery) -> Forecast:
    """Commission that pending days may bring, with an 80 % interval and its past accuracy."""
    chosen = tuple([(await names.find(ctx.tx, offers, ctx.team_id, word, field="offer")).code for word in new.offer])
    mine = tuple([
        (await names.find(ctx.tx, campaigns, ctx.team_id, word, field="campaign")).code for word in new.campaign
    ])  # fmt: skip
    return await forecast(ctx.tx, ReportQuery(
        team_id=ctx.team_id, first=new.from_ or ctx.today - timedelta(days=DAYS), last=ctx.today,
        offers=chosen or None, campaigns=mine or ctx.actor.campaigns, timezone=ctx.deployment.timezone,
        currency=ctx.deployment.currency,
    ), ctx.ports.report_in_helper, now=ctx.now)  # fmt: skip
