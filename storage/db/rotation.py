"""Stored secrets under a new key: whatever was sealed, in whichever column, is sealed again."""

from typing import Any

import msgspec
from sqlalchemy import Text, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.secrets import Box
from storage.ledger.errors import CasinoFluxError
from storage.tables import accounts, automations, confirmations, dialogues, facts, registrars, sources, webhooks
from storage.tables.types import Json

_TABLES = (accounts, registrars, sources, facts, dialogues, automations, webhooks, confirmations)
_SEALED = "gAAAA"  # how every Fernet token begins: version 0x80, and a time before the year 2514


class Rotated(msgspec.Struct):
    """How many secrets were opened, how many of them sealed again, and where those are that no key opens."""

    opened: int = 0
    sealed: int = 0
    unreadable: list[str] = []


async def rotate(tx: AsyncConnection, box: Box) -> Rotated:
    """Seal every stored secret under the newest key."""
    rotated = Rotated()
    for table in _TABLES:
        columns = [column for column in table.c if isinstance(column.type, Text | Json)]
        keys = list(table.primary_key)
        for row in (await tx.execute(select(*dict.fromkeys((*keys, *columns))).with_for_update())).all():
            place = f"{table.name} {row[0]}"
            values = {column.name: _again(row._mapping[column.name], box, rotated, place) for column in columns}
            changed = {name: value for name, value in values.items() if value != row._mapping[name]}
            if changed:
                conditions = [key == row._mapping[key.name] for key in keys]
                await tx.execute(update(table).where(*conditions).values(**changed))
    return rotated


async def inspect(tx: AsyncConnection, box: Box) -> Rotated:
    """What `rotate` would find; nothing is changed."""
    found = Rotated()
    for table in _TABLES:
        columns = [column for column in table.c if isinstance(column.type, Text | Json)]
        for row in await tx.execute(select(*dict.fromkeys((*table.primary_key, *columns)))):
            for column in columns:
                _again(row._mapping[column.name], box, found, f"{table.name} {row[0]}")
    return found


def _again(value: Any, box: Box, rotated: Rotated, place: str) -> Any:
    if isinstance(value, dict):
        return {name: _again(part, box, rotated, place) for name, part in value.items()}
    if isinstance(value, list):
        return [_again(part, box, rotated, place) for part in value]
    if not isinstance(value, str) or not value.startswith(_SEALED):
        return value
    try:
        sealed = box.rotate(value)
    except CasinoFluxError:
        rotated.unreadable.append(place)
        return value
    rotated.opened += 1
    rotated.sealed += sealed is not None
    return value if sealed is None else sealed
