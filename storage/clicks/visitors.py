"""Who was seen in the last 24 hours, and which offer they saw: what makes a click unique, and binds a visitor.

On SQLite, which one process serves, visitors are kept in its memory: a row each would touch a page of a random place
for every new visitor. After a restart they are read again from the clicks, which name their visitors. On PostgreSQL,
which several processes share, they are rows of `visitors`.
"""

import asyncio
from collections.abc import Iterable, Sequence

from sqlalchemy import select

from storage.db.batch_connection import BatchConnection, PostgresBatchConnection
from storage.db.engine import Database
from storage.ledger.clicks.visitor import visitor_id
from storage.tables import clicks

SPAN = 4 * 3_600_000 << 22  # four hours, in click ids
_OFFER_BITS = 32
_OFFER = (1 << _OFFER_BITS) - 1
_CHUNK = 2_000  # rows read before others get their turn

SeenVisitor = tuple[int, int, int]
"""visitor, click, offer."""


class VisitorMemory:
    """Visitors of the last 24 hours, in one dictionary per four hours: what is too old goes a dictionary at a time."""

    def __init__(self) -> None:
        self._spans: list[dict[int, int]] = [{}]  # latest first; values hold click and offer in one number
        self._first_click = 0  # of the latest span

    def find(self, visitor: int, since: int) -> int | None:
        """Click and offer of a visitor in one number; None for one unknown, or whose click is older than `since`."""
        for span in self._spans:
            entry = span.get(visitor)
            if entry is not None:
                return entry if entry >> _OFFER_BITS >= since else None
        return None

    def remember_all(self, rows: Iterable[SeenVisitor], since: int) -> None:
        """Remember visitors; what is older than `since` may be forgotten."""
        latest = self._spans[0]
        for visitor, click, offer in rows:
            if click - self._first_click >= SPAN:
                latest, self._first_click = {}, click
                self._spans.insert(0, latest)
                self._forget(since)
            latest[visitor] = click << _OFFER_BITS | offer

    def _forget(self, since: int) -> None:
        """A span's clicks began at most four hours before the next span's."""
        oldest_kept = (self._first_click - since) // SPAN + 3
        del self._spans[max(2, oldest_kept) :]

    async def load(self, database: Database, since: int) -> None:
        """Read the visitors of the clicks since then again."""
        c = clicks.c
        query = select(c.id, c.visitor, c.campaign_id, c.site_id, c.offer_id).order_by(c.id).limit(_CHUNK)
        people = c.unique_click == 1, c.bot == 0
        last = since - 1
        while True:
            async with database.read() as tx:
                rows = (await tx.execute(query.where(c.id > last, *people))).all()
            self.remember_all(((visitor_key(row[1], row[2], row[3]), row[0], row[4]) for row in rows if row[1]), since)
            if len(rows) < _CHUNK:
                return
            last = rows[-1][0]
            await asyncio.sleep(0)


class ProcessVisitors:
    """On SQLite: in memory, believed once the batch that brought them is committed."""

    def __init__(self) -> None:
        self.memory = VisitorMemory()
        self._uncommitted: list[SeenVisitor] = []

    async def find(
        self, _connection: BatchConnection, keys: Sequence[tuple[int, int]], since: int
    ) -> dict[int, int]:  # fmt: skip
        """What visitors seen since a click id saw: by key, of (key, previous day's key) pairs."""
        self._uncommitted = []
        return self.find_now(keys, since)

    def find_now(self, keys: Sequence[tuple[int, int]], since: int) -> dict[int, int]:
        find = self.memory.find
        offers: dict[int, int] = {}
        for key, previous_day_key in keys:
            entry = find(key, since)
            if entry is None and previous_day_key:
                entry = find(previous_day_key, since)
            if entry is not None:
                offers[key] = entry & _OFFER
        return offers

    async def remember(self, _connection: BatchConnection, rows: Sequence[SeenVisitor], since: int) -> set[int]:
        """Keep visitors; returns those that no other process had kept since."""
        self._uncommitted += rows
        return {row[0] for row in rows}

    async def remember_spooled(
        self, _connection: BatchConnection, rows: Sequence[SeenVisitor], since: int
    ) -> set[int]:  # fmt: skip
        """Keep visitors of clicks that were decided earlier; returns those that no other click had brought since."""
        entries = [(row, self.memory.find(row[0], since)) for row in rows]
        self._uncommitted = [row for row, entry in entries if entry is None or entry >> _OFFER_BITS == row[1]]
        return {row[0] for row in self._uncommitted}

    def committed(self, since: int) -> None:
        rows, self._uncommitted = self._uncommitted, []
        if rows:
            self.memory.remember_all(rows, since)


class SharedVisitors:
    """On PostgreSQL: rows that all processes see."""

    async def find(
        self, connection: BatchConnection, keys: Sequence[tuple[int, int]], since: int
    ) -> dict[int, int]:  # fmt: skip
        """What visitors seen since a click id saw: by key, of (key, previous day's key) pairs."""
        assert isinstance(connection, PostgresBatchConnection)  # noqa: S101
        ids = [number for key in keys for number in key if number]
        offers: dict[int, int] = {row[0]: row[1] for row in await connection.query(_FIND, ids, since)}
        return {
            key: offers.get(key, offers.get(previous_day_key, 0))
            for key, previous_day_key in keys
            if key in offers or previous_day_key in offers
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

_FIND = "SELECT id, offer_id FROM visitors WHERE id = ANY($1::bigint[]) AND click_id >= $2"
_REMEMBER = """
INSERT INTO visitors (id, click_id, offer_id)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
ON CONFLICT (id) DO UPDATE SET click_id = excluded.click_id, offer_id = excluded.offer_id
WHERE visitors.click_id < $4 RETURNING id
"""


def visitor_key(browser: bytes | bytearray, campaign_id: int, site_id: int) -> int:
    """The key of a stored click's visitor: `browser` is what `clicks.visitor` holds."""
    return visitor_id(int.from_bytes(browser, "big"), campaign_id or -site_id)
