"""Stored clicks: the log, latest first and page by page, and one click in full with its conversions."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import select

from bot.core.arguments import Arguments, choices, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.listing import LIMIT, Listing, Page
from bot.core.message import Block, Button, Buttons, Fields, File, Message, Table, Text
from bot.core.permissions import Scope, own_campaigns
from storage.catalogue import names
from storage.catalogue.entities import MAX_PAGE, codes, cursor
from storage.clicks import queries
from storage.clicks.click_log import ClickFilter, read_log
from storage.ledger.clicks.click_id import Codec, instant_of
from storage.ledger.errors import CasinoFluxError, Missing, Refused
from storage.ledger.facts import SUBS, Bot, Reason, Role
from storage.ledger.money import amount_text, units
from storage.ledger.tables import write_table
from storage.tables import (
    campaigns,
    conversion_states,
    conversions,
    offers,
    outgoing,
    sites,
    sources,
)


class OneClick(Arguments):
    click_id: Annotated[str, refers("click", "our click id, as the casino has it")]


class StoredClick(msgspec.Struct, frozen=True, kw_only=True):
    """A stored click; amounts in micro-units. `detail_expired`: only the link to its campaign is left."""

    click_id: str
    id: int
    at: datetime
    campaign: str | None
    site: str | None
    offer: str | None
    source: str | None
    detail_expired: bool = False
    unique: bool | None = None
    bot: str | None = None
    reason: str | None = None
    country: str | None = None
    device: str | None = None
    os: str | None = None
    browser: str | None = None
    user_agent: str | None = None
    language: str | None = None
    referrer: str | None = None
    ip_prefix: str | None = None
    source_click_id: str | None = None
    cost: int | None = None
    currency: str | None = None
    sub1: str | None = None
    sub2: str | None = None
    sub3: str | None = None
    sub4: str | None = None
    sub5: str | None = None
    sub6: str | None = None
    sub7: str | None = None
    sub8: str | None = None
    sub9: str | None = None
    sub10: str | None = None
    extra: dict[str, Any] | None = None
    outgoing: list[str] = []
    conversions: list[dict[str, Any]] = []


def click_card(ctx: Context, click: StoredClick) -> Message:
    plain = msgspec.structs.asdict(click)
    del plain["conversions"], plain["extra"], plain["outgoing"]
    plain |= {noun: ctx.label(noun, plain[noun]) for noun in _PLACES if plain[noun]}
    if click.cost is not None:
        plain["cost"] = amount_text(click.cost)
    fields = tuple((name.replace("_", " "), str(value)) for name, value in plain.items() if value not in (None, ""))
    rows = tuple(_state_row(str(conversion["event"]), conversion) for conversion in click.conversions)
    table = (Table(("Event", "Status", "Amount", "Currency", "When (UTC)"), rows, numeric=(2,)),) if rows else ()
    changes = tuple(
        (f"{state['recorded_at']:%Y-%m-%d %H:%M}", *_state_row(str(conversion["event"]), state))
        for conversion in click.conversions
        if len(conversion["history"]) > 1
        for state in conversion["history"]
    )
    columns = ("Known since (UTC)", "Event", "Status", "Amount", "Currency", "When (UTC)")
    history = (
        (Text("History", strong=True), Table(columns, changes, numeric=(3,), phone=(0, 1, 2, 3, 4))) if changes else ()
    )
    return Message(f"Click {click.click_id}", (Fields(fields), *table, *history), private=True)


def _state_row(event: str, state: dict[str, Any]) -> tuple[str, ...]:
    amount = "–" if state["amount"] is None else amount_text(state["amount"])
    return event, str(state["status"]), amount, str(state["currency"] or ""), f"{state['occurred_at']:%Y-%m-%d %H:%M}"


@command("click show", role=Role.VIEWER, render=click_card, reads=True, positional=("click_id",))
async def show_click(ctx: Context, new: OneClick) -> StoredClick:
    """Show a click: every stored field, and its conversions."""
    click_id = await _decoded(ctx, new.click_id)
    stored = await queries.show(ctx.tx, ctx.team_id, click_id) if click_id is not None else None
    if stored is None or click_id is None:
        raise Missing(f"no click {new.click_id!r}", field="click_id")
    fields = stored_fields(stored, await place_codes(ctx), await queries.codec(ctx.tx))
    return StoredClick(
        **fields, outgoing=await _outgoing_offers(ctx, click_id), conversions=await _conversions(ctx, click_id)
    )


_PLAIN = (
    "country", "device", "os", "browser", "user_agent", "language", "referrer", "ip_prefix", "source_click_id", "cost",
    "currency", *SUBS, "extra",
)  # fmt: skip


async def _decoded(ctx: Context, word: str) -> int | None:
    try:
        return (await queries.codec(ctx.tx)).decode(word.strip())
    except CasinoFluxError:
        return None


_PLACES = {"campaign": campaigns, "site": sites, "offer": offers, "source": sources}


async def place_codes(ctx: Context) -> dict[str, dict[int, str]]:
    """Codes by id of what a click refers to, by noun."""
    return {noun: await codes(ctx.tx, table, ctx.team_id) for noun, table in _PLACES.items()}


def stored_fields(stored: dict[str, Any], places: dict[str, dict[int, str]], codec: Codec) -> dict[str, Any]:
    """A stored click as faces show it."""
    fields: dict[str, Any] = {name: stored.get(name) for name in _PLAIN}
    fields |= {noun: code_of.get(stored[f"{noun}_id"]) for noun, code_of in places.items()}
    fields |= {
        "click_id": codec.encode(stored["id"]), "id": stored["id"], "at": instant_of(stored["id"]),
        "detail_expired": bool(stored.get("expired")),
    }  # fmt: skip
    if not stored.get("expired"):
        fields |= {
            "unique": bool(stored["unique_click"]), "reason": Reason(stored["reason"]).name.lower(),
            "bot": Bot(stored["bot"]).name.lower() if stored["bot"] else None,
        }  # fmt: skip
    return fields


async def _outgoing_offers(ctx: Context, click_id: int) -> list[str]:
    query = select(outgoing).where(outgoing.c.click_id == click_id).order_by(outgoing.c.id)
    code_of = await codes(ctx.tx, offers, ctx.team_id)
    return [code_of.get(row.offer_id, str(row.offer_id)) for row in await ctx.tx.execute(query)]


async def _conversions(ctx: Context, click_id: int) -> list[dict[str, Any]]:
    """The click's conversions, each with every status and amount it has had."""
    query = select(conversions).where(conversions.c.click_id == click_id, conversions.c.team_id == ctx.team_id)
    rows = (await ctx.tx.execute(query.order_by(conversions.c.id))).all()
    history = await _history(ctx, [row.id for row in rows])
    return [{name: row._mapping[name] for name in _CONVERSION} | {"history": history.get(row.id, [])} for row in rows]


