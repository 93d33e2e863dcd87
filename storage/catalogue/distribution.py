"""Campaigns whose offers' weights are set by what the offers earn: settings, current weights, and each past step."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db import config_version
from storage.ledger.clicks.rotation import Share
from storage.ledger.distribution.decision import Weights
from storage.ledger.distribution.weights import Limits, start
from storage.tables import campaign_offers, campaigns, distribution_steps, offers

AUTO, OFF = "auto", "off"
MODES = (AUTO, OFF)
SEGMENTED_BY = ("country", "device")
SETTINGS = ("distribute_by", "floor", "most_change", "holdout")  # columns of a campaign
RETENTION = timedelta(days=90)  # steps of a campaign
HOLDOUT = 1_000  # in hundredths of a per cent, where nothing else is said
_HOUR = timedelta(hours=1)


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What an offer's weight was made from: earnings per click with their standard deviation, what an FTD brings in
    all (micro-units of the reporting currency), the share of its commission that has come, how likely it earns most."""

    clicks: int
    earnings: float
    spread: float
    first_deposit: float
    arrived: float
    best: float


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Weights from a moment on. `note` says why they stayed, `begins` that a person's change set them."""

    at: datetime
    segment: str
    begins: bool
    weights: Weights
    evidence: dict[int, Evidence]
    note: str | None


def limits_of(campaign: Row[Any]) -> Limits:
    """The campaign's own limits, and the default where it has none."""
    most_change = Limits().most_change if campaign.most_change is None else campaign.most_change
    return Limits(floor=campaign.floor, most_change=most_change)


def holdout_of(campaign: Row[Any]) -> int:
    """Visitors held out, in hundredths of a per cent."""
    return HOLDOUT if campaign.holdout is None else int(campaign.holdout)


def is_chosen_on_site(campaign: Row[Any]) -> bool:
    """Whether the campaign's visitors choose an offer on its site, so that nothing is shared out."""
    return campaign.site_id is not None and not campaign.direct


def lacking(campaign: Row[Any], weights: Mapping[int, int]) -> str:
    """What a campaign with these offers lacks to be distributed, in words; empty if nothing."""
    if is_chosen_on_site(campaign):
        return "its visitors choose an offer on the site: set direct=true first"
    several = sum(weight > 0 for weight in weights.values()) > 1
    return "" if several else "name at least two offers with a weight above 0"


def current(distributed: Any) -> dict[str, Weights]:
    """Weights by segment, from the campaign's column."""
    return {
        segment: {int(offer): int(weight) for offer, weight in weights.items()}
        for segment, weights in (distributed or {}).items()
    }


def shares_in_force(
    campaign: Row[Any], by_hand: Sequence[Share], *, paused: Callable[[int], bool]
) -> dict[str, tuple[Share, ...]]:
    """The shares that visitors are sent by, by segment; empty where the weights are those set by hand.

    An offer that was resumed a moment ago has no weight yet: it gets the floor's.
    """
    if campaign.distribute != AUTO:
        return {}
    floor = limits_of(campaign).least(len(by_hand))
    in_force = {}
    for segment, weights in current(campaign.distributed).items():
        shares = tuple(
            Share(
                share.offer_id, weights.get(share.offer_id, 0 if paused(share.offer_id) or not share.weight else floor)
            )
            for share in by_hand
        )
        if any(share.weight for share in shares):
            in_force[segment] = shares
    return in_force


async def running(tx: AsyncConnection) -> list[Row[Any]]:
    """Active campaigns of all teams whose weights are set by earnings."""
    c = campaigns.c
    return list(await tx.execute(
        select(campaigns).where(c.distribute == AUTO, c.status == "active").order_by(c.team_id, c.id)
    ))  # fmt: skip


async def members(tx: AsyncConnection, campaign_ids: Sequence[int]) -> dict[int, Weights]:
    """Each campaign's offers that take part, with the weights set by hand: active ones, of a weight above 0."""
    m = campaign_offers.c
    query = (
        select(m.campaign_id, m.offer_id, m.weight)
        .join_from(campaign_offers, offers, m.offer_id == offers.c.id)
        .where(m.campaign_id.in_(campaign_ids), m.weight > 0, offers.c.status == "active")
        .order_by(m.campaign_id, m.position)
    )
    taking_part: dict[int, Weights] = {campaign_id: {} for campaign_id in campaign_ids}
    for campaign_id, offer_id, weight in await tx.execute(query):
        taking_part[campaign_id][offer_id] = weight
    return taking_part


