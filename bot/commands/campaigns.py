"""Campaigns: tie offers, site and source together under one tracking link."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Row, select, update

from bot.core import permissions
from bot.core.arguments import (
    EMPTIES,
    NONE,
    Arguments,
    MissingArgument,
    choices,
    percentage,
    refers,
    weighted_word,
)
from bot.core.command import command
from bot.core.context import Context
from bot.core.limits import limited
from bot.core.listing import Page
from bot.core.message import Button, Buttons, Fields, Message, Notice, Table, Text
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
    render_change,
)
from bot.forms.campaign_costs import cost_fields, keep_costs, read_costs
from bot.forms.campaign_visitors import Visiting, read_visiting, visiting_fields
from bot.forms.entity_list import SortedList, list_message, listed, of_team
from bot.forms.sorting import SortedBy, read_sorting, sorted_by, sorting_fields
from bot.render.figures import plural
from storage.catalogue import campaigns, distribution, names
from storage.catalogue.campaigns import Campaign
from storage.catalogue.groups import ARCHIVED
from storage.clicks.queries import clicks_of_a_week
from storage.ledger.clicks import macros, rotation
from storage.ledger.clicks.compiled_conditions import asked
from storage.ledger.clicks.conditions import PLACES
from storage.ledger.clicks.rotation_rules import MAX_WEIGHT, node_of
from storage.ledger.clicks.rules_in_words import EXAMPLE, in_words
from storage.ledger.distribution.weights import WHOLE
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.tables import campaign_offers, click_rollup, members, offers, sites, sources
from storage.tables import campaigns as table

MAX_OFFERS = 200
MAX_RULES = 200
Offers = Annotated[
    list[str],
    refers("offer", "offers in order, with a weight if you like: lucky-star:3,wild-win:1", changes=False,
           weighted=True, most=MAX_OFFERS),
]  # fmt: skip
Weights = Annotated[
    list[int],
    limited("or the weights by themselves, one for each offer in order: 3,1", items=MAX_OFFERS),
]
Rules = Annotated[
    str | list[Any] | dict[str, Any],
    limited(f"rotation rules, the first that fits decides: {EXAMPLE}; or as JSON", items=MAX_RULES, depth=8),
]
Direct = Annotated[bool, Meta(description="send visitors straight to the offers although there is a site")]
Binding = Annotated[bool, Meta(description="a returning visitor keeps what they saw")]


class Distributing(Visiting):
    """How a campaign's clicks are shared out; also fields of `campaign create` and `campaign edit`."""

    distribute: Annotated[
        str | None, choices("auto: the offers' weights follow what they earn; off: they stay", *distribution.MODES)
    ] = None
    distribute_by: Annotated[
        str | None, choices("with weights of their own for each", *distribution.SEGMENTED_BY), EMPTIES
    ] = None
    floor: Annotated[
        Decimal | None, percentage("least share of each offer, e.g. 5%; none: a twentieth of an equal share"), EMPTIES
    ] = None
    most_change: Annotated[Decimal | None, percentage("most that a share changes an hour; none: 20%"), EMPTIES] = None
    holdout: Annotated[
        Decimal | None, percentage("visitors who go by the offers' own weights, to compare with; none: 10%"), EMPTIES
    ] = None


class NewCampaign(Distributing, kw_only=True):
    name: Annotated[str, Meta(description="what the team calls it")]
    offers: Offers = []
    weights: Weights = []
    site: Annotated[str | None, refers("site", "landing page; its links lead on to the offers", changes=False)] = None
    source: Annotated[str | None, refers("source", "who sends the visitors", changes=False)] = None
    fallback_url: Annotated[str | None, Meta(description="where visitors go when no offer is left")] = None
    rules: Rules = []
    direct: Direct = False
    binding: Binding = True


