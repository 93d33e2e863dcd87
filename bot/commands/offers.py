"""Offers: record a deal, look at it, change it, pause it, get its links."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import ColumnElement, Row, select, update

from bot.core.arguments import EMPTIES, NONE, Arguments, MissingArgument, MissingFields, choices, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.listing import Page
from bot.core.message import Button, Buttons, Fields, Message, Notice, Table
from bot.core.permissions import Scope, visible
from bot.forms.archiving import opposite, refuse_archived
from bot.forms.bulk_change import (
    MOST,
    BulkChange,
    any_of,
    asks_status,
    change_each,
    chosen,
    edit_each,
    edit_question,
    first_of,
    render_change,
)
from bot.forms.entity_list import SortedList, list_message, listed, of_team
from bot.forms.sorting import SortedBy, Sorting, read_sorting, sorted_by, sorting_fields
from bot.render.figures import plural
from storage.catalogue import casino_hub, casinos, names, offers
from storage.catalogue.entities import codes
from storage.catalogue.groups import ARCHIVED
from storage.catalogue.offers import Offer
from storage.clicks import caps
from storage.clicks.queries import clicks_of_a_week
from storage.ledger.clicks import macros
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.tables import accounts, click_rollup, site_offers, sites
from storage.tables import casinos as casino_table
from storage.tables import offers as table

CAP_EVENTS = ("click", "registration", "first_deposit")
CAP_PERIODS = ("day", "week", "month")
CAP_WORDS = {"click": "click", "registration": "registration", "first_deposit": "FTD"}

CapEvent = Annotated[str, choices("what the cap counts", *CAP_EVENTS)]
CapPeriod = Annotated[str, choices("period of the cap, in the platform's time zone", *CAP_PERIODS)]
Markets = Annotated[list[str], Meta(description="countries it may be shown in, as ISO codes: DE,AT; all for any")]


class NewOffer(Sorting):
    casino: Annotated[str, Meta(description="brand the player sees")]
    account: Annotated[str, refers("account", "platform account the deal is on", changes=False)]
    url: Annotated[str, Meta(description="tracking link; {click_id} marks where our id goes")]
    tag: Annotated[str | None, Meta(description="the platform's campaign, media item or tracking code")] = None
    name: Annotated[str | None, Meta(description="default: casino and tag")] = None
    markets: Markets = []
    cap: Annotated[int | None, Meta(description="most clicks, registrations or FTDs per period")] = None
    cap_event: CapEvent = "first_deposit"
    cap_period: CapPeriod = "day"
    alternative: Annotated[str | None, refers("offer", "where visitors go at the cap", changes=False)] = None
    deal: Annotated[str | None, Meta(description="terms, for the record: CPA 120, 35 % rev share …")] = None
    force: Annotated[bool, Meta(description="accept an untagged offer beside other deals")] = False


class OfferEdit(Sorting):
    offer: Annotated[list[str], refers("offer", "which offer; several separated by commas", most=MOST)]
    name: str | None = None
    url: str | None = None
    tag: str | None = None
    account: Annotated[str | None, refers("account", "platform account the deal is on", changes=False)] = None
    markets: Markets | None = None
    cap: Annotated[int | None, Meta(description="0 removes the cap")] = None
    cap_event: CapEvent | None = None
    cap_period: CapPeriod | None = None
    alternative: Annotated[str | None, refers("offer", "where visitors go at the cap", changes=False), EMPTIES] = None
    deal: Annotated[str | None, Meta(description="terms, for the record"), EMPTIES] = None
    force: bool = False


class OneOffer(Arguments):
    offer: Annotated[str, refers("offer", "which offer")]


class OfferChoice(SortedBy):
    offer: Annotated[list[str], refers("offer", "which offer; several separated by commas", most=MOST)] = []
    account: Annotated[list[str], refers("account", "or all of these platform accounts", changes=False, most=MOST)] = []
    casino: Annotated[list[str], refers("casino", "or all of these brands", changes=False, most=MOST)] = []


class OfferCopy(Arguments):
    offer: Annotated[str, refers("offer", "which offer to copy", changes=False)]
    tag: Annotated[str | None, Meta(description="of the copy's own deal; needed on the same account")] = None
    name: Annotated[str | None, Meta(description="default: casino and tag")] = None
    account: Annotated[str | None, refers("account", "another platform account", changes=False)] = None
    url: Annotated[str | None, Meta(description="tracking link of the copy; default: the same")] = None


class OfferList(SortedList):
    account: Annotated[list[str], refers("account", "only on these accounts", most=MOST)] = []
    casino: Annotated[list[str], refers("casino", "only of these brands", most=MOST)] = []
    status: Annotated[str | None, choices("only these", "active", "paused", ARCHIVED)] = None


class OfferLinks(msgspec.Struct, frozen=True):
    """Where an offer is reached: its own tracking link, and the outgoing link of each site that shows it."""

    offer: str
    url: str
    sites: dict[str, str]


def offer_card(ctx: Context, offer: Offer) -> Message:
    cap = f"{plural(offer.cap, CAP_WORDS[offer.cap_event or 'click'])} a {offer.cap_period}" if offer.cap else "none"
    at_cap = ctx.label("offer", offer.alternative) if offer.alternative else "next offer"
    fields = (
        ("Casino", ctx.label("casino", offer.casino)), ("Account", ctx.label("account", offer.account)),
        ("Tag", offer.tag or "–"), ("Cap", cap), ("At the cap", at_cap),
        ("Markets", ", ".join(offer.markets) or "any"),
        ("Deal", offer.deal or "–"), ("Link", offer.url), *sorting_fields(ctx, offer),
    )  # fmt: skip
    warnings = tuple(Notice("warning", text) for text in offer.warnings)
    label, other = opposite("offer", offer.status)
    buttons = Buttons(
        (
            Button(label, f"{other} {offer.code}"),
            Button("Links", f"offer link {offer.code}"),
            Button("Copy", f"offer copy {offer.code}"),
        )
    )
    return Message(f"Offer {offer.name} ({offer.code}) · {offer.status}", (Fields(fields), *warnings, buttons))


def offer_table(ctx: Context, page: Page[Offer]) -> Message:
    rows = tuple(
        (o.name, o.code, o.status, ctx.name("casino", o.casino), ctx.name("account", o.account), o.tag or "–")
        for o in page.items
    )
    table = Table(("Offer", "Code", "Status", "Casino", "Account", "Tag"), rows, phone=(0, 1, 2))
    return list_message(ctx, "offer", page, table, add="offer add casino=… account=… url=…")


def links_card(ctx: Context, links: OfferLinks) -> Message:
    on_sites = ((f"From site {ctx.name('site', site)}", url) for site, url in links.sites.items())
    fields = (("Tracking link", links.url), *on_sites)
    return Message(f"Links of {ctx.name('offer', links.offer)}", (Fields(fields),), private=True)


@command("offer add", role=Role.BUYER, scope=Scope.OWN, render=offer_card, positional=("casino",))
async def add_offer(ctx: Context, new: NewOffer) -> Offer:
    """Record a deal; its casino entry is created with the first one."""
    account = await names.find(ctx.tx, accounts, ctx.team_id, new.account, field="account")
    warnings = macros.check_url(new.url)
    await _refuse_untagged(ctx, account.id, new.tag, force=new.force)
    casino, drafted = await _casino(ctx, new.casino)
    warnings += drafted
    name = new.name or await names.free_name(
        ctx.tx, table, ctx.team_id, f"{casino.name} {new.tag}" if new.tag else casino.name
    )
    offer_id = await offers.add(ctx.tx, team_id=ctx.team_id, now=ctx.now, values={
        "name": name, "code": await names.code_for(ctx.tx, table, ctx.team_id, name),
        "casino_id": casino.id, "account_id": account.id, "url": new.url, "tag": new.tag,
        "markets": _markets(new.markets), "deal": new.deal, **_cap(new.cap, new.cap_event, new.cap_period),
        "alternative_id": await _alternative(ctx, new.alternative), "status": "active", **await read_sorting(ctx, new),
    })  # fmt: skip
    return await _noted(ctx, offer_id, warnings=warnings)


async def _casino(ctx: Context, name: str) -> tuple[Row[Any], list[str]]:
    """The casino entry of that name, made if there is none, and what to say of a draft filled by the casino hub."""
    if not ctx.deployment.casino_hub:
        return await casinos.ensure(ctx.tx, ctx.team_id, name, ctx.now), []
    casino, filled = await casino_hub.ensure(ctx.tx, ctx.team_id, name, ctx.now)
    facts = ", ".join(column.replace("_url", "").replace("_", " ") for column in filled)
    check = (
        f"{casino.name} begins with what other teams have reviewed ({facts}): check it with casino show {casino.code}"
    )
    return casino, [check] if filled else []


async def _redirects_changed(ctx: Context, new: OfferEdit) -> str | None:
    """Asked before several offers change, or the URL of one while campaigns or published sites send visitors to it."""
    if (question := await edit_question(ctx, "offer", new)) is not None:
        return question
    offer = (await chosen(ctx, "offer", new.offer))[0]
    if not new.url or new.url == offer.url:
        return None
    macros.check_url(new.url)
    named = await offers.sending(ctx.tx, offer)
    if not named:
        return None
    return f"Visitors of {first_of(named)} go to the new address at once instead of {offer.url}."


@command("offer edit", role=Role.BUYER, render=render_change("offer", offer_card), positional=("offer",),
         confirm=_redirects_changed)  # fmt: skip
async def edit_offer(ctx: Context, new: OfferEdit) -> Offer | BulkChange[Offer]:
    """Change offers; what is not named stays."""
    return await edit_each(ctx, "offer", new, lambda row: _edited(ctx, row, new), of_one=("name", "tag", "url"))


async def _edited(ctx: Context, offer: Row[Any], new: OfferEdit) -> Offer:
    values = await read_sorting(ctx, new, offer)
    if new.deal is not None:
        values["deal"] = None if new.deal == NONE else new.deal
    warnings = macros.check_url(new.url) if new.url else []
    if new.url:
        values["url"] = new.url
    if new.name and new.name != offer.name:
        await names.code_for(ctx.tx, table, ctx.team_id, new.name, entity_id=offer.id)
        values["name"] = new.name
    if new.account:
        values["account_id"] = (await names.find(ctx.tx, accounts, ctx.team_id, new.account, field="account")).id
    if new.tag is not None:
        values["tag"] = new.tag
        await _refuse_untagged(ctx, offer.account_id, new.tag, force=new.force, but=offer.id)
    if new.markets is not None:
        values["markets"] = _markets(new.markets)
    if new.cap is not None or new.cap_event or new.cap_period:
        values |= _cap(
            offer.cap if new.cap is None else new.cap or None,
            new.cap_event or offer.cap_event or "first_deposit",
            new.cap_period or offer.cap_period or "day",
        )
    if new.alternative:
        values["alternative_id"] = await _alternative(ctx, new.alternative, but=offer)
    if not values:
        raise MissingArgument("nothing to change: name a field, e.g. tag=…", field="offer")
    await offers.change(ctx.tx, offer, values)
    if values.keys() & {"cap", "account_id"}:
        await caps.recount(ctx.tx, offer.id, ctx.now, ctx.deployment.zone)
    return await _noted(ctx, offer.id, before=(await offers.shown(ctx.tx, ctx.team_id, [offer]))[0], warnings=warnings)


@command(
    "offer list", role=Role.VIEWER, scope=Scope.OWN, render=offer_table, reads=True, positional=("find",),
    sentence="find", aliases=("offer find",),
)  # fmt: skip
async def list_offers(ctx: Context, new: OfferList) -> Page[Offer]:
    """The team's offers."""
    query = of_team(ctx, "offer").where(*await _on(ctx, new))
    rows, following = await listed(ctx, "offer", new, query)
    return Page(await offers.shown(ctx.tx, ctx.team_id, list(rows)), following)


