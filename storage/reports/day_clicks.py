"""Clicks of report days: from the roll-up, and from single clicks where only they know (sub ids, part of an hour)."""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    and_,
    between,
    case,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.clicks.batch_statements import COUNTS
from storage.ledger.clicks.click_id import first_id_at
from storage.ledger.facts import SUBS, ClickFact
from storage.reports.facts_query import FactsQuery
from storage.tables import click_rollup, clicks, outgoing, user_agents
from storage.tables.types import EPOCH_DAY

_Key = tuple[int, int, int, int, str, str, str]  # campaign, site, offer, source, country, device, currency


async def click_facts(
    tx: AsyncConnection, facts_query: FactsQuery, days: Collection[date]
) -> dict[date, list[ClickFact]]:
    """Clicks of days counted by place. What raw clicks no longer tell (expired, site visits) stands without sub ids."""
    rolled_up = await _rolled_up(tx, facts_query, days)
    return {day: await _facts_of(tx, facts_query, day, rolled_up[day]) for day in days}


async def _facts_of(
    tx: AsyncConnection, facts_query: FactsQuery, day: date, counted: dict[_Key, list[int]]
) -> list[ClickFact]:
    if not facts_query.grain.subs:
        return [_fact(day, key, (), counts) for key, counts in counted.items()]
    single = await _single(tx, facts_query, day)
    for (key, _), counts in single.items():
        counts_before = counted.setdefault(key, [0] * len(COUNTS))
        counted[key] = [a - b for a, b in zip(counts_before, counts, strict=True)]
    nothing = (None,) * len(facts_query.grain.subs)
    rest = [_fact(day, key, nothing, counts) for key, counts in counted.items() if any(counts)]
    return [*(_fact(day, key, subs, counts) for (key, subs), counts in single.items()), *rest]


