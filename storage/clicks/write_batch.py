"""One batch of the writer: clicks, roll-up, uniqueness, caps and touch marks of many requests in one transaction."""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from storage.clicks.write_jobs import (
    BOTS,
    CLICKS,
    COST,
    EARLY,
    OUTGOING,
    UNIQUE,
    Agent,
    Cap,
    Click,
    ClickJob,
    Job,
    OriginClick,
    OutgoingJob,
    RollupKey,
)
from storage.clicks.write_sql import Compiled, Statements
from storage.ledger.clicks.click_id import first_id_at

DAY = timedelta(hours=24)
TOUCH_EVERY = 1.0  # seconds

FaultKey = tuple[int, int, str, str]
"""team, day (days since 1970), kind, subject."""


class Port(Protocol):
    """The writer's own connection to a database."""

    statements: Statements
    shared: bool  # whether others write at the same time: rows are locked one by one then

    async def many(self, statement: Compiled, rows: Sequence[tuple[Any, ...]]) -> None: ...

    async def insert_clicks(self, clicks: Sequence[tuple[Click, int]]) -> None:
        """Insert clicks; each comes with the key of its user agent."""

    async def fetch(self, statement: Compiled, values: tuple[Any, ...]) -> Sequence[tuple[Any, ...]]: ...

    async def visitors(self, keys: Sequence[tuple[int, int]], since: int) -> dict[int, int]:
        """What visitors seen since a click id saw: by key, of (key, yesterday's key) pairs."""

    async def remember(self, rows: Sequence[tuple[int, int, int]], since: int) -> set[int]:
        """Keep (visitor, click, offer); returns the visitors that nobody had kept since."""


class Counts:
    """What is added up in memory before it is written: roll-up rows and faults."""

    def __init__(self) -> None:
        self.rollup: defaultdict[RollupKey, list[int]] = defaultdict(lambda: [0] * 6)
        self.faults: defaultdict[FaultKey, int] = defaultdict(int)

    def __bool__(self) -> bool:
        return bool(self.rollup or self.faults)

    def merge(self, other: "Counts") -> None:
        for key, counts in other.rollup.items():
            row = self.rollup[key]
            for n, count in enumerate(counts):
                row[n] += count
        for fault, n in other.faults.items():
            self.faults[fault] += n

    def add_click(self, click: Click) -> None:
        row = self.rollup[
            click.team_id, click.hour, click.campaign_id, click.site_id, click.offer_id, click.source_id,
            click.country, click.agent.device, click.currency,
        ]  # fmt: skip
        if click.bot:
            row[BOTS] += 1
            return
        row[CLICKS] += 1
        row[UNIQUE] += click.unique
        if click.cost > 0:
            row[COST] += click.cost
        if click.site_id and not click.campaign_id:  # straight from a site to an offer
            row[OUTGOING] += 1


