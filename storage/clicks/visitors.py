"""Who was seen in the last 24 hours, and which offer they saw: what makes a click unique, and binds a visitor.

A visitor is known by place: a campaign, and where a campaign says so a site, a team, an offer of the campaign (`places`
of storage.ledger.clicks.visitor).

On SQLite, which one process serves, visitors are kept in its memory: a row each would touch a page of a random place
for every new visitor. After a restart they are read again from the clicks, which name their visitors. On PostgreSQL,
which several processes share, they are rows of `visitors`.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import or_, select

from storage.db.batch_connection import BatchConnection, PostgresBatchConnection
from storage.db.engine import Database
from storage.ledger.clicks.visitor import Recognition, offer_place, recognition, visitor_id
from storage.tables import campaigns, clicks

SPAN = 4 * 3_600_000 << 22  # four hours, in click ids
OFFER_BITS = 32
OFFER = (1 << OFFER_BITS) - 1
"""The offer in an entry, which holds click and offer in one number."""
_CHUNK = 2_000  # rows read before others get their turn
_PATIENCE = 10.0  # seconds

SeenVisitor = tuple[int, int, int]
"""visitor, click, offer."""

KeyPair = tuple[int, int]
"""A visitor's key, and the one under yesterday's hash key (0: none)."""


class FurtherKeys(msgspec.Struct):
    """What a click asks of its visitor where the campaign knows visitors otherwise than for a day by themselves.

    `lifetime`: how long a visit counts, in click ids; `scope`: keys of what the visitor is new to (None: the
    campaign); `offers`: keys by offer, of campaigns whose visitors go on to offers they have not seen; `seen`: those
    they have seen; `known`: a cookie says that they are not new.
    """

    lifetime: int
    scope: KeyPair | None = None
    offers: dict[int, KeyPair] = {}
    seen: frozenset[int] = frozenset()
    known: bool = False

    def pairs(self) -> list[KeyPair]:
        return [*self.offers.values(), self.scope] if self.scope else [*self.offers.values()]


class VisitorMemory:
    """Visitors of the last 24 hours, in one dictionary per four hours: what is too old goes a dictionary at a time."""

    def __init__(self) -> None:
        self._spans: list[dict[int, int]] = [{}]  # latest first; values are entries
        self._first_click = 0  # of the latest span

    def find(self, visitor: int, since: int) -> int | None:
        """A visitor's entry, if their click is not older than the id `since`; None if unknown."""
        for span in self._spans:
            entry = span.get(visitor)
            if entry is not None:
                return entry if entry >> OFFER_BITS >= since else None
        return None

    def remember_all(self, rows: Iterable[SeenVisitor], since: int) -> None:
        """Remember visitors; what is older than `since` may be forgotten."""
        latest = self._spans[0]
        for visitor, click, offer in rows:
            if click - self._first_click >= SPAN:
                latest, self._first_click = {}, click
                self._spans.insert(0, latest)
                self._forget(since)
            latest[visitor] = click << OFFER_BITS | offer

    def _forget(self, since: int) -> None:
        """A span's clicks began at most four hours before the next span's."""
        oldest_kept = (self._first_click - since) // SPAN + 3
        del self._spans[max(2, oldest_kept) :]

    def rows(self) -> list[SeenVisitor]:
        """All visitors, each once."""
        entries: dict[int, int] = {}
        for span in reversed(self._spans):
            entries |= span
        return [(visitor, entry >> OFFER_BITS, entry & OFFER) for visitor, entry in entries.items()]

    async def load(self, database: Database, since: int) -> None:
        """Read the visitors of the clicks since then again."""
        c = clicks.c
        query = select(c.id, c.visitor, c.campaign_id, c.site_id, c.offer_id).order_by(c.id).limit(_CHUNK)
        async with database.read() as tx:
            rules = {row.id: recognition(row) for row in await tx.execute(select(campaigns))}
        further = {number: rule for number, rule in rules.items() if rule is not None}
        people = or_(c.unique_click == 1, c.campaign_id.in_(further)), c.bot == 0
        last = since - 1
        while True:
            async with database.read() as tx:
                rows = (await tx.execute(query.where(c.id > last, *people))).all()
            for row in rows:
                if row.visitor:
                    self._load_click(row, since, further.get(row.campaign_id))
            if len(rows) < _CHUNK:
                return
            last = rows[-1][0]
            await asyncio.sleep(0)

    def _load_click(self, row: Any, since: int, rule: Recognition | None) -> None:
        """A click's visitor at all places it is known by; at each the first click of its time counts."""
        places = [row.campaign_id or -row.site_id]
        if rule is not None:
            places += [rule.scope] if rule.scope else []
            places += [offer_place(row.campaign_id, row.offer_id)] if rule.unseen else []
        oldest = row.id - rule.lifetime if rule else since
        browser = int.from_bytes(row.visitor, "big")
        for key in (visitor_id(browser, place) for place in places):
            if rule is None or self.find(key, oldest) is None:
                self.remember_all([(key, row.id, row.offer_id)], since)


