"""How often an address clicks: over 60 clicks within a minute of its first are a machine's.

Counted in the memory of each process. Processes that share a PostgreSQL exchange the few addresses that click
often, with the batches they commit anyway. After a restart the last minute is counted again from the clicks.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, select

from storage.db.batch_connection import PostgresBatchConnection
from storage.db.engine import Database
from storage.ledger.clicks.click_id import first_id_at, instant_of
from storage.ledger.facts import Bot
from storage.tables import clicks

BURST = 60  # clicks a minute from one address
WINDOW = 60  # seconds
_SHARED_FROM = 8  # clicks of a minute from which other processes are notified
_KEPT = 16_384  # addresses; one that clicks once a second is not forgotten below 30,000 others in that second
_BITS = 32  # a count is the Unix time when its minute began, and in these lower bits the clicks since
_COUNT = (1 << _BITS) - 1
_NO = Bot.NO  # looked up once: in Python 3.11 that is a call


class BurstCounter:
    """`count` every click. An address is its keyed hash."""

    def __init__(self) -> None:
        self._young: dict[bytes, int] = {}
        self._old: dict[bytes, int] = {}
        self._elsewhere: dict[bytes, int] = {}  # what other processes counted in the minute
        self._unshared: dict[bytes, int] = {}  # clicks that other processes do not know of yet

    def count(self, address: bytes, seconds: float) -> int:
        """Count a click at a Unix time; Bot.BURST or Bot.NO."""
        young, now = self._young, int(seconds)
        entry = young.get(address) or self._old.get(address)
        if entry is None or now - (entry >> _BITS) >= WINDOW:
            self._begin(address, now, 1)
            return _NO
        n = (entry & _COUNT) + 1
        young[address] = entry + 1
        if n < _SHARED_FROM:
            return _NO
        self._unshared[address] = self._unshared.get(address, 0) + (n if n == _SHARED_FROM else 1)
        elsewhere = self._elsewhere.get(address, 0)
        if elsewhere and now - (elsewhere >> _BITS) < WINDOW:
            n += elsewhere & _COUNT
        return Bot.BURST if n > BURST else _NO

    def _begin(self, address: bytes, began: int, n: int) -> None:
        if len(self._young) >= _KEPT:
            self._old, self._young, self._elsewhere, self._unshared = self._young, {}, {}, {}
        self._young[address] = began << _BITS | n
        if self._elsewhere or self._unshared:  # seldom, and every new visitor comes by here
            self._elsewhere.pop(address, None)
            self._unshared.pop(address, None)

    async def load(self, database: Database, now: datetime) -> None:
        """Count the clicks of the last minute."""
        c = clicks.c
        recent = c.id >= first_id_at(now - timedelta(seconds=WINDOW)), c.ip_hash.is_not(None)
        query = select(c.ip_hash, func.min(c.id), func.count()).where(*recent).group_by(c.ip_hash)
        async with database.read() as tx:
            for address, first, n in await tx.execute(query.order_by(func.count()).limit(_KEPT)):
                self._begin(bytes(address), int(instant_of(first).timestamp()), n)

    @property
    def unshared(self) -> bool:
        """Whether there is something to tell other processes."""
        return bool(self._unshared)

    async def exchange(self, connection: PostgresBatchConnection) -> None:
        """Tell other processes what this one counted, and learn what they did; within a transaction."""
        unshared = sorted(self._unshared.items())
        began = [(self._young.get(address, 0) or self._old.get(address, 0)) >> _BITS for address, _ in unshared]
        columns = [address for address, _ in unshared], began, [n for _, n in unshared]
        self._learn(await connection.query(_EXCHANGE, *columns))
        self._unshared = {}

    def _learn(self, totals: Iterable[Sequence[int | bytes]]) -> None:
        for address, began, total in totals:
            assert isinstance(address, bytes) and isinstance(began, int) and isinstance(total, int)  # noqa: S101, PT018
            count = (self._young.get(address, 0) or self._old.get(address, 0)) & _COUNT
            self._elsewhere[address] = began << _BITS | max(0, total - count)


_EXCHANGE = f"""
INSERT INTO click_bursts (address, began, n) SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::integer[])
ON CONFLICT (address) DO UPDATE SET
  n = CASE WHEN excluded.began - click_bursts.began < {WINDOW} THEN click_bursts.n ELSE 0 END + excluded.n,
  began = CASE WHEN excluded.began - click_bursts.began < {WINDOW} THEN click_bursts.began ELSE excluded.began END
RETURNING address, began, n
"""  # noqa: S608 - a number of ours
