"""Imports from other trackers as they are asked for, read and carried out, and the parts that were read."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Protocol, TypeVar

import msgspec
from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.engine import Database
from storage.ledger.errors import Missing, Refused
from storage.ledger.imports.tracker import Days, OldClicks, Part, Problem, Setup
from storage.tables import import_parts, imports

QUEUED, READY, RUNNING, DONE, FAILED = "queued", "ready", "running", "done", "failed"
ROWS_PER_PART = 1_000
PartOf = TypeVar("PartOf", Setup, Days, OldClicks)
_KINDS: Mapping[type[Any], str] = {Setup: "setup", Days: "days", OldClicks: "clicks"}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What an import was asked for: days of history, first day of our figures, what raw statuses mean, and what the
    connector takes beside its login."""

    first: date
    last: date
    cutover: date
    meaning: dict[str, str] = {}
    click_days: int = 30
    options: dict[str, str] = {}


class History(msgspec.Struct, frozen=True, kw_only=True):
    """Daily figures that were read, before any is left out for a cut-over; amounts in micro-units by currency."""

    rows: int = 0
    first: date | None = None
    last: date | None = None
    clicks: int = 0
    conversions: int = 0
    revenue: dict[str, int] = {}
    cost: dict[str, int] = {}
    unrated: list[str] = []  # currencies without a rate on the last day
    nowhere: dict[str, int] = {}  # clicks of campaigns that are not there (deleted), by their ids


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The dry run: what would be made, what is here already and stays as it is, what cannot come over and why."""

    make: dict[str, int]
    known: dict[str, int]
    renamed: list[str] = []
    kept: list[str] = []  # edited here since an earlier import
    problems: list[Problem] = []
    more_problems: int = 0
    history: History | None = None
    statuses: dict[str, int] = {}
    old_clicks: int = 0


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What an import did."""

    made: dict[str, int] = {}
    problems: list[Problem] = []
    days: int = 0
    old_clicks: int = 0
    left_out: int = 0  # click ids beyond what a team may have


class Import(msgspec.Struct, frozen=True, kw_only=True):
    """An import as every face shows it; never its login."""

    id: int
    system: str
    host: str
    state: str
    made_by: str
    created_at: datetime
    first: date
    last: date
    cutover: date
    meaning: dict[str, str]
    plan: Plan | None
    result: Result | None
    progress: dict[str, int] | None
    error: str | None


async def add(
    tx: AsyncConnection, *, team_id: int, now: datetime, state: str, settings: Settings, named: Mapping[str, Any]
) -> int:
    """Store an import and let the parts of earlier ones of the same tracker go. `named` holds system, host, made_by,
    credentials_secret and room. Raises Refused while one of that tracker is under way."""
    same = (
        imports.c.team_id == team_id, imports.c.system == named["system"], imports.c.host == named["host"],
    )  # fmt: skip
    busy = select(imports.c.id).where(*same, imports.c.state.in_((QUEUED, RUNNING))).limit(1)
    if (number := (await tx.execute(busy)).scalar()) is not None:
        raise Refused(f"import {number} of the same tracker is under way: 'import show {number}' says how far it is")
    await tx.execute(delete(import_parts).where(import_parts.c.import_id.in_(select(imports.c.id).where(*same))))
    made = await tx.execute(
        insert(imports)
        .values(team_id=team_id, created_at=now, state=state, settings=msgspec.to_builtins(settings), **named)
        .returning(imports.c.id)
    )
    return int(made.scalar_one())


def packed(part: Part) -> tuple[str, bytes]:
    """A part as it is stored: its kind and content."""
    return _KINDS[type(part)], zlib.compress(msgspec.msgpack.encode(part), 1)


async def add_parts(tx: AsyncConnection, import_id: int, first: int, parts: Sequence[tuple[str, bytes]]) -> None:
    """Store parts, numbered from `first` on, by one statement: clicks wait while a transaction writes."""
    rows = [
        {"import_id": import_id, "number": number, "kind": kind, "content": content}
        for number, (kind, content) in enumerate(parts, first)
    ]
    if rows:
        await tx.execute(insert(import_parts), rows)


async def forget_parts(tx: AsyncConnection, import_id: int) -> None:
    await tx.execute(delete(import_parts).where(import_parts.c.import_id == import_id))