class CampaignEdit(Distributing, kw_only=True):
    campaign: Annotated[list[str], refers("campaign", "which campaign; several separated by commas", most=MOST)]
    name: str | None = None
    offers: Annotated[Offers | None, EMPTIES] = None
    weights: Weights = []
    site: Annotated[
        str | None, refers("site", "landing page; none: straight to the offers", changes=False), EMPTIES
    ] = None
    source: Annotated[str | None, refers("source", "who sends the visitors, or none", changes=False), EMPTIES] = None
    fallback_url: Annotated[str | None, Meta(description="where visitors go when no offer is left"), EMPTIES] = None
    rules: Annotated[Rules | None, EMPTIES] = None
    direct: Direct | None = None
    binding: Binding | None = None


class OneCampaign(Arguments):
    campaign: Annotated[str, refers("campaign", "which campaign")]


class CampaignChoice(SortedBy):
    campaign: Annotated[list[str], refers("campaign", "which campaign; several separated by commas", most=MOST)] = []
    source: Annotated[list[str], refers("source", "or all of these traffic sources", changes=False, most=MOST)] = []
    site: Annotated[list[str], refers("site", "or all that lead to these sites", changes=False, most=MOST)] = []
    offer: Annotated[list[str], refers("offer", "or all that send to these offers", changes=False, most=MOST)] = []


class CampaignCopy(Arguments):
    campaign: Annotated[str, refers("campaign", "which campaign to copy", changes=False)]
    name: Annotated[str | None, Meta(description="of the copy; default: its name and copy")] = None


class CampaignList(SortedList):
    source: Annotated[list[str], refers("source", "only of these sources", most=MOST)] = []
    status: Annotated[str | None, choices("only these", "active", "paused", ARCHIVED)] = None


class CampaignLink(msgspec.Struct, frozen=True):
    """`url` is the bare tracking link; `template` has the source's own macros filled in, to paste into its panel."""

    campaign: str
    url: str
    template: str


def campaign_card(ctx: Context, campaign: Campaign) -> Message:
    offers_ = ", ".join(ctx.label("offer", word) for word in campaign.offers)
    fields: tuple[tuple[str, str], ...] = (
        ("Tracking link", campaign.url), ("Site", ctx.label("site", campaign.site)),
        ("Source", ctx.label("source", campaign.source)), ("Offers", offers_ or "–"),
        ("Fallback", campaign.fallback_url or "–"),
        *cost_fields(campaign), *visiting_fields(campaign), *sorting_fields(ctx, campaign),
    )  # fmt: skip
    if campaign.distribute == distribution.AUTO:
        now = ", ".join(f"{ctx.name('offer', code)} {share:.0f}%" for code, share in campaign.shares.items())
        fields += (("Weights", f"set by what the offers earn: {now or 'not yet'}"),)
    if campaign.rules:
        fields += (("Rules", in_words(campaign.rules, "\n")),)
    other = opposite("campaign", campaign.status)
    buttons = Buttons((
        Button("Link for the source", f"campaign link {campaign.code}"),
        Button("Stats 7d", f"stats 7d campaign={campaign.code}"),
        Button(other[0], f"{other[1]} {campaign.code}"), Button("Copy", f"campaign copy {campaign.code}"),
        *((Button("Distribution", f"campaign distribution {campaign.code}"),)
          if campaign.distribute == distribution.AUTO else ()),
    ))  # fmt: skip
    nowhere = () if campaign.offers or campaign.site or campaign.fallback_url else (
        Notice("warning", "It leads nowhere yet: add offers, a site or a fallback_url."),
    )  # fmt: skip
    return Message(
        f"Campaign {campaign.name} ({campaign.code}) · {campaign.status}", (Fields(fields), *nowhere, buttons)
    )


def campaign_table(ctx: Context, page: Page[Campaign]) -> Message:
    rows = tuple(
        (c.name, c.code, c.status, ctx.names_of("offer", c.offers) or "–",
         ctx.name("site", c.site), ctx.name("source", c.source))
        for c in page.items
    )  # fmt: skip
    table = Table(("Campaign", "Code", "Status", "Offers", "Site", "Source"), rows, phone=(0, 1, 2))
    return list_message(ctx, "campaign", page, table, add="campaign create name=… offers=…")


def link_card(ctx: Context, link: CampaignLink) -> Message:
    name = ctx.name("campaign", link.campaign)
    return Message(f"Tracking link of {name}", (Text(link.template, code=True),), private=True)


