"""One change of several entities: chosen by name or by what they have in common, confirmed once, done in one
transaction with one line in the audit."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Row, select

from bot.core.arguments import MissingFields
from bot.core.context import Context
from bot.core.entity_names import labelled
from bot.core.message import Message, Notice, Text
from bot.core.permissions import ENTITIES, changeable
from bot.render.figures import plural
from storage.catalogue import names
from storage.ledger.errors import Missing, Refused

MOST = 500
MOST_LISTED = 60  # names in a question or an answer

Item = TypeVar("Item")


class BulkChange(msgspec.Struct, Generic[Item], frozen=True):
    """What a change of several entities did: `items` as they are now, `unchanged` the codes that were so before."""

    items: list[Item]
    unchanged: list[str]


async def chosen(
    ctx: Context, noun: str, words: Sequence[str], *, where: Sequence[ColumnElement[bool]] = ()
) -> list[Row[Any]]:
    """The entities of these names that meet the conditions, or all that meet them where none is named.

    Raises MissingFields if there is neither, Missing if none is left, Refused for more than 500.
    """
    table = ENTITIES[noun].table
    if not words and not where:
        raise MissingFields([noun], {noun: f"which {noun}; several with commas between"})
    rows_by_id = await _named(ctx, noun, words)
    if not where:
        return list(rows_by_id.values())
    query = select(table).where(table.c.team_id == ctx.team_id, changeable(ctx.actor, noun), *where)
    if words:
        query = query.where(table.c.id.in_(rows_by_id))
    rows = list(await ctx.tx.execute(query.order_by(table.c.id).limit(MOST + 1)))
    if not rows:
        raise Missing(f"no {noun} fits: {noun} list shows them all", field=noun)
    if len(rows) > MOST:
        raise Refused(f"{noun}: more than {MOST:,} fit, narrow it", field=noun)
    return rows


async def any_of(
    ctx: Context, column: ColumnElement[Any], noun: str, words: Sequence[str]
) -> list[ColumnElement[bool]]:
    """The condition that a column refers to one of the entities of these names; none where none is named."""
    return [column.in_(await _named(ctx, noun, words))] if words else []


async def _named(ctx: Context, noun: str, words: Sequence[str]) -> dict[int, Row[Any]]:
    """The entities of these names by id. Raises Missing with each name that there is not."""
    rows_by_id: dict[int, Row[Any]] = {}
    faults: list[Missing] = []
    for word in words:
        try:
            row = await names.find(ctx.tx, ENTITIES[noun].table, ctx.team_id, word, field=noun)
            rows_by_id[row.id] = row
        except Missing as fault:
            faults.append(fault)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise Missing("; ".join(map(str, faults[:5])), field=noun)
    return rows_by_id


async def status_question(
    ctx: Context, noun: str, rows: Sequence[Row[Any]], *, words: Sequence[str], status: str, verb: str,
    loss: Callable[[Context, Sequence[Row[Any]]], Awaitable[str]] | None = None,
) -> str | None:  # fmt: skip
    """The consequence of a new status, asked before several are changed or any that only a filter names; else None.

    `words` are those the entities were named by, `loss` says what ends with it. What is confirmed is what is listed.
    """
    changing = [row for row in rows if row.status != status]
    if not changing or len(words) == len(rows) == 1:
        return None
    ctx.notes["narrowed"] = {noun: [row.code for row in rows]}
    others = len(rows) - len(changing)
    unchanged = f" {plural(others, noun)} {'is' if others == 1 else 'are'} so already." if others else ""
    lost = f" {await loss(ctx, changing)}" if loss else ""
    lost = lost.replace(" They got", " It got", 1) if len(changing) == 1 else lost
    return f"{verb} {plural(len(changing), noun)}: {listed(changing)}.{lost}{unchanged}"


def listed(entities: Sequence[Any]) -> str:
    """Names with codes, as many as a message holds."""
    shown = ", ".join(labelled(entity.name, entity.code) for entity in entities[:MOST_LISTED])
    more = len(entities) - MOST_LISTED
    if len(shown) > 2_000:  # names of 200 characters
        shown = ", ".join(entity.code for entity in entities[:MOST_LISTED])[:2_000]
    return f"{shown} and {more:,} more" if more > 0 else shown


def first_of(texts: Sequence[str], most: int = 5) -> str:
    """The first few of a list, and how many more there are."""
    return ", ".join(texts[:most]) + (f" and {len(texts) - most:,} more" if len(texts) > most else "")


async def change_each(
    ctx: Context, noun: str, rows: Sequence[Row[Any]], *, changing: Sequence[Row[Any]],
    shown: Callable[[list[Any]], Awaitable[list[Item]]], change: Callable[[Row[Any]], Awaitable[Any]],
) -> Item | BulkChange[Item]:  # fmt: skip
    """Change those of the rows that are not so already; one row gives the entity itself."""
    before = await shown(list(changing))
    for row in changing:
        await change(row)
    table = ENTITIES[noun].table
    after = await shown([await names.by_id(ctx.tx, table, row.id) for row in changing])
    ctx.unchanged = not changing
    if len(rows) > 1:
        ctx.notes |= {"entity": noun, "before": before, "after": after}
        ids = {row.id for row in changing}
        return BulkChange(after, [row.code for row in rows if row.id not in ids])
    if not changing:
        return (await shown(list(rows)))[0]
    ctx.notes |= {"entity": noun, "entity_id": changing[0].id, "before": before[0], "after": after[0]}
    return after[0]


def render_change(noun: str, card: Callable[[Context, Any], Message], state: str) -> Callable[[Context, Any], Message]:
    """The card of one entity, or what became of several."""

    def render(ctx: Context, result: Any) -> Message:
        if not isinstance(result, BulkChange):
            return card(ctx, result) if not ctx.unchanged else _unchanged(card(ctx, result), f"It was {state} already")
        if ctx.unchanged:
            return Message(f"{plural(len(result.unchanged), noun)}: {state} already, nothing was changed", private=True)
        others = len(result.unchanged)
        rest = (Text(f"{plural(others, noun)} {'was' if others == 1 else 'were'} {state} already."),) if others else ()
        return Message(f"{plural(len(result.items), noun)} {state}", (Text(listed(result.items)), *rest))

    return render


def _unchanged(message: Message, why: str) -> Message:
    notice = Notice("info", f"{why}: nothing was changed.")
    return msgspec.structs.replace(message, blocks=(notice, *message.blocks), private=True)
