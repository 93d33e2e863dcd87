"""Where clicks go while the database cannot be written, and how they get from there into it, once each.

The file is storage.db.spool_file's. After a crash it is read from its start again: ids decide what is new.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any

import msgspec
import structlog

from storage.clicks.write_batch import Batch, Counts, WriterState, are_plain
from storage.clicks.write_jobs import EARLY, Cap, Click, ClickJob, Job, OutgoingJob
from storage.db.spool_file import MOMENT, PIECE, SpoolFile
from storage.db.unavailable import is_unavailable
from storage.ledger.clicks.click_id import first_id_at

log = structlog.get_logger()

Beside = Callable[[Coroutine[Any, Any, int]], Awaitable[int]]

PIECE_SECONDS = 0.003  # that a piece is to take
BUSY_PIECE_SECONDS = 0.001  # the same while clicks come: they wait for it
LEAST_PIECE = 20  # records, however long they take: each piece costs some round trips
MOST_EARLY = 1_000  # outgoing clicks kept in memory until their own clicks are stored


class SpooledClick(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    click: Click


class SpooledOutgoing(msgspec.Struct, frozen=True, array_like=True, tag="o"):
    """An outgoing click; the click it came with is looked up when it is stored."""

    id: int
    team_id: int
    click_id: int
    site_id: int
    offer_id: int
    hour: int
    bot: int
    cap: Cap | None

    def job(self) -> OutgoingJob:
        job = OutgoingJob(
            id=self.id, team_id=self.team_id, click_id=self.click_id, site_id=self.site_id, hour=self.hour, bot=self.bot
        )
        job.offer_id, job.cap = self.offer_id, self.cap
        return job


Record = SpooledClick | SpooledOutgoing


def record_of(job: Job) -> Record:
    """What is kept of a job that has decided without the database."""
    if isinstance(job, ClickJob):
        return SpooledClick(job.click)
    return SpooledOutgoing(
        job.id, job.team_id, job.click_id, job.site_id, job.offer_id, job.hour, job.bot, job.cap
    )  # fmt: skip


class Spool(SpoolFile[Record]):
    """One process's clicks that wait for the database."""

    suffix = "spool"
    decoder = msgspec.msgpack.Decoder(Record)


class MemorySpool:
    """Where clicks wait while not even a file can be written; an end of the process loses them."""

    def __init__(self) -> None:
        self._records: deque[Record] = deque()
        self.depth = 0
        self.due = 0.0

    def append(self, records: Sequence[Record]) -> None:
        self._records.extend(records)
        self.depth += len(records)

    def read(self, most: int = PIECE) -> list[Record]:
        """The next records, which are no longer here."""
        return [self._records.popleft() for _ in range(min(most, len(self._records)))]

    def put_back(self, records: Sequence[Record]) -> None:
        """Undo a `read`."""
        self._records.extendleft(reversed(records))

    @property
    def all_read(self) -> bool:
        return not self._records

    def replace(self, records: Sequence[Record]) -> None:
        """Everything read is in the database but these, which wait a moment."""
        self.put_back(records)
        self.depth = len(self._records)
        self.due = time.monotonic() + MOMENT if records else 0.0

    def set_aside(self, records: Sequence[Any]) -> None:
        """Nothing can be written."""

    def close(self) -> None:
        """It has no file."""


def _plain(records: Sequence[Record]) -> list[Click]:
    """The clicks of records, if they are clicks that need nothing but to be stored."""
    clicks = [record.click for record in records if isinstance(record, SpooledClick)]
    return clicks if len(clicks) == len(records) and are_plain(clicks) else []


