"""What platforms have changed of settled days, and what they showed and took back."""

from datetime import date, datetime, time, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from bot.core.arguments import Arguments, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.message import Message, Notice, Table, Text
from bot.core.permissions import Scope
from bot.render.figures import before_and_now, measure_name, plural
from storage.catalogue import names
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.revenue import restatements
from storage.revenue.restatements import Restated
from storage.tables import accounts

DAYS = 30
SHOWN = 50


class RestatementQuery(Arguments):
    since: Annotated[date | None, Meta(description="changes since the start of this day (30 days back, if absent)")] = (
        None
    )
    account: Annotated[str | None, refers("account", "only this account")] = None


class Restatements(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of settled days that are no longer what they were."""

    since: datetime
    items: list[Restated]
    next: str | None = None


def restated_message(ctx: Context, made: Restatements) -> Message:
    since = f"since {made.since.astimezone(ctx.deployment.zone):%d %b %Y}"
    if not made.items:
        return Message(f"No settled figure has moved {since}", private=True)
    columns = ("Day", "Account", "Segment", "Measure", "Was", "Is")
    rows = tuple(
        (f"{restated.day}", ctx.name("account", restated.account), restated.tag or "no tag",
         measure_name(restated.measure), *before_and_now(restated))
        for restated in made.items[:SHOWN]
    )  # fmt: skip
    vanished = sum(restated.vanished for restated in made.items)
    were = "was" if vanished == 1 else "were"
    rest = (Notice("warning", f"{plural(vanished, 'figure')} {were} shown and taken back"),) if vanished else ()
    more = (Text(f"and {len(made.items) - SHOWN:,} more"),) if len(made.items) > SHOWN else ()
    title = f"{plural(len(made.items), 'settled figure')} moved {since}"
    return Message(title, (Table(columns, rows, numeric=(4, 5), phone=(0, 1, 3, 4, 5)), *rest, *more), private=True)


@command(
    "revenue restated", role=Role.VIEWER, scope=Scope.TEAM, render=restated_message, reads=True, positional=("since",)
)
async def show_restated(ctx: Context, new: RestatementQuery) -> Restatements:
    """Figures of settled days that platforms have changed since."""
    return await _restatements(ctx, new)


@command(
    "revenue vanished", role=Role.VIEWER, scope=Scope.TEAM, render=restated_message, reads=True, positional=("since",)
)
async def show_vanished(ctx: Context, new: RestatementQuery) -> Restatements:
    """First deposits and commission that platforms showed and later withdrew."""
    listed = await _restatements(ctx, new)
    return msgspec.structs.replace(listed, items=[restated for restated in listed.items if restated.vanished])


async def _restatements(ctx: Context, new: RestatementQuery) -> Restatements:
    first = new.since or ctx.today - timedelta(days=DAYS)
    if not 2000 <= first.year <= 9998:  # outside, converting to UTC fails
        raise Refused(f"since: {first} is before 2000 or after 9998: nothing was recorded then", field="since")
    since = datetime.combine(first, time(), ctx.deployment.zone)
    ids = None
    if new.account is not None:
        ids = [(await names.find(ctx.tx, accounts, ctx.team_id, new.account, field="account")).id]
    items = await restatements.since(ctx.tx, ctx.team_id, since, account_ids=ids)
    return Restatements(since=since, items=items)