@command(
    "campaign create",
    role=Role.BUYER,
    scope=Scope.OWN,
    render=campaign_card,
    positional=("name",),
    aliases=("campaign add",),
)
async def create_campaign(ctx: Context, new: NewCampaign) -> Campaign:
    """Create a campaign and get its tracking link."""
    weights = await read_weights(ctx, new.offers, new.weights)
    values = {
        "name": new.name, "code": await names.code_for(ctx.tx, table, ctx.team_id, new.name), "status": "active",
        "site_id": await _ref(ctx, sites, new.site, "site"),
        "source_id": await _ref(ctx, sources, new.source, "source"),
        "fallback_url": _fallback(new.fallback_url), **read_costs(ctx, new),
        "rules": await checked_rules(ctx, new.rules), "direct": new.direct, "binding": new.binding,
        **await read_sorting(ctx, new),
    }  # fmt: skip
    values |= _distribution(new) | read_visiting(new, site=values["site_id"] is not None, direct=new.direct)
    made = await campaigns.add(ctx.tx, team_id=ctx.team_id, now=ctx.now, values=values, weights=weights)
    await keep_costs(ctx, made, values)
    await _distribute(ctx, made, new)
    return await _made(ctx, made)


async def _edits(ctx: Context, new: CampaignEdit) -> str | None:
    return await edit_question(ctx, "campaign", new)


@command("campaign edit", role=Role.BUYER, render=render_change("campaign", campaign_card), positional=("campaign",),
         confirm=_edits)  # fmt: skip
async def edit_campaign(ctx: Context, new: CampaignEdit) -> Campaign | BulkChange[Campaign]:
    """Change campaigns; what is not named stays."""
    return await edit_each(ctx, "campaign", new, lambda row: _edited(ctx, row, new), of_one=("name", "weights"))


async def _edited(ctx: Context, row: Row[Any], new: CampaignEdit) -> Campaign:
    before = await _shown(ctx, row)
    values: dict[str, Any] = {
        name: getattr(new, name) for name in ("direct", "binding") if getattr(new, name) is not None
    }
    values |= await read_sorting(ctx, new, row)
    if new.name and new.name != row.name:
        await names.code_for(ctx.tx, table, ctx.team_id, new.name, entity_id=row.id)
        values["name"] = new.name
    if new.site:
        values["site_id"] = await _ref(ctx, sites, new.site, "site")
    if new.source:
        values["source_id"] = await _ref(ctx, sources, new.source, "source")
    if new.fallback_url:
        values["fallback_url"] = None if new.fallback_url == NONE else _fallback(new.fallback_url)
    costs = read_costs(ctx, new, row)
    values |= costs
    if new.rules is not None:
        values["rules"] = await checked_rules(ctx, new.rules)
    values |= _distribution(new) | _visiting(row, new, values)
    chosen = [] if new.offers == [NONE] else new.offers
    if chosen is None and new.weights:
        chosen = [entry.partition(":")[0] for entry in before.offers]
    if chosen is not None:
        weights = await read_weights(ctx, chosen, new.weights)
        await campaigns.set_offers(ctx.tx, team_id=ctx.team_id, campaign_id=row.id, now=ctx.now, weights=weights)
    if values:
        await ctx.tx.execute(update(table).where(table.c.id == row.id).values(**values))
    elif chosen is None:
        raise MissingArgument("nothing to change: name a field, e.g. offers=…", field="campaign")
    await keep_costs(ctx, row.id, costs)
    await _distribute(ctx, row.id, new)
    return await _noted(ctx, row.id, before=before)


@command(
    "campaign list", role=Role.VIEWER, scope=Scope.OWN, render=campaign_table, reads=True, positional=("find",),
    sentence="find", aliases=("campaign find",),
)  # fmt: skip
async def list_campaigns(ctx: Context, new: CampaignList) -> Page[Campaign]:
    """The team's campaigns."""
    query = of_team(ctx, "campaign").where(*await any_of(ctx, table.c.source_id, "source", new.source))
    rows, following = await listed(ctx, "campaign", new, query)
    shown = await campaigns.shown(ctx.tx, ctx.team_id, list(rows), public_url=ctx.deployment.public_url)
    return Page(shown, following)


