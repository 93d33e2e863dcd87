"""Clicks as they came: latest first, page by page, with every stored field."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import ColumnElement, func, select

from bot.commands.click_show import Shown, place_codes, stored_fields
from bot.core.arguments import choices, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.listing import Listing, Page
from bot.core.message import Block, Button, Buttons, File, Message, Table
from bot.core.permissions import Scope, own_campaigns
from bot.render.report_csv import safe_cell
from storage.catalogue import names
from storage.catalogue.entities import MAX_PAGE, cursor
from storage.clicks import queries
from storage.ledger.errors import Refused
from storage.ledger.facts import Reason, Role
from storage.ledger.money import units
from storage.ledger.tables import write_table
from storage.tables import campaigns, clicks, offers, sites, sources, user_agents

OUTCOMES = tuple(reason.name.lower() for reason in Reason)
_ENTITIES = {"campaign": campaigns, "offer": offers, "site": sites, "source": sources}
_COLUMNS = (
    "at", "click_id", "campaign", "offer", "site", "source", "country", "device", "reason", "bot",
)  # fmt: skip


class ClickLog(Listing, kw_only=True):
    campaign: Annotated[str | None, refers("campaign", "only this campaign's")] = None
    offer: Annotated[str | None, refers("offer", "only those that went to this offer")] = None
    site: Annotated[str | None, refers("site", "only this site's")] = None
    source: Annotated[str | None, refers("source", "only this traffic source's")] = None
    country: Annotated[str | None, Meta(description="only visitors of this country: DE")] = None
    device: Annotated[str | None, Meta(description="only this device: mobile, desktop, tablet")] = None
    outcome: Annotated[str | None, choices("why it went where it went", *OUTCOMES)] = None
    csv: Annotated[bool, Meta(description="as a file for a spreadsheet, every stored field")] = False


def click_table(ctx: Context, page: Page[Shown]) -> Message:
    if not page.items:
        return Message("No clicks here", private=True)
    zone = ctx.deployment.zone
    rows = tuple(
        (f"{click.at.astimezone(zone):%m-%d %H:%M:%S}", click.campaign or "–", click.offer or "–",
         click.country or "–", click.reason or "–", click.device or "–", click.bot or "–", click.click_id)
        for click in page.items
    )  # fmt: skip
    columns = (f"When ({ctx.deployment.timezone})", "Campaign", "Offer", "Country", "Outcome", "Device", "Bot", "Click")
    blocks: list[Block] = [Table(columns, rows, phone=(0, 1, 2, 3))]
    if ctx.notes["csv"]:
        blocks = [_file(page.items)]
    line = ctx.notes["line"]
    ways = [Button("Older", f"{line} after={page.next}")] if page.next else []
    ways += [] if ctx.notes["csv"] else [Button("CSV", f"{line} limit={MAX_PAGE} csv=true")]
    return Message("Clicks, the latest first", (*blocks, *([Buttons(tuple(ways))] if ways else [])), private=True)


def _file(items: list[Shown]) -> File:
    fields = [
        *_COLUMNS,
        *(name for name in Shown.__struct_fields__ if name not in {*_COLUMNS, "conversions", "outgoing"}),
    ]
    return File("clicks.csv", write_table([fields, *(_line(click, fields) for click in items)]))


def _line(click: Shown, fields: list[str]) -> list[str]:
    values = msgspec.to_builtins(click)
    values["cost"] = None if click.cost is None else f"{units(click.cost):f}"
    values["extra"] = msgspec.json.encode(click.extra).decode() if click.extra else None
    return ["" if values[name] is None else safe_cell(str(values[name])) for name in fields]


@command("click log", role=Role.VIEWER, scope=Scope.OWN, render=click_table, reads=True)
async def click_log(ctx: Context, new: ClickLog) -> Page[Shown]:
    """Every click, with where it went and why; the latest first."""
    conditions = await _conditions(ctx, new)
    stored = await queries.log(ctx.tx, ctx.team_id, *conditions, limit=new.limit + 1, before=cursor(new.after))
    ctx.notes |= {"csv": new.csv, "asked": _command_line(new)}
    if not stored:
        return Page([])
    places, codec = await place_codes(ctx), await queries.codec(ctx.tx)
    items = [Shown(**stored_fields(click, places, codec)) for click in stored[: new.limit]]
    return Page(items, str(items[-1].id) if len(stored) > new.limit else None)


async def _conditions(ctx: Context, new: ClickLog) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    for noun, table in _ENTITIES.items():
        if word := getattr(new, noun):
            row = await names.find(ctx.tx, table, ctx.team_id, word, field=noun)
            conditions.append(clicks.c[f"{noun}_id"] == row.id)
    if new.country:
        conditions.append(clicks.c.country == new.country.upper())
    if new.device:
        of_device = select(user_agents.c.id).where(func.lower(user_agents.c.device) == new.device.lower())
        conditions.append(clicks.c.user_agent_id.in_(of_device))
    if new.outcome:
        if new.outcome.lower() not in OUTCOMES:
            raise Refused(f"outcome: one of {', '.join(OUTCOMES)}", field="outcome")
        conditions.append(clicks.c.reason == Reason[new.outcome.upper()].value)
    own = own_campaigns(ctx.actor)
    return conditions if own is None else [*conditions, clicks.c.campaign_id.in_(own)]


def _command_line(new: ClickLog) -> str:
    """The command again, for the buttons beneath."""
    filters: dict[str, Any] = {name: getattr(new, name) for name in (*_ENTITIES, "country", "device", "outcome")}
    return "click log" + "".join(f' {name}="{value}"' for name, value in filters.items() if value)
