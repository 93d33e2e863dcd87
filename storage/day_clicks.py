"""Clicks of a report day: from the roll-up, and from single clicks where only they know (sub ids, part of an hour)."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.asked import Asked
from storage.ledger.click_id import first_id_at
from storage.ledger.facts import ClickFact
from storage.tables import SUBS, click_rollup, clicks, user_agents
from storage.types import EPOCH_DAY

_COUNTS = ("clicks", "unique_clicks", "bot_clicks", "site_visits", "outgoing", "cost")
_Key = tuple[int, int, int, int, str, str, str]  # campaign, site, offer, source, country, device, currency


async def click_facts(tx: AsyncConnection, asked: Asked, day: date) -> list[ClickFact]:
    """Clicks counted by place. What raw clicks no longer tell (expired, site visits) stands without sub ids."""
    counted = await _rolled_up(tx, asked, day)
    if not asked.grain.subs:
        return [_fact(day, key, (), counts) for key, counts in counted.items()]
    single = await _single(tx, asked, day)
    for (key, _), counts in single.items():
        held = counted.setdefault(key, [0] * len(_COUNTS))
        counted[key] = [a - b for a, b in zip(held, counts, strict=True)]
    nothing = (None,) * len(asked.grain.subs)
    rest = [_fact(day, key, nothing, counts) for key, counts in counted.items() if any(counts)]
    return [*(_fact(day, key, subs, counts) for (key, subs), counts in single.items()), *rest]


async def _rolled_up(tx: AsyncConnection, asked: Asked, day: date) -> dict[_Key, list[int]]:
    first = _days(day) * 24
    until = first + 24
    at = report_hour(asked.as_of, asked) if asked.as_of else until
    counted: dict[_Key, list[int]] = {}
    if at > first:
        r = click_rollup.c
        keys = [r.campaign_id, r.site_id, r.offer_id, r.source_id]
        keys += [r.country] if asked.grain.country else []
        keys += [r.device] if asked.grain.device else []
        keys += [r.currency]
        sums = [func.sum(r[name]) for name in _COUNTS]
        query = select(*keys, *sums).where(r.team_id == asked.team_id, r.hour >= first, r.hour < min(until, at))
        for row in await tx.execute(query.group_by(*keys)):
            _count(counted, _key(row, asked), row)
    if first <= at < until:
        for row in await tx.execute(_raw(asked, day, ()).where(clicks.c.hour == at)):
            _count(counted, _key(row, asked), row)
    return counted


async def _single(tx: AsyncConnection, asked: Asked, day: date) -> dict[tuple[_Key, tuple[str | None, ...]], list[int]]:
    names = [SUBS[n] for n in asked.grain.subs]
    found: dict[tuple[_Key, tuple[str | None, ...]], list[int]] = {}
    for row in await tx.execute(_raw(asked, day, names)):
        subs = tuple(getattr(row, name) for name in names)
        _count(found, (_key(row, asked), subs), row)
    return found


def _raw(asked: Asked, day: date, subs: Sequence[str]) -> Select[Any]:
    """Single clicks of a day, counted by the grain."""
    c = clicks.c
    human = case((c.bot == 0, 1), else_=0)
    keys: list[ColumnElement[Any]] = [c.campaign_id, c.site_id, c.offer_id, c.source_id]
    keys += [func.coalesce(c.country, "").label("country")] if asked.grain.country else []
    keys += [func.coalesce(user_agents.c.device, "").label("device")] if asked.grain.device else []
    keys += [_cost_currency().label("currency"), *(c[name] for name in subs)]
    query = select(
        *keys, func.sum(human), func.sum(human * c.unique_click), func.sum(1 - human), func.sum(0), func.sum(0),
        func.sum(human * func.coalesce(c.cost, 0)),
    )  # fmt: skip
    if asked.grain.device:
        query = query.join_from(clicks, user_agents, c.user_agent_id == user_agents.c.id, isouter=True)
    first = _days(day) * 24
    # Ids are in order of time: they bound the search, a day to either side of the report day being enough for any zone.
    around = first_id_at(_midnight(day, -1)), first_id_at(_midnight(day, 2))
    query = query.where(
        c.id >= around[0], c.id < around[1], c.team_id == asked.team_id, c.hour >= first, c.hour < first + 24
    )
    if asked.as_of is not None:
        query = query.where(c.id < first_id_at(asked.as_of) + (1 << 22))
    return query.group_by(*keys)


def _cost_currency() -> ColumnElement[Any]:
    return case((clicks.c.cost.is_(None), ""), else_=func.coalesce(clicks.c.currency, ""))


def _key(row: Any, asked: Asked) -> _Key:
    return (
        row.campaign_id, row.site_id, row.offer_id, row.source_id, row.country if asked.grain.country else "",
        row.device if asked.grain.device else "", row.currency,
    )  # fmt: skip


def _count(counted: dict[Any, list[int]], key: Any, row: Any) -> None:
    held = counted.get(key)
    more = [int(number or 0) for number in row[-len(_COUNTS) :]]
    counted[key] = more if held is None else [a + b for a, b in zip(held, more, strict=True)]


def _fact(day: date, key: _Key, subs: tuple[str | None, ...], counts: list[int]) -> ClickFact:
    campaign, site, offer, source, country, device, currency = key
    return ClickFact(
        day=day, campaign_id=campaign, site_id=site, offer_id=offer, source_id=source, country=country, device=device,
        subs=subs, currency=currency, **dict(zip(_COUNTS, counts, strict=True)),
    )  # fmt: skip


def report_hour(instant: datetime, asked: Asked) -> int:
    """The report hour (days since 1970 * 24 + hour of the day) of an instant."""
    local = instant.astimezone(asked.zone)
    return _days(local.date()) * 24 + local.hour


def _days(day: date) -> int:
    return (day - EPOCH_DAY).days


def _midnight(day: date, off: int) -> datetime:
    return datetime.combine(day + timedelta(days=off), time(), UTC)
