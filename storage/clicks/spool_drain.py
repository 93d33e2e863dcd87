"""From the spool into the database, once each: a click's id decides, and only what was really inserted is counted."""

from collections.abc import Sequence
from datetime import datetime

import structlog

from storage.clicks.spool import Record, Spool, SpooledClick, SpooledOutgoing
from storage.clicks.write_batch import Batch, Counts, Touches, read_origin_click
from storage.clicks.write_connections import WriterPort
from storage.clicks.write_jobs import EARLY, Agent, Cap, Click
from storage.ledger.clicks.click_id import first_id_at

log = structlog.get_logger()

_CHUNK = 500  # records of one transaction


class Drain:
    """Works in the writer's turn: `empty` and `store` begin inside an open transaction and end with it committed."""

    def __init__(self, port: WriterPort, touches: Touches, now: datetime) -> None:
        self._port = port
        self._now = first_id_at(now)
        self._touches = touches
        self.early: list[Record] = []  # outgoing clicks whose own click is still in another process's spool

    async def empty(self, spool: Spool) -> int:
        """Store all of a spool, then clear it but for what has to wait; a crash between the two repeats nothing."""
        stored = await self.store(spool.read())
        spool.replace(self.early)
        return stored

    async def store(self, records: Sequence[Record]) -> int:
        """Store records in chunks, a transaction each; returns how many were new. `early` is what has to wait."""
        stored = 0
        self.early = []
        for start in range(0, len(records), _CHUNK):
            if start:
                await self._port.begin(1.0)
            stored += await self._chunk(records[start : start + _CHUNK])
            await self._port.commit()
        return stored

    async def _chunk(self, records: Sequence[Record]) -> int:
        clicks = [record.click for record in records if isinstance(record, SpooledClick)]
        going = [record for record in records if isinstance(record, SpooledOutgoing)]
        batch = Batch([], Counts(), self._touches, set())
        stored = await self._clicks(batch, clicks) if clicks else 0
        for record in going:
            stored += await self._outgoing(batch, record)
        await batch.write_counts(self._port)
        batch.committed()
        return stored

    async def _clicks(self, batch: Batch, clicks: list[Click]) -> int:
        agents: dict[str, Agent] = {}
        for click in clicks:
            click.agent.id = 0  # of another time, perhaps another database
            click.agent = agents.setdefault(click.agent.text, click.agent)
        ids = await batch.agent_ids(self._port, set(agents.values()))
        stored = 0
        for click in clicks:
            if await self._port.fetch(self._port.statements.clicks_once, click.row(ids[click.agent])):
                stored += 1
                batch.counts.add_click(click)
                await self._count_cap(click.cap)
        return stored

    async def _count_cap(self, cap: Cap | None) -> None:
        """Count a click that was sent while the cap could not be read."""
        if cap and cap.event == "click":
            await self._port.fetch(self._port.statements.cap_held, (*cap.key, 1))

    async def _outgoing(self, batch: Batch, record: SpooledOutgoing) -> int:
        found = await self._port.fetch(self._port.statements.came, (record.click_id,))
        if not found:
            if self._now - record.click_id < EARLY:
                self.early.append(record)
            else:
                log.warning("an outgoing click was given up: the click it came with is nowhere", click=record.click_id)
            return 0
        await batch.store_outgoing(self._port, record.job(), read_origin_click(found[0]))
        await self._count_cap(record.cap)
        return 1
