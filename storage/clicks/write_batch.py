"""One batch of the writer: clicks, roll-up, uniqueness, caps and touch marks of many requests in one transaction."""

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog

from storage.clicks.batch_statements import (
    POSTGRES_AGENTS,
    POSTGRES_BATCH,
    POSTGRES_CLICKS_ONCE,
    ClickRow,
    FaultRow,
    RollupRow,
    Statements,
    TouchMark,
    VisitorRow,
)
from storage.clicks.bursts import BurstCounter
from storage.clicks.visitors import OFFER, OFFER_BITS, FurtherKeys, SeenVisitor, Visitors
from storage.clicks.write_jobs import (
    BOTS,
    CLICKS,
    COST,
    EARLY,
    OUTGOING,
    UNIQUE,
    Agent,
    Budget,
    Cap,
    Click,
    ClickJob,
    Job,
    OriginClick,
    OutgoingJob,
    RollupKey,
    recognise,
    seen_rows,
    visitor_keys,
)
from storage.db.batch_connection import BatchConnection, PostgresBatchConnection
from storage.db.deferred_transaction import raising_stored_meanwhile
from storage.ledger.clicks.click_id import first_id_at
from storage.ledger.clicks.visitor import Recognition, offer_place, site_place, visitor_id

log = structlog.get_logger()

DAY = timedelta(hours=24)
TOUCH_EVERY = 1.0  # seconds
NO_ROWS = "[]"  # as JSON

MOST_AGENTS = 10_000  # whose keys are remembered from one piece of a spool to the next

Query = Callable[..., Awaitable[Sequence[tuple[Any, ...]]]]

FaultKey = tuple[int, int, str, str]
"""team, day (days since 1970), kind, subject."""


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


