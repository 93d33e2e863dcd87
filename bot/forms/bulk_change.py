"""One change of several entities: chosen by name or by what they have in common, confirmed once, done in one
transaction with one line in the audit."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Row, select

from bot.core.arguments import Arguments, MissingFields
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
    ctx: Context, noun: str, words: Sequence[str], *, where: Sequence[ColumnElement[bool]] = (), archived: bool = False
) -> list[Row[Any]]:
    """The entities of these names that meet the conditions, or all that meet them where none is named: of those that
    are not archived, or only of those that are.

    Raises MissingFields if there is neither, Missing if none is left, Refused for more than 500.
    """
    table = ENTITIES[noun].table
    if not words and not where:
        raise MissingFields([noun], {noun: f"which {noun}; several separated by commas"})
    rows_by_id = await _named(ctx, noun, words)
    if not where:
        return list(rows_by_id.values())
    put_away = table.c.archived_from.is_not(None) if archived else table.c.archived_from.is_(None)
    query = select(table).where(table.c.team_id == ctx.team_id, changeable(ctx.actor, noun), put_away, *where)
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
    if len(words) > 1 and (row := await names.called(ctx.tx, ENTITIES[noun].table, ctx.team_id, ", ".join(words))):
        return {row.id: row}  # one name with a comma in it
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
    ctx: Context, noun: str, rows: Sequence[Row[Any]], *, words: Sequence[str], changing: Sequence[Row[Any]],
    verb: str, loss: Callable[[Context, Sequence[Row[Any]]], Awaitable[str]] | None = None,
) -> str | None:  # fmt: skip
    """The consequence of a new status, asked before several are changed or any that only a filter names; else None.

    `words` are those the entities were named by, `changing` those that are not so already, `loss` says what ends with
    it. What is confirmed is what is listed.
    """
    if not changing or len(words) == len(rows) == 1:
        return None
    ctx.notes["narrowed"] = {noun: [row.code for row in rows]}
    others = len(rows) - len(changing)
    unchanged = f" {plural(others, noun)} {'is' if others == 1 else 'are'} so already." if others else ""
    lost = f" {await loss(ctx, changing)}" if loss else ""
    lost = lost.replace(" They got", " It got", 1) if len(changing) == 1 else lost
    return f"{verb} {plural(len(changing), noun)}: {listed(changing)}.{lost}{unchanged}"


def asks_status(
    noun: str, choose: Callable[[Context, Any], Awaitable[Sequence[Row[Any]]]], status: str, *, verb: str,
    loss: Callable[[Context, Sequence[Row[Any]]], Awaitable[str]] | None = None,
) -> Callable[[Context, Any], Awaitable[str | None]]:  # fmt: skip
    """`status_question` of a command that gives the entities it chooses a status."""

    async def question(ctx: Context, new: Any) -> str | None:
        rows = await choose(ctx, new)
        changing = [row for row in rows if row.status != status]
        return await status_question(ctx, noun, rows, words=getattr(new, noun), changing=changing, verb=verb, loss=loss)

    return question


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


async def edit_question(ctx: Context, noun: str, new: Arguments) -> str | None:
    """The consequence of an edit of several entities, None for one: whom it changes, and what it sets."""
    rows = await chosen(ctx, noun, getattr(new, noun))
    if len(rows) < 2:
        return None
    ctx.notes["narrowed"] = {noun: [row.code for row in rows]}
    return f"Changes {plural(len(rows), noun)}: {listed(rows)}. Sets {', '.join(_set_fields(noun, new))}."


def _set_fields(noun: str, new: Arguments) -> list[str]:
    """`group=Nordics`: the fields an edit names."""
    fields = []
    for field in msgspec.structs.fields(new):
        value = getattr(new, field.name)
        if field.name != noun and _is_set(field, value):
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            fields.append(f"{field.encode_name}={text[:80]}")
    return fields


def _is_set(field: msgspec.structs.FieldInfo, value: object) -> bool:
    return value != field.default and value not in (None, [], {})


async def edit_each(
    ctx: Context, noun: str, new: Arguments, edit: Callable[[Row[Any]], Awaitable[Item]], *, of_one: Collection[str]
) -> Item | BulkChange[Item]:
    """Edit the entities that `new` names by `edit`, which notes each before and after; one gives the entity itself.

    Raises Refused at a field that only one entity can have (`of_one`) where several are named.
    """
    rows = await chosen(ctx, noun, getattr(new, noun))
    if len(rows) == 1:
        return await edit(rows[0])
    for field in msgspec.structs.fields(new):
        if field.name in of_one and _is_set(field, getattr(new, field.name)):
            raise Refused(f"{field.encode_name}: every {noun} has its own: edit one at a time", field=field.encode_name)
    before, after, unchanged = [], [], []
    for row in rows:
        edited = await edit(row)
        if msgspec.to_builtins(ctx.notes["before"]) == msgspec.to_builtins(edited):
            unchanged.append(row.code)
        else:
            before.append(ctx.notes["before"])
            after.append(edited)
    ctx.notes |= {"entity": noun, "entity_id": None, "before": before, "after": after}
    ctx.unchanged = not after
    return BulkChange(after, unchanged)


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


def render_change(
    noun: str, card: Callable[[Context, Any], Message], state: str = "changed"
) -> Callable[[Context, Any], Message]:
    """The card of one entity, or what became of several."""
    same = "so" if state == "changed" else state

    def render(ctx: Context, result: Any) -> Message:
        if not isinstance(result, BulkChange):
            return card(ctx, result) if not ctx.unchanged else _unchanged(card(ctx, result), f"It was {state} already")
        if ctx.unchanged:
            return Message(f"{plural(len(result.unchanged), noun)}: {same} already, nothing was changed", private=True)
        others = len(result.unchanged)
        rest = (Text(f"{plural(others, noun)} {'was' if others == 1 else 'were'} {same} already."),) if others else ()
        return Message(f"{plural(len(result.items), noun)} {state}", (Text(listed(result.items)), *rest))

    return render


def _unchanged(message: Message, why: str) -> Message:
    notice = Notice("info", f"{why}: nothing was changed.")
    return msgspec.structs.replace(message, blocks=(notice, *message.blocks), private=True)