class Drain:
    """One spool on its way into the database: a click's id decides, and only what was really inserted is counted.

    `step` by step, so that requests get their turn between two of them.
    """

    def __init__(
        self, state: WriterState, spool: Spool | MemorySpool, *, clock: Callable[[], datetime], patience: float,
        beside: Beside,
    ) -> None:  # fmt: skip
        """`beside` awaits a piece's transaction and sees to those who wait meanwhile."""
        self._beside = beside
        self._state = state
        self.spool = spool
        self._clock = clock
        self._patience = patience
        self._piece: list[Record] = []  # read, and not stored yet
        self._most = LEAST_PIECE  # records of the next piece
        self._new = True  # none of the last piece was stored already
        self._prepared: Batch | None = None  # the piece, looked up
        self._agents: dict[str, int] = {}  # keys of user agents, by their text, that pieces of this spool had
        self._early: list[Record] = []  # outgoing clicks whose own click is still in another process's spool
        self._rejected: list[Record] = []  # what the database does not take

    @property
    def due(self) -> bool:
        """Whether there is something to store now."""
        return bool(self.spool.depth) and time.monotonic() >= self.spool.due

    @property
    def begun(self) -> bool:
        """Whether a piece has been read that is not stored yet."""
        return bool(self._piece)

    async def step(self, *, busy: bool, lost: bool) -> int:
        """Store the next piece, in one transaction; how many records were new. Raises what the database raises.

        On PostgreSQL every other step only looks up what the next one stores, by one statement. `busy`: clicks come, so
        the piece after it is a small one. `lost`: whether the database can be written is still to be shown.
        """
        if lost:
            self._agents.clear()  # it may be another database that comes back
        if not self._piece:
            self._piece = self._next()
            if self._state.connection.shared and self._new and not lost and (clicks := _plain(self._piece)):
                await self._beside(self._prepare(clicks))
                return 0
        stored = 0
        if self._piece:
            early: list[Record] = []
            began = time.monotonic()
            stored = await self._beside(self._store(self._piece, early))
            seconds = BUSY_PIECE_SECONDS if busy else PIECE_SECONDS
            quick_enough = len(self._piece) * seconds / (time.monotonic() - began + 1e-6)
            self._most = max(LEAST_PIECE, min(PIECE, int(quick_enough)))
            self.spool.depth -= len(self._piece) - len(early)
            self._piece, self._early = [], self._early + early
        if self._rejected:
            await asyncio.to_thread(self.spool.set_aside, self._rejected)
            self._rejected = []
        if self.spool.all_read:
            await asyncio.to_thread(self.spool.replace, self._early)
            self._early = []
            self._agents.clear()
        return stored

    def put_back(self) -> None:
        """Have the spool hold again all that was read of it and is not stored."""
        self.spool.replace([*self._piece, *self._early])
        self._piece, self._early, self._prepared = [], [], None

    def _next(self) -> list[Record]:
        if len(self._early) < MOST_EARLY:
            return self.spool.read(self._most)
        self.spool.due = time.monotonic() + MOMENT / (MOST_EARLY // PIECE)
        piece, self._early = self._early[:PIECE], self._early[PIECE:]  # these first: memory has its limit
        return piece

    async def _prepare(self, clicks: Sequence[Click]) -> int:
        batch = Batch(self._state, [], Counts(), agents=self._agents)
        if await self._done(batch, batch.prepare_spooled(clicks)):
            self._prepared = batch
        return 0

    async def _done(self, batch: Batch, work: Coroutine[Any, Any, None]) -> bool:
        """Do a part of a batch; False if a click of it is stored already, or cannot be: step by step that is found out.

        Raises what says that the database cannot be written.
        """
        try:
            async with self._state.connection.transaction(self._patience):
                await work
        except Exception as error:
            if is_unavailable(error):
                raise
            return False
        batch.committed()
        return True

    async def _store(self, piece: Sequence[Record], early: list[Record]) -> int:
        prepared, self._prepared = self._prepared, None
        if prepared is not None and await self._done(prepared, prepared.store_prepared()):
            return len(piece)
        try:
            return await self._transaction(piece, early)
        except Exception as error:
            if is_unavailable(error):
                raise
            early.clear()
            return await self._one_by_one(piece, early)

    async def _one_by_one(self, records: Sequence[Record], early: list[Record]) -> int:
        """A piece that its own contents broke: what cannot be stored is set aside, and holds up no other."""
        stored = 0
        for record in records:
            try:
                stored += await self._transaction([record], early)
            except Exception as error:
                if is_unavailable(error):
                    raise
                log.error("a spooled click cannot be stored; it is set aside", error=type(error).__name__)
                self._rejected.append(record)
        return stored

    async def _transaction(self, records: Sequence[Record], early: list[Record]) -> int:
        """Store records; those that have to wait are added to `early`."""
        now = self._clock()
        clicks = [record.click for record in records if isinstance(record, SpooledClick)]
        outgoing = [record for record in records if isinstance(record, SpooledOutgoing)]
        waiting: list[Record] = []
        batch = Batch(self._state, [], Counts(), agents=self._agents)
        async with self._state.connection.transaction(self._patience):
            stored = await batch.store_spooled(clicks, now) if clicks else 0
            for record in outgoing:
                origin = await batch.origin_click(record.click_id)
                if origin is not None:
                    stored += await batch.store_spooled_outgoing(record.job(), origin)
                elif first_id_at(now) - record.click_id < EARLY:
                    waiting.append(record)
                else:
                    log.warning("an outgoing click was given up: its click is not stored", click=record.click_id)
            await batch.write_counts()
        batch.committed()
        early += waiting
        self._new = stored == len(records)
        return stored
