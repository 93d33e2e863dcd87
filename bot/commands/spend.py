"""What traffic cost: typed in, or imported."""

import asyncio
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Row

from bot.commands.campaigns import own_campaign
from bot.core.arguments import Arguments, currency_code, refers, to_micros
from bot.core.command import command
from bot.core.context import Context
from bot.core.limits import MAX_ROWS, limited
from bot.core.message import Message, Notice
from bot.core.permissions import Scope
from bot.forms.imports import Sent, rows_of, where
from bot.render.figures import money, plural
from storage.ledger.errors import CasinoFluxError, Refused
from storage.ledger.facts import Role
from storage.reports import spend
from storage.reports.spend import Cost

_TURN = 50  # rows read before other work has its turn
_COLUMNS = ("campaign", "day", "amount", "currency")


class NewSpend(Arguments, kw_only=True):
    campaign: Annotated[str, refers("campaign", "whose traffic")]
    day: Annotated[date, Meta(description="report day")]
    amount: Annotated[Decimal, Meta(description="in whole units: 120 or 119.50; replaces the earlier amount")]
    currency: Annotated[str | None, Meta(description="default: the campaign's, else the reporting currency")] = None


class SpendImport(Arguments, kw_only=True):
    rows: Annotated[
        list[dict[str, Any]], limited("costs, each with campaign, day, amount, currency", items=MAX_ROWS, depth=3)
    ] = []
    csv: Annotated[str | None, Meta(description="or a table with a header line: campaign,day,amount,currency")] = None
    file: Sent = None


class SpendRecorded(msgspec.Struct, frozen=True, kw_only=True):
    """A cost as it stands now, in micro-units. `changed` is false when it stood so already."""

    campaign: str
    day: date
    amount: int
    currency: str
    origin: str
    changed: bool
    warnings: list[str] = []


class SpendImported(msgspec.Struct, frozen=True, kw_only=True):
    """How many lines were read, how many changed something, and what looks wrong."""

    rows: int
    changed: int
    warnings: list[str]


def spent_card(ctx: Context, recorded: SpendRecorded) -> Message:
    notes = tuple(Notice("warning", text) for text in recorded.warnings)
    worth = money(recorded.amount, recorded.currency)
    return Message(f"Spend of {ctx.name('campaign', recorded.campaign)} on {recorded.day:%d %b %Y}: {worth}", notes)


def imported_card(_ctx: Context, done: SpendImported) -> Message:
    notes = tuple(Notice("warning", text) for text in done.warnings[:10])
    return Message(f"{plural(done.rows, 'cost')} read, {done.changed:,} of them new or changed", notes)


@command("spend add", role=Role.BUYER, render=spent_card, positional=("campaign", "day", "amount", "currency"))
async def add_spend(ctx: Context, new: NewSpend) -> SpendRecorded:
    """Record what a campaign's traffic cost on a day; it replaces the cost recorded for that day before."""
    campaign = await own_campaign(ctx, new.campaign)
    cost = _cost(ctx, campaign, new.day, new.amount, new.currency, origin="manual")
    amount_before, currency_before = await spend.standing(ctx.tx, cost) or (0, cost.currency)
    changed = await spend.record(ctx.tx, ctx.team_id, [cost], ctx.now)
    code = campaign.code
    ctx.notes |= {"entity": "campaign", "entity_id": cost.campaign_id, "after": cost}
    ctx.notes["before"] = msgspec.structs.replace(cost, amount=amount_before, currency=currency_before)
    return SpendRecorded(
        campaign=code, day=cost.day, amount=cost.amount, currency=cost.currency, origin=cost.origin,
        changed=bool(changed), warnings=await _warnings(ctx, [cost], {cost.campaign_id: campaign.name}),
    )  # fmt: skip


class _ReadCosts(msgspec.Struct, frozen=True):
    """The costs of an import, and the names of their campaigns by id."""

    costs: list[Cost]
    word_of: dict[int, str]


async def _read_import(ctx: Context, new: SpendImport) -> _ReadCosts:
    """Read the rows before the transaction, with turns for other work: clicks do not wait for a long file."""
    rows = await asyncio.to_thread(rows_of, new, _COLUMNS, amounts=("amount",), days=("day",))
    costs: list[Cost] = []
    campaigns: dict[str, Row[Any]] = {}
    word_of: dict[int, str] = {}
    first: dict[tuple[int, date], tuple[str, str]] = {}  # place and currency of the first line of a campaign's day
    async with ctx.reading():
        for number, row in enumerate(rows):
            word = row.text("campaign")
            try:
                campaign = campaigns.get(word) or await own_campaign(ctx, word)
                worth, currency = row.amount("amount")
                cost = _cost(ctx, campaign, row.day("day", ctx.today), worth, currency, origin="csv")
                _in_one_currency(cost, *first.setdefault((cost.campaign_id, cost.day), (row.place, cost.currency)))
            except (CasinoFluxError, ValueError) as error:
                raise Refused(f"{row.place}: {error}", field=where(new)) from None
            campaigns[word], word_of[cost.campaign_id] = campaign, campaign.name
            costs.append(cost)
            if number % _TURN == 0:
                await asyncio.sleep(0)
    return _ReadCosts(costs, word_of)


@command("spend import", role=Role.BUYER, scope=Scope.OWN, render=imported_card, prepare=_read_import)
async def import_spend(ctx: Context, new: SpendImport) -> SpendImported:
    """Import costs, all or none; a day imported again replaces the import before."""
    read: _ReadCosts = ctx.prepared
    together = _summed(read.costs)
    changed = await spend.record(ctx.tx, ctx.team_id, together, ctx.now)
    return SpendImported(rows=len(read.costs), changed=changed, warnings=await _warnings(ctx, together, read.word_of))


def _in_one_currency(cost: Cost, place: str, currency: str) -> None:
    """Raises ValueError for a cost in another currency than the one of its campaign and day at `place`."""
    if cost.currency != currency:
        raise ValueError(
            f"amount: is in {cost.currency} where {place} is in {currency}: write one campaign's costs of a day, "
            f"{cost.day}, in one currency"
        )


def _summed(costs: list[Cost]) -> list[Cost]:
    """Several lines of one campaign and day are one cost."""
    totals: dict[tuple[int, date], Cost] = {}
    for cost in costs:
        key = (cost.campaign_id, cost.day)
        before = totals.get(key)
        totals[key] = msgspec.structs.replace(cost, amount=cost.amount + (before.amount if before else 0))
    return list(totals.values())


def _cost(ctx: Context, row: Row[Any], on: date, worth: Decimal, currency: str | None, *, origin: str) -> Cost:
    if on > ctx.today:
        raise Refused(f"day: {on} has not come yet", field="day")
    code = currency_code(currency, row.currency or ctx.deployment.currency)
    return Cost(campaign_id=row.id, day=on, amount=to_micros(worth), currency=code, origin=origin)


async def _warnings(ctx: Context, costs: list[Cost], word_of: dict[int, str]) -> list[str]:
    return [
        f"{word_of[cost.campaign_id]} had no click on {cost.day}: is it the right campaign and day?"
        for cost in await spend.days_without_clicks(ctx.tx, ctx.team_id, costs)
    ]
