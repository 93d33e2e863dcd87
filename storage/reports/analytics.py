"""What visitors did on sites: page views in, and what they add up to, by any of their traits."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, Text, case, cast, func, literal, select, true
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.errors import Refused
from storage.tables import campaigns, clicks, conversions, offers, outgoing, site_views, user_agents
from storage.tables.types import EPOCH_DAY, Json

DIMENSIONS = ("day", "variant", "device", "os", "browser", "country", "referrer", "campaign")
_CHUNK = 400
Campaigns = Select[Any] | None


class View(msgspec.Struct, frozen=True, kw_only=True):
    """One page view. `day` counts from 1970 in the report's zone; `seen` and `clicked` are offer codes."""

    id: int
    team_id: int
    site_id: int
    variant: str
    day: int
    at: datetime
    visitor: str
    click_id: int = 0
    campaign_id: int = 0
    country: str
    device: str
    os: str
    browser: str
    referrer: str
    milliseconds: int
    scroll: int
    seen: list[str]
    clicked: list[str]
    events: list[str] = []


class PageEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a page gave a name: views on which it happened, and visitors."""

    event: str
    views: int
    visitors: int


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """What a group of visitors did. Shares are between 0 and 1; null where there is nothing to divide by."""

    group: dict[str, str]
    views: int
    visitors: int
    bounces: int
    bounce_rate: float | None
    seconds: float | None  # on the page, in view, per view
    scroll: float | None  # share of the page, per view
    clickers: int  # visitors who went on to an offer
    ctr: float | None  # of the visitors


class OfferVisits(msgspec.Struct, frozen=True, kw_only=True):
    """An offer's showing in one variant: views it came into sight in, and clicks on it."""

    variant: str
    offer: str
    impressions: int
    clicks: int


class Converted(msgspec.Struct, frozen=True, kw_only=True):
    """Conversions of a site's visitors, those reversed left out."""

    variant: str
    offer: str
    registrations: int
    first_deposits: int


async def record(tx: AsyncConnection, views: Sequence[View]) -> None:
    """Store views; one reported again replaces the report before, unless it comes late."""
    rows = [msgspec.structs.asdict(view) for view in views]
    statement = upsert(site_views)
    later = {name: statement.excluded[name] for name in ("milliseconds", "scroll", "seen", "clicked", "events")}
    statement_ = statement.on_conflict_do_update(
        index_elements=["id"], set_=later, where=statement.excluded.milliseconds >= site_views.c.milliseconds
    )
    for start in range(0, len(rows), _CHUNK):
        await tx.execute(statement_, rows[start : start + _CHUNK])


async def behaviour(
    tx: AsyncConnection, site_ids: Sequence[int], first: date, last: date, *, by: str = "", only: Campaigns = None
) -> list[Behaviour]:
    """What visitors did in a range of days, both included, one line per value of `by`, the most viewed first.

    `only`: ids of the campaigns whose visitors are counted; here and below.
    """
    if by and by not in (*DIMENSIONS, "site"):
        raise Refused(f"by: no dimension {by!r}: one of {', '.join(DIMENSIONS)}", field="by")
    v = site_views.c
    group = _column(by)
    no_clicks = literal([], type_=Json())
    person = (
        select(
            group.label("g"),
            func.count().label("views"),
            func.sum(v.milliseconds).label("ms"),
            func.sum(v.scroll).label("scroll"),
            func.max(case((v.clicked != no_clicks, 1), else_=0)).label("went"),
        )
        .where(v.site_id.in_(site_ids), v.day.between(_day(first), _day(last)), _within(v.campaign_id, only))
        .group_by(group, v.day, v.visitor)
        .subquery()
    )
    p = person.c
    bounced = case(((p.views == 1) & (p.went == 0) & (p.ms < 10_000), 1), else_=0)
    totals = select(
        p.g, func.sum(p.views).label("views"), func.count().label("visitors"), func.sum(bounced).label("bounces"),
        func.sum(p.ms).label("ms"), func.sum(p.scroll).label("scroll"), func.sum(p.went).label("went"),
    ).group_by(p.g)  # fmt: skip
    names = await _names(tx, by)
    rows = [_behaviour(row, by, names) for row in await tx.execute(totals)]
    return sorted(rows, key=lambda behaviour: (-behaviour.views, str(behaviour.group)))


def _column(by: str) -> ColumnElement[Any]:
    if not by:
        return site_views.c.team_id  # the same for all of them
    column: ColumnElement[Any] = site_views.c[{"site": "site_id", "campaign": "campaign_id"}.get(by, by)]
    return column


def _behaviour(row: Any, by: str, names: dict[int, str]) -> Behaviour:
    views, visitors, bounces, clickers = (int(row[name]) for name in (1, 2, 3, 6))
    value = date.fromordinal(EPOCH_DAY.toordinal() + row.g).isoformat() if by == "day" else names.get(row.g, str(row.g))
    return Behaviour(
        group={by: value} if by else {}, views=views, visitors=visitors, bounces=bounces, clickers=clickers,
        bounce_rate=bounces / visitors, ctr=clickers / visitors, seconds=round(int(row.ms) / 1000 / views, 1),
        scroll=round(int(row.scroll) / 100 / views, 3),
    )  # fmt: skip


async def _names(tx: AsyncConnection, by: str) -> dict[int, str]:
    if by != "campaign":
        return {}
    rows = await tx.execute(select(campaigns.c.id, campaigns.c.code))
    return {0: "", **{row.id: row.code for row in rows}}


