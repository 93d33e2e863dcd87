"""Presses of buttons, and forms that are sent: one at a time does what it says, and what was done is not done again."""

from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.tables import handled

DOUBLE = timedelta(seconds=15)  # a press within this time of one that was carried out is the same one again
ABANDONED = timedelta(seconds=60)  # a press that has not ended by then died with its process


async def claim(tx: AsyncConnection, now: datetime, button: str) -> bool:
    """Take a button for one press; False while another press of it is being carried out."""
    key = f"{button}:running"
    taken = upsert(handled).values(key=key, at=now).on_conflict_do_update(
        index_elements=["key"], set_={"at": now}, where=handled.c.at < now - ABANDONED
    )  # fmt: skip
    return bool((await tx.execute(taken)).rowcount)


async def release(tx: AsyncConnection, button: str) -> None:
    """The press did nothing: the next one may try."""
    await tx.execute(delete(handled).where(handled.c.key == f"{button}:running"))


async def complete(tx: AsyncConnection, now: datetime, origin: str, *, button: str, user: str) -> None:
    """The press was carried out; other buttons of the same message may be pressed again."""
    await tx.execute(delete(handled).where(handled.c.key.startswith(origin, autoescape=True)))
    for key in (f"{button}:done", f"{button}:done:{user}"):
        await tx.execute(upsert(handled).values(key=key, at=now).on_conflict_do_nothing(index_elements=["key"]))


async def pressed_before(
    tx: AsyncConnection, now: datetime, button: str, *, user: str, within: timedelta = DOUBLE
) -> str:  # fmt: skip
    """`same` or `other` if that person, or another, has pressed the button a moment ago; empty without such a press."""
    anybody, own = f"{button}:done", f"{button}:done:{user}"
    query = select(handled.c.key).where(handled.c.key.in_([anybody, own]), handled.c.at > now - within)
    keys = set((await tx.execute(query)).scalars())
    return "" if not keys else "same" if own in keys else "other"
