"""Variants: try another form of a site on a share of its visitors, see which is better, keep it."""

from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Row

from bot.commands.campaign_distribution import won_in_words
from bot.commands.sites import (
    Headline,
    Intro,
    Theme,
    Which,
    chosen_offers,
    chosen_theme,
    find_site,
    publish_again,
    shown_site,
)
from bot.core.arguments import EMPTIES, Arguments, choices, percentage, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.message import Block, Button, Buttons, Message, Notice, Table, Text
from bot.render.figures import HOW_SURE, NONE, count, how_sure, money, share
from storage.catalogue import distribution, names, sites, variants
from storage.catalogue.sites import Site
from storage.catalogue.variant_distribution import VariantDistribution, begin, of_site, store
from storage.clicks.queries import codec
from storage.ledger.distribution.uplift import Uplift, uplift
from storage.ledger.distribution.weights import WHOLE
from storage.ledger.errors import CasinoFluxError, Refused
from storage.ledger.facts import Role
from storage.ledger.reports.experiment import Standing, compare
from storage.reports.variant_earnings import variant_outcomes
from storage.tables import sites as table

_GOAL_WORDS = {"ctr": "went on to an offer", "registration": "registered", "first_deposit": "deposited"}


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


class Distribute(Arguments):
    site: Which
    mode: Annotated[str, choices("auto: shares follow what visitors earn; off: by weight", *distribution.MODES)] = (
        "auto"
    )
    floor: Annotated[
        Decimal | None, percentage("least share of each variant, e.g. 5%; none: a twentieth of an equal share"), EMPTIES
    ] = None
    holdout: Annotated[
        Decimal | None, percentage("visitors who go by the variants' own weights, to compare with; none: 10%"), EMPTIES
    ] = None


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """How the running variants of a site compare; `winner` is null while it is not enough yet."""

    site: str
    goal: str
    variants: list[Standing]
    winner: str | None
    reason: str
    distribution: "VariantDistributionShown | None" = None


class VariantShare(msgspec.Struct, frozen=True, kw_only=True):
    """A variant's share of the visitors in per cent, now and by hand; what a visitor of it earns with the standard
    deviation, in micro-units; the probability that it earns most."""

    variant: str
    share: float
    by_hand: float
    earnings: int | None = None
    spread: int | None = None
    best: float | None = None


class VariantDistributionShown(msgspec.Struct, frozen=True, kw_only=True):
    """Shares that follow what visitors earn. `note` says why they stay, `won` compares with the holdout."""

    shares: list[VariantShare]
    floor: float
    holdout: float
    currency: str
    since: datetime | None
    note: str | None
    won: Uplift | None


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
        Table(columns, rows, numeric=(1, 2, 3, 4, 5), phone=(0, 1, 2, 3, 4)),
        Notice(level, experiment.reason),
        *(_shares(experiment.distribution) if experiment.distribution else ()),
        *(buttons if experiment.winner else ()),
    )
    return Message(f"Variants of {ctx.name('site', experiment.site)}", blocks)


def _shares(shown: VariantDistributionShown) -> tuple[Block, ...]:
    rows = tuple(
        (variant.variant, f"{variant.share:.0f}%", f"{variant.by_hand:.0f}%",
         NONE if variant.earnings is None
         else f"{money(variant.earnings, shown.currency)} ± {money(variant.spread, shown.currency)}",
         how_sure(variant.earnings, variant.spread), share(variant.best))
        for variant in shown.shares
    )  # fmt: skip
    columns = ("Variant", "Share", "By hand", "A visitor earns", "How sure", "Earns most")
    note = (Notice("info", f"Shares stay as they are: {shown.note}"),) if shown.note else ()
    return Table(columns, rows, numeric=(1, 2, 3, 5), legend=HOW_SURE), *note, Text(won_in_words(
        shown.won, holdout=shown.holdout, since=shown.since, currency=shown.currency
    ))  # fmt: skip


def _line(variant: Standing) -> tuple[str, ...]:
    interval = f"{share(variant.low, 1)} to {share(variant.high, 1)}"
    return (
        variant.code, count(variant.visitors), share(variant.rate, 1), interval, share(variant.best),
        share(variant.expected_loss, 2),
    )  # fmt: skip


def winner_card(_ctx: Context, site: Site) -> Message:
    return Message(f"Site {site.name} ({site.code}) goes on as version {site.version or '–'}", ())


@command("variant add", role=Role.BUYER, render=experiment_card, positional=("site",))
async def add_variant(ctx: Context, new: NewVariant) -> Experiment:
    """Show another theme, order or text to a share of a site's visitors."""
    row = await find_site(ctx, new.site)
    texts = {name: getattr(new, name) for name in ("headline", "intro") if getattr(new, name)}
    order = await chosen_offers(ctx, new.offers) if new.offers else None
    if not (new.theme or texts or order):
        raise Refused("theme: say what is different: theme=…, offers=… or headline=…", field="theme")
    offer_ids = (await sites.offer_ids(ctx.tx, [row.id]))[row.id]
    if strangers := set(order or ()) - set(offer_ids):
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
    return await _compared(ctx, await find_site(ctx, new.site), new.goal)


