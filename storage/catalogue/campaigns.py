"""Campaigns: what a tracking link leads to, and since when."""

from collections.abc import Collection, Iterable
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue import distribution
from storage.catalogue.entities import codes
from storage.catalogue.groups import Sorted, sorting_of, status_of
from storage.db import touch_marks
from storage.ledger.cost_models import MERGED, CostRule
from storage.ledger.money import units
from storage.ledger.schedule import minutes_text
from storage.tables import campaign_costs, campaign_offer_spans, campaign_offers, campaigns, offers, sites, sources


class Campaign(Sorted, frozen=True, kw_only=True):
    """A campaign as every face shows it. `cost` is the price of `cost_model` in micro-units (of a rev share per
    cent in millionths), budgets are in micro-units, `url` is the tracking link.

    `floor`, `most_change` and `holdout` are null where the default holds.
    """

    id: int
    name: str
    code: str
    url: str
    site: str | None
    source: str | None
    offers: list[str]  # code:weight
    fallback_url: str | None
    cost_model: str
    cost: int | None
    currency: str | None
    cost_event: str | None
    country_costs: list[str]  # code:price in whole units
    budget_day: int | None
    budget_total: int | None
    rules: list[Any]
    binding: bool
    direct: bool
    status: str
    unique_period: str | None = None  # 12h, 30d: how long a visitor counts as the same; null: a day
    unique_scope: str | None = None  # site, team; null: the campaign
    smart_rotation: bool = False  # returning visitors go on to offers they have not seen
    pacing: str | None = None  # even, usual
    distribute: str  # off, or auto: the offers' weights are set by what they earn
    distribute_by: str | None = None
    floor: float | None = None  # per cent, as are the next two
    most_change: float | None = None  # an hour
    holdout: float | None = None
    shares: dict[str, float] = {}  # per cent of the visitors that each offer gets now, where earnings decide


async def add(
    tx: AsyncConnection, *, team_id: int, now: datetime, values: dict[str, Any], weights: dict[int, int]
) -> int:
    """Store a campaign with its offers in order; returns its id."""
    made = await tx.execute(
        insert(campaigns).values(team_id=team_id, created_at=now, **values).returning(campaigns.c.id)
    )
    campaign_id = int(made.scalar_one())
    await _add_offers(tx, campaign_id, weights)
    await _begin_spans(tx, team_id, campaign_id, weights, now)
    await touch_marks.touch_campaign(tx, team_id, values["code"], now)
    return campaign_id


async def record_costs(
    tx: AsyncConnection, team_id: int, campaign_id: int, today: date, values: dict[str, Any]
) -> None:
    """Keep what a campaign's traffic costs from a report day on; earlier days keep what they cost."""
    row = {
        "model": values["cost_model"], "cost": values["cost"], "currency": values["currency"],
        "event": values["cost_event"], "country_costs": values["country_costs"],
    }  # fmt: skip
    statement = upsert(campaign_costs).values(campaign_id=campaign_id, since=today, **row)
    await tx.execute(statement.on_conflict_do_update(index_elements=["campaign_id", "since"], set_=row))
    await touch_marks.touch(tx, team_id, [today])


async def costs_on(tx: AsyncConnection, team_id: int, days: Collection[date]) -> dict[date, dict[int, CostRule]]:
    """What campaigns' traffic cost on report days, of those whose spend is worked out when the day is merged."""
    c = campaign_costs.c
    query = select(campaign_costs).join(campaigns, campaigns.c.id == c.campaign_id)
    mine = campaigns.c.team_id == team_id, c.since <= max(days)
    rows = (await tx.execute(query.where(*mine).order_by(c.since))).all()
    return {day: _rules([row for row in rows if row.since <= day]) for day in days}


def _rules(rows: Iterable[Row[Any]]) -> dict[int, CostRule]:
    """The last rule of each campaign, of those that are worked out when a day is merged."""
    latest = {row.campaign_id: row for row in rows}
    return {
        number: CostRule(
            model=row.model, cost=row.cost or 0, currency=row.currency, event=row.event or "first_deposit",
        )
        for number, row in latest.items()
        if row.model in MERGED
    }  # fmt: skip


async def set_offers(
    tx: AsyncConnection, *, team_id: int, campaign_id: int, now: datetime, weights: dict[int, int]
) -> None:
    """Replace a campaign's offers; spans remember which were in it when (allocation asks)."""
    await tx.execute(delete(campaign_offers).where(campaign_offers.c.campaign_id == campaign_id))
    await _add_offers(tx, campaign_id, weights)
    await _store_spans(tx, team_id=team_id, campaign_id=campaign_id, now=now, active=set(weights))