async def showings(
    tx: AsyncConnection, site_id: int, first: date, last: date, *, only: Campaigns = None
) -> list[OfferVisits]:
    """How often each offer was seen and clicked, per variant."""
    v = site_views.c
    query = (
        select(v.variant, v.seen, v.clicked, func.count().label("n"))
        .where(v.site_id == site_id, v.day.between(_day(first), _day(last)), _within(v.campaign_id, only))
        .group_by(v.variant, v.seen, v.clicked)
    )
    seen, clicked = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for row in await tx.execute(query):
        for code in row.seen:
            seen[row.variant, code] += row.n
        for code in row.clicked:
            clicked[row.variant, code] += row.n
    return [
        OfferVisits(variant=variant, offer=offer, impressions=max(seen[variant, offer], clicked[variant, offer]),
                    clicks=clicked[variant, offer])
        for variant, offer in sorted(seen.keys() | clicked.keys())
    ]  # fmt: skip


async def outgoing_clicks(
    tx: AsyncConnection, site_id: int, first: date, last: date, *, only: Campaigns = None
) -> dict[tuple[str, str], int]:
    """People's clicks from the site to offers, as our own redirects counted them, by variant and offer code."""
    hours = _day(first) * 24, _day(last) * 24 + 23
    first_views = select(site_views.c.click_id, func.min(site_views.c.variant).label("variant")).where(
        site_views.c.site_id == site_id, site_views.c.click_id != 0
    )
    first_view = first_views.group_by(site_views.c.click_id).subquery()
    carried = (
        select(first_view.c.variant, offers.c.code, func.count().label("n"))
        .join_from(outgoing, offers, offers.c.id == outgoing.c.offer_id)
        .join(first_view, first_view.c.click_id == outgoing.c.click_id, isouter=True)
        .where(
            outgoing.c.site_id == site_id,
            outgoing.c.hour.between(*hours),
            outgoing.c.bot == 0,
            _within(outgoing.c.campaign_id, only),
        )
        .group_by(first_view.c.variant, offers.c.code)
    )
    counts: dict[tuple[str, str], int] = {}
    for row in await tx.execute(carried):
        key = row.variant or "a", row.code
        counts[key] = counts.get(key, 0) + int(row.n)
    if only is not None:
        return counts  # the rest came without a campaign
    direct = (
        select(clicks.c.extra, offers.c.code, func.count().label("n"))
        .join_from(clicks, offers, offers.c.id == clicks.c.offer_id)
        .join(user_agents, user_agents.c.id == clicks.c.user_agent_id, isouter=True)
        .where(clicks.c.site_id == site_id, clicks.c.campaign_id == 0, clicks.c.hour.between(*hours), clicks.c.bot == 0)
        .group_by(clicks.c.extra, offers.c.code)
    )
    for row in await tx.execute(direct):
        key = named_variant(row.extra), row.code
        counts[key] = counts.get(key, 0) + int(row.n)
    return counts


async def converted(
    tx: AsyncConnection, site_id: int, first: date, last: date, *, only: Campaigns = None
) -> list[Converted]:
    """Registrations and first deposits of a site's visitors by variant and offer, on the days they happened."""
    c = conversions.c
    first_views = select(site_views.c.click_id, func.min(site_views.c.variant).label("variant")).where(
        site_views.c.site_id == site_id, site_views.c.click_id != 0
    )
    first_view = first_views.group_by(site_views.c.click_id).subquery()
    query = (
        select(first_view.c.variant, clicks.c.extra, offers.c.code, c.event, c.is_ftd, func.count().label("n"))
        .join_from(conversions, offers, offers.c.id == c.offer_id)
        .join(first_view, first_view.c.click_id == c.click_id, isouter=True)
        .join(clicks, clicks.c.id == c.click_id, isouter=True)
        .where(c.site_id == site_id, c.day.between(first, last), c.status != "reversed", _within(c.campaign_id, only))
        .group_by(first_view.c.variant, clicks.c.extra, offers.c.code, c.event, c.is_ftd)
    )
    registrations, first_deposits = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for row in await tx.execute(query):
        key = row.variant or named_variant(row.extra), row.code
        registrations[key] += row.n if row.event == "registration" else 0
        first_deposits[key] += row.n if row.is_ftd else 0
    return [
        Converted(variant=variant, offer=offer, registrations=registrations[variant, offer],
                  first_deposits=first_deposits[variant, offer])
        for variant, offer in sorted(registrations)
    ]  # fmt: skip


def _within(column: ColumnElement[Any], only: Campaigns) -> ColumnElement[bool]:
    return true() if only is None else column.in_(only)


def named_variant(extra: Any) -> str:
    """The variant that an outgoing link named."""
    variant_code = extra.get("v") if isinstance(extra, dict) else None
    return variant_code if isinstance(variant_code, str) and variant_code else "a"


def _day(day: date) -> int:
    return (day - EPOCH_DAY).days


async def page_events(
    tx: AsyncConnection, site_id: int, *, first: date, last: date, only: Campaigns, most: int
) -> list[PageEvent]:
    """The events of a site's pages, the most frequent first, at most so many."""
    v = site_views.c
    within = v.site_id == site_id, v.day.between((first - EPOCH_DAY).days, (last - EPOCH_DAY).days)
    named = select(v.events, v.visitor, func.count().label("views")).where(*within, cast(v.events, Text) != "[]")
    if only is not None:
        named = named.where(v.campaign_id.in_(only))
    views: dict[str, int] = {}
    visitors: dict[str, set[str]] = {}
    for row in await tx.execute(named.group_by(v.events, v.visitor)):
        for name in row.events:
            views[name] = views.get(name, 0) + row.views
            visitors.setdefault(name, set()).add(row.visitor)
    names = sorted(views, key=lambda name: (-views[name], name))[:most]
    return [PageEvent(event=name, views=views[name], visitors=len(visitors[name])) for name in names]
