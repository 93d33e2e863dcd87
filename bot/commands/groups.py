"""Groups a team sorts its campaigns, offers, sites … into, and notes."""

from collections.abc import Sequence
from typing import Annotated, Any

from sqlalchemy import Row, select, update

from bot.core import permissions
from bot.core.arguments import NONE, Arguments, MissingArgument, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.limits import limited
from bot.core.listing import Page
from bot.core.message import Button, Buttons, Message, Table, Text
from bot.core.permissions import Scope, visible
from bot.forms.entity_list import EntityList, list_message, listed, of_team
from bot.render.figures import plural
from storage.catalogue import groups, names
from storage.catalogue.groups import MAX_GROUP, MAX_NOTE, SORTED, Group
from storage.ledger.facts import Role
from storage.tables import groups as table

Name = Annotated[str, limited("what the team calls it", text=MAX_GROUP)]
Which = Annotated[str, refers("group", "which group")]


class NewGroup(Arguments):
    name: Name


class GroupEdit(Arguments):
    group: Which
    name: Name


class OneGroup(Arguments):
    group: Which


class Note(Arguments):
    text: Annotated[str, limited("the note; none removes it", text=MAX_NOTE)]
    campaign: Annotated[str | None, refers("campaign", "of this campaign")] = None
    offer: Annotated[str | None, refers("offer", "of this offer")] = None
    casino: Annotated[str | None, refers("casino", "of this casino")] = None
    site: Annotated[str | None, refers("site", "of this site")] = None
    domain: Annotated[str | None, refers("domain", "of this domain")] = None
    source: Annotated[str | None, refers("source", "of this traffic source")] = None
    account: Annotated[str | None, refers("account", "of this platform account")] = None


class Noted(groups.Sorted, frozen=True, kw_only=True):
    """An entity whose note was written."""

    id: int
    name: str
    code: str
    noun: str


def group_card(ctx: Context, group: Group) -> Message:
    held = [plural(n, noun) for noun, n in group.entities.items()]
    lists = tuple(Button(f"{noun.capitalize()}s", f"{noun} list group={group.code}") for noun in group.entities)
    figures = Button("Stats 7d", f"stats 7d group={group.code}")
    return Message(f"Group {group.name} ({group.code})", (Text(", ".join(held) or "Nothing is in it yet."),
                                                         Buttons((*lists, figures))))  # fmt: skip


def removed_card(_ctx: Context, group: Group) -> Message:
    return Message(f"Group {group.name} is removed")


def group_table(ctx: Context, page: Page[Group]) -> Message:
    nouns = [noun for noun in SORTED if any(noun in group.entities for group in page.items)]
    rows = tuple(
        (group.name, group.code, *(str(group.entities.get(noun, "–")) for noun in nouns)) for group in page.items
    )
    columns = ("Group", "Code", *(f"{noun.capitalize()}s" for noun in nouns))
    shown = Table(columns, rows, numeric=tuple(range(2, len(columns))), phone=(0, 2, 3, 4, 5))
    return list_message(ctx, "group", page, shown, add='campaign edit … group="Nordics", or group add Nordics')


def noted_card(_ctx: Context, noted: Noted) -> Message:
    text = (Text(noted.note),) if noted.note else ()
    state = "Note of" if noted.note else "No note any more:"
    button = Buttons((Button("Show", f"{noted.noun} show {noted.code}"),))
    return Message(f"{state} {noted.noun} {noted.name} ({noted.code})", (*text, button))


@command("group add", role=Role.BUYER, scope=Scope.OWN, render=group_card, positional=("name",), sentence="name",
         aliases=("group create",))  # fmt: skip
async def add_group(ctx: Context, new: NewGroup) -> Group:
    """Make a group for campaigns, offers, sites, sources; naming one in an edit makes it as well."""
    row = await groups.add(ctx.tx, ctx.team_id, " ".join(new.name.split()), ctx.now)
    return await _noted(ctx, row)