async def _rolled_up(
    tx: AsyncConnection, facts_query: FactsQuery, days: Collection[date]
) -> dict[date, dict[_Key, list[int]]]:
    r, counted = click_rollup.c, {day: dict[_Key, list[int]]() for day in days}
    keys: list[ColumnElement[Any]] = [r.campaign_id, r.site_id, r.offer_id, r.source_id]
    keys += [r.country] if facts_query.grain.country else []
    keys += [r.device] if facts_query.grain.device else []
    keys += [(r.hour // literal_column("24", Integer)).label("number"), r.currency]
    hours = or_(*(between(r.hour, first * 24, last * 24 + 23) for first, last in _runs(set(map(_days, days)))))
    query = select(*keys, *(func.sum(r[name]) for name in COUNTS)).where(r.team_id == facts_query.team_id, hours)
    if facts_query.as_of is not None:
        query = query.where(r.hour < report_hour(facts_query.as_of, facts_query))
    for row in await tx.execute(query.group_by(*keys)):
        _count(counted[EPOCH_DAY + timedelta(days=row.number)], _key(row, facts_query), row)
    if facts_query.as_of is not None:
        for day in days:
            await _count_until(tx, facts_query, day, facts_query.as_of, counted[day])
    return counted


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """The first and last of each run of numbers that follow one another."""
    runs: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return runs


async def _count_until(
    tx: AsyncConnection, facts_query: FactsQuery, day: date, instant: datetime, counted: dict[_Key, list[int]]
) -> None:
    """Count the part of the instant's own hour, and take back what clicks have gone on to since."""
    first, at, limit = _days(day) * 24, report_hour(instant, facts_query), _limit(instant)
    if first <= at < first + 24:
        part = clicks.c.hour == at, outgoing.c.hour == at
        for query in (_raw(facts_query, day, ()).where(part[0]), _outgoing(facts_query, limit).where(part[1])):
            for row in await tx.execute(query):
                _count(counted, _key(row, facts_query), row)
    for row in await tx.execute(_later_outgoing(facts_query, day, limit)):
        _subtract(counted, _key(row, facts_query), row)


async def _single(
    tx: AsyncConnection, facts_query: FactsQuery, day: date
) -> dict[tuple[_Key, tuple[str | None, ...]], list[int]]:
    names = [SUBS[n] for n in facts_query.grain.subs]
    counts: dict[tuple[_Key, tuple[str | None, ...]], list[int]] = {}
    for row in await tx.execute(_raw(facts_query, day, names)):
        subs = tuple(getattr(row, name) for name in names)
        _count(counts, (_key(row, facts_query), subs), row)
    return counts


def _raw(facts_query: FactsQuery, day: date, subs: Sequence[str]) -> Select[Any]:
    """Single clicks of a day, counted by the grain."""
    c = clicks.c
    human = case((c.bot == 0, 1), else_=0)
    direct = case((and_(c.campaign_id == 0, c.site_id != 0), human), else_=0)
    keys = [*_places(facts_query), _cost_currency().label("currency"), *(c[name] for name in subs)]
    query = _with_device(select(
        *keys, func.sum(human), func.sum(human * c.unique_click), func.sum(1 - human), func.sum(0), func.sum(direct),
        func.sum(human * func.coalesce(c.cost, 0)),
    ), facts_query)  # fmt: skip
    first = _days(day) * 24
    around = _around(day)
    query = query.where(
        c.id >= around[0], c.id < around[1], c.team_id == facts_query.team_id, c.hour >= first, c.hour < first + 24
    )
    if facts_query.as_of is not None:
        query = query.where(c.id < _limit(facts_query.as_of))
    return query.group_by(*keys)


def _outgoing(facts_query: FactsQuery, limit: int) -> Select[Any]:
    """People going on from sites with a campaign's click, up to the instant asked about."""
    o, nothing = outgoing.c, func.sum(0)
    keys = [*_places(facts_query, site=o.site_id, offer=o.offer_id), literal("").label("currency")]
    counts = nothing, nothing, nothing, nothing, func.count(), nothing
    query = _with_device(select(*keys, *counts).join_from(outgoing, clicks, clicks.c.id == o.click_id), facts_query)
    return query.where(o.team_id == facts_query.team_id, o.bot == 0, o.id < limit).group_by(*keys)


def _later_outgoing(facts_query: FactsQuery, day: date, limit: int) -> Select[Any]:
    """Clicks of a day that had not gone on from their site at the instant asked about, but have since.

    A click belongs to no offer until then, and to the first one it goes on to from then on.
    """
    c, o, around = clicks.c, outgoing.c, _around(day)
    earlier = outgoing.alias()
    before = exists().where(earlier.c.click_id == c.id, earlier.c.id < limit, earlier.c.bot == 0)
    after = exists().where(o.click_id == c.id, o.id >= limit, o.bot == 0, o.offer_id == c.offer_id)
    keys = [*_places(facts_query), _cost_currency().label("currency")]
    nothing = func.sum(0)
    counts = func.count(), func.sum(c.unique_click), nothing, nothing, nothing, func.sum(func.coalesce(c.cost, 0))
    first = _days(day) * 24
    return _with_device(select(*keys, *counts), facts_query).where(
        c.id >= around[0], c.id < min(around[1], limit), c.team_id == facts_query.team_id, c.hour >= first,
        c.hour < first + 24, c.bot == 0, c.campaign_id != 0, c.site_id != 0, c.offer_id != 0, after, ~before,
    ).group_by(*keys)  # fmt: skip


def _subtract(counted: dict[_Key, list[int]], key: _Key, row: Any) -> None:
    """Count clicks for no offer instead of the one they went on to later."""
    more = [int(number or 0) for number in row[-len(COUNTS) :]]
    for at, sign in ((key, -1), ((*key[:2], 0, *key[3:]), 1)):
        counts_before = counted.get(at, [0] * len(COUNTS))
        counted[at] = [a + sign * b for a, b in zip(counts_before, more, strict=True)]
    if not any(counted[key]):
        del counted[key]


def _places(
    facts_query: FactsQuery, *, site: Any = clicks.c.site_id, offer: Any = clicks.c.offer_id
) -> list[ColumnElement[Any]]:
    c = clicks.c
    keys = [c.campaign_id, site, offer, c.source_id]
    keys += [func.coalesce(c.country, "").label("country")] if facts_query.grain.country else []
    return keys + ([func.coalesce(user_agents.c.device, "").label("device")] if facts_query.grain.device else [])


def _with_device(query: Select[Any], facts_query: FactsQuery) -> Select[Any]:
    if not facts_query.grain.device:
        return query
    return query.join(user_agents, clicks.c.user_agent_id == user_agents.c.id, isouter=True)


def _limit(instant: datetime) -> int:
    """The first id after an instant's millisecond."""
    return first_id_at(instant) + (1 << 22)


def _around(day: date) -> tuple[int, int]:
    """Ids that clicks of a report day can have: they are in order of time; a day to either side does for any zone."""
    return first_id_at(_midnight(day, -1)), first_id_at(_midnight(day, 2))


def _cost_currency() -> ColumnElement[Any]:
    return case((clicks.c.cost.is_(None), ""), else_=func.coalesce(clicks.c.currency, ""))


def _key(row: Any, facts_query: FactsQuery) -> _Key:
    return (
        row.campaign_id, row.site_id, row.offer_id, row.source_id, row.country if facts_query.grain.country else "",
        row.device if facts_query.grain.device else "", row.currency,
    )  # fmt: skip


def _count(counted: dict[Any, list[int]], key: Any, row: Any) -> None:
    counts_before = counted.get(key)
    more = [int(number or 0) for number in row[-len(COUNTS) :]]
    counted[key] = more if counts_before is None else [a + b for a, b in zip(counts_before, more, strict=True)]


def _fact(day: date, key: _Key, subs: tuple[str | None, ...], counts: list[int]) -> ClickFact:
    campaign, site, offer, source, country, device, currency = key
    return ClickFact(
        day=day, campaign_id=campaign, site_id=site, offer_id=offer, source_id=source, country=country, device=device,
        subs=subs, currency=currency, **dict(zip(COUNTS, counts, strict=True)),
    )  # fmt: skip


def report_hour(instant: datetime, facts_query: FactsQuery) -> int:
    """The report hour (days since 1970 * 24 + hour of the day) of an instant."""
    local = instant.astimezone(facts_query.zone)
    return _days(local.date()) * 24 + local.hour


def _days(day: date) -> int:
    return (day - EPOCH_DAY).days


def _midnight(day: date, off: int) -> datetime:
    return datetime.combine(day + timedelta(days=off), time(), UTC)
