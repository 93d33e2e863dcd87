"""Casino entries: the brands players see. Draft until a person has reviewed what is said about them."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue import names
from storage.catalogue.groups import Sorted, sorting_of, status_of
from storage.tables import casinos

DRAFT, REVIEWED = "draft", "reviewed"


class Casino(Sorted, frozen=True, kw_only=True):
    """A casino entry, as commands and pages see it. `markets` are ISO-2 countries; empty: everywhere."""

    id: int
    name: str
    code: str
    status: str
    bonus: str | None
    free_spins: str | None
    wagering: str | None
    payment_methods: tuple[str, ...]
    markets: tuple[str, ...]
    licence: str | None
    terms_url: str | None
    logo: str | None


async def ensure(tx: AsyncConnection, team_id: int, name: str, now: datetime) -> Row[Any]:
    """The casino of that code, name or id; a new draft of that name if there is none yet.

    Raises Refused at `casino` for an empty or over-long name.
    """
    if row := await names.known(tx, casinos, team_id, name):
        return row
    await names.lock(tx)
    made_meanwhile = await names.called(tx, casinos, team_id, name.strip())
    return made_meanwhile or await _new(tx, team_id, name.strip(), now)


async def _new(tx: AsyncConnection, team_id: int, name: str, now: datetime) -> Row[Any]:
    code = await names.code_for(tx, casinos, team_id, name, field="casino")
    values = {"name": name, "code": code, "status": DRAFT, "payment_methods": [], "markets": [], "created_at": now}
    made: Row[Any] = (await tx.execute(insert(casinos).values(team_id=team_id, **values).returning(casinos))).one()
    return made


async def find(tx: AsyncConnection, team_id: int, word: str | int) -> Row[Any]:
    """Raises Missing at `casino`, with the nearest ones."""
    return await names.find(tx, casinos, team_id, word, field="casino")


async def change(tx: AsyncConnection, casino_id: int, values: dict[str, Any]) -> Casino:
    """Set columns of a casino; returns it as it is now."""
    changed = await tx.execute(update(casinos).where(casinos.c.id == casino_id).values(**values).returning(casinos))
    return entry(changed.one())


def entry(row: Row[Any]) -> Casino:
    columns = {name: row._mapping[name] for name in Casino.__struct_fields__ if name in row._mapping}
    return msgspec.convert({**columns, "status": status_of(row), **sorting_of(row)}, Casino)
