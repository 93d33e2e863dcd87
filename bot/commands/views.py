"""Saved views: reports by name, the same on every face."""

from typing import Annotated
from urllib.parse import parse_qsl

from msgspec import Meta

from bot.core.arguments import NONE, Arguments, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.listing import Listing, Page
from bot.core.message import Block, Button, Buttons, Fields, Message, Table
from bot.core.permissions import ENTITIES, Scope, find
from bot.forms.first_steps import begin
from bot.forms.report_view import read_saved, saved_report
from storage.catalogue.entities import page
from storage.ledger.errors import Forbidden, Missing
from storage.ledger.facts import Role
from storage.reports import views
from storage.reports.views import SavedView
from storage.tables import views as table


class NewView(Arguments):
    name: Annotated[str, Meta(description="what the team calls it; a view of that name is replaced")]
    query: Annotated[str, Meta(description="a stats command: stats 7d by campaign")]


class OneView(Arguments):
    view: Annotated[str, refers("view", "which one")]


def view_card(ctx: Context, view: SavedView) -> Message:
    shown = saved_report(view.query, ctx.today)
    fields = Fields((("Shows", shown.stats()), ("Page", f"{ctx.deployment.public_url}/cockpit/reports?{view.query}")))
    return Message(f"View {view.name}", (fields, Buttons((Button("Show", shown.stats()),))))


def removed_card(_ctx: Context, view: SavedView) -> Message:
    return Message(f"View {view.name} is removed")


def view_table(ctx: Context, page: Page[SavedView]) -> Message:
    if not page.items:
        first = begin(ctx, "Save a view", "view save")
        return Message("No views yet: view save Weekly stats 7d by campaign", first, private=True)
    shown = [(view, saved_report(view.query, ctx.today).stats()) for view in page.items]
    blocks: list[Block] = [Table(("View", "Shows"), tuple((view.code, stats) for view, stats in shown))]
    blocks.append(Buttons(tuple(Button(view.name[:40], stats) for view, stats in shown[:5])))
    return Message("Views", tuple(blocks), private=True)


@command(
    "view save", role=Role.BUYER, scope=Scope.TEAM, render=view_card, positional=("name", "query"), sentence="query"
)
async def save_view(ctx: Context, new: NewView) -> SavedView:
    """Keep a report under a name for the whole team."""
    view, before = await views.save(ctx.tx, ctx.team_id, new.name.strip(), read_saved(new.query, ctx.today), ctx.now)
    ctx.notes |= {"entity": "view", "entity_id": view.id, "before": before, "after": view}
    return view


@command("view list", role=Role.VIEWER, scope=Scope.OWN, render=view_table, reads=True)
async def list_views(ctx: Context, new: Listing) -> Page[SavedView]:
    """The team's saved reports."""
    rows, following = await page(ctx.tx, views.of_team(ctx.team_id), table.c.id, limit=new.limit, after=new.after)
    return Page([view for view in map(views.shown, rows) if await is_own_view(ctx, view)], following)


async def is_own_view(ctx: Context, view: SavedView) -> bool:
    """Views that name what is of other campaigns are not shown to who is limited to some."""
    if ctx.actor.campaigns is None:
        return True
    query = dict(parse_qsl(view.query))
    try:
        for noun in ENTITIES.keys() & query.keys():
            for word in query[noun].split(",") if query[noun] != NONE else ():
                await find(ctx, noun, word, field=noun)
    except (Forbidden, Missing):
        return False
    return True


@command("view remove", role=Role.BUYER, scope=Scope.TEAM, render=removed_card, positional=("view",))
async def remove_view(ctx: Context, new: OneView) -> SavedView:
    """Remove a saved report."""
    view = await views.find(ctx.tx, ctx.team_id, new.view)
    await views.remove(ctx.tx, view.id)
    ctx.notes |= {"entity": "view", "entity_id": view.id, "before": view}
    return view