@command("campaign show", role=Role.VIEWER, render=campaign_card, reads=True, positional=("campaign",))
async def show_campaign(ctx: Context, new: OneCampaign) -> Campaign:
    """One campaign with its link, offers and rules."""
    return await _shown(ctx, await own_campaign(ctx, new.campaign))


async def chosen_campaigns(ctx: Context, new: CampaignChoice, *, archived: bool = False) -> list[Row[Any]]:
    """The campaigns that are named, or that the filters choose: those archived, or those that are not."""
    sending = await any_of(ctx, campaign_offers.c.offer_id, "offer", new.offer)
    where = [
        *await sorted_by(ctx, "campaign", new),
        *await any_of(ctx, table.c.source_id, "source", new.source),
        *await any_of(ctx, table.c.site_id, "site", new.site),
        *(table.c.id.in_(select(campaign_offers.c.campaign_id).where(condition)) for condition in sending),
    ]
    return await chosen(ctx, "campaign", new.campaign, where=where, archived=archived)


async def visitors_lost(ctx: Context, rows: Sequence[Row[Any]]) -> str:
    clicks = await clicks_of_a_week(ctx.tx, ctx.team_id, click_rollup.c.campaign_id, [r.id for r in rows], ctx.today)
    away = sum(row.fallback_url is not None for row in rows)
    others = "; those of the others are still sent on to their site or offers"
    if away == len(rows):
        loss = "visitors go to the fallback address"
    elif away:
        loss = f"visitors of {away:,} go to their fallback address{others}"
    else:
        loss = "without a fallback address visitors are still sent on to the site or offers"
    return f"They got {plural(clicks, 'click')} in the last 7 days: {loss}."


@command(
    "campaign pause",
    role=Role.BUYER,
    scope=Scope.OWN,
    render=render_change("campaign", campaign_card, "paused"),
    positional=("campaign",),
    confirm=asks_status("campaign", chosen_campaigns, "paused", verb="Pauses", loss=visitors_lost),
)
async def pause_campaign(ctx: Context, new: CampaignChoice) -> Campaign | BulkChange[Campaign]:
    """Pause: their visitors go to the fallback URL or the site, and are still counted."""
    return await _set_status(ctx, new, "paused")


@command(
    "campaign resume",
    role=Role.BUYER,
    scope=Scope.OWN,
    render=render_change("campaign", campaign_card, "active"),
    positional=("campaign",),
    confirm=asks_status("campaign", chosen_campaigns, "active", verb="Resumes"),
)
async def resume_campaign(ctx: Context, new: CampaignChoice) -> Campaign | BulkChange[Campaign]:
    """Run paused campaigns again."""
    return await _set_status(ctx, new, "active")


@command("campaign copy", role=Role.BUYER, render=campaign_card, positional=("campaign", "name"))
async def copy_campaign(ctx: Context, new: CampaignCopy) -> Campaign:
    """Make another campaign like one: offers, weights, site, source, cost and rules, with a link of its own."""
    row = await own_campaign(ctx, new.campaign)
    name = new.name or await names.copy_name(ctx.tx, table, ctx.team_id, row.name)
    copied = (
        "site_id", "source_id", "fallback_url", "cost_model", "cost", "currency", "cost_event",
        "country_costs", "budget_day", "budget_total", "rules", "direct", "binding", "group_code", "tags",
        "unique_period", "unique_scope", "smart_rotation", "pacing", "usual_hours",
        "distribute", *distribution.SETTINGS,
    )  # fmt: skip
    values = {column: row._mapping[column] for column in copied}
    values |= {"name": name, "code": await names.code_for(ctx.tx, table, ctx.team_id, name), "status": "active"}
    weights = (await campaigns.offer_weights(ctx.tx, [row.id]))[row.id]
    made = await campaigns.add(ctx.tx, team_id=ctx.team_id, now=ctx.now, values=values, weights=dict(weights))
    await keep_costs(ctx, made, values)
    await _distribute(ctx, made, Distributing(distribute=row.distribute))
    return await _made(ctx, made)


