"""Groups, tags and notes: the fields that set them, and those that lists, reports and bulk changes filter by."""

from collections.abc import Sequence
from typing import Annotated, Any

from sqlalchemy import ColumnElement, Row

from bot.core import permissions
from bot.core.arguments import EMPTIES, NONE, Arguments, refers
from bot.core.context import Context
from bot.core.limits import limited
from storage.catalogue import groups
from storage.catalogue.groups import MAX_GROUP, MAX_NOTE, MOST_TAGS, Sorted, SortedScope
from storage.ledger.errors import Refused

SETTINGS = ("group", "tags", "note")
Groups = Annotated[
    list[str], refers("group", "only what is in these groups; none: in no group", changes=False, most=50)
]  # fmt: skip
Tags = Annotated[list[str], limited("only with one of these tags", items=MOST_TAGS)]


class Sorting(Arguments, kw_only=True):
    """What an entity is sorted by; also fields of what makes and edits one."""

    group: Annotated[
        str | None, limited("group it belongs to, made with its first use; none: no group", text=MAX_GROUP), EMPTIES
    ] = None
    tags: Annotated[
        list[str] | None, limited("tags: push,ios; +push adds one, -ios takes one away; none: no tags",
                                  items=MOST_TAGS), EMPTIES
    ] = None  # fmt: skip
    note: Annotated[str | None, limited("note for the team", text=MAX_NOTE), EMPTIES] = None


class SortedBy(Arguments, kw_only=True):
    """Which entities of a kind: of a group, with a tag."""

    group: Groups = []
    tag: Tags = []


async def read_sorting(ctx: Context, new: Sorting, row: Row[Any] | None = None) -> dict[str, Any]:
    """Columns of what is said of group, tags and note. Raises Refused at the field, Forbidden for a group of others."""
    values: dict[str, Any] = {}
    if new.group is not None:
        values["group_code"] = None if new.group == NONE else await _group(ctx, new.group)
    if new.tags is not None:
        empties = [word.lower() for word in new.tags] in ([], [NONE], ["-"])
        values["tags"] = [] if empties else groups.read_tags(new.tags, row.tags if row is not None else ())
    if new.note is not None:
        values["note"] = None if new.note == NONE else _note(new.note)
    return values


async def _group(ctx: Context, name: str) -> str:
    row = await groups.ensure(ctx.tx, ctx.team_id, name, ctx.now)
    await permissions.judge(ctx, "group", str(row.id), field="group")
    return str(row.code)


def _note(text: str) -> str:
    if len(text) > MAX_NOTE:
        raise Refused(f"note: at most {MAX_NOTE:,} characters", field="note")
    return text.strip()


async def sorted_scope(ctx: Context, group_words: Sequence[str], tags: Sequence[str]) -> SortedScope | None:
    """Groups and tags by which campaigns are meant; None where none is named. Raises Missing at `group`."""
    codes = [
        NONE if word.lower() == NONE else (await permissions.find(ctx, "group", word, field="group")).code
        for word in group_words
    ]
    scope = SortedScope(groups=tuple(dict.fromkeys(codes)), tags=tuple(dict.fromkeys(tags)))
    return None if scope == SortedScope() else scope


def scope_words(ctx: Context, entity: Any) -> str:
    """`campaigns of group Nordics with tag push`: which campaigns an alert or digest is about."""
    groups_, tags = [ctx.name("group", code) for code in entity.groups], entity.tags
    named = ctx.names_of("campaign", entity.campaigns or [])
    if not groups_ and not tags:
        return named or "all"
    words = [f"of group {' or '.join(groups_)}"] if groups_ else []
    words += [f"tagged {' or '.join(tags)}"] if tags else []
    return " ".join([*words, *([f"among {named}"] if named else [])])


async def sorted_by(ctx: Context, noun: str, new: Any) -> list[ColumnElement[bool]]:
    """The conditions on a kind's table of a command's `group` and `tag`. Raises Missing at `group`."""
    sorted_table = groups.SORTED[noun]
    where = []
    if new.group:
        where.append(await groups.in_groups(ctx.tx, sorted_table, ctx.team_id, new.group))
    if new.tag:
        where.append(await groups.tagged(ctx.tx, sorted_table, ctx.team_id, new.tag))
    return where


def sorting_fields(ctx: Context, entity: Sorted) -> tuple[tuple[str, str], ...]:
    """Group, tags and note as a card shows them, where there are any."""
    fields = (
        ("Group", ctx.name("group", entity.group)), ("Tags", ", ".join(entity.tags)), ("Note", entity.note or ""),
    )  # fmt: skip
    return tuple((label, value) for label, value in fields if value not in {"", "–"})


def sorting_columns(entities: Sequence[Any]) -> tuple[str, ...]:
    """Columns of a list that some line of it has something in."""
    return tuple(label for label, name in (("Group", "group"), ("Tags", "tags"))
                 if any(getattr(entity, name) for entity in entities))  # fmt: skip


def sorting_cells(ctx: Context, entity: Any, columns: Sequence[str]) -> tuple[str, ...]:
    """What such columns hold of an entity."""
    held = {"Group": ctx.name("group", entity.group), "Tags": ", ".join(entity.tags) or "–"}
    return tuple(held[column] for column in columns)


__all__ = [
    "SETTINGS", "SortedBy", "Sorting", "read_sorting", "scope_words", "sorted_by", "sorted_scope", "sorting_cells",
    "sorting_columns", "sorting_fields",
]  # fmt: skip
