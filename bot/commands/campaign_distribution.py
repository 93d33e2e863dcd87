"""How a campaign's clicks are shared out by what its offers earn: weights over time, why, and what that has won."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Row, select

from bot.commands.campaigns import own_campaign
from bot.core.arguments import Arguments, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.message import Block, Chart, Message, Notice, Series, Table, Text
from bot.render.figures import HOW_SURE, NONE, change, count, how_sure, money, share
from storage.catalogue import distribution
from storage.catalogue.distribution import Evidence, Step
from storage.catalogue.entities import codes
from storage.ledger.distribution.decision import Weights
from storage.ledger.distribution.uplift import OfferOutcome, Uplift, uplift
from storage.ledger.distribution.weights import WHOLE
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.reports.distribution import first_deposits_since
from storage.tables import offers

_POINTS = 60  # of the chart


class DistributionQuery(Arguments):
    campaign: Annotated[str, refers("campaign", "which campaign")]
    segment: Annotated[str, Meta(description="a country or device, where each has weights of its own")] = ""


class OfferShare(msgspec.Struct, frozen=True, kw_only=True):
    """An offer's share of the visitors in per cent, now and by hand, and what the one now was made from. `paused`: it
    gets none of them until it is resumed.

    `earnings` is what a click earns, `spread` its standard deviation, `first_deposit` what an FTD brings in all, in
    micro-units; `arrived` the share of its commission that has come; `best` the probability that it earns most.
    """

    offer: str
    share: float
    by_hand: float
    paused: bool = False
    clicks: int | None = None
    earnings: int | None = None
    spread: int | None = None
    first_deposit: int | None = None
    arrived: float | None = None
    best: float | None = None


class PastShares(msgspec.Struct, frozen=True, kw_only=True):
    """Shares in per cent, by offer, from a moment on; `note` says why they were kept."""

    at: datetime
    shares: dict[str, float]
    begins: bool
    note: str | None


class CampaignDistribution(msgspec.Struct, frozen=True, kw_only=True):
    """How a campaign distributes. `note` says why the shares are not changed now, or what it lacks to be distributed;
    `won` compares with the holdout since `since`, of all visitors also where a segment is asked for. Amounts are
    micro-units of `currency`."""

    campaign: str
    distribute: str
    segment: str
    segments: list[str]
    holdout: float
    floor: float
    most_change: float
    currency: str
    since: datetime | None
    note: str | None
    offers: list[OfferShare]
    steps: list[PastShares]
    won: Uplift | None


def distribution_card(ctx: Context, made: CampaignDistribution) -> Message:
    name = ctx.name("campaign", made.campaign)
    title = f"Distribution of {name}" + (f", {made.segment}" if made.segment else "")
    if made.distribute != distribution.AUTO:
        return Message(f"{title}: off, the offers keep their weights", (Text(_switch_on(made)),))
    blocks: list[Block] = [_table(ctx, made)]
    if made.note:
        blocks.append(Notice("warning", f"The weights stay as they are: {made.note}"))
    won = won_in_words(made.won, holdout=made.holdout, since=made.since, currency=made.currency)
    blocks.append(Notice("info", f"All visitors of the campaign: {won}" if made.segment and made.won else won))
    if chart := _chart(ctx, made):
        blocks.append(chart)
    if made.segments:
        blocks.append(Text(f"With weights of their own: {', '.join(made.segments)}"))
    return Message(title, tuple(blocks))


def _switch_on(made: CampaignDistribution) -> str:
    if made.note:
        return f"It cannot be switched on yet: {made.note}."
    return f"campaign edit {made.campaign} distribute=auto shares its visitors out by what the offers earn."


def _table(ctx: Context, made: CampaignDistribution) -> Table:
    rows = tuple(
        (_name(ctx, offer), f"{offer.share:.1f}%", f"{offer.by_hand:.1f}%", count(offer.clicks),
         _earnings(offer, made.currency), how_sure(offer.earnings, offer.spread),
         money(offer.first_deposit, made.currency),
         share(offer.arrived), share(offer.best))
        for offer in made.offers
    )  # fmt: skip
    columns = ("Offer", "Share now", "By hand", "Clicks", "A click earns", "How sure", "An FTD brings", "Arrived",
               "Earns most")  # fmt: skip
    legend = (
        "A click earns: estimate ± standard deviation, late commission included · Arrived: share of the commission "
        f"that has come · Earns most: the probability, which the share follows within its limits · {HOW_SURE}"
    )
    numeric = tuple(place for place in range(1, 9) if place != 5)
    return Table(columns, rows, numeric=numeric, phone=(0, 1, 4, 5, 8), legend=legend)


def _name(ctx: Context, offer: OfferShare) -> str:
    return ctx.name("offer", offer.offer) + (" (paused)" if offer.paused else "")


def _earnings(offer: OfferShare, currency: str) -> str:
    if offer.earnings is None:
        return NONE
    return f"{money(offer.earnings, currency)} ± {money(offer.spread, currency)}"


def won_in_words(won: Uplift | None, *, holdout: float, since: datetime | None, currency: str) -> str:
    """What was won against a holdout (per cent of the visitors), with its interval."""
    if won is None:
        return "No holdout: what distribution wins is not measured. holdout=10% keeps some visitors to compare with."
    if won.won is None or won.ratio is None or won.ratio_low is None or won.ratio_high is None:
        return f"Against the holdout of {holdout:g} %: not enough yet: {won.lacking}."
    low, high = money(won.won_low, currency), money(won.won_high, currency)
    ratio, least, most = (change(1 + gain, 1) for gain in (won.ratio, won.ratio_low, won.ratio_high))
    return (
        f"Won against the holdout of {holdout:g} % since {since:%d %b}: {money(won.won, currency)} "
        f"({low} … {high}), {ratio} ({least} … {most}), 95 % interval."
    )


def _chart(ctx: Context, made: CampaignDistribution) -> Chart | None:
    """Shares over time: each moment's last known ones."""
    if len(made.steps) < 2:
        return None
    every = max(1, len(made.steps) // _POINTS)
    steps = made.steps[::-1][::every][::-1]
    series = tuple(
        Series(ctx.name("offer", offer.offer), tuple(step.shares.get(offer.offer) for step in steps))
        for offer in made.offers
    )
    return Chart("Share of visitors, per cent", tuple(f"{step.at:%d %b %H:%M}" for step in steps), series, "%")


@command(
    "campaign distribution", role=Role.VIEWER, render=distribution_card, reads=True, positional=("campaign", "segment")
)
async def show_distribution(ctx: Context, new: DistributionQuery) -> CampaignDistribution:
    """Weights that follow what the offers earn: over time, why, and what they won against the holdout."""
    row = await own_campaign(ctx, new.campaign)
    weights = distribution.current(row.distributed)
    segment = next((known for known in weights if known.lower() == new.segment.lower()), None)
    if segment is None and new.segment:
        segments = ", ".join(filter(None, weights)) or "none so far"
        raise Refused(
            f"segment: {new.segment!r} has no weights of its own; those that have: {segments}", field="segment"
        )
    steps = await distribution.steps(ctx.tx, row.id, segment=segment or "", newest=1_000)
    by_hand = await distribution.by_hand(ctx.tx, row.id)
    code_of = await codes(ctx.tx, offers, ctx.team_id)
    of_all = await distribution.steps(ctx.tx, row.id, newest=1_000) if segment else steps
    evidence = _newest(steps)
    paused = set((await ctx.tx.execute(
        select(offers.c.id).where(offers.c.id.in_(by_hand), offers.c.status == "paused")
    )).scalars())  # fmt: skip
    limits = distribution.limits_of(row)
    return CampaignDistribution(
        campaign=row.code, distribute=row.distribute, segment=segment or "", segments=sorted(filter(None, weights)),
        holdout=distribution.holdout_of(row) / 100,
        floor=limits.least(max(len(weights.get("", by_hand)), 1)) / 100, most_change=limits.most_change / 100,
        currency=ctx.deployment.currency, since=row.distributed_since,
        note=_note(ctx, of_all) if row.distribute == distribution.AUTO else distribution.lacking(row, by_hand) or None,
        offers=_shares(code_of, weights.get(segment or "", {}), by_hand, evidence, paused),
        steps=[_past(step, code_of) for step in steps], won=await _uplift(ctx, row, _newest(of_all)),
    )  # fmt: skip


def _note(ctx: Context, steps: Sequence[Step]) -> str | None:
    """Why the shares are not changed now."""
    if steps and steps[-1].at > ctx.now:
        return f"the clock was set back; they are looked at again from {steps[-1].at:%d %b %H:%M} UTC on"
    return steps[-1].note if steps else None


def _newest(steps: Sequence[Step]) -> dict[int, Evidence]:
    """What the last decided shares were made from."""
    return next((step.evidence for step in reversed(steps) if step.evidence), {})


def _shares(
    code_of: dict[int, str], weights: Weights, by_hand: Weights, evidence: dict[int, Evidence], paused: set[int]
) -> list[OfferShare]:
    whole = sum(by_hand.values()) or 1
    shares = []
    for offer_id, weight in by_hand.items():
        known = evidence.get(offer_id)
        shares.append(OfferShare(
            offer=code_of[offer_id], by_hand=100 * weight / whole, paused=offer_id in paused,
            share=weights.get(offer_id, 0) / 100 if weights else 100 * weight / whole,
            clicks=known.clicks if known else None, earnings=round(known.earnings) if known else None,
            spread=round(known.spread) if known else None,
            first_deposit=round(known.first_deposit) if known else None,
            arrived=known.arrived if known else None, best=known.best if known else None,
        ))  # fmt: skip
    return shares


def _past(step: Step, code_of: dict[int, str]) -> PastShares:
    shares = {code_of[offer_id]: weight / 100 for offer_id, weight in step.weights.items() if offer_id in code_of}
    return PastShares(at=step.at, shares=shares, begins=step.begins, note=step.note)


async def _uplift(ctx: Context, row: Row[Any], evidence: dict[int, Evidence]) -> Uplift | None:
    """What was won with all visitors since the comparison began; None without a holdout."""
    holdout = distribution.holdout_of(row)
    if row.distribute != distribution.AUTO or not holdout or row.distributed_since is None:
        return None
    counts = await first_deposits_since(ctx.tx, row, row.distributed_since)
    outcomes = [
        OfferOutcome(
            distributed=sides.distributed, held_out=sides.held_out,
            value=evidence[offer_id].first_deposit if offer_id in evidence else 0.0,
        )
        for offer_id, sides in counts.items()
    ]  # fmt: skip
    return uplift(outcomes, holdout=holdout / WHOLE)
