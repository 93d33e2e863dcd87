"""What a team sorts its entities by: one group each, tags, a note; and what is put away (archived)."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, Table, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue import names
from storage.ledger.errors import Refused
from storage.tables import accounts, campaigns, casinos, domains, groups, offers, sites, sources

MOST_TAGS = 20  # of an entity
MAX_TAG = 50
MAX_GROUP = 100
MAX_NOTE = 2_000
MOST_GROUPS = 1_000  # of a team
ACTIVE, ARCHIVED = "active", "archived"
SORTING_COLUMNS = {"group_code", "tags", "note"}

#: The kinds of entities that have a group, tags and a note.
SORTED: dict[str, Table] = {
    "campaign": campaigns, "offer": offers, "casino": casinos, "site": sites, "domain": domains, "source": sources,
    "account": accounts,
}  # fmt: skip


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A group, and how many entities of each kind are in it; archived ones do not count."""

    id: int
    name: str
    code: str
    entities: dict[str, int] = {}


class Sorted(msgspec.Struct, frozen=True, kw_only=True):
    """What every sorted entity shows beside its own fields: its group by code, its tags as typed, its note."""

    group: str | None = None
    tags: list[str] = []
    note: str | None = None


def sorting_of(row: Row[Any]) -> dict[str, Any]:
    """The fields of `Sorted` of an entity's row."""
    return {"group": row.group_code, "tags": row.tags, "note": row.note}


def status_of(row: Row[Any]) -> str:
    """An entity's status as people see it: an archived one is that, whatever it was before."""
    return ARCHIVED if row.archived_from is not None else str(row.status)


async def ensure(tx: AsyncConnection, team_id: int, name: str, now: datetime) -> Row[Any]:
    """The group of that code or name in any letter case; a new one if there is none. Raises Refused at `group`."""
    text = " ".join(name.split())
    if row := await names.called(tx, groups, team_id, text):
        return row
    await names.lock(tx)
    made_meanwhile = await names.called(tx, groups, team_id, text)
    return made_meanwhile or await add(tx, team_id, text, now, field="group")


async def add(tx: AsyncConnection, team_id: int, name: str, now: datetime, *, field: str = "name") -> Row[Any]:
    """Store a group. Raises Refused at `field` for a name that is taken, too long or reserved."""
    check_name(name, field=field)
    count = select(func.count()).select_from(groups).where(groups.c.team_id == team_id)
    if (await tx.execute(count)).scalar_one() >= MOST_GROUPS:
        raise Refused(f"{field}: a team has at most {MOST_GROUPS:,} groups: group remove takes one away", field=field)
    values = {"name": name, "code": await names.code_for(tx, groups, team_id, name, field=field)}
    made = insert(groups).values(team_id=team_id, created_at=now, **values).returning(groups)
    row: Row[Any] = (await tx.execute(made)).one()
    return row


def check_name(name: str, *, field: str) -> None:
    """Raises Refused at `field` for a name that no group can have."""
    if len(name) > MAX_GROUP or not name.isprintable():
        raise Refused(f"{field}: the name of a group has at most {MAX_GROUP} characters, on one line", field=field)
    if name.casefold() == "none" or "," in name:
        raise Refused(f"{field}: {name!r} names no group: write a name without a comma", field=field)


async def remove(tx: AsyncConnection, row: Row[Any]) -> None:
    """Remove a group; what was in it is in none."""
    for table in SORTED.values():
        mine = table.c.team_id == row.team_id, table.c.group_code == row.code
        await tx.execute(update(table).where(*mine).values(group_code=None))
    await tx.execute(delete(groups).where(groups.c.id == row.id))


async def shown(tx: AsyncConnection, rows: Sequence[Row[Any]], visible: dict[str, ColumnElement[bool]]) -> list[Group]:
    """Groups with how many entities are in them, of those that meet each kind's condition."""
    counts: dict[str, dict[str, int]] = {row.code: {} for row in rows}
    for noun, table in SORTED.items() if rows else ():
        c = table.c
        here = c.team_id == rows[0].team_id, c.group_code.in_(counts), c.archived_from.is_(None), visible[noun]
        for code, n in await tx.execute(select(c.group_code, func.count()).where(*here).group_by(c.group_code)):
            counts[code][noun] = n
    return [Group(id=row.id, name=row.name, code=row.code, entities=counts[row.code]) for row in rows]


