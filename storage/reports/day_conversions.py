"""Conversions of report days, counted in the database; what was believed of them earlier, from their states."""

from collections.abc import Collection
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.facts import SUBS, Event, Status, Tally
from storage.reports.facts_query import FactsQuery
from storage.tables import accounts, conversion_states, conversions


async def tallies(tx: AsyncConnection, facts_query: FactsQuery, days: Collection[date]) -> dict[date, list[Tally]]:
    """Conversions of days that count, by place, event and amount: each amount is converted by itself."""
    c, s = conversions.c, conversion_states.c
    if facts_query.as_of is None:
        state = c
        where = [c.team_id == facts_query.team_id, c.day.in_(days)]
    else:
        state = s
        where = [s.id.in_(_last_states(facts_query, days)), s.day.in_(days)]
    keys = _keys(facts_query, state)
    query = select(*keys, func.count().label("n"))
    if facts_query.as_of is not None:
        query = query.join_from(conversion_states, conversions, s.conversion_id == c.id)
    query = query.outerjoin(accounts, accounts.c.id == c.account_id)
    where += [state.status != Status.REVERSED.value, c.event != Event.REVERSAL.value]
    counted: dict[date, list[Tally]] = {day: [] for day in days}
    for row in await tx.execute(query.where(*where).group_by(*keys)):
        counted[row.day].append(_tally(row, facts_query))
    return counted


def _last_states(facts_query: FactsQuery, days: Collection[date]) -> Any:
    """The last state, known at the instant, of each conversion that ever was on one of the days."""
    s = conversion_states.c
    ever = select(s.conversion_id).where(s.team_id == facts_query.team_id, s.day.in_(days))
    latest = select(func.max(s.id)).where(s.conversion_id.in_(ever), s.recorded_at <= facts_query.as_of)
    return latest.group_by(s.conversion_id)


def _keys(facts_query: FactsQuery, state: Any) -> list[ColumnElement[Any]]:
    c, grain = conversions.c, facts_query.grain
    keys: list[ColumnElement[Any]] = [state.day, c.campaign_id, c.site_id, c.offer_id, c.source_id, c.event]
    keys += [state.is_ftd]
    # An amount without a currency is in the platform's.
    keys += [func.coalesce(state.currency, accounts.c.currency, "").label("currency"), state.amount]
    keys += [func.coalesce(c.country, "").label("country")] if grain.country else []
    keys += [func.coalesce(c.device, "").label("device")] if grain.device else []
    keys += [c.visit_day] if grain.visit else []
    return keys + [c[SUBS[n]] for n in grain.subs]


def _tally(row: Any, facts_query: FactsQuery) -> Tally:
    grain = facts_query.grain
    return Tally(
        campaign_id=row.campaign_id, site_id=row.site_id, offer_id=row.offer_id, source_id=row.source_id,
        event=Event(row.event), is_ftd=row.is_ftd, n=row.n,
        amount=None if row.amount is None else int(row.amount), currency=row.currency,
        country=row.country if grain.country else "", device=row.device if grain.device else "",
        subs=tuple(getattr(row, SUBS[n]) for n in grain.subs), visit_day=row.visit_day if grain.visit else None,
    )  # fmt: skip
