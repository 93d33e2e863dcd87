"""What a buyer with own campaigns sees of sources: those of the campaigns, and those that no campaign has yet."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, or_, select

from bot.core.context import Context
from storage.catalogue import names
from storage.ledger.errors import Forbidden
from storage.tables import campaigns, sources


def own_sources(team_id: int, codes: Collection[str]) -> ColumnElement[bool]:
    """Condition on sources, for a buyer limited to the campaigns of these codes."""
    mine = select(campaigns.c.source_id).where(campaigns.c.team_id == team_id, campaigns.c.code.in_(codes))
    return or_(
        sources.c.id.in_(mine.where(campaigns.c.source_id.is_not(None))), sources.c.id.not_in(_others(team_id, codes))
    )


def _others(team_id: int, codes: Collection[str]) -> Select[Any]:
    """Sources that send visitors to other people's campaigns."""
    used = campaigns.c.team_id == team_id, campaigns.c.source_id.is_not(None)
    return select(campaigns.c.source_id).where(*used, campaigns.c.code.not_in(codes))


async def own_source(ctx: Context, word: str, *, alone: bool = False) -> Row[Any]:
    """The source of that code, name or id. Raises Forbidden where the buyer is limited to others; with `alone` also
    where it serves other people's campaigns beside."""
    row = await names.find(ctx.tx, sources, ctx.team_id, word, field="source")
    mine = ctx.actor.campaigns
    if mine is None:
        return row
    if not await _holds(ctx, row.id, own_sources(ctx.team_id, mine)):
        raise Forbidden(f"source {row.code} is not one of yours: ask an owner")
    if alone and not await _holds(ctx, row.id, sources.c.id.not_in(_others(ctx.team_id, mine))):
        raise Forbidden(f"source {row.code} serves campaigns that are not yours as well: ask an owner")
    return row


async def _holds(ctx: Context, source_id: int, condition: ColumnElement[bool]) -> bool:
    query = select(sources.c.id).where(sources.c.id == source_id, condition)
    return (await ctx.tx.execute(query)).first() is not None