async def count_parts(tx: AsyncConnection, import_id: int) -> int:
    query = select(func.count()).select_from(import_parts).where(import_parts.c.import_id == import_id)
    return int((await tx.execute(query)).scalar_one())


class Whose(msgspec.Struct, frozen=True, kw_only=True):
    """Which tracker of which team: what its ids belong to."""

    team_id: int
    system: str
    host: str


class Parts(Protocol):
    """What was read of a tracker."""

    def each(self, kind: type[PartOf]) -> AsyncIterator[PartOf]:
        """The parts of a kind, in order."""


class StoredParts:
    """The parts of an import, each read by itself, so that no transaction lasts."""

    def __init__(self, database: Database, import_id: int) -> None:
        self._database, self._import_id = database, import_id

    async def each(self, kind: type[PartOf]) -> AsyncIterator[PartOf]:
        p, after = import_parts.c, -1
        mine = p.import_id == self._import_id, p.kind == _KINDS[kind]
        while True:
            query = select(p.number, p.content).where(*mine, p.number > after).order_by(p.number).limit(1)
            async with self._database.read() as tx:
                row = (await tx.execute(query)).first()
            if row is None:
                return
            after = row.number
            yield _unpacked(row.content, kind)


class PackedParts:
    """Parts that are not stored yet."""

    def __init__(self, packed: Sequence[tuple[str, bytes]]) -> None:
        self._packed = packed

    async def each(self, kind: type[PartOf]) -> AsyncIterator[PartOf]:
        for name, content in self._packed:
            if name == _KINDS[kind]:
                yield _unpacked(content, kind)
                await asyncio.sleep(0)


def _unpacked(content: bytes, kind: type[PartOf]) -> PartOf:
    return msgspec.msgpack.decode(zlib.decompress(content), type=kind)


async def setup_of(parts: Parts) -> Setup:
    """What the tracker has set up; empty where only figures were read."""
    async for setup in parts.each(Setup):
        return setup
    return Setup()


async def find(tx: AsyncConnection, team_id: int, number: int | None) -> Row[Any]:
    """The team's import of that number, the latest without one. Raises Missing at `import`."""
    query = select(imports).where(imports.c.team_id == team_id).order_by(imports.c.id.desc()).limit(1)
    row = (await tx.execute(query if number is None else query.where(imports.c.id == number))).first()
    if row is None:
        hint = "no import yet: import keitaro, binom, voluum, redtrack, statsdrone or csv"
        raise Missing(hint if number is None else f"no import {number}: 'import list' shows them", field="import")
    return row


async def listed(tx: AsyncConnection, team_id: int, *, limit: int, after: int | None) -> Sequence[Row[Any]]:
    """Latest first."""
    query = select(imports).where(imports.c.team_id == team_id).order_by(imports.c.id.desc()).limit(limit)
    return (await tx.execute(query if after is None else query.where(imports.c.id < after))).all()


async def next_due(tx: AsyncConnection) -> Row[Any] | None:
    """The oldest import that is to be read or carried out."""
    query = select(imports).where(imports.c.state.in_((QUEUED, RUNNING))).order_by(imports.c.id).limit(1)
    return (await tx.execute(query)).first()


async def change(tx: AsyncConnection, import_id: int, **values: Any) -> None:
    await tx.execute(
        update(imports).where(imports.c.id == import_id).values(
            **{name: msgspec.to_builtins(value) if name in _JSON else value for name, value in values.items()}
        )
    )  # fmt: skip


_JSON = {"settings", "plan", "progress", "result", "room"}


def settings_of(row: Row[Any]) -> Settings:
    return msgspec.convert(row.settings, Settings)


def shown(row: Row[Any]) -> Import:
    """An import as faces show it."""
    settings = settings_of(row)
    return Import(
        id=row.id, system=row.system, host=row.host, state=row.state, made_by=row.made_by, created_at=row.created_at,
        first=settings.first, last=settings.last, cutover=settings.cutover, meaning=settings.meaning,
        plan=msgspec.convert(row.plan, Plan) if row.plan else None,
        result=msgspec.convert(row.result, Result) if row.result else None, progress=row.progress, error=row.error,
    )  # fmt: skip