async def begin(tx: AsyncConnection, campaign: Row[Any], now: datetime, *, clicks: Mapping[int, int] = {}) -> None:
    """Set weights to begin with after a person's change: those that were, or those set by hand, within the limits.

    `clicks` are those an offer has had in the campaign: one with few is new. The comparison with the holdout begins
    again where its share or the weights set by hand have changed.
    """
    offer_ids = (await members(tx, [campaign.id]))[campaign.id]
    before = current(campaign.distributed)
    segments = {"", *before} if campaign.distribute_by else {""}
    weights = {
        segment: _beginning(offer_ids, before.get(segment, {}), limits_of(campaign), clicks)
        for segment in (segments if offer_ids else ())
    }
    s = distribution_steps.c
    await tx.execute(
        delete(distribution_steps).where(s.campaign_id == campaign.id, s.at > now)
    )  # the clock was set back
    for segment, made in weights.items():
        await _store(tx, campaign, Step(at=now, segment=segment, begins=True, weights=made, evidence={}, note=None))
    values: dict[str, Any] = {"distributed": _plain(weights)}
    compared = {
        "holdout": holdout_of(campaign),
        "weights": [list(pair) for pair in sorted((await by_hand(tx, campaign.id)).items())],
    }
    if campaign.distributed_since is None or compared != campaign.compared:
        values |= {"distributed_since": now, "compared": compared}
    await tx.execute(update(campaigns).where(campaigns.c.id == campaign.id).values(values))


async def end(tx: AsyncConnection, campaign: Row[Any]) -> None:
    """Go back to the weights set by hand; the steps stay to be looked at."""
    if campaign.distributed is not None:
        values = {"distributed": None, "distributed_since": None, "compared": None}
        await tx.execute(update(campaigns).where(campaigns.c.id == campaign.id).values(values))


async def by_hand(tx: AsyncConnection, campaign_id: int) -> Weights:
    """The weights that people set, in the campaign's order."""
    m = campaign_offers.c
    query = select(m.offer_id, m.weight).where(m.campaign_id == campaign_id).order_by(m.position)
    return {row.offer_id: row.weight for row in await tx.execute(query)}


def _beginning(mine: Weights, before: Weights, limits: Limits, clicks: Mapping[int, int]) -> Weights:
    known = sum(before.get(offer, 0) for offer in mine)
    weights = [before.get(offer, 0) for offer in mine] if known else list(mine.values())
    seen = [max(clicks.get(offer, 0), limits.warm_up if before.get(offer) or not known else 0) for offer in mine]
    return dict(zip(mine, start(weights, limits, clicks=seen), strict=True))


def _plain(weights: Mapping[str, Weights]) -> dict[str, dict[str, int]]:
    return {
        segment: {str(offer): weight for offer, weight in by_offer.items()} for segment, by_offer in weights.items()
    }


async def record(tx: AsyncConnection, campaign: Row[Any], steps: Sequence[Step]) -> None:
    """Store steps of one moment; weights that changed are in force from now on."""
    for step in steps:
        await _store(tx, campaign, step)
    before = current(campaign.distributed)
    after = {**before, **{step.segment: step.weights for step in steps}}
    if after != before:
        await tx.execute(update(campaigns).where(campaigns.c.id == campaign.id).values(distributed=_plain(after)))
        await config_version.bump(tx)


async def _store(tx: AsyncConnection, campaign: Row[Any], step: Step) -> None:
    await tx.execute(insert(distribution_steps).values(
        team_id=campaign.team_id, campaign_id=campaign.id, at=step.at, segment=step.segment, begins=step.begins,
        weights={str(offer): weight for offer, weight in step.weights.items()},
        evidence={str(offer): msgspec.to_builtins(evidence) for offer, evidence in step.evidence.items()},
        note=step.note,
    ))  # fmt: skip


async def steps(tx: AsyncConnection, campaign_id: int, *, segment: str = "", newest: int | None = None) -> list[Step]:
    """The campaign's steps, oldest first; only so many of the newest."""
    s = distribution_steps.c
    mine = select(distribution_steps).where(s.campaign_id == campaign_id, s.segment == segment)
    rows = await tx.execute(mine.order_by(s.at.desc(), s.id.desc()).limit(newest))
    return [
        Step(
            at=row.at, segment=row.segment, begins=row.begins, note=row.note,
            weights={int(offer): weight for offer, weight in row.weights.items()},
            evidence=msgspec.convert(row.evidence, dict[int, Evidence], strict=False),
        )
        for row in reversed(list(rows))
    ]  # fmt: skip


def of_last_hour(past: Sequence[Step], now: datetime) -> list[Step]:
    """The steps that were in force at some moment of the last hour, since the last change by a person."""
    recent: list[Step] = []
    for step in reversed(past):
        recent.append(step)
        if step.begins or step.at <= now - _HOUR:
            break
    return recent


async def forget(tx: AsyncConnection, now: datetime) -> None:
    """Remove steps that are too old to be shown."""
    await tx.execute(delete(distribution_steps).where(distribution_steps.c.at < now - RETENTION))
