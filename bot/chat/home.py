"""What a member sees first: figures of today, a chart, alerts that fire, what is to be done."""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

from bot.chat.session import ChatSessions, context
from bot.core.command import COMMANDS, run
from bot.core.context import Actor, Context, Room
from bot.core.message import Block, Button, Buttons, Fields, Message, Notice, Text
from bot.core.permissions import may
from bot.digests.loading import attention_of
from bot.digests.message import DigestRequest, chart_days, days_chart
from bot.forms.first_steps import done_steps, guide
from bot.render import figures
from storage.ledger.errors import CasinoFluxError
from storage.ledger.reports.report_rows import MergedReport, ReportRow

MOST = 5  # alerts, and things to be done


async def home_message(sessions: ChatSessions, room: Room, actor: Actor) -> Message:
    """Figures, chart, alerts and what is to be done, as far as the member may see them."""
    ctx = context(sessions, room, actor)
    blocks = [*await _figures(ctx), *await _alerts(ctx), *await _to_do(ctx)]
    return Message(f"Today, {ctx.today:%a %d %b}", tuple(blocks))


async def _result(ctx: Context, name: str, **arguments: Any) -> Any:
    """What a command gives; None where the member may not give it."""
    if not may(COMMANDS[name], ctx.actor):
        return None
    try:
        return (await run(COMMANDS[name], arguments, ctx)).result
    except CasinoFluxError:
        return None


async def _figures(ctx: Context) -> list[Block]:
    report: MergedReport | None = await _result(ctx, "stats", range="30d", by="day")
    if report is None:
        return []
    rows = {row.group["day"]: row for row in report.rows}
    now, before = (rows.get(day.isoformat()) for day in (ctx.today, ctx.today - timedelta(days=1)))
    chart = days_chart(chart_days(report, ctx.today), report.currency)
    lacking = figures.unconverted(report)
    return [
        Fields(tuple(_compared(now, before, report.currency))),
        *([Notice("warning", lacking)] if lacking else []),
        *([chart] if chart else []),
    ]


def _compared(now: ReportRow | None, before: ReportRow | None, currency: str) -> Iterable[tuple[str, str]]:
    def both(text: Any) -> str:
        return f"{text(now) if now else figures.NONE} · yesterday {text(before) if before else figures.NONE}"

    yield "Clicks", both(lambda row: figures.count(row.clicks))
    yield "Registrations", both(lambda row: figures.layered(row.registrations))
    yield "FTDs", both(figures.first_deposits)
    yield "Commission", both(lambda row: figures.worded_commission(row, currency))
    yield "Spend", both(lambda row: figures.money(row.spend, currency))
    yield "Profit", both(lambda row: figures.profit(row, currency))


async def _alerts(ctx: Context) -> list[Block]:
    page = await _result(ctx, "alert list", limit=500)
    firing = [alert for alert in page.items if alert.state == "firing"] if page else []
    if not firing:
        return [Text("Alerts", strong=True), Notice("ok", "Nothing fires.")] if page and page.items else []
    notices = [Notice("error", f"{alert.rule}, reported in {alert.room}") for alert in firing[:MOST]]
    more = [Text(f"and {len(firing) - MOST} more: alert list")] if len(firing) > MOST else []
    buttons = Buttons(tuple(Button(f"Ack {alert.code}", f"alert ack {alert.code}") for alert in firing[:MOST]))
    return [Text("Alerts", strong=True), *notices, *more, buttons]


async def _to_do(ctx: Context) -> list[Block]:
    """The way to the first figures for a fresh team; then what needs a hand."""
    async with ctx.database.read() as tx:
        first = guide(ctx, await done_steps(tx, ctx.team_id))
    if first:
        return [Text("To do", strong=True), *first]
    yesterday = ctx.today - timedelta(days=1)
    async with ctx.database.read() as tx:
        items = await attention_of(tx, _request(ctx, yesterday))
    if not items:
        return [Text("To do", strong=True), Notice("ok", "Nothing needs attention.")]
    more = [Text(f"and {len(items) - MOST} more: digest preview")] if len(items) > MOST else []
    return [Text("To do", strong=True), *(Notice(item.level, item.text) for item in items[:MOST]), *more]


def _request(ctx: Context, yesterday: date) -> DigestRequest:
    return DigestRequest(
        team_id=ctx.team_id, first=yesterday, last=ctx.today, every="day", campaigns=ctx.actor.campaigns,
        told_until=ctx.now - timedelta(days=1), now=ctx.now, deployment=ctx.deployment,
    )  # fmt: skip
