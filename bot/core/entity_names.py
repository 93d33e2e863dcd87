"""Names of the entities that a result mentions by code: people read names, and type codes."""

from collections import defaultdict
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.core.permissions import ENTITIES

#: Fields of results that hold codes, and the noun of the entity.
_NOUNS = {
    "campaign": "campaign", "campaigns": "campaign", "site": "site", "sites": "site", "offer": "offer",
    "offers": "offer", "alternative": "offer", "outgoing": "offer", "source": "source", "casino": "casino",
    "account": "account", "accounts": "account", "provider": "registrar", "group": "group", "groups": "group",
}  # fmt: skip


async def names_in(tx: AsyncConnection, team_id: int, result: Any) -> dict[str, dict[str, str]]:
    """Names by code, by noun, of the entities that a result of a command refers to."""
    codes: dict[str, set[str]] = defaultdict(set)
    _collect(result, codes)
    names: dict[str, dict[str, str]] = {}
    for noun, of_noun in codes.items():
        table = ENTITIES[noun].table
        query = select(table.c.code, table.c.name).where(table.c.team_id == team_id, table.c.code.in_(of_noun))
        names[noun] = {row.code: row.name for row in await tx.execute(query)}
    return names


def _collect(value: Any, codes: dict[str, set[str]]) -> None:
    if isinstance(value, list | tuple):
        for item in value:
            _collect(item, codes)
    elif isinstance(value, msgspec.Struct) and not hasattr(value, "names"):  # a merged report has its own
        for field in value.__struct_fields__:
            inner = getattr(value, field)
            of_row = field == "group" and isinstance(inner, dict)
            if field in _NOUNS and not of_row:
                codes[_NOUNS[field]].update(_codes(inner))
            if of_row:  # of a row of figures: codes by noun, values by other dimensions
                for noun in inner.keys() & _NOUNS.keys():
                    codes[noun].update(_codes(inner[noun]))
            if isinstance(inner, list | msgspec.Struct):
                _collect(inner, codes)


def _codes(value: Any) -> list[str]:
    """The codes in a field: one, a list of them (with weights), or the keys of a table by code."""
    words = [value] if isinstance(value, str) else value if isinstance(value, list | tuple | dict) else []
    return [word.partition(":")[0] for word in words if isinstance(word, str)]


def labelled(name: str, code: str) -> str:
    """`Spring push (spring-push)`; a name that is its own code stands alone."""
    return name if name == code else f"{name} ({code})"