@command("variant distribute", role=Role.BUYER, render=experiment_card, positional=("site", "mode"))
async def distribute_variants(ctx: Context, new: Distribute) -> Experiment:
    """Have the shares of a site's variants follow what their visitors earn, or end that."""
    row = await find_site(ctx, new.site)
    if new.mode not in distribution.MODES:
        raise Refused(f"mode: one of {', '.join(distribution.MODES)}", field="mode")
    if new.holdout is not None and new.holdout > 90:
        raise Refused("holdout: at most 90%, or there is nothing left to distribute", field="holdout")
    before = of_site(row)
    by_hand = [(variant.code, variant.weight) for variant in await variants.running(ctx.tx, row.id)]
    made = None
    if new.mode == distribution.AUTO:
        if len(by_hand) < 2:
            raise Refused("site: it has one variant only: variant add …", field="site")
        made = _settings(before or VariantDistribution(), new, len(by_hand))
        made = begin(made, by_hand, ctx.now, compare_again=before is None or before.holdout != made.holdout)
    await store(ctx.tx, row.id, made)
    ctx.notes |= {"entity": "site", "entity_id": row.id, "after": {"mode": new.mode}}
    return await _compared(ctx, await names.by_id(ctx.tx, table, row.id), "ctr")


def _settings(before: VariantDistribution, new: Distribute, n: int) -> VariantDistribution:
    """What is said of floor and holdout. Raises Refused."""
    made = before
    if new.floor is not None:
        made = msgspec.structs.replace(made, floor=None if new.floor < 0 else round(new.floor * 100))
    if new.holdout is not None:
        made = msgspec.structs.replace(
            made, holdout=distribution.HOLDOUT if new.holdout < 0 else round(new.holdout * 100)
        )  # fmt: skip
    if made.floor is not None and made.floor * n > WHOLE:
        raise Refused(f"floor: {made.floor / 100:g}% for each of {n} variants is more than there is", field="floor")
    return made


@command("variant drop", role=Role.BUYER, render=experiment_card, positional=("site", "variant"))
async def drop_variant(ctx: Context, new: OneVariant) -> Experiment:
    """Stop showing a variant."""
    row = await find_site(ctx, new.site)
    variant = await variants.find(ctx.tx, row.id, new.variant)
    if variant.code == "a":
        raise Refused("variant: a is the site itself: keep another one instead", field="variant")
    await variants.end(ctx.tx, row.id, ctx.now, code=variant.code)
    ctx.notes |= {"entity": "site", "entity_id": row.id, "before": {"variant": variant.code}}
    return await _compared(ctx, row, "ctr")


@command("variant keep", role=Role.BUYER, render=winner_card, positional=("site", "variant"))
async def keep_variant(ctx: Context, new: OneVariant) -> Site:
    """Make a variant the site itself and end the test."""
    row = await find_site(ctx, new.site)
    before = await shown_site(ctx, row)
    variant = await variants.find(ctx.tx, row.id, new.variant)
    await variants.end(ctx.tx, row.id, ctx.now)
    if variant.code != "a":
        values = {"theme": variant.theme or row.theme, "texts": {**row.texts, **variant.texts}}
        await sites.change(ctx.tx, row.id, values)
    if variant.offers:
        offer_ids = (await sites.offer_ids(ctx.tx, [row.id]))[row.id]
        ordered = [offer for offer in variant.offers if offer in offer_ids]
        await sites.set_offers(ctx.tx, row.id, [*ordered, *(offer for offer in offer_ids if offer not in ordered)])
    if row.status == sites.PUBLISHED:
        await publish_again(ctx, row.id)
    after = await shown_site(ctx, await names.by_id(ctx.tx, table, row.id))
    ctx.notes |= {"entity": "site", "entity_id": row.id, "before": before, "after": after}
    return after


async def _compared(ctx: Context, row: Row[Any], goal: str) -> Experiment:
    verdict = compare(await variants.arms(ctx.tx, row.id, goal=goal))
    return Experiment(
        site=row.code, goal=goal, variants=verdict.standings, winner=verdict.winner, reason=verdict.reason,
        distribution=await _distribution(ctx, row),
    )  # fmt: skip


async def _distribution(ctx: Context, row: Row[Any]) -> VariantDistributionShown | None:
    made = of_site(row)
    if made is None:
        return None
    by_hand = {variant.code: variant.weight for variant in await variants.running(ctx.tx, row.id)}
    whole, shares = sum(by_hand.values()), []
    for code, weight in by_hand.items():
        known = made.evidence.get(code)
        shares.append(VariantShare(
            variant=code, share=made.shares.get(code, 0) / 100, by_hand=100 * weight / whole,
            earnings=round(known.earnings) if known else None, spread=round(known.spread) if known else None,
            best=known.best if known else None,
        ))  # fmt: skip
    return VariantDistributionShown(
        shares=shares, floor=made.limits.least(len(by_hand)) / 100, holdout=made.holdout / 100,
        currency=ctx.deployment.currency, since=made.since, note=made.note, won=await _won(ctx, row, made),
    )  # fmt: skip


async def _won(ctx: Context, row: Row[Any], made: VariantDistribution) -> Uplift | None:
    if not made.holdout or made.since is None:
        return None
    values = {int(offer): value for offer, value in made.values.items()}
    outcomes = []
    with suppress(CasinoFluxError):  # no hub has served a click yet
        outcomes = await variant_outcomes(
            ctx.tx, row, await codec(ctx.tx), holdout=made.holdout, since=made.since, values=values
        )
    return uplift(outcomes, holdout=made.holdout / WHOLE)
