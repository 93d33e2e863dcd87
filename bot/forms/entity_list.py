"""Lists of entities: a page of what the team has, found by words of its name, with the way on beneath."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import ColumnElement, Row, Select, not_, select

from bot.core.command import COMMANDS, line_of
from bot.core.context import Context
from bot.core.listing import LIMIT, Listing, Page
from bot.core.message import Block, Button, Buttons, Message, Table
from bot.core.permissions import ENTITIES, visible
from bot.forms.first_steps import begin, done_steps, guide
from bot.forms.sorting import Groups, Tags, sorted_by, sorting_cells, sorting_columns
from storage.catalogue import names
from storage.catalogue.entities import MAX_PAGE, page
from storage.catalogue.groups import ARCHIVED, SORTED


class EntityList(Listing):
    """A page of a list of entities with names."""

    find: Annotated[str | None, Meta(description="only those with these words in their name or code")] = None


class SortedList(EntityList):
    """The same of entities that have a group and tags; archived ones are listed only where `status` asks for them."""

    group: Groups = []
    tag: Tags = []


def of_team(ctx: Context, noun: str) -> Select[Any]:
    """The team's entities of a kind that the actor may see."""
    table = ENTITIES[noun].table
    return select(table).where(table.c.team_id == ctx.team_id, visible(ctx.actor, noun))


async def listed(ctx: Context, noun: str, new: EntityList, query: Select[Any]) -> tuple[Sequence[Row[Any]], str | None]:
    """The page of a list that is asked for, and the cursor of the next one."""
    table = ENTITIES[noun].table
    if isinstance(new, SortedList):
        query = query.where(*await sorted_by(ctx, noun, new), *_in_status(table, getattr(new, "status", None)))
    if new.find:
        query = query.where(await names.holding(ctx.tx, table, ctx.team_id, new.find))
    rows, following = await page(ctx.tx, query, table.c.id, limit=new.limit, after=new.after)
    filters = {name: value for name in new.__struct_fields__ if (value := getattr(new, name))}
    limit, _ = filters.pop("limit"), filters.pop("after", None)
    shown = filters if limit in {LIMIT, MAX_PAGE} else {"limit": limit, **filters}
    ctx.notes["list"] = line_of(COMMANDS[f"{noun} list"], shown)
    if not rows and not new.after:
        ctx.notes["narrowed_list"] = bool(filters)
        ctx.notes["done_steps"] = await done_steps(ctx.tx, ctx.team_id)
    return rows, following


def _in_status(table: Any, status: str | None) -> list[ColumnElement[bool]]:
    archived = table.c.archived_from.is_not(None)
    if status == ARCHIVED:
        return [archived]
    of_status = [table.c.status == status] if status and "status" in table.c else []
    return [not_(archived), *of_status]


def _sorted_table(ctx: Context, entities: Sequence[Any], table: Table) -> Table:
    """A table of entities with columns for their groups and tags, where one has any."""
    columns = sorting_columns(entities)
    rows = tuple((*row, *sorting_cells(ctx, entity, columns)) for row, entity in zip(table.rows, entities, strict=True))
    return msgspec.structs.replace(table, columns=(*table.columns, *columns), rows=rows)


def list_message(ctx: Context, noun: str, found: Page[Any], table: Table, *, add: str) -> Message:
    """A list as people read it. `add`: what to say where there is none yet."""
    plural = f"{noun}s"
    if not found.items:
        if ctx.notes.get("narrowed_list"):
            every = Buttons((Button(f"All {plural}", f"{noun} list"),))
            return Message(f"No {noun} fits: {ctx.notes['list']}", (every,), private=True)
        making = (f"{noun} {verb}" for verb in ("add", "create"))
        first = next((name for name in making if name in COMMANDS), "offer add")  # casinos come with offers
        made, _, verb = first.partition(" ")
        way = guide(ctx, ctx.notes.get("done_steps", frozenset()))
        way = way or begin(ctx, f"{verb.capitalize()} {made}", first)
        return Message(f"No {plural} yet: {add}", way, private=True)
    blocks: list[Block] = [_sorted_table(ctx, found.items, table) if noun in SORTED else table]
    if found.next:
        blocks.append(Buttons((Button("More", f"{ctx.notes['list']} after={found.next}"),)))
    return Message(plural.capitalize(), tuple(blocks), private=True)


__all__ = ["EntityList", "SortedList", "list_message", "listed", "of_team"]
