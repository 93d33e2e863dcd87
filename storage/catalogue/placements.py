"""Placement lists of sources and campaigns: what is on them, and what clicks are held against."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.clicks.placements import Lists
from storage.tables import campaigns, placement_lists, placements, sources

MOST = 100_000  # placements of one list
_CHUNK = 500  # of one statement
_READ = 2_000  # rows read before others get their turn


class ListKey(msgspec.Struct, frozen=True, kw_only=True):
    """What a list is of: a source or a campaign (the other id is None), and the sub id."""

    source_id: int | None = None
    campaign_id: int | None = None
    sub: str

    def conditions(self, team_id: int) -> list[ColumnElement[bool]]:
        c = placement_lists.c
        owner = c.source_id == self.source_id if self.source_id else c.campaign_id == self.campaign_id
        return [c.team_id == team_id, owner, c.sub == self.sub]


class PlacementEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A placement on a list. `source` or `campaign` is whose list it is."""

    id: int
    placement: str
    list_: str = msgspec.field(name="list")
    source: str | None
    campaign: str | None
    sub: str
    note: str | None
    added_by: str
    added_at: datetime


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """What a change did: placements that were put on the list, with those among them that were on the other one."""

    added: list[str]
    moved: list[str]
    total: int
    first_id: int | None


async def ids_of(tx: AsyncConnection, team_id: int, key: ListKey) -> dict[str, int]:
    """Ids of the lists there are, by kind."""
    query = select(placement_lists.c.kind, placement_lists.c.id).where(*key.conditions(team_id))
    return {row.kind: row.id for row in await tx.execute(query)}


async def put(
    tx: AsyncConnection, team_id: int, key: ListKey, kind: str, *, values: Sequence[str], note: str | None, by: str,
    now: datetime,
) -> Changed:  # fmt: skip
    """Put placements on a list, and off the other list of the same source or campaign and sub id."""
    ids = await ids_of(tx, team_id, key)
    moved = [value for other in ids if other != kind for value in await _take_off(tx, ids[other], values)]
    if kind not in ids:
        row = {"team_id": team_id, "kind": kind, **msgspec.structs.asdict(key)}
        made = await tx.execute(insert(placement_lists).values(**row).returning(placement_lists.c.id))
        ids[kind] = int(made.scalar_one())
    added: dict[str, int] = {}
    for start in range(0, len(values), _CHUNK):
        rows = [
            {"list_id": ids[kind], "placement": value, "note": note, "added_by": by, "added_at": now}
            for value in values[start : start + _CHUNK]
        ]
        statement = upsert(placements).values(rows).on_conflict_do_nothing(index_elements=["list_id", "placement"])
        for stored in await tx.execute(statement.returning(placements.c.id, placements.c.placement)):
            added[stored.placement] = stored.id
    if added:
        await _touch(tx, ids[kind])
    total = await count(tx, ids[kind])
    return Changed(added=list(added), moved=moved, total=total, first_id=min(added.values(), default=None))


async def take_off(tx: AsyncConnection, team_id: int, key: ListKey, values: Sequence[str]) -> dict[str, list[str]]:
    """Take placements off the lists they are on; returns which, by the list's kind."""
    ids = await ids_of(tx, team_id, key)
    return {kind: taken for kind, number in ids.items() if (taken := await _take_off(tx, number, values))}


async def clear(tx: AsyncConnection, team_id: int, key: ListKey, kind: str) -> int:
    """Empty a list; returns how many were on it."""
    number = (await ids_of(tx, team_id, key)).get(kind)
    if number is None:
        return 0
    done = await tx.execute(delete(placements).where(placements.c.list_id == number))
    await _touch(tx, number)
    return int(done.rowcount)


async def _take_off(tx: AsyncConnection, list_id: int, values: Sequence[str]) -> list[str]:
    taken: list[str] = []
    p = placements.c
    for start in range(0, len(values), _CHUNK):
        these = p.list_id == list_id, p.placement.in_(values[start : start + _CHUNK])
        taken += (await tx.execute(delete(placements).where(*these).returning(p.placement))).scalars()
    if taken:
        await _touch(tx, list_id)
    return taken


async def _touch(tx: AsyncConnection, list_id: int) -> None:
    c = placement_lists.c
    await tx.execute(update(placement_lists).where(c.id == list_id).values(version=c.version + 1))


async def count(tx: AsyncConnection, list_id: int) -> int:
    query = select(func.count()).select_from(placements).where(placements.c.list_id == list_id)
    return int((await tx.execute(query)).scalar_one())


def entries_query(team_id: int) -> Any:
    """Entries of the team's lists with the codes of what they are of."""
    listed, c = placement_lists.c, placements.c
    query = select(
        c.id, c.placement, listed.kind, sources.c.code.label("source"), campaigns.c.code.label("campaign"), listed.sub,
        c.note, c.added_by, c.added_at,
    ).join_from(placements, placement_lists, listed.id == c.list_id)  # fmt: skip
    query = query.outerjoin(sources, sources.c.id == listed.source_id)
    return query.outerjoin(campaigns, campaigns.c.id == listed.campaign_id).where(listed.team_id == team_id)


def entry_of(row: Row[Any]) -> PlacementEntry:
    fields = dict(row._mapping)
    return PlacementEntry(list_=fields.pop("kind"), **fields)


async def values_of(tx: AsyncConnection, team_id: int, key: ListKey, kind: str) -> list[str]:
    """All placements on a list, in the order they were put there."""
    number = (await ids_of(tx, team_id, key)).get(kind)
    return [] if number is None else await _read(tx, number)


async def _read(tx: AsyncConnection, list_id: int) -> list[str]:
    values: list[str] = []
    c, last = placements.c, 0
    while True:
        query = select(c.id, c.placement).where(c.list_id == list_id, c.id > last).order_by(c.id).limit(_READ)
        rows = (await tx.execute(query)).all()
        values += [row.placement for row in rows]
        if len(rows) < _READ:
            return values
        last = rows[-1].id
        await asyncio.sleep(0)


class LoadedList(msgspec.Struct, frozen=True):
    """A list in memory, as of a version of it."""

    version: int
    values: frozenset[str]


Loaded = dict[int, LoadedList]
"""By the list's id."""
OwnerLists = dict[int, dict[str, Lists]]
"""By the id of a source or campaign, then by sub id."""


class Placements(msgspec.Struct, frozen=True):
    """All lists of all teams, for clicks; `loaded` spares reading again what has not changed."""

    by_source: Mapping[int, Mapping[str, Lists]]
    by_campaign: Mapping[int, Mapping[str, Lists]]
    loaded: Loaded


NO_PLACEMENTS = Placements({}, {}, {})


async def load(tx: AsyncConnection, before: Placements = NO_PLACEMENTS) -> Placements:
    """All lists, of which those that changed since `before` are read."""
    loaded: Loaded = {}
    by_source: OwnerLists = {}
    by_campaign: OwnerLists = {}
    for row in (await tx.execute(select(placement_lists))).all():
        known = before.loaded.get(row.id)
        if known is None or known.version != row.version:
            known = LoadedList(row.version, frozenset(await _read(tx, row.id)))
        loaded[row.id] = known
        if known.values:
            owner = (
                by_source.setdefault(row.source_id, {})
                if row.source_id
                else by_campaign.setdefault(row.campaign_id, {})
            )
            lists = owner.get(row.sub, Lists())
            owner[row.sub] = msgspec.structs.replace(lists, **{row.kind: known.values})
    return Placements(by_source, by_campaign, loaded)