@command("offer show", role=Role.VIEWER, render=offer_card, reads=True, positional=("offer",))
async def show_offer(ctx: Context, new: OneOffer) -> Offer:
    """One offer, with what is risky about it."""
    return (await offers.shown(ctx.tx, ctx.team_id, [await _offer(ctx, new.offer)]))[0]


async def chosen_offers(ctx: Context, new: OfferChoice, *, archived: bool = False) -> list[Row[Any]]:
    """The offers that are named, or that the filters choose: those archived, or those that are not."""
    where = [*await sorted_by(ctx, "offer", new), *await _on(ctx, new)]
    return await chosen(ctx, "offer", new.offer, where=where, archived=archived)


async def visitors_lost(ctx: Context, rows: Sequence[Row[Any]]) -> str:
    senders = dict.fromkeys([name for row in rows for name in await offers.sending(ctx.tx, row)])
    clicks = await clicks_of_a_week(ctx.tx, ctx.team_id, click_rollup.c.offer_id, [r.id for r in rows], ctx.today)
    sent = (
        f"visitors of {first_of(list(senders))} get other offers, or none"
        if senders
        else "nothing sends visitors there"
    )
    return f"They got {plural(clicks, 'click')} in the last 7 days: {sent}."


@command(
    "offer pause",
    role=Role.BUYER,
    scope=Scope.OWN,
    render=render_change("offer", offer_card, "paused"),
    positional=("offer",),
    confirm=asks_status("offer", chosen_offers, "paused", verb="Pauses", loss=visitors_lost),
)
async def pause_offer(ctx: Context, new: OfferChoice) -> Offer | BulkChange[Offer]:
    """Send no more visitors to offers; they go on to the next one."""
    return await _set_status(ctx, new, "paused")


