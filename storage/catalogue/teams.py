"""Teams and the deployment's own facts."""

from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.tables import facts, teams


async def first(tx: AsyncConnection, now: datetime) -> int:
    """The deployment's first team, made if there is none; a deployment of one team never has to name it."""
    found = (await tx.execute(select(teams.c.id).order_by(teams.c.id).limit(1))).scalar_one_or_none()
    if found is not None:
        return int(found)
    made = await tx.execute(insert(teams).values(name="Team", created_at=now).returning(teams.c.id))
    return int(made.scalar_one())


async def fact(tx: AsyncConnection, name: str) -> str | None:
    """A deployment-wide fact by name."""
    return (await tx.execute(select(facts.c.value).where(facts.c.name == name))).scalar_one_or_none()


async def keep_fact(tx: AsyncConnection, name: str, value: str) -> None:
    statement = upsert(facts).values(name=name, value=value)
    await tx.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": value}))


async def drop_fact(tx: AsyncConnection, name: str) -> None:
    await tx.execute(delete(facts).where(facts.c.name == name))
