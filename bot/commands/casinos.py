"""Casino entries: what sites show players about a brand, and whether a member has checked it."""

from typing import Annotated, Any

from msgspec import Meta
from sqlalchemy import Row

from bot.core.arguments import EMPTIES, NONE, Arguments, MissingArgument, choices, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.limits import limited
from bot.core.listing import Listing, Page
from bot.core.message import Button, Buttons, Fields, Message, Notice, Table
from bot.core.permissions import Scope
from bot.forms.archiving import refuse_archived
from bot.forms.bulk_change import MOST, BulkChange, edit_each, edit_question, render_change
from bot.forms.entity_list import SortedList, list_message, listed, of_team
from bot.forms.sorting import Sorting, read_sorting, sorting_fields
from storage.catalogue import casino_hub, casinos, names
from storage.catalogue.casino_hub import BrandFacts
from storage.catalogue.casinos import Casino
from storage.catalogue.groups import ARCHIVED
from storage.catalogue.images import ADDRESS
from storage.catalogue.markets import read_market
from storage.ledger.addresses import web_address
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.tables import casinos as table

Brand = Annotated[str, refers("casino", "which casino")]
Bonus = Annotated[str | None, Meta(description="welcome bonus as players read it: 100 % up to €200"), EMPTIES]
FreeSpins = Annotated[str | None, Meta(description="free spins: 50, or 50 on Book of Dead"), EMPTIES]
Wagering = Annotated[str | None, Meta(description="wagering requirement: 35x"), EMPTIES]
Payments = Annotated[list[str] | None, Meta(description="payment methods: Visa, Trustly, Skrill"), EMPTIES]
Countries = Annotated[list[str] | None, Meta(description="countries it may be shown in: DE,AT; all: anywhere")]
Licence = Annotated[str | None, Meta(description="authority and number: MGA/B2C/123/2020"), EMPTIES]
Terms = Annotated[str | None, Meta(description="web address of the bonus terms"), EMPTIES]
Logo = Annotated[str | None, Meta(description="web address of the logo; casino logo takes a picture itself"), EMPTIES]


class OneCasino(Arguments):
    casino: Brand


class _CasinoFields(Sorting):
    name: str | None = None
    bonus: Bonus = None
    free_spins: FreeSpins = None
    wagering: Wagering = None
    payment_methods: Payments = None
    markets: Countries = None
    licence: Licence = None
    terms_url: Terms = None
    logo: Logo = None


class CasinoEdit(_CasinoFields, kw_only=True):
    casino: Annotated[list[str], refers("casino", "which casino; several separated by commas", most=MOST)]


class CasinoReview(_CasinoFields, kw_only=True):
    casino: Brand


class HubQuery(Listing):
    casino: Annotated[str | None, limited("only this brand", text=names.MAX_NAME)] = None


class CasinoList(SortedList):
    status: Annotated[str | None, choices("only these", "draft", "reviewed", ARCHIVED)] = None


def casino_card(ctx: Context, casino: Casino) -> Message:
    fields = (
        ("Bonus", casino.bonus or "–"), ("Free spins", casino.free_spins or "–"), ("Wagering", casino.wagering or "–"),
        ("Payment methods", ", ".join(casino.payment_methods) or "–"), ("Licence", casino.licence or "–"),
        ("Markets", ", ".join(casino.markets) or "any"), ("Terms", casino.terms_url or "–"),
        ("Logo", casino.logo or "initials"), *sorting_fields(ctx, casino),
    )  # fmt: skip
    review = Buttons((Button("Reviewed", f"casino review {casino.code}", style="primary"),))
    check = (Notice("info", "Check what is said here, then mark it reviewed: sites show reviewed casinos."), review)
    title = f"Casino {casino.name} ({casino.code}) · {casino.status}"
    restore = (Buttons((Button("Restore", f"casino restore {casino.code}"),)),)
    more = check if casino.status == casinos.DRAFT else restore if casino.status == ARCHIVED else ()
    return Message(title, (Fields(fields), *more))


def casino_table(ctx: Context, page: Page[Casino]) -> Message:
    rows = tuple(
        (casino.name, casino.code, casino.status, casino.bonus or "–", casino.licence or "–") for casino in page.items
    )
    table = Table(("Casino", "Code", "Status", "Bonus", "Licence"), rows, phone=(0, 1, 2))
    return list_message(
        ctx,
        "casino",
        page,
        table,
        add="each comes with its first offer (offer add casino=…)",
    )


def hub_table(_ctx: Context, page: Page[BrandFacts]) -> Message:
    if not page.items:
        return Message("Nothing in the casino hub yet: brands appear when another team has reviewed them", private=True)
    rows = tuple(
        (facts.name, facts.licence or "–", ", ".join(facts.payment_methods) or "–", facts.terms_url or "–")
        for facts in page.items
    )
    ways = [Button(f"Fill {facts.name}"[:40], f"casino fill {facts.own}") for facts in page.items[:5] if facts.own]
    ways += [Button("More", f"casino hub after={page.next}")] if page.next else []
    table = Table(("Brand", "Licence", "Payment methods", "Terms"), rows)
    return Message("Casino hub", (table, *((Buttons(tuple(ways)),) if ways else ())), private=True)