@command(
    "offer resume",
    role=Role.BUYER,
    scope=Scope.OWN,
    render=render_change("offer", offer_card, "active"),
    positional=("offer",),
    confirm=asks_status("offer", chosen_offers, "active", verb="Resumes"),
)
async def resume_offer(ctx: Context, new: OfferChoice) -> Offer | BulkChange[Offer]:
    """Send visitors to paused offers again."""
    return await _set_status(ctx, new, "active")


@command("offer copy", role=Role.BUYER, render=offer_card, positional=("offer", "tag"))
async def copy_offer(ctx: Context, new: OfferCopy) -> Offer:
    """Record another deal like one: casino, link, markets, cap and terms, with a tag of its own."""
    offer = await _offer(ctx, new.offer)
    account_id = offer.account_id
    if new.account:
        account_id = (await names.find(ctx.tx, accounts, ctx.team_id, new.account, field="account")).id
    tag = new.tag or (offer.tag if account_id != offer.account_id else None)
    if not tag and account_id == offer.account_id:
        raise MissingFields(["tag"], {"tag": "of the copy's own deal: one tag is one deal"})
    warnings = macros.check_url(new.url) if new.url else []
    casino = await names.by_id(ctx.tx, casino_table, offer.casino_id)
    default = names.free_name(ctx.tx, table, ctx.team_id, f"{casino.name} {tag}")
    name = new.name or await (default if tag else names.copy_name(ctx.tx, table, ctx.team_id, offer.name))
    copied = (
        "casino_id", "markets", "deal", "cap", "cap_event", "cap_period", "alternative_id", "group_code", "tags",
    )  # fmt: skip
    made = await offers.add(ctx.tx, team_id=ctx.team_id, now=ctx.now, values={
        **{column: offer._mapping[column] for column in copied}, "name": name, "account_id": account_id, "tag": tag,
        "code": await names.code_for(ctx.tx, table, ctx.team_id, name), "url": new.url or offer.url, "status": "active",
    })  # fmt: skip
    return await _noted(ctx, made, warnings=warnings)


