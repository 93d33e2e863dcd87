"""Messages on their way to rooms: queued in the transaction of what they tell, sent once, in order per room."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import and_, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.tables import messages, rooms

CLAIM = timedelta(minutes=2)  # longer than any send lasts
WAITS = timedelta(days=1)  # for a platform that is not set up (any more): yesterday's news is none
RETENTION = timedelta(days=30)  # after a message was sent or given up


class Queued(msgspec.Struct, frozen=True, kw_only=True):
    """A message claimed for sending, with the room it goes to."""

    id: int
    team_id: int
    room_id: int
    key: str
    thread: str
    message: Any
    attempts: int
    silent: bool
    answers: str | None
    face: str
    workspace: str
    room: str
    private: bool


async def queue(
    tx: AsyncConnection,
    *,
    team_id: int,
    room_id: int,
    key: str,
    message: Any,
    now: datetime,
    thread: str = "",
    subscription_id: int | None = None,
    answers: str | None = None,
    silent: bool = False,
) -> bool:
    """Queue a bot.core.message.Message for a room; False if the key was queued before.

    `thread` is the topic or thread; `answers` the key of an earlier message to stand under.
    """
    values = {
        "team_id": team_id, "room_id": room_id, "key": key, "message": msgspec.to_builtins(message),
        "thread": thread, "subscription_id": subscription_id, "answers": answers, "silent": silent,
    }  # fmt: skip
    statement = upsert(messages).values(state="queued", next_at=now, created_at=now, **values)
    return bool((await tx.execute(statement.on_conflict_do_nothing(index_elements=["key"]))).rowcount)


async def claim(
    tx: AsyncConnection, now: datetime, *, faces: Collection[str], busy: Collection[int], limit: int
) -> list[Queued]:
    """Claim the next message of each room (on one of these faces) that is not busy, oldest first.

    A claim is a compare-and-set: of two processes one gets it. A room whose first message waits (or is being sent
    elsewhere) is left alone, so that its messages stay in order.
    """
    first = (
        select(func.min(messages.c.id).label("id")).where(messages.c.state == "queued").group_by(messages.c.room_id)
    ).subquery()
    due = (
        select(messages, rooms.c.face, rooms.c.workspace, rooms.c.room, rooms.c.private)
        .join(first, first.c.id == messages.c.id)
        .join(rooms, rooms.c.id == messages.c.room_id)
        .where(messages.c.next_at <= now, messages.c.claimed_until.is_(None))
        .where(rooms.c.face.in_(faces), messages.c.room_id.not_in(busy))
        .order_by(messages.c.id)
        .limit(limit)
    )
    rows = (await tx.execute(due)).all()
    return [msgspec.convert(row, Queued, from_attributes=True) for row in rows if await _take(tx, row.id, now)]


async def _take(tx: AsyncConnection, message_id: int, now: datetime) -> bool:
    free = messages.c.id == message_id, messages.c.state == "queued", messages.c.claimed_until.is_(None)
    taken = update(messages).where(*free).values(claimed_until=now + CLAIM, attempts=messages.c.attempts + 1)
    return bool((await tx.execute(taken)).rowcount)


async def sent(tx: AsyncConnection, message_id: int, posted_as: str) -> None:
    mine = messages.c.id == message_id
    await tx.execute(update(messages).where(mine).values(state="sent", posted_as=posted_as, error=None))


async def retry(tx: AsyncConnection, message_id: int, at: datetime, why: str) -> None:
    """It surely was not posted: try again then."""
    values = {"next_at": at, "claimed_until": None, "error": why}
    await tx.execute(update(messages).where(messages.c.id == message_id).values(**values))


async def dead(tx: AsyncConnection, message_id: int, why: str) -> None:
    await tx.execute(update(messages).where(messages.c.id == message_id).values(state="dead", error=why))


async def expire_lapsed(tx: AsyncConnection, now: datetime) -> int:
    """Messages whose sender died while sending: they may have been posted, so they are not posted again."""
    lapsed = and_(messages.c.state == "queued", messages.c.claimed_until < now)
    why = "the process stopped while sending: it may have arrived, so it is not sent again"
    return (await tx.execute(update(messages).where(lapsed).values(state="dead", error=why))).rowcount


async def expire_unreachable(tx: AsyncConnection, now: datetime, faces: Collection[str]) -> int:
    """What cannot be sent: a terminal is not written to, and a platform that is not among `faces` may never be."""
    stale = messages.c.created_at < now - WAITS
    elsewhere = select(rooms.c.id).where(rooms.c.face.not_in({*faces, "terminal"}))
    terminals = select(rooms.c.id).where(rooms.c.face == "terminal")
    unreachable = or_(messages.c.room_id.in_(terminals), and_(stale, messages.c.room_id.in_(elsewhere)))
    waiting = messages.c.state == "queued", messages.c.claimed_until.is_(None)
    why = "there is no way to write to that room from here"
    return (await tx.execute(update(messages).where(*waiting, unreachable).values(state="dead", error=why))).rowcount


async def forget(tx: AsyncConnection, now: datetime) -> None:
    """Drop what was sent or given up long ago."""
    over = messages.c.state != "queued", messages.c.created_at < now - RETENTION
    await tx.execute(delete(messages).where(*over))


async def due(tx: AsyncConnection, now: datetime, faces: Collection[str]) -> bool:
    """Whether anything waits to be sent on these faces, or given up; cheap enough to ask each second."""
    ready = and_(messages.c.claimed_until.is_(None), messages.c.next_at <= now, rooms.c.face.in_(faces))
    query = (
        select(messages.c.id)
        .join(rooms, rooms.c.id == messages.c.room_id)
        .where(messages.c.state == "queued", or_(ready, messages.c.claimed_until < now))
    )
    return (await tx.execute(query.limit(1))).first() is not None


async def posted_as(tx: AsyncConnection, key: str) -> str | None:
    """The platform's id of an earlier message, to answer or change it."""
    return (await tx.execute(select(messages.c.posted_as).where(messages.c.key == key))).scalar_one_or_none()