def read_tags(words: Sequence[str], current: Sequence[str] = ()) -> list[str]:
    """Tags as `tags=` sets them: `push,ios` are those and no others, `+push,-ios` adds one and takes one away.

    One tag in another letter case is the same tag. Raises Refused at `tags`.
    """
    signed = [word[:1] in {"+", "-"} for word in words]
    if any(signed) and not all(signed):
        raise Refused("tags: write either the tags themselves, or +tag and -tag to add and take away", field="tags")
    tags = {} if not any(signed) else {tag.casefold(): tag for tag in current}
    for word in words:
        tag = _tag(word.lstrip("+-") if any(signed) else word)
        if word.startswith("-"):
            tags.pop(tag.casefold(), None)
        else:
            tags.setdefault(tag.casefold(), tag)
    if len(tags) > MOST_TAGS:
        raise Refused(f"tags: {len(tags)} tags, at most {MOST_TAGS} may be set", field="tags")
    return list(tags.values())


def _tag(word: str) -> str:
    tag = " ".join(word.split())
    if not tag or len(tag) > MAX_TAG or "," in tag or not tag.isprintable() or tag.casefold() == "none":
        raise Refused(f"tags: {word!r} is no tag: 1 to {MAX_TAG} characters without a comma", field="tags")
    return tag


def has_tag(tags: Iterable[str], wanted: Collection[str]) -> bool:
    """Whether one of these tags is among those wanted, which are folded."""
    return any(tag.casefold() in wanted for tag in tags)


async def in_groups(tx: AsyncConnection, table: Table, team_id: int, words: Collection[str]) -> ColumnElement[bool]:
    """The condition that an entity is in one of the groups of these codes or names; `none`: in no group.

    Raises Missing at `group`.
    """
    code = table.c.group_code
    named = [word for word in words if word.casefold() != "none"]
    codes = [(await names.find(tx, groups, team_id, word, field="group")).code for word in named]
    return or_(code.in_(codes), code.is_(None)) if len(named) < len(words) else code.in_(codes)


async def tagged(tx: AsyncConnection, table: Table, team_id: int, tags: Collection[str]) -> ColumnElement[bool]:
    """The condition that an entity has one of these tags, in any letter case of any script."""
    wanted = {tag.casefold() for tag in tags}
    rows = await tx.execute(select(table.c.id, table.c.tags).where(*_with_tags(table, team_id)))
    return table.c.id.in_([row.id for row in rows if has_tag(row.tags, wanted)])


async def tags_of(tx: AsyncConnection, table: Table, team_id: int, visible: ColumnElement[bool]) -> list[str]:
    """The tags that a kind's entities have, of those that meet a condition; the most frequent first."""
    rows = await tx.execute(select(table.c.tags).where(*_with_tags(table, team_id), visible))
    counts: dict[str, tuple[int, str]] = {}
    for row in rows:
        for tag in row.tags:
            before = counts.get(tag.casefold(), (0, tag))
            counts[tag.casefold()] = before[0] - 1, before[1]
    return [tag for _, tag in sorted(counts.values())]


def _with_tags(table: Table, team_id: int) -> tuple[ColumnElement[bool], ...]:
    return table.c.team_id == team_id, table.c.tags != []


class SortedScope(msgspec.Struct, frozen=True, kw_only=True):
    """Campaigns that are meant by their groups and tags, as these are whenever it is asked."""

    groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


async def campaigns_in(
    tx: AsyncConnection, team_id: int, scope: SortedScope | None, within: tuple[str, ...] | None
) -> tuple[str, ...] | None:
    """Codes of the campaigns of a scope now, of those `within`; None where neither says any: all."""
    if scope is None or scope == SortedScope():
        return within
    codes = await campaigns_of(tx, team_id, group_codes=scope.groups, tags=scope.tags)
    return codes if within is None else tuple(code for code in codes if code in within)


async def campaigns_of(
    tx: AsyncConnection, team_id: int, *, group_codes: Collection[str] = (), tags: Collection[str] = ()
) -> tuple[str, ...]:
    """Codes of the campaigns that are in one of these groups (by code) and have one of these tags, where each is
    given; archived ones included, since their figures stay."""
    c = campaigns.c
    query = select(c.code, c.group_code, c.tags).where(c.team_id == team_id).order_by(c.id)
    wanted = {tag.casefold() for tag in tags}
    return tuple(
        row.code for row in await tx.execute(query)
        if (not group_codes or (row.group_code or "none") in group_codes) and (not wanted or has_tag(row.tags, wanted))
    )  # fmt: skip