@command(
    "casino list", role=Role.VIEWER, scope=Scope.OWN, render=casino_table, reads=True, positional=("find",),
    sentence="find", aliases=("casino find",),
)  # fmt: skip
async def list_casinos(ctx: Context, new: CasinoList) -> Page[Casino]:
    """The team's casino entries."""
    rows, following = await listed(ctx, "casino", new, of_team(ctx, "casino"))
    return Page([casinos.entry(row) for row in rows], following)


@command("casino show", role=Role.VIEWER, render=casino_card, reads=True, positional=("casino",))
async def show_casino(ctx: Context, new: OneCasino) -> Casino:
    """What sites show players about a brand."""
    return casinos.entry(await casinos.find(ctx.tx, ctx.team_id, new.casino))


async def _edits(ctx: Context, new: CasinoEdit) -> str | None:
    return await edit_question(ctx, "casino", new)


@command("casino edit", role=Role.BUYER, render=render_change("casino", casino_card), positional=("casino",),
         confirm=_edits)  # fmt: skip
async def edit_casino(ctx: Context, new: CasinoEdit) -> Casino | BulkChange[Casino]:
    """Change casino entries; what is not named stays. Pages that show them change within a second."""
    return await edit_each(ctx, "casino", new, lambda row: _edited(ctx, row, new), of_one=("name",))


async def _edited(ctx: Context, row: Row[Any], new: CasinoEdit) -> Casino:
    values = await _values(ctx, row, new)
    if not values:
        raise MissingArgument("nothing to change: name a field, e.g. bonus=…", field="casino")
    return await _changed(ctx, row, values)


@command("casino review", role=Role.BUYER, render=casino_card, positional=("casino",))
async def review_casino(ctx: Context, new: CasinoReview) -> Casino:
    """Mark an entry as checked; sites may show it from then on. Corrections can come along."""
    row = await casinos.find(ctx.tx, ctx.team_id, new.casino)
    refuse_archived("casino", [row])
    return await _changed(ctx, row, {**await _values(ctx, row, new), "status": casinos.REVIEWED})


@command("casino hub", role=Role.VIEWER, scope=Scope.OPEN, render=hub_table, reads=True, positional=("casino",))
async def list_hub(ctx: Context, new: HubQuery) -> Page[BrandFacts]:
    """Facts of brands that other teams have reviewed, where the operator switches it on."""
    _refuse_without_hub(ctx)
    if new.casino:
        return Page([await casino_hub.find(ctx.tx, ctx.team_id, new.casino)])
    return Page(*await casino_hub.page(ctx.tx, ctx.team_id, limit=new.limit, after=new.after))


@command("casino fill", role=Role.BUYER, render=casino_card, positional=("casino",))
async def fill_casino(ctx: Context, new: OneCasino) -> Casino:
    """Fill what a draft leaves empty with what other teams have reviewed of the brand."""
    _refuse_without_hub(ctx)
    row = await casinos.find(ctx.tx, ctx.team_id, new.casino)
    if row.status == casinos.REVIEWED:
        raise Refused(f"casino: {row.name} is reviewed: what you checked stays as it is", field="casino")
    await casino_hub.fill(ctx.tx, row, await casino_hub.find(ctx.tx, ctx.team_id, row.name), ctx.now)
    after = casinos.entry(await casinos.find(ctx.tx, ctx.team_id, row.code))
    ctx.notes |= {"entity": "casino", "entity_id": row.id, "before": casinos.entry(row), "after": after}
    return after


def _refuse_without_hub(ctx: Context) -> None:
    if not ctx.deployment.casino_hub:
        raise Refused("the casino hub is switched off: the operator sets CASINOFLUX_CASINO_HUB=1", field="command")


async def _changed(ctx: Context, row: Row[Any], values: dict[str, Any]) -> Casino:
    after = await casinos.change(ctx.tx, row.id, values)
    ctx.notes |= {"entity": "casino", "entity_id": row.id, "before": casinos.entry(row), "after": after}
    return after


async def _values(ctx: Context, row: Row[Any], new: _CasinoFields) -> dict[str, Any]:
    plain = ("bonus", "free_spins", "wagering", "payment_methods", "licence")
    values = {field: getattr(new, field) for field in plain if getattr(new, field) is not None}
    values |= {field: None for field in (*plain, "terms_url", "logo") if getattr(new, field) == NONE}
    if new.payment_methods == [NONE]:
        values["payment_methods"] = []
    if new.markets is not None:
        everywhere = [word.lower() for word in new.markets] in (["all"], ["any"])
        values["markets"] = [] if everywhere else [read_market(market, field="markets") for market in new.markets]
    for field in ("terms_url", "logo"):
        if (url := getattr(new, field)) and url != NONE:
            values[field] = _address(url, field=field)
    if new.name and new.name != row.name:
        await names.code_for(ctx.tx, table, ctx.team_id, new.name, entity_id=row.id)
        values["name"] = new.name
    return {**values, **await read_sorting(ctx, new, row)}


def _address(url: str, *, field: str) -> str:
    """A web address fit for a page of ours: browsers must not be made to run anything by it."""
    if field == "logo" and ADDRESS.fullmatch(url):
        return url  # a picture of ours, set back by undo
    return web_address(url, field=field)
