"""Questions before what cannot be taken back: bound to the person, the exact arguments and ten minutes."""

import secrets
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.errors import Missing, Refused
from storage.tables import confirmations

GOOD_FOR = timedelta(minutes=10)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    team_id: int
    actor: str
    command: str
    arguments: dict[str, Any]


async def ask(tx: AsyncConnection, now: datetime, question: Question) -> str:
    """Keep the question; returns the code that answers it."""
    code = secrets.token_urlsafe(9).replace("-", "x")
    await tx.execute(
        insert(confirmations).values(code=code, expires_at=now + GOOD_FOR, **msgspec.structs.asdict(question))
    )
    return code


async def redeem(tx: AsyncConnection, now: datetime, code: str, *, team_id: int, actor: str) -> Question:
    """Use the code up. Raises Missing for an unknown one, Refused for another person's, a used or an old one."""
    row = (await tx.execute(select(confirmations).where(confirmations.c.code == code))).one_or_none()
    if row is None or (row.team_id, row.actor) != (team_id, actor):
        raise Missing("nothing to confirm under this code: repeat the command", field="code")
    claimed = await tx.execute(
        update(confirmations).where(confirmations.c.id == row.id, confirmations.c.used_at.is_(None)).values(used_at=now)
    )
    if claimed.rowcount == 0:
        raise Refused("this was confirmed or cancelled already", field="code")
    if row.expires_at < now:
        raise Refused("this question is older than ten minutes: repeat the command", field="code")
    return Question(team_id=row.team_id, actor=row.actor, command=row.command, arguments=row.arguments)
