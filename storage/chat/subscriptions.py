"""Digest subscriptions: which room wants one, when, and claiming each due moment exactly once."""

from collections.abc import Collection
from datetime import datetime, time
from typing import Any

import msgspec
from sqlalchemy import Row, Select, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue import groups
from storage.catalogue.groups import SortedScope
from storage.ledger.errors import Missing
from storage.ledger.schedule import Every, Schedule, due_after
from storage.tables import rooms, subscriptions


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A room's digest as people see it. `status` is `active`, or `lost` when its room can no longer be written to.

    Changes before `told_until` were reported in an earlier digest.
    """

    id: int
    name: str
    code: str
    every: Every
    at: str
    timezone: str
    weekdays: list[int] | None
    campaigns: list[str] | None
    groups: list[str]
    tags: list[str]
    channel: str
    room: str  # what people call it
    next_at: datetime
    told_until: datetime
    status: str


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription whose moment has come. `told_until`: changes before it were reported in an earlier digest."""

    id: int
    team_id: int
    room_id: int
    thread: str
    schedule: Schedule
    campaigns: tuple[str, ...] | None
    next_at: datetime
    told_until: datetime


class NewSubscription(msgspec.Struct, frozen=True, kw_only=True):
    team_id: int
    room_id: int
    thread: str
    schedule: Schedule
    campaigns: tuple[str, ...] | None
    scope: SortedScope | None = None


_SHOWN = select(subscriptions, rooms.c.face, rooms.c.workspace, rooms.c.room, rooms.c.title, rooms.c.lost_at).join(
    rooms, rooms.c.id == subscriptions.c.room_id
)


async def add(tx: AsyncConnection, now: datetime, new: NewSubscription) -> int:
    """Id of the subscription; an identical one is not added twice."""
    values: dict[str, Any] = {
        "team_id": new.team_id, "room_id": new.room_id, "thread": new.thread, "every": new.schedule.every,
        "at": new.schedule.at.strftime("%H:%M"), "timezone": new.schedule.timezone,
        "weekdays": list(new.schedule.weekdays) or None,
        "campaigns": None if new.campaigns is None else list(new.campaigns),
        "sorted_by": None if new.scope is None else msgspec.to_builtins(new.scope),
    }  # fmt: skip
    same = [subscriptions.c[name] == value for name, value in values.items() if value is not None]
    same += [subscriptions.c[name].is_(None) for name, value in values.items() if value is None]
    there = (await tx.execute(select(subscriptions.c.id).where(*same))).scalar()
    fresh = {"next_at": due_after(new.schedule, now), "disabled_at": None}
    if there is not None:
        await tx.execute(update(subscriptions).where(subscriptions.c.id == there).values(**fresh))
        return int(there)
    made = insert(subscriptions).values(**values, **fresh, told_until=now, created_at=now)
    return int((await tx.execute(made.returning(subscriptions.c.id))).scalar_one())


def of_team(team_id: int) -> Select[Any]:
    """The team's subscriptions with their rooms, for paging."""
    return _SHOWN.where(subscriptions.c.team_id == team_id)


async def find(tx: AsyncConnection, team_id: int, word: str) -> Subscription:
    """By id or code (`digest-7`). Raises Missing at `digest`."""
    number = word.strip().lower().removeprefix("digest-").removeprefix("#")
    query = of_team(team_id).where(
        subscriptions.c.id == (int(number) if number.isdecimal() and len(number) < 19 else 0)
    )
    row = (await tx.execute(query)).first()
    if row is None:
        raise Missing(f"no digest {word!r}: 'digest list' shows them", field="digest")
    return shown(row)


async def of_room(tx: AsyncConnection, team_id: int, room_id: int, thread: str) -> list[Subscription]:
    """Subscriptions of one room (and topic)."""
    here = (subscriptions.c.room_id == room_id, subscriptions.c.thread == thread)
    return [shown(row) for row in await tx.execute(of_team(team_id).where(*here).order_by(subscriptions.c.id))]


async def remove(tx: AsyncConnection, subscription_id: int) -> None:
    await tx.execute(delete(subscriptions).where(subscriptions.c.id == subscription_id))


async def due(tx: AsyncConnection, now: datetime, *, limit: int, but: Collection[int] = ()) -> list[Due]:
    """Subscriptions whose moment has come, longest waiting first; without the ids `but`."""
    query = (
        select(subscriptions)
        .where(subscriptions.c.next_at <= now, subscriptions.c.disabled_at.is_(None))
        .where(subscriptions.c.id.not_in(but))
        .order_by(subscriptions.c.next_at, subscriptions.c.id)
        .limit(limit)
    )
    return [await _due(tx, row) for row in (await tx.execute(query)).all()]


async def advance(tx: AsyncConnection, subscription: Due, *, next_at: datetime, told_until: datetime) -> bool:
    """Claim the due moment: true for one caller only, however many processes try."""
    here = (subscriptions.c.id == subscription.id, subscriptions.c.next_at == subscription.next_at)
    done = await tx.execute(update(subscriptions).where(*here).values(next_at=next_at, told_until=told_until))
    return done.rowcount == 1


def shown(row: Row[Any]) -> Subscription:
    when = {"day": "Daily", "week": "Weekly", "month": "Monthly"}[row.every]
    return Subscription(
        id=row.id, name=f"{when} {row.at} {row.timezone}", code=f"digest-{row.id}", every=row.every, at=row.at,
        timezone=row.timezone, weekdays=row.weekdays, campaigns=row.campaigns,
        groups=(row.sorted_by or {}).get("groups", []), tags=(row.sorted_by or {}).get("tags", []),
        channel=channel(row.face, row.room, row.thread), room=room_name(row), next_at=row.next_at,
        told_until=row.told_until or row.created_at, status="lost" if row.lost_at or row.disabled_at else "active",
    )  # fmt: skip


def channel(face: str, room: str, thread: str) -> str:
    """`slack:C123`, `telegram:-100…/topic`, `terminal`."""
    if face == "terminal":
        return "terminal"
    return f"{face}:{room}" + (f"/{thread}" if thread else "")


def room_name(row: Row[Any]) -> str:
    """The title of a row's room, and its topic; its address where no title is known."""
    if not row.title or row.face == "terminal":
        return channel(row.face, row.room, row.thread)
    name = f"#{row.title}" if row.face == "slack" and row.room.startswith("C") else str(row.title)
    return f"{name}, topic {row.thread}" if row.thread and row.face == "telegram" else name


def scope_of(row: Row[Any]) -> SortedScope | None:
    """The groups and tags that a digest or alert is of."""
    return None if row.sorted_by is None else msgspec.convert(row.sorted_by, SortedScope)


def schedule_of(row: Row[Any] | Subscription) -> Schedule:
    return Schedule(
        every=row.every, at=time.fromisoformat(row.at), timezone=row.timezone, weekdays=tuple(row.weekdays or ())
    )


async def _due(tx: AsyncConnection, row: Row[Any]) -> Due:
    campaigns = await groups.campaigns_in(
        tx, row.team_id, scope_of(row), None if row.campaigns is None else tuple(row.campaigns)
    )
    return Due(
        id=row.id, team_id=row.team_id, room_id=row.room_id, thread=row.thread, schedule=schedule_of(row),
        campaigns=campaigns, next_at=row.next_at,
        told_until=row.told_until or row.created_at,
    )  # fmt: skip