@command("campaign link", role=Role.VIEWER, render=link_card, reads=True, positional=("campaign",))
async def link_campaign(ctx: Context, new: OneCampaign) -> CampaignLink:
    """The tracking link, bare and with the source's macros."""
    row = await own_campaign(ctx, new.campaign)
    url = campaigns.tracking_link(ctx.deployment.public_url, row.code)
    query = ""
    if row.source_id:
        source = await names.by_id(ctx.tx, sources, row.source_id)
        macros = source.options.get("macros", {})
        query = "&".join(f"{source.parameters.get(ours, ours)}={macro}" for ours, macro in macros.items())
    return CampaignLink(row.code, url, f"{url}?{query}" if query else url)


async def own_campaign(ctx: Context, word: str) -> Row[Any]:
    """The campaign of that code, name or id; Forbidden when the actor is limited to others."""
    return await permissions.find(ctx, "campaign", word, field="campaign")


async def _set_status(ctx: Context, new: CampaignChoice, status: str) -> Campaign | BulkChange[Campaign]:
    rows = await chosen_campaigns(ctx, new)
    refuse_archived("campaign", rows)

    async def shown(rows: list[Any]) -> list[Campaign]:
        return await campaigns.shown(ctx.tx, ctx.team_id, rows, public_url=ctx.deployment.public_url)

    return await change_each(
        ctx, "campaign", rows, changing=[row for row in rows if row.status != status], shown=shown,
        change=lambda row: campaigns.set_status(ctx.tx, row, status, ctx.now),
    )  # fmt: skip


async def _shown(ctx: Context, row: Row[Any]) -> Campaign:
    return (await campaigns.shown(ctx.tx, ctx.team_id, [row], public_url=ctx.deployment.public_url))[0]


async def _noted(ctx: Context, campaign_id: int, *, before: Campaign | None = None) -> Campaign:
    campaign = await _shown(ctx, await names.by_id(ctx.tx, table, campaign_id))
    ctx.notes |= {"entity": "campaign", "entity_id": campaign.id, "before": before, "after": campaign}
    return campaign


async def _made(ctx: Context, campaign_id: int) -> Campaign:
    """A new campaign; it is one of its maker's own, if those are limited."""
    campaign = await _noted(ctx, campaign_id)
    if ctx.actor.campaigns is not None and ctx.actor.member_id:
        allowed = [*ctx.actor.campaigns, campaign.code]
        await ctx.tx.execute(update(members).where(members.c.id == ctx.actor.member_id).values(campaigns=allowed))
    return campaign


async def _ref(ctx: Context, other: Any, word: str | None, field: str) -> int | None:
    if not word or word == NONE:
        return None
    return int((await names.find(ctx.tx, other, ctx.team_id, word, field=field)).id)


async def checked_rules(ctx: Context, rules: Any) -> list[Any]:
    """Rules as they are stored; offers by any word for them. Raises Refused at `rules`."""
    if not rules or rules == NONE:
        return []
    mine = select(offers.c.id, offers.c.name, offers.c.code).where(
        offers.c.team_id == ctx.team_id, visible(ctx.actor, "offer")
    )
    rows = list(await ctx.tx.execute(mine.order_by(offers.c.id)))
    by_word = {str(offer.id): offer.code for offer in rows} | {offer.name.lower(): offer.code for offer in rows}
    read = list(rotation.read_rules(rules, by_word | {offer.code: offer.code for offer in rows}))
    if not ctx.deployment.knows_places and any(asked(node_of(rule)).intersection(PLACES) for rule in read):
        raise Refused(
            "rules: cities and regions are not known here: set CASINOFLUX_GEOIP_FILE to a city database (.mmdb)",
            field="rules",
        )
    return read


