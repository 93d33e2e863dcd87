"""Variants: try another form of a site on a share of its visitors, see which is better, keep it."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Row

from bot.commands.sites import Headline, Intro, Theme, chosen_offers, chosen_theme, publish_again, shown_site
from bot.core.arguments import Arguments, choices, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.message import Button, Buttons, Message, Notice, Table
from storage.catalogue import names, sites, variants
from storage.catalogue.sites import Site
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.ledger.reports.experiment import Standing, compare
from storage.tables import sites as table

_GOAL_WORDS = {"ctr": "went on to an offer", "registration": "registered", "first_deposit": "deposited"}

Which = Annotated[str, refers("site", "which site")]


class NewVariant(Arguments):
    site: Which
    theme: Theme | None = None
    offers: Annotated[
        list[str] | None, refers("offer", "another order; offers not named follow", changes=False, most=100)
    ] = None
    headline: Headline = None
    intro: Intro = None
    weight: Annotated[int, Meta(description="share against the site's own 1", ge=1, le=100)] = 1


class OneVariant(Arguments):
    site: Which
    variant: Annotated[str, Meta(description="its letter: a is the site as it is")]


class ExperimentQuery(Arguments):
    site: Annotated[str, refers("site", "which site", changes=True)]  # its variants are compared over all visitors
    goal: Annotated[str, choices("what counts as success", *variants.GOALS)] = "ctr"


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """How the running variants of a site compare; `winner` is null while it is not enough yet."""

    site: str
    goal: str
    variants: list[Standing]
    winner: str | None
    reason: str


def experiment_card(ctx: Context, experiment: Experiment) -> Message:
    rows = tuple(_line(variant) for variant in experiment.variants)
    columns = ("Variant", "Visitors", _GOAL_WORDS[experiment.goal], "95 % interval", "Best", "Expected loss")
    level: Any = "ok" if experiment.winner else "info"
    buttons = (
        Buttons(
            (
                Button(
                    f"Keep {experiment.winner}", f"variant keep {experiment.site} {experiment.winner}", style="primary"
                ),
            )
        ),
    )
    blocks = (
        Table(columns, rows, numeric=(1, 2, 3, 4, 5)),
        Notice(level, experiment.reason),
        *(buttons if experiment.winner else ()),
    )
    return Message(f"Variants of {ctx.name('site', experiment.site)}", blocks)


def _line(variant: Standing) -> tuple[str, ...]:
    rate = "–" if variant.rate is None else f"{variant.rate:.1%}"
    interval = f"{variant.low:.1%} to {variant.high:.1%}"
    return variant.code, str(variant.visitors), rate, interval, f"{variant.best:.0%}", f"{variant.expected_loss:.2%}"


def winner_card(_ctx: Context, site: Site) -> Message:
    return Message(f"Site {site.name} ({site.code}) goes on as version {site.version or '–'}", ())


@command("variant add", role=Role.BUYER, render=experiment_card, positional=("site",))
async def add_variant(ctx: Context, new: NewVariant) -> Experiment:
    """Show another theme, order or text to a share of a site's visitors."""
    row = await _site(ctx, new.site)
    texts = {name: getattr(new, name) for name in ("headline", "intro") if getattr(new, name)}
    order = await chosen_offers(ctx, new.offers) if new.offers else None
    if not (new.theme or texts or order):
        raise Refused("theme: say what is different: theme=…, offers=… or headline=…", field="theme")
    mine = (await sites.offer_ids(ctx.tx, [row.id]))[row.id]
    if strangers := set(order or ()) - set(mine):
        raise Refused(
            f"offers: {len(strangers)} of them are not on the site: site edit {row.code} offers=…", field="offers"
        )
    theme = chosen_theme(new.theme) if new.theme else None
    values = {"theme": theme, "texts": texts, "offers": order, "weight": new.weight}
    code = await variants.add(ctx.tx, team_id=ctx.team_id, site_id=row.id, now=ctx.now, values=values)
    ctx.notes |= {"entity": "site", "entity_id": row.id, "after": {"variant": code, **values}}
    return await _compared(ctx, row, "ctr")


@command("variant list", role=Role.VIEWER, render=experiment_card, reads=True, positional=("site",))
async def list_variants(ctx: Context, new: ExperimentQuery) -> Experiment:
    """How the variants of a site compare, and whether that can be said yet."""
    if new.goal not in variants.GOALS:
        raise Refused(f"goal: one of {', '.join(variants.GOALS)}", field="goal")
    return await _compared(ctx, await _site(ctx, new.site), new.goal)


@command("variant drop", role=Role.BUYER, render=experiment_card, positional=("site", "variant"))
async def drop_variant(ctx: Context, new: OneVariant) -> Experiment:
    """Stop showing a variant."""
    row = await _site(ctx, new.site)
    variant = await variants.find(ctx.tx, row.id, new.variant)
    if variant.code == "a":
        raise Refused("variant: a is the site itself: keep another one instead", field="variant")
    await variants.end(ctx.tx, row.id, ctx.now, code=variant.code)
    ctx.notes |= {"entity": "site", "entity_id": row.id, "before": {"variant": variant.code}}
    return await _compared(ctx, row, "ctr")


@command("variant keep", role=Role.BUYER, render=winner_card, positional=("site", "variant"))
async def keep_variant(ctx: Context, new: OneVariant) -> Site:
    """Make a variant the site itself and end the test."""
    row = await _site(ctx, new.site)
    before = await shown_site(ctx, row)
    variant = await variants.find(ctx.tx, row.id, new.variant)
    await variants.end(ctx.tx, row.id, ctx.now)
    if variant.code != "a":
        values = {"theme": variant.theme or row.theme, "texts": {**row.texts, **variant.texts}}
        await sites.change(ctx.tx, row.id, values)
    if variant.offers:
        mine = (await sites.offer_ids(ctx.tx, [row.id]))[row.id]
        ordered = [offer for offer in variant.offers if offer in mine]
        await sites.set_offers(ctx.tx, row.id, [*ordered, *(offer for offer in mine if offer not in ordered)])
    if row.status == sites.PUBLISHED:
        await publish_again(ctx, row.id)
    after = await shown_site(ctx, await names.by_id(ctx.tx, table, row.id))
    ctx.notes |= {"entity": "site", "entity_id": row.id, "before": before, "after": after}
    return after


async def _compared(ctx: Context, row: Row[Any], goal: str) -> Experiment:
    verdict = compare(await variants.arms(ctx.tx, row.id, goal=goal))
    return Experiment(
        site=row.code, goal=goal, variants=verdict.standings, winner=verdict.winner, reason=verdict.reason
    )


async def _site(ctx: Context, word: str) -> Row[Any]:
    return await names.find(ctx.tx, table, ctx.team_id, word, field="site")
