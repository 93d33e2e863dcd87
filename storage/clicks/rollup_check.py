"""`casinoflux db check`: count the raw clicks again and compare with the roll-up, which was added to click by click."""

from typing import Any

from sqlalchemy import case, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue import teams
from storage.clicks.retention import KEPT_FROM
from storage.db.engine import Database
from storage.tables import click_links, click_rollup, clicks, outgoing, user_agents

_MEASURES = ("clicks", "unique_clicks", "bot_clicks", "outgoing", "cost")
_KEY = ("team", "hour", "campaign", "site", "offer", "source", "country", "device", "currency")
_MOST = 200  # lines; more say the same

Counted = dict[tuple[Any, ...], list[int]]


async def check(database: Database) -> list[str]:
    """A line for every roll-up row that differs from its raw clicks, both figures named; empty if all agree.

    Hours whose raw clicks have expired cannot be checked and are left out; site visits have no raw rows.
    """
    async with database.read() as tx:
        if not database.sqlite:  # where each statement sees what was committed before it: clicks come meanwhile
            await tx.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        since = int(await teams.fact(tx, KEPT_FROM) or 0)
        raw = await _raw(tx, since)
        rolled = await _rolled(tx, since)
    lines = []
    for key in sorted(raw.keys() | rolled.keys()):
        for measure, counted, rolled_up in zip(_MEASURES, raw.get(key, _NONE), rolled.get(key, _NONE), strict=True):
            if counted != rolled_up:
                lines.append(_line(key, measure, counted, rolled_up))
    return lines if len(lines) <= _MOST else [*lines[:_MOST], f"… and {len(lines) - _MOST} more"]


_NONE = [0] * len(_MEASURES)


def _line(key: tuple[Any, ...], measure: str, counted: int, rolled_up: int) -> str:
    named = " ".join(f"{name}={value}" for name, value in zip(_KEY, key, strict=True) if value not in (0, ""))
    return f"{named}: {measure} is {rolled_up} in the roll-up, {counted} in the raw rows"


async def _raw(tx: AsyncConnection, since: int) -> Counted:
    counts = {tuple(row[:9]): [int(n) for n in row[9:]] for row in await tx.execute(_clicks(since))}
    for row in await tx.execute(_outgoing(since)):
        counts.setdefault((*row[:8], ""), list(_NONE))[3] += int(row[8])
    return counts


def _clicks(since: int) -> Any:
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
    return joined.where(clicks.c.hour >= since).group_by(*key)


def _texts(*columns: Any) -> tuple[Any, ...]:
    """Missing is empty, as the roll-up has it."""
    return tuple(func.coalesce(column, "") for column in columns)


def _outgoing(since: int) -> Any:
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
    return joined.where(outgoing.c.bot == 0, outgoing.c.hour >= since).group_by(*key)


async def _rolled(tx: AsyncConnection, since: int) -> Counted:
    columns = click_rollup.primary_key.columns
    query = select(*columns, *(click_rollup.c[name] for name in _MEASURES)).where(click_rollup.c.hour >= since)
    return {tuple(row[:9]): list(row[9:]) for row in await tx.execute(query)}
