"""What automations did: kept in the transaction of the act, each once, so that a restart repeats nothing."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.automations.steps import LOOP_SPAN
from storage.tables import automation_acts, automations, members, outbound

DONE = ("done", "dry", "told")
"""Outcomes that count towards the most of a day."""


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """Something an automation did, would have done, or could not do.

    `outcome`: `done`, `dry` (only told what it would do), `told`, `refused` (by the gate, with the reason), `waits`
    (figures that cannot be judged), `ended` (a pause ended by itself), `stopped` (the automation itself).
    """

    key: str
    outcome: str
    action: str
    subject: str
    label: str
    why: str
    command: str | None = None
    arguments: dict[str, Any] | None = None
    audit_id: int | None = None
    outbound_id: int | None = None
    lift_at: datetime | None = None


class LoggedAct(Act, frozen=True, kw_only=True):
    """An act in the log; `delivery` is the state of its webhook call."""

    id: int
    automation: str
    automation_name: str
    at: datetime
    lifted_at: datetime | None
    delivery: str | None


async def record(tx: AsyncConnection, *, team_id: int, automation_id: int, now: datetime, act: Act) -> int | None:
    """Keep an act; its number, or None if it was kept before."""
    statement = upsert(automation_acts).values(
        team_id=team_id, automation_id=automation_id, at=now, **msgspec.structs.asdict(act)
    )
    kept = statement.on_conflict_do_nothing(index_elements=["key"]).returning(automation_acts.c.id)
    number: int | None = (await tx.execute(kept)).scalar_one_or_none()
    return number


async def count_since(tx: AsyncConnection, team_id: int, since: datetime) -> Mapping[int, int]:
    """How many acts each automation of a team has done since then."""
    a = automation_acts.c
    query = select(a.automation_id, func.count()).where(a.team_id == team_id, a.at >= since, a.outcome.in_(DONE))
    return {row[0]: row[1] for row in await tx.execute(query.group_by(a.automation_id))}


async def opposing(tx: AsyncConnection, team_id: int, subject: str, now: datetime) -> list[tuple[int, str]]:
    """(automation, action) of what automations did to a subject within a day, latest first."""
    a = automation_acts.c
    within = a.at >= now - LOOP_SPAN, a.outcome == "done", a.team_id == team_id
    query = select(a.automation_id, a.action).where(a.subject == subject, *within).order_by(a.id.desc()).limit(20)
    return [(row[0], row[1]) for row in await tx.execute(query)]


async def to_lift(tx: AsyncConnection, now: datetime) -> list[Row[Any]]:
    """Pauses whose time is over: the act, and the automation it is of."""
    a = automation_acts.c
    due = a.lift_at <= now, a.lifted_at.is_(None), a.outcome == "done"
    return list(await tx.execute(select(automation_acts).where(*due).order_by(a.id).limit(200)))


async def lifted(tx: AsyncConnection, act_id: int, now: datetime) -> bool:
    """Note that a pause is over; False if it was noted before."""
    a = automation_acts.c
    noted = update(automation_acts).where(a.id == act_id, a.lifted_at.is_(None)).values(lifted_at=now)
    return bool((await tx.execute(noted)).rowcount)


async def paused_by_automation(tx: AsyncConnection, team_id: int, subjects: list[str]) -> set[str]:
    """Of these subjects, those that the last act of an automation paused or blocked."""
    a = automation_acts.c
    last = (
        select(func.max(a.id))
        .where(a.team_id == team_id, a.subject.in_(subjects), a.outcome.in_(("done", "ended")))
        .group_by(a.subject)
    )
    rows = await tx.execute(select(a.subject).where(a.id.in_(last), a.action.in_(("pause", "block"))))
    return set(rows.scalars())


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """An act with what its automation is: the campaigns it is about, its rule, and whether its creator is limited."""

    act: LoggedAct
    campaigns: list[str] | None
    rule: str
    creator_is_limited: bool


async def log(
    tx: AsyncConnection, team_id: int, *, automation_id: int | None, limit: int, after: int | None
) -> list[Logged]:
    """Latest first."""
    a = automation_acts.c
    query = (
        select(automation_acts, automations.c.name, automations.c.campaigns, automations.c.terms, outbound.c.state,
               members.c.campaigns.label("limits"))
        .join(automations, automations.c.id == a.automation_id)
        .outerjoin(members, members.c.id == automations.c.member_id)
        .outerjoin(outbound, outbound.c.id == a.outbound_id)
        .where(a.team_id == team_id)
    )  # fmt: skip
    if automation_id is not None:
        query = query.where(a.automation_id == automation_id)
    if after is not None:
        query = query.where(a.id < after)
    rows = await tx.execute(query.order_by(a.id.desc()).limit(limit))
    return [
        Logged(act=_logged(row), campaigns=row.campaigns, rule=row.terms["rule"],
               creator_is_limited=row.limits is not None)
        for row in rows
    ]  # fmt: skip


def _logged(row: Row[Any]) -> LoggedAct:
    values = {name: row._mapping[name] for name in Act.__struct_fields__}
    return LoggedAct(
        **values, id=row.id, automation=f"automation-{row.automation_id}", automation_name=row.name, at=row.at,
        lifted_at=row.lifted_at, delivery=row.state,
    )  # fmt: skip


async def count_of(tx: AsyncConnection, automation_id: int) -> int:
    """How often an automation has acted."""
    a = automation_acts.c
    query = select(func.count()).where(a.automation_id == automation_id, a.outcome.in_(DONE))
    return int((await tx.execute(query)).scalar_one())