def _distribution(new: Distributing) -> dict[str, Any]:
    """Columns of what is said of distribution. Raises Refused at the field."""
    if new.distribute is not None and new.distribute not in distribution.MODES:
        raise Refused(f"distribute: one of {', '.join(distribution.MODES)}", field="distribute")
    by = None if new.distribute_by == NONE else new.distribute_by
    if by is not None and by not in distribution.SEGMENTED_BY:
        raise Refused(f"distribute_by: one of {', '.join(distribution.SEGMENTED_BY)}, or none", field="distribute_by")
    if new.holdout is not None and new.holdout > 90:
        raise Refused("holdout: at most 90%, or there is nothing left to distribute", field="holdout")
    if new.most_change is not None and not new.most_change:
        raise Refused("most_change: above 0%; distribute=off keeps the weights as they are", field="most_change")
    shares = {name: getattr(new, name) for name in ("floor", "most_change", "holdout")}
    values: dict[str, Any] = {
        name: None if share < 0 else round(share * 100) for name, share in shares.items() if share is not None
    }
    if new.distribute is not None:
        values["distribute"] = new.distribute
    if new.distribute_by is not None:
        values["distribute_by"] = by
    return values


def _visiting(row: Row[Any], new: CampaignEdit, values: dict[str, Any]) -> dict[str, Any]:
    """Columns of how visitors are known again, as the campaign will be. Raises Refused at the field."""
    site = values.get("site_id", row.site_id) is not None
    direct = bool(values.get("direct", row.direct))
    if row.smart_rotation and new.smart_rotation is None and site and not direct:
        raise Refused("site: its visitors would choose an offer there: direct=true, or smart_rotation=false first",
                      field="site" if new.site else "direct")  # fmt: skip
    visiting = read_visiting(new, site=site, direct=direct)
    if not site and row.unique_scope == "site" and "unique_scope" not in visiting:
        visiting["unique_scope"] = None
    return visiting


async def _distribute(ctx: Context, campaign_id: int, new: Distributing) -> None:
    """Begin, go on or end distributing as the campaign now stands. Raises Refused where it cannot."""
    row = await names.by_id(ctx.tx, table, campaign_id)
    if row.distribute != distribution.AUTO:
        await distribution.end(ctx.tx, row)
        return
    weights = dict((await campaigns.offer_weights(ctx.tx, [row.id]))[row.id])
    taking_part = sum(weight > 0 for weight in weights.values())
    lacking = distribution.lacking(row, weights)
    if lacking and (new.distribute or distribution.is_chosen_on_site(row)):
        raise Refused(f"distribute: {lacking}", field="distribute")
    if row.floor is not None and row.floor * taking_part > WHOLE:
        field = "floor" if new.floor is not None else "offers"
        raise Refused(
            f"{field}: {row.floor / 100:g}% for each of {taking_part} offers is more than there is: floor=…",
            field=field,
        )
    await distribution.begin(ctx.tx, row, ctx.now)


def _fallback(url: str | None) -> str | None:
    if url:
        macros.check_url(url, field="fallback_url")
    return url


async def read_weights(ctx: Context, words: list[str], weights: list[int]) -> dict[int, int]:
    """Weights by offer id, in order: `lucky-star:3,wild-win:1`,
    or `weights` in the order of `words`, as forms have them.

    Raises Refused at `offers` or `weights`.
    """
    if weights and len(weights) != len(words):
        raise Refused(f"weights: {len(weights)} for {len(words)} offers: give one for each, in order", field="weights")
    if any(not 0 <= weight <= MAX_WEIGHT for weight in weights):
        raise Refused(f"weights: a weight is from 0 to {MAX_WEIGHT:,}", field="weights")
    by_offer: dict[int, int] = {}
    for place, word in enumerate(words):
        name, weight = weighted_word(word)
        if weight > MAX_WEIGHT:
            raise Refused(f"offers: a weight is at most {MAX_WEIGHT:,}", field="offers")
        offer = await names.find(ctx.tx, offers, ctx.team_id, name, field="offers")
        if offer.id in by_offer:
            raise Refused(f"offers: {offer.code} is named twice", field="offers")
        by_offer[offer.id] = weights[place] if weights else weight
    if by_offer and not any(by_offer.values()):
        raise Refused("offers: every weight is 0, so no visitor would be sent anywhere", field="offers")
    return by_offer