@command(
    "group list", role=Role.VIEWER, scope=Scope.OWN, render=group_table, reads=True, positional=("find",),
    sentence="find", aliases=("group find",),
)  # fmt: skip
async def list_groups(ctx: Context, new: EntityList) -> Page[Group]:
    """The team's groups, and how much is in each."""
    rows, following = await listed(ctx, "group", new, of_team(ctx, "group"))
    return Page(await _shown(ctx, rows), following)


@command("group show", role=Role.VIEWER, render=group_card, reads=True, positional=("group",))
async def show_group(ctx: Context, new: OneGroup) -> Group:
    """A group, and how much is in it."""
    return (await _shown(ctx, [await _group(ctx, new.group)]))[0]


@command("group edit", role=Role.BUYER, render=group_card, positional=("group", "name"))
async def edit_group(ctx: Context, new: GroupEdit) -> Group:
    """Give a group another name; its code stays."""
    row, name = await _group(ctx, new.group), " ".join(new.name.split())
    before = (await _shown(ctx, [row]))[0]
    groups.check_name(name, field="name")
    await names.code_for(ctx.tx, table, ctx.team_id, name, entity_id=row.id)
    await ctx.tx.execute(update(table).where(table.c.id == row.id).values(name=name))
    return await _noted(ctx, await names.by_id(ctx.tx, table, row.id), before=before)


async def _sorting_lost(ctx: Context, new: OneGroup) -> str | None:
    group = (await _shown(ctx, [await _group(ctx, new.group)]))[0]
    held = ", ".join(plural(n, noun) for noun, n in group.entities.items())
    return f"{held} will be in no group. Nothing else of them changes, figures least of all." if held else None


@command("group remove", role=Role.BUYER, render=removed_card, positional=("group",), confirm=_sorting_lost)
async def remove_group(ctx: Context, new: OneGroup) -> Group:
    """Remove a group; what was in it is in none, with all its figures."""
    row = await _group(ctx, new.group)
    before = (await _shown(ctx, [row]))[0]
    await groups.remove(ctx.tx, row)
    ctx.notes |= {"entity": "group", "entity_id": row.id, "before": before}
    return before


@command("note", role=Role.BUYER, scope=Scope.OWN, render=noted_card, positional=("text",), sentence="text")
async def write_note(ctx: Context, new: Note) -> Noted:
    """Write a note to a campaign, offer, casino, site, domain, source or account: note campaign=push Ends on Friday."""
    named = [(noun, word) for noun in SORTED if (word := getattr(new, noun))]
    if len(named) != 1:
        raise MissingArgument("name one campaign, offer, casino, site, domain, source or account, e.g. campaign=…",
                              field="campaign")  # fmt: skip
    noun, word = named[0]
    row = await permissions.find(ctx, noun, word, field=noun, changes=True)
    sorted_table = SORTED[noun]
    note = None if new.text.strip().lower() in {"", "-", NONE} else new.text.strip()
    await ctx.tx.execute(update(sorted_table).where(sorted_table.c.id == row.id).values(note=note))
    before = _entity(noun, row)
    after = _entity(noun, (await ctx.tx.execute(select(sorted_table).where(sorted_table.c.id == row.id))).one())
    ctx.notes |= {"entity": noun, "entity_id": row.id, "before": before, "after": after}
    return after


def _entity(noun: str, row: Row[Any]) -> Noted:
    return Noted(id=row.id, name=row.name, code=row.code, noun=noun, **groups.sorting_of(row))


async def _group(ctx: Context, word: str) -> Row[Any]:
    return await names.find(ctx.tx, table, ctx.team_id, word, field="group")


async def _shown(ctx: Context, rows: Sequence[Row[Any]]) -> list[Group]:
    return await groups.shown(ctx.tx, rows, {noun: visible(ctx.actor, noun) for noun in SORTED})


async def _noted(ctx: Context, row: Row[Any], *, before: Group | None = None) -> Group:
    group = (await _shown(ctx, [row]))[0]
    ctx.notes |= {"entity": "group", "entity_id": group.id, "before": before, "after": group}
    return group
