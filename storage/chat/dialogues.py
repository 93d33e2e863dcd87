"""Unfinished step-by-step dialogues and the commands behind buttons; both survive a restart."""

import hashlib
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.tables import dialogues, presses

GOOD_FOR = timedelta(minutes=15)
RETENTION = timedelta(days=90)


class Dialogue(msgspec.Struct, frozen=True, kw_only=True):
    """A command whose arguments are still being asked for."""

    face: str
    room: str
    user: str
    command: str
    state: dict[str, Any]
    at: datetime


async def store(tx: AsyncConnection, dialogue: Dialogue) -> None:
    """Begin or go on; one person has one dialogue per room."""
    values = msgspec.structs.asdict(dialogue)
    changed = {name: values[name] for name in ("command", "state", "at")}
    statement = upsert(dialogues).values(**values)
    await tx.execute(statement.on_conflict_do_update(index_elements=["face", "room", "user"], set_=changed))


async def load(tx: AsyncConnection, now: datetime, *, face: str, room: str, user: str) -> Dialogue | None:
    """The person's open dialogue in that room; after 15 minutes it has expired."""
    return next((d for d in await _of(tx, face=face, room=room, user=user) if d.at > now - GOOD_FOR), None)


async def expired(tx: AsyncConnection, now: datetime, *, face: str, room: str, user: str) -> Dialogue | None:
    """The person's last dialogue in that room, if it has expired and is not forgotten yet."""
    return next((d for d in await _of(tx, face=face, room=room, user=user) if d.at <= now - GOOD_FOR), None)


async def of_others(tx: AsyncConnection, now: datetime, *, face: str, room: str, user: str) -> list[Dialogue]:
    """The open dialogues of other people in that room."""
    return [d for d in await _of(tx, face=face, room=room) if d.user != user and d.at > now - GOOD_FOR]


async def _of(tx: AsyncConnection, **address: str) -> list[Dialogue]:
    query = select(dialogues).where(*(dialogues.c[name] == value for name, value in address.items()))
    return [msgspec.convert(row, Dialogue, from_attributes=True) for row in await tx.execute(query)]


async def drop(tx: AsyncConnection, *, face: str, room: str, user: str) -> bool:
    """End the dialogue; False if there was none."""
    mine = dialogues.c.face == face, dialogues.c.room == room, dialogues.c.user == user
    return bool((await tx.execute(delete(dialogues).where(*mine))).rowcount)


def press_id(command: str) -> str:
    """A short id for a button's command: the same command always has the same one."""
    return hashlib.blake2b(command.encode(), digest_size=12).hexdigest()


async def store_presses(tx: AsyncConnection, now: datetime, commands: list[str]) -> None:
    """Remember what buttons stand for, where a platform's buttons carry too little to say it."""
    for command in commands:
        statement = upsert(presses).values(id=press_id(command), command=command, at=now)
        await tx.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"at": now}))


async def pressed(tx: AsyncConnection, short: str) -> str | None:
    """The command behind a button; None for one long forgotten."""
    return (await tx.execute(select(presses.c.command).where(presses.c.id == short))).scalar_one_or_none()


async def forget(tx: AsyncConnection, now: datetime) -> None:
    """Drop dialogues after 15 minutes and buttons after three months."""
    await tx.execute(delete(dialogues).where(dialogues.c.at < now - GOOD_FOR))
    await tx.execute(delete(presses).where(presses.c.at < now - RETENTION))
