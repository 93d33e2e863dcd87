"""What is known of report days, now or at an earlier instant: the facts that merging starts from."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, bindparam, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue import campaigns as campaigns_of_team
from storage.catalogue import teams
from storage.clicks import imported_clicks
from storage.clicks import queries as click_queries
from storage.db.bulk_sql import ColumnQuery
from storage.ledger.clicks.click_id import LENGTH, Codec
from storage.ledger.dates import day_bounds
from storage.ledger.facts import CampaignFact, ClickLink, OfferFact, RevenueFact, SpendFact
from storage.ledger.reports.attribution import Catalogue
from storage.ledger.reports.merge import DayFacts
from storage.ledger.reports.revenue_columns import RevenueColumns
from storage.reports.day_clicks import click_facts
from storage.reports.day_conversions import tallies
from storage.reports.facts_query import FactsQuery
from storage.tables import (
    MEASURES,
    campaign_offer_spans,
    campaigns,
    conversions,
    offers,
    revenue,
    revenue_revisions,
    spend,
)

FEW_FACTS = 200  # rows that are merged on the spot: with more of them clicks would notice


async def day_facts(tx: AsyncConnection, facts_query: FactsQuery, day: date) -> DayFacts:
    """Everything known of the day."""
    return await anext(facts_of_days(tx, facts_query, [day]))


async def facts_of_days(
    tx: AsyncConnection, facts_query: FactsQuery, days: Collection[date]
) -> AsyncIterator[DayFacts]:
    """Everything known of days, one after another; all but revenue is read once for all of them."""
    clicks, tallies_ = await click_facts(tx, facts_query, days), await tallies(tx, facts_query, days)
    spend_, active_ = await spend_facts(tx, facts_query, days), await active(tx, facts_query, days)
    costs = await campaigns_of_team.costs_on(tx, facts_query.team_id, days)
    known_clicks = KnownClicks(tx, facts_query.team_id)
    for day in days:
        rows = await revenue_facts(tx, facts_query, day)
        links = await known_clicks.links(rows.subs)
        yield DayFacts(
            day=day, clicks=clicks[day], tallies=tallies_[day], revenue=rows, links=links, spend=spend_[day],
            active=active_[day], costs=costs[day],
        )  # fmt: skip


async def has_few_facts(tx: AsyncConnection, team_id: int, days: Collection[date]) -> bool:
    """Whether those days are merged in a few milliseconds: revenue rows and conversions are what takes long."""
    count = 0
    for table in (revenue, conversions):
        some = select(table.c.id).where(table.c.team_id == team_id, table.c.day.in_(days)).limit(FEW_FACTS)
        count += int((await tx.execute(select(func.count()).select_from(some.subquery()))).scalar_one())
    return count < FEW_FACTS


async def catalogue(tx: AsyncConnection, team_id: int) -> Catalogue:
    """Today's offers and campaigns."""
    o, c = offers.c, campaigns.c
    columns = select(o.id, o.account_id, o.casino_id, o.tag_key, o.has_postbacks).where(o.team_id == team_id)
    named = select(c.id, c.code, c.site_id, c.source_id).where(c.team_id == team_id)
    return Catalogue(
        [
            OfferFact(id=id_, account_id=account_id, casino_id=casino_id, tag_key=tag_key, has_postbacks=has_postbacks)
            for id_, account_id, casino_id, tag_key, has_postbacks in (await tx.execute(columns)).all()
        ],
        [
            CampaignFact(id=row.id, code=row.code, site_id=row.site_id or 0, source_id=row.source_id or 0)
            for row in (await tx.execute(named)).all()
        ],
    )


async def revenue_facts(tx: AsyncConnection, facts_query: FactsQuery, day: date) -> RevenueColumns:
    """What the platforms say of the day, withdrawn figures as the zeros they have become."""
    of_day = {"team_id": facts_query.team_id, "day": day}
    if facts_query.as_of is None:
        return RevenueColumns(*await _REVENUE.read(tx, **of_day))
    as_of = of_day | {"as_of": facts_query.as_of}
    known, restated = await _KNOWN_SINCE.read(tx, **as_of), await _RESTATED_SINCE.read(tx, **as_of)
    return RevenueColumns.together([known.values, restated.values])


def _revenue(figures: FromClause) -> Select[Any]:
    named = [revenue.c[name] for name in RevenueFact._fields if name not in MEASURES]
    return select(*named, *(figures.c[name] for name in MEASURES))


def _of_day(table: FromClause) -> Sequence[ColumnElement[bool]]:
    return table.c.team_id == bindparam("team_id"), table.c.day == bindparam("day")


