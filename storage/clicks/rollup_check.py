"""`casinoflux db check`: count the raw clicks again and compare with the roll-up, which was added to click by click."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Table, case, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue import teams
from storage.clicks.retention import KEPT_FROM
from storage.db.engine import Database
from storage.ledger.clicks.click_id import first_id_at, instant_of
from storage.tables import click_links, click_rollup, clicks, outgoing, user_agents

_MEASURES = ("clicks", "unique_clicks", "bot_clicks", "outgoing", "cost")
_KEY = ("team", "hour", "campaign", "site", "offer", "source", "country", "device", "currency")
_MOST = 200  # lines; more say the same

_WEEK = 7 * 24  # hours
_ZONES = 15  # hours that a report hour may be away from UTC, and one more
_HOUR = timedelta(hours=1)
_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)  # report hour 0

#: Report hours: the first, and the first that is not meant any more.
Hours = tuple[int, int]
Counted = dict[tuple[Any, ...], list[int]]


async def check(database: Database) -> list[str]:
    """A line for every roll-up row that differs from its raw clicks, both figures named; empty if all agree.

    A week at a time, each in a short transaction of its own, so that no snapshot of the whole table keeps PostgreSQL
    from cleaning up. Hours whose raw clicks have expired cannot be checked and are left out; site visits have no raw
    rows.
    """
    lines: list[str] = []
    more = 0
    for hours in await _weeks(database):
        async with database.read() as tx:
            if not database.sqlite:  # where each statement sees what was committed before it: clicks come meanwhile
                await tx.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            found = await _differences(tx, hours)
        room = _MOST - len(lines)
        lines += found[:room]
        more += len(found[room:])
    return [*lines, f"… and {more} more"] if more else lines


async def _weeks(database: Database) -> list[Hours]:
    """All hours that have a roll-up, a click or an outgoing click, a week after another, the oldest first."""
    async with database.read() as tx:
        ends = [*(await tx.execute(select(func.min(click_rollup.c.hour), func.max(click_rollup.c.hour)))).one()]
        for column in (clicks.c.id, outgoing.c.id):
            for end in (await tx.execute(select(func.min(column), func.max(column)))).one():
                if end is not None:
                    hour = (instant_of(end) - _BEGIN) // _HOUR
                    ends += [hour - _ZONES, hour + _ZONES]
    hours = [hour for hour in ends if hour is not None]
    return [(first, first + _WEEK) for first in range(min(hours), max(hours) + 1, _WEEK)] if hours else []


async def _differences(tx: AsyncConnection, hours: Hours) -> list[str]:
    first, end = hours
    first = max(first, int(await teams.fact(tx, KEPT_FROM) or 0))
    if first >= end:
        return []
    raw = await _raw(tx, (first, end))
    rolled = await _rolled(tx, (first, end))
    return [
        _line(key, measure, counted, rolled_up)
        for key in sorted(raw.keys() | rolled.keys())
        for measure, counted, rolled_up in zip(_MEASURES, raw.get(key, _NONE), rolled.get(key, _NONE), strict=True)
        if counted != rolled_up
    ]


_NONE = [0] * len(_MEASURES)


def _line(key: tuple[Any, ...], measure: str, counted: int, rolled_up: int) -> str:
    named = " ".join(f"{name}={value}" for name, value in zip(_KEY, key, strict=True) if value not in (0, ""))
    return f"{named}: {measure} is {rolled_up} in the roll-up, {counted} in the raw rows"


async def _raw(tx: AsyncConnection, hours: Hours) -> Counted:
    counts = {tuple(row[:9]): [int(n) for n in row[9:]] for row in await tx.execute(_clicks(hours))}
    for row in await tx.execute(_outgoing(hours)):
        counts.setdefault((*row[:8], ""), list(_NONE))[3] += int(row[8])
    return counts


def _clicks(hours: Hours) -> Any:
    person = case((clicks.c.bot == 0, 1), else_=0)
    direct = case((clicks.c.campaign_id == 0, person * case((clicks.c.site_id != 0, 1), else_=0)), else_=0)
    key = (
        clicks.c.team_id, clicks.c.hour, clicks.c.campaign_id, clicks.c.site_id, clicks.c.offer_id,
        clicks.c.source_id, *_texts(clicks.c.country, user_agents.c.device, clicks.c.currency),
    )  # fmt: skip
    sums = (
        func.sum(person), func.sum(person * clicks.c.unique_click), func.sum(1 - person), func.sum(direct),
        func.sum(person * func.coalesce(clicks.c.cost, 0)),
    )  # fmt: skip
    joined = select(*key, *sums).join_from(
        clicks, user_agents, clicks.c.user_agent_id == user_agents.c.id, isouter=True
    )
    return joined.where(*_within(clicks, hours)).group_by(*key)


def _texts(*columns: Any) -> tuple[Any, ...]:
    """Missing is empty, as the roll-up has it."""
    return tuple(func.coalesce(column, "") for column in columns)


def _outgoing(hours: Hours) -> Any:
    """People going on from sites; where they came from stands in their click, or what is left of it."""
    source = func.coalesce(clicks.c.source_id, click_links.c.source_id)
    key = (
        outgoing.c.team_id, outgoing.c.hour, outgoing.c.campaign_id, outgoing.c.site_id, outgoing.c.offer_id, source,
        func.coalesce(clicks.c.country, click_links.c.country, ""),
        func.coalesce(user_agents.c.device, click_links.c.device, ""),
    )  # fmt: skip
    joined = (
        select(*key, func.count())
        .select_from(outgoing)
        .join(clicks, clicks.c.id == outgoing.c.click_id, isouter=True)
        .join(click_links, click_links.c.id == outgoing.c.click_id, isouter=True)
        .join(user_agents, clicks.c.user_agent_id == user_agents.c.id, isouter=True)
    )
    return joined.where(outgoing.c.bot == 0, *_within(outgoing, hours)).group_by(*key)


def _within(table: Table, hours: Hours) -> tuple[Any, ...]:
    """Rows of report hours; their ids tell when they were made, so that only those of about that time are read."""
    first, end = hours
    ids = first_id_at(_BEGIN + (first - _ZONES) * _HOUR), first_id_at(_BEGIN + (end + _ZONES) * _HOUR)
    return table.c.id >= ids[0], table.c.id < ids[1], table.c.hour >= first, table.c.hour < end


async def _rolled(tx: AsyncConnection, hours: Hours) -> Counted:
    columns = click_rollup.primary_key.columns
    query = select(*columns, *(click_rollup.c[name] for name in _MEASURES)).where(
        click_rollup.c.hour >= hours[0], click_rollup.c.hour < hours[1]
    )  # fmt: skip
    return {tuple(row[:9]): list(row[9:]) for row in await tx.execute(query)}