class ProcessVisitors:
    """On SQLite: in memory, believed once the batch that brought them is committed."""

    def __init__(self) -> None:
        self.memory = VisitorMemory()
        self._uncommitted: list[SeenVisitor] = []

    async def find(self, _connection: BatchConnection, keys: Sequence[KeyPair], since: int) -> dict[int, int]:
        """Entries of visitors seen since a click id: by key, of (key, previous day's key) pairs."""
        self._uncommitted = []
        return self.find_now(keys, since)

    def find_now(self, keys: Sequence[KeyPair], since: int) -> dict[int, int]:
        find = self.memory.find
        entries: dict[int, int] = {}
        for key, previous_day_key in keys:
            entry = find(key, since)
            if entry is None and previous_day_key:
                entry = find(previous_day_key, since)
            if entry is not None:
                entries[key] = entry
        return entries

    async def remember(self, _connection: BatchConnection, rows: Sequence[SeenVisitor], since: int) -> set[int]:
        """Keep visitors; returns those that no other process had kept since."""
        self._uncommitted += rows
        return {row[0] for row in rows}

    async def remember_spooled(
        self, _connection: BatchConnection, rows: Sequence[SeenVisitor], since: int
    ) -> set[int]:  # fmt: skip
        """Keep visitors of clicks that were decided earlier; returns those that no other click had brought since."""
        entries = [(row, self.memory.find(row[0], since)) for row in rows]
        new = [row for row, entry in entries if entry is None or entry >> OFFER_BITS == row[1]]
        self._uncommitted += new
        return {row[0] for row in new}

    def committed(self, since: int) -> None:
        rows, self._uncommitted = self._uncommitted, []
        if rows:
            self.memory.remember_all(rows, since)


class SharedVisitors:
    """On PostgreSQL: rows that all processes see."""

    async def find(self, connection: BatchConnection, keys: Sequence[KeyPair], since: int) -> dict[int, int]:
        """Entries of visitors seen since a click id: by key, of (key, previous day's key) pairs."""
        assert isinstance(connection, PostgresBatchConnection)  # noqa: S101
        ids = [number for key in keys for number in key if number]
        entries: dict[int, int] = {
            row[0]: row[1] << OFFER_BITS | row[2] for row in await connection.alone(_FIND, ids, since)
        }
        return {
            key: entries.get(key) or entries[previous_day_key]
            for key, previous_day_key in keys
            if key in entries or previous_day_key in entries
        }

    async def remember(self, connection: BatchConnection, rows: Sequence[SeenVisitor], since: int) -> set[int]:
        """Keep visitors; returns those that no other process had kept since."""
        assert isinstance(connection, PostgresBatchConnection)  # noqa: S101
        columns = [list(column) for column in zip(*rows, strict=True)]
        return {row[0] for row in await connection.query(_REMEMBER, *columns, since)}

    remember_spooled = remember

    def committed(self, _since: int) -> None:
        """The transaction has kept them."""


Visitors = ProcessVisitors | SharedVisitors


async def share(database: Database, since: int, *, known: int) -> None:
    """Put the visitors of clicks since an id into PostgreSQL, for clicks that were stored without `visitors`.

    Those who are there already, with a click since `known`, stay as they are.
    """
    memory = VisitorMemory()
    await memory.load(database, since)
    rows, connection = sorted(memory.rows()), PostgresBatchConnection(database)
    try:
        for start in range(0, len(rows), _CHUNK):
            async with connection.transaction(_PATIENCE):
                await SharedVisitors().remember(connection, rows[start : start + _CHUNK], known)
    finally:
        await connection.close()


_FIND = "SELECT id, click_id, offer_id FROM visitors WHERE id = ANY($1::bigint[]) AND click_id >= $2"
_REMEMBER = """
INSERT INTO visitors (id, click_id, offer_id)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
ON CONFLICT (id) DO UPDATE SET click_id = excluded.click_id, offer_id = excluded.offer_id
WHERE visitors.click_id < $4 RETURNING id
"""