@command("offer link", role=Role.VIEWER, render=links_card, reads=True, positional=("offer",))
async def link_offer(ctx: Context, new: OneOffer) -> OfferLinks:
    """The offer's links: the platform's own, and those from our sites."""
    offer = await _offer(ctx, new.offer)
    shown_on = select(site_offers.c.site_id).join(sites, sites.c.id == site_offers.c.site_id)
    shown_on = shown_on.where(site_offers.c.offer_id == offer.id, visible(ctx.actor, "site"))
    site_codes = await codes(ctx.tx, sites, ctx.team_id)
    on = [site_codes[site_id] for site_id in (await ctx.tx.execute(shown_on)).scalars()]
    links = {site: f"{ctx.deployment.public_url}/go/{site}/{offer.code}" for site in sorted(on)}
    return OfferLinks(offer.code, offer.url, links)


async def _offer(ctx: Context, word: str) -> Row[Any]:
    return await names.find(ctx.tx, table, ctx.team_id, word, field="offer")


async def _on(ctx: Context, new: OfferChoice | OfferList) -> list[ColumnElement[bool]]:
    """The conditions of the accounts and brands that are named."""
    return [
        *await any_of(ctx, table.c.account_id, "account", new.account),
        *await any_of(ctx, table.c.casino_id, "casino", new.casino),
    ]


