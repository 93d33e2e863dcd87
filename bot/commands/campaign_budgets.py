"""Budgets: what clicks of today have used, against what they would have by now, and when the day's will be used up."""

from datetime import timedelta
from typing import Annotated, Literal

import msgspec
from sqlalchemy import or_

from bot.commands.campaigns import own_campaign
from bot.core.arguments import refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.listing import Listing, Page
from bot.core.message import Button, Buttons, Message, Table
from bot.core.permissions import Scope
from bot.forms.entity_list import of_team
from bot.render.figures import NONE, money
from storage.catalogue.entities import page
from storage.clicks import budgets
from storage.ledger.facts import Role
from storage.ledger.pacing import USUAL, expected
from storage.tables import campaigns as table
from storage.tables.types import EPOCH_DAY

_ON_PACE = 0.05  # of what would be used by now: less is neither ahead nor behind


class BudgetQuery(Listing):
    campaign: Annotated[str | None, refers("campaign", "only this one's")] = None


class CampaignBudget(msgspec.Struct, frozen=True, kw_only=True):
    """Amounts are micro-units of `currency`. `expected` is what would be used by now if the day's budget were spent
    evenly, or (`pacing` usual) as clicks usually come; `used_up_at` the time of day at which it ends at today's pace,
    null where it lasts."""

    campaign: str
    currency: str
    pacing: str | None
    budget_day: int | None
    used_day: int
    expected: int | None
    pace: Literal["ahead", "behind", "on pace", "used up"] | None
    used_up_at: str | None
    budget_total: int | None
    used_total: int


def budget_table(ctx: Context, found: Page[CampaignBudget]) -> Message:
    if not found.items:
        show = Buttons((Button("Campaigns", "campaign list"),))
        return Message("No campaign has a budget: campaign edit … budget_day=…", (show,), private=True)
    rows = tuple(
        (ctx.name("campaign", budget.campaign), _share(budget.used_day, budget.budget_day, budget.currency),
         _pace(budget), _PACINGS[budget.pacing], _share(budget.used_total, budget.budget_total, budget.currency))
        for budget in found.items
    )  # fmt: skip
    legend = "Pace: against a budget spent evenly over the day, or as clicks usually come"
    columns = ("Campaign", "Today", "Pace", "Spread", "In all")
    more = (Buttons((Button("More", f"campaign budget after={found.next}"),)),) if found.next else ()
    return Message("Budgets", (Table(columns, rows, phone=(0, 1, 2), legend=legend), *more), private=True)


_PACINGS = {None: "as it comes", "even": "evenly", "usual": "by usual hours"}


def _share(used: int, budget: int | None, currency: str) -> str:
    if not budget:
        return NONE
    return f"{money(used, currency)} of {money(budget, currency)} ({used / budget:.0%})"


def _pace(budget: CampaignBudget) -> str:
    if budget.pace is None or budget.expected is None:
        return NONE
    if budget.pace in {"on pace", "used up"}:
        return budget.pace
    text = f"{money(abs(budget.used_day - budget.expected), budget.currency)} {budget.pace}"
    return f"{text}, used up about {budget.used_up_at}" if budget.used_up_at else text


@command(
    "campaign budget", role=Role.VIEWER, scope=Scope.OWN, render=budget_table, reads=True, positional=("campaign",),
    aliases=("budget",),
)  # fmt: skip
async def show_budgets(ctx: Context, new: BudgetQuery) -> Page[CampaignBudget]:
    """Budgets of campaigns: used today and in all, ahead or behind, and when the day's will be used up."""
    query = of_team(ctx, "campaign").where(or_(table.c.budget_day > 0, table.c.budget_total > 0))
    if new.campaign:
        query = query.where(table.c.id == (await own_campaign(ctx, new.campaign)).id)
    rows, following = await page(ctx.tx, query, table.c.id, limit=new.limit, after=new.after)
    local = ctx.now.astimezone(ctx.deployment.zone)
    minute = local.hour * 60 + local.minute
    shown = []
    for row in rows:
        used = await budgets.used(ctx.tx, row.id, ctx.today) if row.budget_day else 0
        hours = row.usual_hours or () if row.pacing == USUAL else ()
        by_now = expected(row.budget_day, hours, minute) if row.budget_day else None
        shown.append(CampaignBudget(
            campaign=row.code, currency=row.currency or ctx.deployment.currency, pacing=row.pacing,
            budget_day=row.budget_day, used_day=used, expected=by_now, pace=_compared(used, row.budget_day, by_now),
            used_up_at=_used_up_at(used, row.budget_day, hours, minute), budget_total=row.budget_total,
            used_total=await budgets.used(ctx.tx, row.id, EPOCH_DAY) if row.budget_total else 0,
        ))  # fmt: skip
    return Page(shown, following)


def _compared(
    used: int, budget: int | None, by_now: int | None
) -> Literal["ahead", "behind", "on pace", "used up"] | None:
    if not budget or by_now is None:
        return None
    if used >= budget:
        return "used up"
    if abs(used - by_now) <= _ON_PACE * max(by_now, budget // 96):
        return "on pace"
    return "ahead" if used > by_now else "behind"


def _used_up_at(used: int, budget: int | None, hours: tuple[int, ...], minute: int) -> str | None:
    """The minute at which a day's budget ends if spend goes on as it did until now."""
    if not budget or not (by_now := expected(budget, hours, minute)) or used <= by_now or used >= budget:
        return None
    ends = (m for m in range(minute, 24 * 60, 5) if (expected(budget, hours, m) + 1) * used >= budget * by_now)
    end = next(ends, None)
    return None if end is None else f"{timedelta(minutes=end)}"[:-3].zfill(5)