class PendingTouchMarks:
    """Marks for the days that moved: at most one a second per day, and never none."""

    def __init__(self) -> None:
        self._last: dict[tuple[int, int], float] = {}
        self._pending: set[tuple[int, int]] = set()

    def due(self, days: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Marks to write now, of these days and of those put off; call `written` once they are committed."""
        self._pending.update(days)
        before = time.monotonic() - TOUCH_EVERY
        return [key for key in self._pending if self._last.get(key, before) <= before]

    def written(self, marks: Iterable[tuple[int, int]]) -> None:
        now = time.monotonic()
        for key in marks:
            self._last[key] = now
            self._pending.discard(key)
        if len(self._last) > 1000:
            self._last.clear()

    def make_all_due(self) -> None:
        """Have every mark that was put off be due: nothing is written later."""
        self._last.clear()

    @property
    def pending(self) -> bool:
        return bool(self._pending)

    def waiting(self) -> bool:
        """Whether a mark that was put off is due."""
        return self.pending and bool(self.due(()))


class WriterState:
    """What all batches of a writer share."""

    def __init__(self, connection: BatchConnection, visitors: Visitors, bursts: BurstCounter) -> None:
        self.connection = connection
        self.statements = Statements(connection.dialect)
        self.visitors = visitors
        self.bursts = bursts
        self.touches = PendingTouchMarks()
        self.full: set[tuple[int, str, int]] = set()  # caps found full; forgotten every tick
        self.failed_decisions = 0

    def decide(self, job: ClickJob) -> None:
        """Have a click choose where it goes; one that cannot is kept as failed, and holds up no other."""
        try:
            job.decide()
        except Exception as error:
            self._failed(error)
            job.give_up()

    def decide_outgoing(self, job: OutgoingJob, origin: OriginClick | None) -> None:
        """The same for an outgoing click."""
        try:
            job.decide(origin)
        except Exception as error:
            self._failed(error)
            job.give_up()

    def _failed(self, error: Exception) -> None:
        self.failed_decisions += 1
        if self.failed_decisions & (self.failed_decisions - 1) == 0:  # the 1st, 2nd, 4th, 8th …
            log.error(
                "a click could not choose its offer", error=type(error).__name__, so_far=self.failed_decisions,
                exc_info=error,
            )  # fmt: skip


class Batch:
    """Everything one transaction writes."""

    def __init__(
        self, state: WriterState, jobs: Sequence[Job], counts: Counts, *, optimistic: bool = False,
        agents: dict[str, int] | None = None,
    ) -> None:  # fmt: skip
        """`optimistic`: on PostgreSQL the last statement stores new visitors, or raises StoredMeanwhile.

        `agents`: of a piece of a spool, keys of user agents by their text; those of this batch are added.
        """
        self.clicks = [job for job in jobs if isinstance(job, ClickJob)]
        self.outgoing = [job for job in jobs if isinstance(job, OutgoingJob)]
        self.counts = Counts()
        self.counts.merge(counts)
        self._state = state
        self._connection = state.connection
        self._statements = state.statements
        self._agents: dict[str, int] = {}
        self._known_before = {} if agents is None else agents
        self._marks: list[tuple[int, int]] = []
        self._since = self._now = 0
        self._optimistic = optimistic and state.connection.shared
        self._unkept: list[SeenVisitor] = []  # visitors for the last statement
        self._prepared = NO_ROWS

    async def store(self, now: datetime, decided: Callable[[], None]) -> None:
        """Write it all, within a transaction. Every job decides, again where a cap proves full.

        `decided` is called before the first statement that may be the transaction's end. Raises StoredMeanwhile.
        """
        self._since, self._now = first_id_at(now - DAY), first_id_at(now)
        rows: list[tuple[Click, int]] = []
        if self.clicks:
            new = {job.click.agent for job in self.clicks if not job.click.agent.id}
            ids = await self.agent_ids(new) if new else {}
            await self._decide()
            rows = [(job.click, job.click.agent.id or ids[job.click.agent]) for job in self.clicks]
            for job in self.clicks:
                self.counts.add_click(job.click)
        if isinstance(self._connection, PostgresBatchConnection):
            await self._store_together(self._connection, rows, decided)
            return
        if rows:
            await self._insert_clicks(rows)
        for outgoing_job in self.outgoing:
            await self._decide_outgoing(outgoing_job)
        await self.write_counts()
        decided()

    async def _insert_clicks(self, rows: Sequence[tuple[Click, int]]) -> None:
        """Insert clicks; each comes with the key of its user agent."""
        many, statements = self._connection.many, self._statements
        await many(statements.clicks_short, [click.short_row(agent) for click, agent in rows if not click.wide])
        if wide := [click.row(agent) for click, agent in rows if click.wide]:
            await many(statements.clicks, wide)

    async def _store_together(
        self, connection: PostgresBatchConnection, rows: Sequence[tuple[Click, int]], decided: Callable[[], None]
    ) -> None:
        """Write clicks, their new visitors and all counts by one statement; outgoing clicks and bursts by others."""
        records = _as_json([_record(click, agent) for click, agent in rows])
        if self.outgoing:
            await self._write_together(connection.query, records)
            records, self._unkept = NO_ROWS, []
            for outgoing_job in self.outgoing:
                await self._decide_outgoing(outgoing_job)
        decided()
        bursts = self._state.bursts
        await self._write_together(connection.query if bursts.unshared else connection.alone, records, self.counts)
        if bursts.unshared:
            await bursts.exchange(connection)

    async def _write_together(self, query: Query, records: str, counts: Counts | None = None) -> None:
        """`records`: rows of clicks as JSON."""
        rollup, failed = ({}, {}) if counts is None else (counts.rollup, counts.faults)
        if counts is not None:
            self._marks = self._state.touches.due({(key[0], key[1] // 24) for key in rollup})
        kept = [VisitorRow(*row) for row in self._unkept]
        rows: tuple[Sequence[msgspec.Struct], ...] = (
            [RollupRow(*key, *row) for key, row in sorted(rollup.items())],
            [FaultRow(*key, n) for key, n in sorted(failed.items())], [TouchMark(*mark) for mark in self._marks],
        )  # fmt: skip
        with raising_stored_meanwhile():  # a visitor kept by another process, or a click that is stored already
            await query(POSTGRES_BATCH, _as_json(kept), records, *map(_as_json, rows), self._since, len(kept))

    async def _decide(self) -> None:
        state = self._state
        keys = visitor_keys(self.clicks)
        entries = await state.visitors.find(self._connection, keys, self._since) if keys else {}
        new: dict[int, ClickJob] = {}
        further: list[tuple[ClickJob, FurtherKeys, list[int]]] = []
        for job in self.clicks:
            visitor = job.visitor_id
            if not visitor:
                state.decide(job)
            elif job.further is not None:
                fresh = recognise(job, job.further, entries)
                state.decide(job)
                further.append((job, job.further, fresh))
                for key, click, offer in seen_rows(job, job.further, fresh):
                    entries[key] = click << OFFER_BITS | offer
            elif visitor in entries:
                job.click.unique, job.bound = 0, entries[visitor] & OFFER
                state.decide(job)
            else:
                job.click.unique, job.bound = 1, 0
                state.decide(job)
                new[visitor] = job
                entries[visitor] = job.click.id << OFFER_BITS | job.click.offer_id
        if budgeted := [job for job in self.clicks if job.click.budgets]:
            await self._charge(budgeted)
        await self._reserve([job for job in self.clicks if job.click.cap])
        if new:
            await self._remember(new)
        if further:
            await self._remember_further(further)

    async def _remember_further(self, jobs: Iterable[tuple[ClickJob, FurtherKeys, list[int]]]) -> None:
        """Keep visitors of campaigns that know them otherwise, those who are forgotten at the same time together."""
        by_lifetime: defaultdict[int, dict[int, SeenVisitor]] = defaultdict(dict)
        deciding: dict[int, ClickJob] = {}  # by the key that says whether a visitor is new
        for job, further, fresh in jobs:
            for row in seen_rows(job, further, fresh):
                by_lifetime[further.lifetime].setdefault(row[0], row)
            if job.click.unique:
                deciding[further.scope[0] if further.scope else job.visitor_id] = job
        for lifetime, rows in sorted(by_lifetime.items(), reverse=True):
            since = max(self._since, self._now - lifetime)
            kept = await self._state.visitors.remember(self._connection, sorted(rows.values()), since)
            for key in deciding.keys() & rows.keys() - kept:  # another process was faster
                deciding[key].not_unique()

    async def _remember(self, new: dict[int, ClickJob]) -> None:
        rows = [(visitor, job.click.id, job.click.offer_id) for visitor, job in new.items()]
        if self._connection.shared:
            rows.sort()
        if self._optimistic:
            self._unkept = rows
            return
        remembered = await self._state.visitors.remember(self._connection, rows, self._since)
        for visitor in new.keys() - remembered:  # another process was faster
            new[visitor].not_unique()

    async def _charge(self, jobs: list[ClickJob]) -> None:
        """Use up budgets; a click whose cost does not fit any more decides again, knowing that.

        The rows are locked until the batch is committed: processes together spend no more than there is.
        """
        by_budgets: defaultdict[tuple[Budget, ...], list[ClickJob]] = defaultdict(list)
        for job in jobs:
            by_budgets[job.click.budgets].append(job)
        for budgets in sorted(by_budgets, key=lambda budgets: (budgets[0].campaign_id, budgets[0].period)):
            used = [await self._spend(budget, 0) for budget in budgets]
            room = min(budget.limit - n for budget, n in zip(budgets, used, strict=True))
            left = min((budget.whole or budget.limit) - n for budget, n in zip(budgets, used, strict=True))
            spent = 0
            for job in by_budgets[budgets]:
                cost = max(0, job.click.cost)
                if spent + cost > room or spent >= room:
                    job.over_budget(paced=spent + cost <= left and spent < left)
                    self._state.decide(job)
                else:
                    spent += cost
            for budget in budgets if spent else ():
                await self._spend(budget, spent)

    async def _spend(self, budget: Budget, amount: int) -> int:
        """Add to what a budget has used; returns how much that is now."""
        row = (budget.campaign_id, budget.period, amount)
        return int((await self._connection.fetch(self._statements.budget_spent, row))[0][0])

    async def _reserve(self, capped: list[ClickJob]) -> None:
        """Take room under the caps; a click that finds none decides again, knowing what is full."""
        while capped:
            by_cap: defaultdict[Cap, list[ClickJob]] = defaultdict(list)
            for job in capped:
                if job.click.cap:
                    by_cap[job.click.cap].append(job)
            capped = []
            for cap in sorted(by_cap, key=lambda cap: cap.key):
                jobs = by_cap[cap]
                room = await self._take(cap, len(jobs))
                for job in jobs[room:]:
                    self._state.full.add(cap.key)
                    self._state.decide(job)
                    capped.append(job)

    async def _take(self, cap: Cap, clicks: int) -> int:
        """How many of the clicks the cap lets through; only clicks use up a cap on clicks."""
        fetch, statements = self._connection.fetch, self._statements
        if cap.event != "click":
            used = await fetch(statements.cap_used, cap.key)
            return clicks if not used or used[0][0] < cap.limit else 0
        used = await fetch(statements.cap_held, (*cap.key, 0))
        room = max(0, min(clicks, cap.limit - int(used[0][0])))
        if room:
            await fetch(statements.cap_held, (*cap.key, room))
        return room

    async def agent_ids(self, agents: set[Agent]) -> dict[Agent, int]:
        """Keys of user agents, new ones put into the dictionary."""
        new = sorted((agent for agent in agents if not agent.id), key=lambda agent: agent.text)
        shared = isinstance(self._connection, PostgresBatchConnection)
        if shared:
            self._agents |= await self._known_agents(new)
            new = [agent for agent in new if agent.text not in self._agents]
        if new:
            rows = [(agent.text, agent.device, agent.os, agent.browser) for agent in new]
            await self._connection.many(self._statements.agent, rows)
        if shared:
            self._agents |= await self._known_agents(new)
        else:
            for agent in new:
                stored = await self._connection.fetch(self._statements.agent_id, (agent.text,))
                self._agents[agent.text] = int(stored[0][0])
        return {agent: agent.id or self._agents[agent.text] for agent in agents}

    async def _known_agents(self, agents: Sequence[Agent]) -> dict[str, int]:
        """Those of the dictionary, by their text, in one round trip."""
        assert isinstance(self._connection, PostgresBatchConnection)  # noqa: S101
        rows = await self._connection.query(POSTGRES_AGENTS, [agent.text for agent in agents]) if agents else ()
        return {row[0]: int(row[1]) for row in rows}

    async def _decide_outgoing(self, job: OutgoingJob) -> None:
        origin = await self.origin_click(job.click_id)
        if origin is not None and origin.team_id != job.team_id:
            origin = None
        else:
            job.early = origin is None and job.id - job.click_id < EARLY
        job.found = origin is not None
        self._state.decide_outgoing(job, origin)
        if origin is None:
            return
        if origin.bot:
            job.bot = origin.bot
        while job.cap and not await self._take(job.cap, 1):
            self._state.full.add(job.cap.key)
            self._state.decide_outgoing(job, origin)
        await self.store_outgoing(job, origin)

    async def origin_click(self, click_id: int) -> OriginClick | None:
        """The stored click that an outgoing one came with."""
        rows = await self._connection.fetch(self._statements.origin, (click_id,))
        if not rows:
            return None
        fields = dict(zip(_ORIGIN_FIELDS, rows[0], strict=False))
        return OriginClick(**fields, subs=tuple(rows[0][14:24]))

    async def store_spooled_outgoing(self, job: OutgoingJob, origin: OriginClick) -> bool:
        """Store an outgoing click out of a spool, once; whether it was new."""
        new = await self.store_outgoing(job, origin)
        if new:
            await self.count_cap(job.cap)
        return new

    async def store_outgoing(self, job: OutgoingJob, origin: OriginClick) -> bool:
        """Store an outgoing click once; the first one of a person gives the click its offer, roll-up included.

        Returns whether it was new.
        """
        fetch, statements = self._connection.fetch, self._statements
        row = (job.id, job.team_id, origin.id, origin.campaign_id, job.site_id, job.offer_id, job.hour, job.bot, 0)
        new = bool(await fetch(statements.outgoing, row))
        if not new or job.bot:
            return new
        if origin.offer_id == 0 and job.offer_id:
            values = {"offer": job.offer_id, "click": origin.id}
            give_offer = statements.give_offer
            if await fetch(give_offer, tuple(values.get(name, 0) for name in give_offer.names)):
                self._move(origin, job.offer_id)
        key = _origin_key(origin, job.hour, job.offer_id, site_id=job.site_id, currency="")
        self.counts.rollup[key][OUTGOING] += 1
        return True

    def _move(self, origin: OriginClick, offer_id: int) -> None:
        """The click now belongs to the offer: so do its counts."""
        for sign, offer in ((-1, 0), (1, offer_id)):
            row = self.counts.rollup[_origin_key(origin, origin.hour, offer)]
            row[CLICKS] += sign
            row[UNIQUE] += sign * origin.unique
            row[COST] += sign * (origin.cost or 0)

    async def store_spooled(self, clicks: Sequence[Click], now: datetime) -> int:
        """Store clicks out of a spool, once each; returns how many were new."""
        self._since = first_id_at(now - DAY)
        await self._check_unique(clicks)
        new = await self._insert_once(await self._with_agents(clicks))
        for click in new:
            self.counts.add_click(click)
            await self.count_cap(click.cap)
            for budget in click.budgets:
                await self._spend(budget, max(0, click.cost))
        rows = {key: (key, click.id, click.offer_id) for click in new for key in _further_keys(click)}
        if rows:
            await self._state.visitors.remember(self._connection, sorted(rows.values()), self._since)
        return len(new)

    async def prepare_spooled(self, clicks: Sequence[Click]) -> None:
        """Find out on PostgreSQL all that `store_prepared` needs to store clicks that `are_plain`."""
        connection, lifetime = self._connection, Recognition().lifetime
        assert isinstance(connection, PostgresBatchConnection)  # noqa: S101
        first = _first_visits(clicks).get(lifetime, {})
        self._since = min(click.id for click in clicks) - lifetime
        seen = await self._state.visitors.find(connection, [(key, 0) for key in first], self._since)
        for key in first.keys() & seen.keys():
            first[key].not_unique()
        self._unkept = sorted((key, click.id, click.offer_id) for key, click in first.items() if key not in seen)
        self._prepared = _as_json([_record(click, agent) for click, agent in await self._with_agents(clicks)])
        for click in clicks:
            self.counts.add_click(click)

    async def store_prepared(self) -> None:
        """Store prepared clicks by one statement, a transaction by itself.

        Raises StoredMeanwhile if any is stored already, or another process kept one of the visitors meanwhile.
        """
        assert isinstance(self._connection, PostgresBatchConnection)  # noqa: S101
        await self._write_together(self._connection.alone, self._prepared, self.counts)

    async def _with_agents(self, clicks: Sequence[Click]) -> list[tuple[Click, int]]:
        """Clicks out of a spool, each with the key of its user agent."""
        known = self._known_before
        unknown = {click.agent.text: click.agent for click in clicks if click.agent.text not in known}
        for agent in unknown.values():
            agent.id = 0  # of another time, perhaps another database
        ids = await self.agent_ids(set(unknown.values())) if unknown else {}
        by_text = {agent.text: number for agent, number in ids.items()}
        return [(click, by_text.get(click.agent.text) or known[click.agent.text]) for click in clicks]

    async def _insert_once(self, rows: Sequence[tuple[Click, int]]) -> list[Click]:
        """Insert clicks that are not stored yet; each comes with the key of its user agent. Those that were new."""
        if not isinstance(self._connection, PostgresBatchConnection):
            once = self._statements.clicks_once
            return [click for click, agent in rows if await self._connection.fetch(once, click.row(agent))]
        records = _as_json([_record(click, agent) for click, agent in rows])
        stored = {row[0] for row in await self._connection.query(POSTGRES_CLICKS_ONCE, records)}
        return [click for click, _ in rows if click.id in stored]

    async def _check_unique(self, clicks: Sequence[Click]) -> None:
        """Have a visitor count once, whom a process without a database could not recognise."""
        for lifetime, visitors in _first_visits(clicks).items():
            since = min(click.id for click in visitors.values()) - lifetime
            rows = sorted((key, click.id, click.offer_id) for key, click in visitors.items())
            remembered = await self._state.visitors.remember_spooled(self._connection, rows, since)
            for key, click in visitors.items():
                if key not in remembered:
                    click.not_unique()

    async def count_cap(self, cap: Cap | None) -> None:
        """Count a click that was sent while the cap could not be read."""
        if cap and cap.event == "click":
            await self._connection.fetch(self._statements.cap_held, (*cap.key, 1))

    async def write_counts(self) -> None:
        """Roll-up, faults and touch marks; in the order of their keys, so that writers never wait in a circle."""
        if isinstance(self._connection, PostgresBatchConnection):
            await self._write_together(self._connection.query, NO_ROWS, self.counts)
            return
        many, statements = self._connection.many, self._statements
        days = {(key[0], key[1] // 24) for key in self.counts.rollup}
        if self.counts.rollup:
            await many(statements.rollup, [(*key, *row) for key, row in self.counts.rollup.items()])
        if self.counts.faults:
            await many(statements.faults, [(*key, n) for key, n in sorted(self.counts.faults.items())])
        self._marks = self._state.touches.due(days)
        if self._marks:
            await many(statements.touched, self._marks)

    def committed(self) -> None:
        """What may be believed only now: dictionary keys, visitors, touch marks."""
        for job in self.clicks:
            agent = job.click.agent
            if not agent.id:
                agent.id = self._agents.get(agent.text, 0)
        if len(self._known_before) > MOST_AGENTS:
            self._known_before.clear()
        self._known_before |= self._agents
        self._state.visitors.committed(self._since)
        self._state.touches.written(self._marks)


def are_plain(clicks: Iterable[Click]) -> bool:
    """Whether clicks count for nothing but roll-up and visitors, who are known by their campaign for a day."""
    return not any(c.cap or c.budgets or c.scope or c.lifetime or c.unseen for c in clicks)


def _first_visits(clicks: Iterable[Click]) -> dict[int, dict[int, Click]]:
    """By lifetime and key, clicks that are unique unless the database knows their visitors; others no longer are."""
    by_lifetime: defaultdict[int, dict[int, Click]] = defaultdict(dict)
    for click in clicks:
        if click.unique and not click.bot:
            lifetime, key = click.lifetime or Recognition().lifetime, _deciding_key(click)
            first = by_lifetime[lifetime].get(key)
            if first is not None and click.id - first.id < lifetime:
                click.not_unique()
            else:
                by_lifetime[lifetime][key] = click
    return by_lifetime


def _record(click: Click, agent_id: int) -> ClickRow:
    if click.wide:
        values = (*click.short_row(agent_id), *click.subs[2:], click.ip_prefix, click.extra)
        return ClickRow(*values)
    return ClickRow(*click.short_row(agent_id))


def _as_json(rows: Sequence[msgspec.Struct]) -> str:
    return _encoder.encode(rows).decode()


_encoder = msgspec.json.Encoder()


def _deciding_key(click: Click) -> int:
    """The key of a click's visitor at the place that they are new to."""
    return visitor_id(int.from_bytes(click.visitor, "big"), click.scope or _own_place(click))


def _own_place(click: Click) -> int:
    return click.campaign_id or site_place(click.site_id)


def _further_keys(click: Click) -> list[int]:
    """The keys of a click's visitor at the other places where it made them known."""
    if click.bot:
        return []
    places = [_own_place(click)] if click.scope else []
    places += [offer_place(click.campaign_id, click.offer_id)] if click.unseen and click.offer_id else []
    browser = int.from_bytes(click.visitor, "big")
    return [visitor_id(browser, place) for place in places]


_ORIGIN_FIELDS = OriginClick.__struct_fields__[:-1]


def _origin_key(
    origin: OriginClick, hour: int, offer_id: int, *, site_id: int = 0, currency: str | None = None
) -> RollupKey:
    return (
        origin.team_id, hour, origin.campaign_id, site_id or origin.site_id, offer_id, origin.source_id,
        origin.country or "", origin.device or "", origin.currency or "" if currency is None else currency,
    )  # fmt: skip