async def _add_offers(tx: AsyncConnection, campaign_id: int, weights: dict[int, int]) -> None:
    rows = [
        {"campaign_id": campaign_id, "offer_id": offer_id, "position": place, "weight": weight}
        for place, (offer_id, weight) in enumerate(weights.items())
    ]
    if rows:
        await tx.execute(insert(campaign_offers), rows)


async def _begin_spans(
    tx: AsyncConnection, team_id: int, campaign_id: int, offer_ids: Iterable[int], now: datetime
) -> None:
    rows = [
        {"team_id": team_id, "campaign_id": campaign_id, "offer_id": offer_id, "since": now} for offer_id in offer_ids
    ]
    if rows:
        await tx.execute(insert(campaign_offer_spans), rows)


async def set_status(tx: AsyncConnection, campaign: Row[Any], status: str, now: datetime) -> None:
    """Pause or resume; a paused campaign's offers are not active in it."""
    await tx.execute(update(campaigns).where(campaigns.c.id == campaign.id).values(status=status))
    members = select(campaign_offers.c.offer_id).where(campaign_offers.c.campaign_id == campaign.id)
    active = set((await tx.execute(members)).scalars()) if status == "active" else set()
    await _store_spans(tx, team_id=campaign.team_id, campaign_id=campaign.id, now=now, active=active)


async def _store_spans(tx: AsyncConnection, *, team_id: int, campaign_id: int, now: datetime, active: set[int]) -> None:
    spans = campaign_offer_spans
    running = spans.c.campaign_id == campaign_id, spans.c.until.is_(None)
    open_now = set((await tx.execute(select(spans.c.offer_id).where(*running))).scalars())
    if ended := open_now - active:
        await tx.execute(update(spans).where(*running, spans.c.offer_id.in_(ended)).values(until=now))
    await _begin_spans(tx, team_id, campaign_id, active - open_now, now)
    code = (await tx.execute(select(campaigns.c.code).where(campaigns.c.id == campaign_id))).scalar_one()
    await touch_marks.touch_campaign(tx, team_id, code, now)


async def ids_of(tx: AsyncConnection, team_id: int, codes: Collection[str]) -> list[int]:
    """The ids of a team's campaigns by their codes."""
    query = select(campaigns.c.id).where(campaigns.c.team_id == team_id, campaigns.c.code.in_(list(codes)))
    return list((await tx.execute(query)).scalars())


async def offer_weights(tx: AsyncConnection, campaign_ids: list[int]) -> dict[int, list[tuple[int, int]]]:
    """(offer id, weight) of each campaign, in order."""
    query = select(campaign_offers).where(campaign_offers.c.campaign_id.in_(campaign_ids))
    weights: dict[int, list[tuple[int, int]]] = {campaign_id: [] for campaign_id in campaign_ids}
    for row in await tx.execute(query.order_by(campaign_offers.c.campaign_id, campaign_offers.c.position)):
        weights[row.campaign_id].append((row.offer_id, row.weight))
    return weights


def tracking_link(public_url: str, code: str) -> str:
    """The campaign's public address, without the source's parameters."""
    return f"{public_url}/c/{code}"


async def shown(tx: AsyncConnection, team_id: int, rows: list[Any], *, public_url: str) -> list[Campaign]:
    """Campaigns as faces show them."""
    weights = await offer_weights(tx, [row.id for row in rows])
    site, source, offer = (
        await codes(tx, sites, team_id),
        await codes(tx, sources, team_id),
        await codes(tx, offers, team_id),
    )
    return [
        Campaign(
            id=row.id, name=row.name, code=row.code, site=site.get(row.site_id), source=source.get(row.source_id),
            url=tracking_link(public_url, row.code),
            offers=[f"{offer[offer_id]}:{weight}" for offer_id, weight in weights[row.id]],
            fallback_url=row.fallback_url, cost_model=row.cost_model, cost=row.cost, currency=row.currency,
            cost_event=row.cost_event, budget_day=row.budget_day, budget_total=row.budget_total,
            country_costs=[f"{country}:{units(price):f}" for country, price in (row.country_costs or {}).items()],
            rules=row.rules, binding=row.binding, direct=row.direct, status=status_of(row),
            unique_period=minutes_text(row.unique_period) if row.unique_period else None, unique_scope=row.unique_scope,
            smart_rotation=row.smart_rotation, pacing=row.pacing, **_distribution(row, offer), **sorting_of(row),
        )
        for row in rows
    ]  # fmt: skip


def _distribution(row: Row[Any], codes: dict[int, str]) -> dict[str, Any]:
    settings = {name: row._mapping[name] for name in ("floor", "most_change", "holdout")}
    weights = distribution.current(row.distributed).get("", {})
    return {
        "distribute": row.distribute, "distribute_by": row.distribute_by,
        **{name: None if value is None else value / 100 for name, value in settings.items()},
        "shares": {codes[offer_id]: weight / 100 for offer_id, weight in weights.items() if offer_id in codes},
    }  # fmt: skip
