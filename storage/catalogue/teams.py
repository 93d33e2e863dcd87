"""Teams and the deployment's own facts."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue.names import MAX_NAME, slug
from storage.ledger.errors import Missing, Refused
from storage.tables import facts, teams


class Team(msgspec.Struct, frozen=True, kw_only=True):
    """Whose everything is: people, rooms, tokens, figures. The operator makes teams in the shell."""

    id: int
    name: str
    code: str
    created_at: datetime


async def first(tx: AsyncConnection, now: datetime) -> int:
    """The deployment's first team, made if there is none; a deployment of one team never has to name it."""
    first = (await tx.execute(select(teams.c.id).order_by(teams.c.id).limit(1))).scalar_one_or_none()
    return int(first) if first is not None else (await add(tx, "Team", now)).id


async def add(tx: AsyncConnection, name: str, now: datetime) -> Team:
    """A new team. Raises Refused at `name` for one that is empty, too long or taken."""
    await _check_name(tx, name)
    taken = set((await tx.execute(select(teams.c.code))).scalars())
    base = slug(name) or "team"
    code = next(
        candidate for candidate in (base, *(f"{base}-{n}" for n in range(2, len(taken) + 3))) if candidate not in taken
    )
    made = insert(teams).values(name=name.strip(), code=code, created_at=now).returning(teams)
    return _shown((await tx.execute(made)).one())


async def rename(tx: AsyncConnection, word: str, name: str) -> Team:
    """Give a team another name; its code stays. Raises Missing, Refused."""
    team = await find(tx, word)
    if name.strip() != team.name:
        await _check_name(tx, name)
    changed = update(teams).where(teams.c.id == team.id).values(name=name.strip()).returning(teams)
    return _shown((await tx.execute(changed)).one())


async def listed(tx: AsyncConnection) -> list[Team]:
    """All teams, the first made first."""
    return [_shown(row) for row in await tx.execute(select(teams).order_by(teams.c.id))]


async def find(tx: AsyncConnection, word: str) -> Team:
    """The team of that code or name. Raises Missing, naming those there are."""
    all_teams = await listed(tx)
    for team in all_teams:
        if word.strip().lower() in {team.code, team.name.lower()}:
            return team
    raise Missing(f"no team {word!r}: there is {', '.join(team.code for team in all_teams)}", field="team")


async def _check_name(tx: AsyncConnection, name: str) -> None:
    if not 1 <= len(name.strip()) <= MAX_NAME:
        raise Refused(f"name needs between 1 and {MAX_NAME} characters", field="name")
    if any(name.strip().lower() == team.name.lower() for team in await listed(tx)):
        raise Refused(f"name {name.strip()!r} is taken by another team", field="name")


def _shown(row: Row[Any]) -> Team:
    return msgspec.convert(row, Team, from_attributes=True)


async def fact(tx: AsyncConnection, name: str) -> str | None:
    """A deployment-wide fact by name."""
    return (await tx.execute(select(facts.c.value).where(facts.c.name == name))).scalar_one_or_none()


async def store_fact(tx: AsyncConnection, name: str, value: str) -> None:
    statement = upsert(facts).values(name=name, value=value)
    await tx.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": value}))


async def drop_fact(tx: AsyncConnection, name: str) -> None:
    await tx.execute(delete(facts).where(facts.c.name == name))