class Touches:
    """Marks for the days that moved: at most one a second per day, and never none."""

    def __init__(self) -> None:
        self._last: dict[tuple[int, int], float] = {}
        self._owed: set[tuple[int, int]] = set()

    def due(self, days: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Marks to write now, of these days and of those put off; call `written` once they are committed."""
        self._owed.update(days)
        before = time.monotonic() - TOUCH_EVERY
        return [key for key in self._owed if self._last.get(key, 0.0) <= before]

    def written(self, marks: Iterable[tuple[int, int]]) -> None:
        now = time.monotonic()
        for key in marks:
            self._last[key] = now
            self._owed.discard(key)
        if len(self._last) > 1000:
            self._last.clear()

    @property
    def owed(self) -> bool:
        return bool(self._owed)

    def waiting(self) -> bool:
        """Whether a mark that was put off is due."""
        return self.owed and bool(self.due(()))


class Batch:
    """Everything one transaction writes."""

    def __init__(self, jobs: list[Job], counts: Counts, touches: Touches, full: set[tuple[int, str, int]]) -> None:
        self.clicks = [job for job in jobs if isinstance(job, ClickJob)]
        self.outgoing = [job for job in jobs if isinstance(job, OutgoingJob)]
        self.counts = Counts()
        self.counts.merge(counts)
        self.full = full
        self.agents: dict[str, int] = {}
        self.marks: list[tuple[int, int]] = []
        self._touches = touches

    async def store(self, port: Port, now: datetime) -> None:
        """Write it all; the caller commits. Asks every job to decide, again where a cap proves full."""
        if self.clicks:
            await self._decide(port, now)
            new = {job.click.agent for job in self.clicks if not job.click.agent.id}
            ids = await self.agent_ids(port, new) if new else {}
            clicks = [job.click for job in self.clicks]
            await port.insert_clicks([(one, one.agent.id or ids[one.agent]) for one in clicks])
            for one in clicks:
                self.counts.add_click(one)
        for going in self.outgoing:
            await self._go(port, going)
        await self.write_counts(port)

    async def _decide(self, port: Port, now: datetime) -> None:
        since = first_id_at(now - DAY)
        keys = [(job.visitor_id, job.previous_day_visitor_id) for job in self.clicks if job.visitor_id]
        seen = await port.visitors(keys, since) if keys else {}
        fresh: dict[int, ClickJob] = {}
        for job in self.clicks:
            visitor = job.visitor_id
            if not visitor:
                job.decide()
            elif visitor in seen:
                job.click.unique, job.bound = 0, seen[visitor]
                job.decide()
            else:
                job.click.unique, job.bound = 1, 0
                job.decide()
                fresh[visitor] = job
                seen[visitor] = job.click.offer_id
        await self._reserve(port, [job for job in self.clicks if job.click.cap])
        if fresh:
            await self._remember(port, fresh, since)

    async def _remember(self, port: Port, fresh: dict[int, ClickJob], since: int) -> None:
        rows = sorted((visitor, job.click.id, job.click.offer_id) for visitor, job in fresh.items())
        kept = await port.remember(rows, since)
        for visitor, job in fresh.items():
            if visitor not in kept:  # another process was faster
                job.click.unique = 0

    async def _reserve(self, port: Port, capped: list[ClickJob]) -> None:
        """Take room under the caps; who finds none decides again, knowing what is full."""
        while capped:
            wanted: defaultdict[Cap, list[ClickJob]] = defaultdict(list)
            for job in capped:
                if job.click.cap:
                    wanted[job.click.cap].append(job)
            capped = []
            for cap in sorted(wanted, key=lambda one: one.key):
                jobs = wanted[cap]
                room = await self._take(port, cap, len(jobs))
                for job in jobs[room:]:
                    self.full.add(cap.key)
                    job.decide()
                    capped.append(job)

    async def _take(self, port: Port, cap: Cap, wanted: int) -> int:
        """How many of the wanted clicks the cap lets through; only clicks use up a cap on clicks."""
        if cap.event != "click":
            used = await port.fetch(port.statements.cap_used, cap.key)
            return wanted if not used or used[0][0] < cap.limit else 0
        held = await port.fetch(port.statements.cap_held, (*cap.key, 0))
        room = max(0, min(wanted, cap.limit - int(held[0][0])))
        if room:
            await port.fetch(port.statements.cap_held, (*cap.key, room))
        return room

    async def agent_ids(self, port: Port, agents: set[Agent]) -> dict[Agent, int]:
        """Keys of user agents, new ones put into the dictionary."""
        new = sorted((agent for agent in agents if not agent.id), key=lambda one: one.text)
        if new:
            rows = [(agent.text, agent.device, agent.os, agent.browser) for agent in new]
            await port.many(port.statements.agent, rows)
        for agent in new:
            found = await port.fetch(port.statements.agent_id, (agent.text,))
            self.agents[agent.text] = found[0][0]
        return {agent: agent.id or self.agents[agent.text] for agent in agents}

    async def _go(self, port: Port, job: OutgoingJob) -> None:
        found = await port.fetch(port.statements.came, (job.click_id,))
        came = read_origin_click(found[0]) if found else None
        if came is not None and came.team_id != job.team_id:
            came = None
        job.found = came is not None
        job.early = not found and job.id - job.click_id < EARLY
        job.decide(came)
        if came is None:
            return
        if came.bot:
            job.bot = came.bot
        while job.cap and not await self._take(port, job.cap, 1):
            self.full.add(job.cap.key)
            job.decide(came)
        await self.store_outgoing(port, job, came)

    async def store_outgoing(self, port: Port, job: OutgoingJob, came: OriginClick) -> None:
        """Store an outgoing click once; the first one of a person gives the click its offer, roll-up included."""
        row = (job.id, job.team_id, came.id, came.campaign_id, job.site_id, job.offer_id, job.hour, job.bot, 0)
        if not await port.fetch(port.statements.outgoing, row) or job.bot:
            return
        if came.offer_id == 0 and job.offer_id:
            values = {"offer": job.offer_id, "click": came.id}
            store_outgoing = port.statements.store_outgoing
            if await port.fetch(store_outgoing, tuple(values.get(name, 0) for name in store_outgoing.names)):
                self._move(came, job.offer_id)
        key = _origin_key(came, job.hour, job.offer_id, site_id=job.site_id, currency="")
        self.counts.rollup[key][OUTGOING] += 1

    def _move(self, came: OriginClick, offer_id: int) -> None:
        """The click now belongs to the offer: so do its counts."""
        for sign, offer in ((-1, 0), (1, offer_id)):
            row = self.counts.rollup[_origin_key(came, came.hour, offer)]
            row[CLICKS] += sign
            row[UNIQUE] += sign * came.unique
            row[COST] += sign * (came.cost or 0)

    async def write_counts(self, port: Port) -> None:
        """Roll-up, faults and touch marks; in the order of their keys, so that writers never wait in a circle."""
        statements = port.statements
        days = {(key[0], key[1] // 24) for key in self.counts.rollup}
        if self.counts.rollup:
            rows = [(*key, *row) for key, row in self.counts.rollup.items()]
            await port.many(statements.rollup, sorted(rows) if port.shared else rows)
        if self.counts.faults:
            await port.many(statements.faults, [(*key, n) for key, n in sorted(self.counts.faults.items())])
        self.marks = self._touches.due(days)
        if self.marks:
            await port.many(statements.touched, self.marks)

    def committed(self) -> None:
        """What may be believed only now: dictionary keys, touch marks."""
        for job in self.clicks:
            agent = job.click.agent
            if not agent.id:
                agent.id = self.agents.get(agent.text, 0)
        self._touches.written(self.marks)


_CAME = OriginClick.__struct_fields__[:-1]


def read_origin_click(row: Sequence[Any]) -> OriginClick:
    return OriginClick(**dict(zip(_CAME, row, strict=False)), subs=tuple(row[14:24]))


def _origin_key(
    came: OriginClick, hour: int, offer_id: int, *, site_id: int = 0, currency: str | None = None
) -> RollupKey:
    return (
        came.team_id, hour, came.campaign_id, site_id or came.site_id, offer_id, came.source_id,
        came.country or "", came.device or "", came.currency or "" if currency is None else currency,
    )  # fmt: skip
