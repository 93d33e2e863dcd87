"""Postbacks to traffic sources: what was sent, with every answer, and sending it again."""

from datetime import datetime
from typing import Annotated

import msgspec

from bot.core.arguments import Arguments, choices, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.listing import Listing, Page
from bot.core.message import Message, Table
from bot.core.permissions import Scope, own_campaigns
from storage.catalogue import names
from storage.catalogue.entities import cursor
from storage.ledger.facts import Role
from storage.outbound import delivery_log
from storage.outbound.delivery_log import Sent
from storage.tables import sources


class SentQuery(Listing, kw_only=True):
    state: Annotated[str | None, choices("only these", "queued", "sent", "dead", "skipped")] = None
    source: Annotated[str | None, refers("source", "only to this source")] = None


class ResendQuery(Arguments, kw_only=True):
    id: Annotated[int | None, refers("delivery", "one, by its number in 'postback sent'; else all dead ones")] = None


class Resent(msgspec.Struct, frozen=True):
    """How many messages are queued again."""

    queued: int
    at: datetime


def sent_table(_ctx: Context, page: Page[Sent]) -> Message:
    if not page.items:
        return Message("Nothing was sent to a traffic source yet", private=True)
    rows = tuple(
        (
            str(delivery.id),
            delivery.source,
            delivery.event,
            delivery.state,
            str(delivery.attempts),
            _next_try(delivery),
            delivery.reason or delivery.error or delivery.answer[:60],
        )
        for delivery in page.items
    )
    columns = ("Id", "Source", "Event", "State", "Tries", "Next try", "Answer or reason")
    table = Table(columns, rows, numeric=(4,))
    return Message("Postbacks to traffic sources, the latest first", (table,), private=True)


def _next_try(delivery: Sent) -> str:
    return f"{delivery.next_at:%Y-%m-%d %H:%M} UTC" if delivery.next_at is not None else "–"


@command("postback sent", role=Role.VIEWER, scope=Scope.OWN, render=sent_table, reads=True)
async def sent_postbacks(ctx: Context, new: SentQuery) -> Page[Sent]:
    """What traffic sources were told, with every answer."""
    source = await names.find(ctx.tx, sources, ctx.team_id, new.source, field="source") if new.source else None
    items = await delivery_log.history(
        ctx.tx, ctx.team_id, state=new.state, source_id=source.id if source else None,
        limit=new.limit + 1,
        after=cursor(new.after), campaigns=own_campaigns(ctx.actor),
    )  # fmt: skip
    more = len(items) > new.limit
    items = items[: new.limit]
    return Page(items, str(items[-1].id) if more else None)


@command(
    "postback resend", role=Role.BUYER, scope=Scope.OWN, positional=("id",),
    render=lambda _ctx, done: Message(f"{done.queued:,} postbacks are queued again"),
)  # fmt: skip
async def resend_postbacks(ctx: Context, new: ResendQuery) -> Resent:
    """Send a postback to its traffic source again: one, or all that were given up."""
    return Resent(
        await delivery_log.resend(ctx.tx, ctx.team_id, now=ctx.now, number=new.id, campaigns=own_campaigns(ctx.actor)),
        ctx.now,
    )