_CONVERSION = ("id", "event", "status", "is_ftd", "amount", "currency", "txn_id", "player_id", "occurred_at", "day")
_STATE = ("recorded_at", "status", "is_ftd", "amount", "currency", "occurred_at", "day", "postback_id")


async def _history(ctx: Context, ids: list[int]) -> dict[int, list[dict[str, Any]]]:
    """The states of conversions, the oldest first."""
    s = conversion_states.c
    history: dict[int, list[dict[str, Any]]] = {}
    for row in await ctx.tx.execute(select(conversion_states).where(s.conversion_id.in_(ids)).order_by(s.id)):
        history.setdefault(row.conversion_id, []).append({name: row._mapping[name] for name in _STATE})
    return history


OUTCOMES = tuple(reason.name.lower() for reason in Reason)
_COLUMNS = (
    "at", "click_id", "campaign", "offer", "site", "source", "country", "device", "reason", "bot",
)  # fmt: skip


class ClickLog(Listing, kw_only=True):
    limit: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_PAGE)] | None, Meta(description=f"how many at most; a file has {MAX_PAGE}")
    ] = None  # type: ignore[assignment]
    campaign: Annotated[str | None, refers("campaign", "only this campaign's")] = None
    offer: Annotated[str | None, refers("offer", "only those that went to this offer")] = None
    site: Annotated[str | None, refers("site", "only this site's")] = None
    source: Annotated[str | None, refers("source", "only this traffic source's")] = None
    country: Annotated[str | None, Meta(description="only visitors of this country: DE")] = None
    device: Annotated[str | None, Meta(description="only this device: mobile, desktop, tablet")] = None
    outcome: Annotated[str | None, choices("why it went where it went", *OUTCOMES)] = None
    csv: Annotated[bool, Meta(description="as a file for a spreadsheet, every stored field")] = False
    format: Annotated[str, choices("what HTTP and the shell answer with", "json", "csv")] = "json"


