"""Names and codes: names as typed, codes their slugs, both unique per team; references by code, name or id."""

import difflib
import re
import unicodedata
from typing import Any

from sqlalchemy import ColumnElement, Row, Table, and_, func, or_, select, text, true
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.errors import Missing, Refused

MAX_NAME = 200
_LOCK = text("SELECT pg_advisory_xact_lock(7215309003)")
_LINKED = {"campaigns", "sites"}  # links hold their codes and no team's name: such a code belongs to one team only


def slug(name: str) -> str:
    """Lower case letters, digits and hyphens of a name; empty if nothing of it is left."""
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss").replace("ø", "o").replace("ł", "l"))
    ascii_only = plain.encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_only).strip("-")[:80].strip("-")


async def lock(tx: AsyncConnection) -> None:
    """On PostgreSQL wait for whoever names something else at this moment, so that both do not take the same free name;
    SQLite has one writer."""
    if tx.dialect.name == "postgresql":
        await tx.execute(_LOCK)


async def code_for(
    tx: AsyncConnection, table: Table, team_id: int, name: str, *, field: str = "name", entity_id: int | None = None
) -> str:  # fmt: skip
    """A free code for a new name. Raises Refused at `field` if the name is empty, too long or taken.

    A name in another letter case is the same name; `entity_id` is the entity that is renamed and may hold it already.
    """
    if not name.strip() or len(name) > MAX_NAME:
        raise Refused(f"{field} needs between 1 and {MAX_NAME} characters", field=field)
    await lock(tx)
    mine = table.c.team_id == team_id
    held_by = await _named(tx, table, team_id, name)
    if held_by is not None and held_by != entity_id:
        raise Refused(f"{field} {name!r} is taken: choose another, or edit that one", field=field)
    base = slug(name) or table.name.rstrip("s")
    in_links = select(table.c.code).where(table.c.code.like(f"{base}%"))
    like = in_links.where(mine)
    taken = {row.code for row in await tx.execute(like if table.name not in _LINKED else in_links)}
    if base not in taken:
        return base
    return next(f"{base}-{n}" for n in range(2, len(taken) + 3) if f"{base}-{n}" not in taken)


async def free_name(tx: AsyncConnection, table: Table, team_id: int, name: str) -> str:
    """A default name that clashes with none in any letter case: Lucky Star, Lucky Star 2 …; within the longest."""
    await lock(tx)
    name = name[: MAX_NAME - 5]
    rows = await tx.execute(select(table.c.name).where(table.c.team_id == team_id))
    taken = {row.name.casefold() for row in rows}
    numbered = (f"{name} {number}" for number in range(2, len(taken) + 3))
    return next(free for free in (name, *numbered) if free.casefold() not in taken)


async def copy_name(tx: AsyncConnection, table: Table, team_id: int, name: str) -> str:
    """A free name for a copy: Spring copy, Spring copy 2 …, of a copy, too."""
    original = re.sub(r" copy( \d+)?$", "", name)
    return await free_name(tx, table, team_id, f"{original[: MAX_NAME - 10].rstrip()} copy")


async def find(
    tx: AsyncConnection, table: Table, team_id: int, word: str | int, *, field: str,
    suggest: ColumnElement[bool] | None = None,
) -> Row[Any]:  # fmt: skip
    """The team's entity of that code, name or id. Raises Missing at `field`, with the nearest ones (of those that
    meet `suggest`)."""
    row = await known(tx, table, team_id, word)
    if row is not None:
        return row
    text, mine = str(word).strip(), table.c.team_id == team_id
    candidates = mine if suggest is None else and_(mine, suggest)
    raise await _not_found(tx, table, candidates, text, field=field)


async def known(tx: AsyncConnection, table: Table, team_id: int, word: str | int) -> Row[Any] | None:
    """The team's entity of that code, name or id; None if there is none."""
    text = str(word).strip()
    row = await called(tx, table, team_id, text)
    if row is None and text.isdecimal() and text.isascii() and len(text) < 19:
        mine = table.c.team_id == team_id, table.c.id == int(text)
        row = (await tx.execute(select(table).where(*mine).limit(1))).first()
    return row


async def called(tx: AsyncConnection, table: Table, team_id: int, text: str) -> Row[Any] | None:
    """The team's entity of that code or name, in any letter case; None if there is none."""
    by_code = select(table).where(table.c.team_id == team_id, table.c.code == text.lower()).limit(1)
    row = (await tx.execute(by_code)).first()
    if row is None and (entity_id := await _named(tx, table, team_id, text)) is not None:
        return await by_id(tx, table, entity_id)
    return row


async def _named(tx: AsyncConnection, table: Table, team_id: int, name: str) -> int | None:
    """The id of the team's entity of that name, first as typed, then in any letter case of any script.

    `lower` of SQLite knows ASCII only, so other names are compared here.
    """
    mine = select(table.c.id).where(table.c.team_id == team_id).limit(1)
    entity_id = (await tx.execute(mine.where(table.c.name == name))).scalar()
    if entity_id is None and name.isascii():
        entity_id = (await tx.execute(mine.where(func.lower(table.c.name) == name.lower()))).scalar()
    elif entity_id is None:
        names = select(table.c.id, table.c.name).where(table.c.team_id == team_id)
        folded = name.casefold()
        return next((row.id for row in await tx.execute(names) if row.name.casefold() == folded), None)
    return entity_id


async def holding(tx: AsyncConnection, table: Table, team_id: int, text: str) -> ColumnElement[bool]:
    """The condition that each word of the text is in the name or code, in any letter case of any script."""
    words = text.casefold().split()
    if text.isascii():
        name, code = func.lower(table.c.name), table.c.code
        return and_(true(), *(
            or_(name.contains(word, autoescape=True), code.contains(word, autoescape=True)) for word in words
        ))  # fmt: skip
    rows = await tx.execute(select(table.c.id, table.c.name).where(table.c.team_id == team_id))
    return table.c.id.in_([row.id for row in rows if all(word in row.name.casefold() for word in words)])


NEAR = 0.6  # of difflib: below it a name is another one


async def nearest(tx: AsyncConnection, table: Table, where: ColumnElement[bool], text: str) -> list[Row[Any]]:
    """Up to three entities with a name or code like the text, the nearest first; never one that merely exists."""
    by_word: dict[str, Any] = {}
    for row in await tx.execute(select(table.c.code, table.c.name).where(where).limit(2_000)):
        by_word |= {row.name.lower(): row, row.code: row}
    close = difflib.get_close_matches(text.lower(), list(by_word), n=6, cutoff=NEAR)
    return list(dict.fromkeys(by_word[word] for word in close))[:3]


async def _not_found(
    tx: AsyncConnection, table: Table, known_to_asker: ColumnElement[bool], text: str, *, field: str
) -> Missing:
    rows = await nearest(tx, table, known_to_asker, text)
    noun = table.name.rstrip("s")
    suggestions = " or ".join(row.code if row.code == row.name else f"{row.name} ({row.code})" for row in rows)
    hint = f"did you mean {suggestions}?"
    if not rows:
        any_row = (await tx.execute(select(table.c.id).where(known_to_asker).limit(1))).first()
        hint = f"'{noun} list' shows them" if any_row else f"there is no {noun} yet"
    return Missing(f"no {noun} {text!r}: {hint}", field, word=text, near=tuple(row.code for row in rows))


async def by_id(tx: AsyncConnection, table: Table, entity_id: int) -> Row[Any]:
    """The entity of an id we hold ourselves."""
    return (await tx.execute(select(table).where(table.c.id == entity_id))).one()