def _known_then(table: FromClause) -> ColumnElement[bool]:
    return table.c.recorded_at <= bindparam("as_of")


_REVENUE = ColumnQuery(_revenue(revenue).where(*_of_day(revenue)))
_KNOWN_SINCE = ColumnQuery(_revenue(revenue).where(*_of_day(revenue), _known_then(revenue)))
_RESTATED_SINCE = ColumnQuery(
    _revenue(revenue_revisions)
    .join_from(revenue_revisions, revenue, revenue_revisions.c.revenue_id == revenue.c.id)
    .where(
        revenue.c.recorded_at > bindparam("as_of"),
        revenue_revisions.c.id.in_(
            select(func.max(revenue_revisions.c.id))
            .where(*_of_day(revenue_revisions), _known_then(revenue_revisions))
            .group_by(revenue_revisions.c.revenue_id)
        ),
    )
)


class KnownClicks:
    """The clicks of a team that platforms return as sub ids; what all lookups need is read once."""

    def __init__(self, tx: AsyncConnection, team_id: int) -> None:
        self._tx = tx
        self._team_id = team_id
        self._codec: Codec | None = None
        self._has_imported: bool | None = None  # clicks of the tracker it had before

    async def links(self, subs: AbstractSet[str]) -> dict[str, ClickLink]:
        """The clicks behind those sub ids that are click ids of the team, or of the tracker it had before."""
        tx, team_id = self._tx, self._team_id
        ids = await self._own([sub for sub in subs if len(sub) == LENGTH])
        if len(ids) < len(subs) and await self._imported():
            words = {sub: (team_id, imported_clicks.folded(sub)) for sub in subs if sub not in ids}
            known = await imported_clicks.find(tx, [(team_id, sub) for sub in words])
            ids |= {sub: known[word] for sub, word in words.items() if word in known}
        links = await click_queries.links(tx, ids.values()) if ids else {}
        return {
            sub: links[click_id]
            for sub, click_id in ids.items()
            if click_id in links and links[click_id].team_id == team_id
        }

    async def _own(self, likely: Sequence[str]) -> dict[str, int]:
        if likely and self._codec is None:
            key = await teams.fact(self._tx, "click_id_key")
            self._codec = Codec(bytes.fromhex(key)) if key is not None else None
        if self._codec is None:
            return {}
        read = self._codec.decode
        return {sub: click_id for sub in likely if (click_id := read(sub)) is not None}

    async def _imported(self) -> bool:
        if self._has_imported is None:
            self._has_imported = await imported_clicks.any_of_team(self._tx, self._team_id)
        return self._has_imported


async def spend_facts(
    tx: AsyncConnection, facts_query: FactsQuery, days: Collection[date]
) -> dict[date, list[SpendFact]]:
    """Uploaded costs of days: the last of each campaign and origin stands."""
    s, uploaded = spend.c, {day: list[SpendFact]() for day in days}
    last = select(func.max(s.id)).where(s.team_id == facts_query.team_id, s.day.in_(days))
    if facts_query.as_of is not None:
        last = last.where(s.recorded_at <= facts_query.as_of)
    last = last.group_by(s.day, s.campaign_id, s.origin)
    query = select(s.day, s.campaign_id, s.amount, s.currency).where(s.id.in_(last))
    for row in await tx.execute(query.order_by(s.id)):
        uploaded[row.day].append(SpendFact(**row._mapping))
    return uploaded


async def active(
    tx: AsyncConnection, facts_query: FactsQuery, days: Collection[date]
) -> dict[date, Mapping[int, Sequence[int]]]:
    """Campaigns by offer that had the offer at some time of each report day."""
    bounds = {day: day_bounds(day, facts_query.zone) for day in days}
    s = campaign_offer_spans.c
    around = s.since < bounds[max(days)][1], or_(s.until.is_(None), s.until > bounds[min(days)][0])
    query = select(s.offer_id, s.campaign_id, s.since, s.until).where(s.team_id == facts_query.team_id, *around)
    spans: list[Any] = list(await tx.execute(query))
    return {
        day: _campaigns_by_offer(
            (offer_id, campaign_id)
            for offer_id, campaign_id, since, until in spans
            if since < end and (until is None or until > begin)
        )
        for day, (begin, end) in bounds.items()
    }


def _campaigns_by_offer(pairs: Iterable[tuple[int, int]]) -> dict[int, Sequence[int]]:
    campaigns: dict[int, set[int]] = {}
    for offer_id, campaign_id in pairs:
        campaigns.setdefault(offer_id, set()).add(campaign_id)
    return {offer_id: sorted(ids) for offer_id, ids in campaigns.items()}