async def _set_status(ctx: Context, new: OfferChoice, status: str) -> Offer | BulkChange[Offer]:
    rows = await chosen_offers(ctx, new)
    refuse_archived("offer", rows)
    return await change_each(
        ctx, "offer", rows, changing=[row for row in rows if row.status != status],
        shown=lambda rows: offers.shown(ctx.tx, ctx.team_id, rows),
        change=lambda row: ctx.tx.execute(update(table).where(table.c.id == row.id).values(status=status)),
    )  # fmt: skip


async def _noted(
    ctx: Context, offer_id: int, *, before: Offer | None = None, warnings: list[str] | None = None
) -> Offer:
    row = await names.by_id(ctx.tx, table, offer_id)
    offer = (await offers.shown(ctx.tx, ctx.team_id, [row]))[0]
    offer = msgspec.structs.replace(offer, warnings=[*(warnings or []), *offer.warnings])
    ctx.notes |= {"entity": "offer", "entity_id": offer.id, "before": before, "after": offer}
    return offer


async def _refuse_untagged(ctx: Context, account_id: int, tag: str | None, *, force: bool, but: int = 0) -> None:
    if offers.tag_key(tag) or force:
        return
    others = [sibling.code for sibling in await offers.siblings(ctx.tx, account_id, but=but)]
    segments = await offers.segments(ctx.tx, account_id)
    if others or len(segments) > 1:
        named = ", ".join((segments or others)[:5])
        raise Refused(
            f"tag is missing, and the account has several segments ({named}): an untagged offer would pull in other "
            "deals' numbers. Name the tag, or say force=true",
            field="tag",
        )


async def _alternative(ctx: Context, word: str | None, but: Row[Any] | None = None) -> int | None:
    if not word or word == NONE:
        return None
    alternative = await names.find(ctx.tx, table, ctx.team_id, word, field="alternative")
    if but is not None and alternative.id == but.id:
        raise Refused("alternative: an offer cannot be its own alternative", field="alternative")
    return int(alternative.id)


def _cap(cap: int | None, event: str, period: str) -> dict[str, Any]:
    if cap is not None and cap < 0:
        raise Refused("cap: a whole number above 0", field="cap")
    if event not in CAP_EVENTS:
        raise Refused(f"cap_event: one of {', '.join(CAP_EVENTS)}", field="cap_event")
    if period not in CAP_PERIODS:
        raise Refused(f"cap_period: one of {', '.join(CAP_PERIODS)}", field="cap_period")
    return {"cap": cap, "cap_event": event, "cap_period": period} if cap else {
        "cap": None, "cap_event": None, "cap_period": None,
    }  # fmt: skip


def _markets(markets: list[str]) -> list[str]:
    if [market.lower() for market in markets] in (["all"], ["any"]):
        return []
    wrong = [market for market in markets if len(market) != 2 or not market.isalpha()]
    if wrong:
        raise Refused(f"markets: {wrong[0]!r} is not a two-letter country code such as DE", field="markets")
    return [market.upper() for market in markets]