def click_table(ctx: Context, page: Page[StoredClick]) -> Message:
    line = ctx.notes["line"]
    older = [Button("Older", f"{line} after={page.next}")] if page.next else []
    if ctx.notes["csv"]:
        return Message("Clicks, the latest first", (ctx.notes["file"], *_buttons(older)), private=True)
    if not page.items:
        text = "No such clicks so far back: look further" if page.next else "No clicks here"
        return Message(text, tuple(Buttons((button,)) for button in older), private=True)
    zone = ctx.deployment.zone
    rows = tuple(
        (f"{click.at.astimezone(zone):%m-%d %H:%M:%S}", ctx.name("campaign", click.campaign),
         ctx.name("offer", click.offer), click.country or "–",
         click.reason or "–", click.device or "–", click.bot or "–", click.click_id)
        for click in page.items
    )  # fmt: skip
    columns = (f"When ({ctx.deployment.timezone})", "Campaign", "Offer", "Country", "Outcome", "Device", "Bot", "Click")
    ways = [*older, Button("CSV", f"{line} csv=true")]
    return Message(
        "Clicks, the latest first", (Table(columns, rows, phone=(0, 1, 2, 3)), *_buttons(ways)), private=True
    )


def _buttons(ways: list[Button]) -> tuple[Block, ...]:
    return (Buttons(tuple(ways)),) if ways else ()


def click_file(items: list[StoredClick]) -> File:
    """Clicks as a CSV file, every stored field."""
    fields = [
        *_COLUMNS,
        *(name for name in StoredClick.__struct_fields__ if name not in {*_COLUMNS, "conversions", "outgoing"}),
    ]
    return File("clicks.csv", write_table([fields, *(_line(click, fields) for click in items)]))


def _line(click: StoredClick, fields: list[str]) -> list[str]:
    values = msgspec.to_builtins(click)
    values["cost"] = None if click.cost is None else f"{units(click.cost):f}"
    values["extra"] = msgspec.json.encode(click.extra).decode() if click.extra else None
    return ["" if values[name] is None else str(values[name]) for name in fields]


@command("click log", role=Role.VIEWER, scope=Scope.OWN, render=click_table, reads=True)
async def click_log(ctx: Context, new: ClickLog) -> Page[StoredClick]:
    """Every click, with where it went and why; the latest first."""
    if new.format not in {"json", "csv"}:
        raise Refused(f"format: {new.format!r} is neither json nor csv", field="format")
    in_csv = new.csv or new.format == "csv"
    page = await read_log(
        ctx.tx, ctx.team_id, await _filter(ctx, new), limit=new.limit or (MAX_PAGE if in_csv else LIMIT),
        before=cursor(new.after), zone=ctx.deployment.zone,
    )  # fmt: skip
    following = None if page.next is None else str(page.next)
    ctx.notes |= {"csv": in_csv, "line": _command_line(new), "next": following}
    items: list[StoredClick] = []
    if page.rows:
        places, codec = await place_codes(ctx), await queries.codec(ctx.tx)
        items = [StoredClick(**stored_fields(click, places, codec)) for click in page.rows]
    if in_csv:
        ctx.notes["file"] = click_file(items)
    return Page(items, following)


async def _filter(ctx: Context, new: ClickLog) -> ClickFilter:
    ids = {
        f"{noun}_id": (await names.find(ctx.tx, table, ctx.team_id, word, field=noun)).id
        for noun, table in _PLACES.items()
        if (word := getattr(new, noun))
    }
    if new.outcome and new.outcome.lower() not in OUTCOMES:
        raise Refused(f"outcome: one of {', '.join(OUTCOMES)}", field="outcome")
    return ClickFilter(
        ids=ids, country=(new.country or "").upper(), device=(new.device or "").lower(),
        reason=Reason[new.outcome.upper()].value if new.outcome else None, campaigns=own_campaigns(ctx.actor),
    )  # fmt: skip


def _command_line(new: ClickLog) -> str:
    """The command again, for the buttons beneath."""
    filters: dict[str, Any] = {name: getattr(new, name) for name in (*_PLACES, "country", "device", "outcome")}
    if new.csv:
        filters["csv"] = "true"
    return "click log" + "".join(f' {name}="{value}"' for name, value in filters.items() if value)
