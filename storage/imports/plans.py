"""The dry run of an import: everything that was read is looked through, and nothing is changed."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.engine import Database
from storage.imports import imports
from storage.imports.imports import History, Parts, Plan, Whose
from storage.ledger.imports.decisions import Standing, decide
from storage.ledger.imports.tracker import KINDS, DayFigures, Days, OldClicks, Problem, Setup
from storage.reports.rates import load_rates
from storage.tables import accounts, campaigns, imported_entities, offers, sources

TABLES: Mapping[str, Table] = {"account": accounts, "source": sources, "offer": offers, "campaign": campaigns}
MOST_PROBLEMS = 300
#: How a tracker is called where people read it.
TITLES = {
    "keitaro": "Keitaro", "binom": "Binom", "voluum": "Voluum", "redtrack": "RedTrack", "statsdrone": "StatsDrone",
    "csv": "CSV",
}  # fmt: skip


async def standing_of(tx: AsyncConnection, whose: Whose) -> Standing:
    """What is here of an import's tracker, and which names are taken."""
    named = {}
    for kind, table in TABLES.items():
        query = select(table.c.id, table.c.name).where(table.c.team_id == whose.team_id)
        named[kind] = {entity.name.casefold(): entity.id for entity in await tx.execute(query)}
    return Standing(imported=await entity_ids(tx, whose), named=named)


async def entity_ids(tx: AsyncConnection, whose: Whose) -> dict[str, int]:
    """Ids here of the tracker's entities, by `kind:key`."""
    e = imported_entities.c
    query = select(e.kind, e.key, e.entity_id).where(*_of(whose))
    return {f"{entity.kind}:{entity.key}": entity.entity_id for entity in await tx.execute(query)}


def _of(whose: Whose) -> tuple[Any, ...]:
    e = imported_entities.c
    return e.team_id == whose.team_id, e.system == whose.system, e.host == whose.host


async def edited_here(tx: AsyncConnection, whose: Whose, setup: Setup) -> list[str]:
    """What the team has changed of entities that an earlier import made: it stays so."""
    e, lines = imported_entities.c, []
    for kind, table in TABLES.items():
        keys = {entity.key for entity in getattr(setup, f"{kind}s")}
        query = select(e.key, e.made, table).join_from(imported_entities, table, table.c.id == e.entity_id)
        for entity in await tx.execute(query.where(*_of(whose), e.kind == kind)):
            columns = entity._mapping
            changed = [name for name, value in entity.made.items() if columns[table.c[name]] != value]
            if changed and entity.key in keys:
                named = ", ".join(name.removesuffix("_id").replace("_", " ") for name in changed)
                lines.append(f"{kind} {columns[table.c.name]} was changed here ({named}): it stays so")
    return lines


async def make_plan(database: Database, whose: Whose, parts: Parts, *, currency: str) -> Plan:
    """What the import would do; `currency` is the reporting currency."""
    setup = await imports.setup_of(parts)
    async with database.read() as tx:
        decisions = decide(setup, await standing_of(tx, whose), TITLES[whose.system])
        kept = await edited_here(tx, whose, setup)
    count = _Count(set(decisions.meant) | set(decisions_keys(setup)))
    async for part in parts.each(Days):
        count.add_days(part)
    old_clicks = 0
    async for clicks in parts.each(OldClicks):
        old_clicks += len(clicks.rows)
        count.add_clicks(clicks)
    async with database.read() as tx:
        unrated = await _unrated(tx, whose.team_id, currency, count)
    problems = decisions.problems + [
        Problem(kind="campaign", name=setup.deleted.get(f"campaign:{key}", key),
                why=f"it is not there any more: {n:,} clicks of it stand under no campaign")
        for key, n in count.nowhere.items()
    ]  # fmt: skip
    return Plan(
        make={kind: decisions.count(kind) for kind in KINDS}, known=decisions.known, renamed=decisions.renamed,
        kept=kept, problems=problems[:MOST_PROBLEMS], more_problems=max(0, len(problems) - MOST_PROBLEMS),
        history=count.history(unrated) if count.rows else None, old_clicks=old_clicks,
        statuses=dict(sorted((count.statuses or count.click_statuses).items(), key=lambda item: -item[1])),
    )  # fmt: skip


def decisions_keys(setup: Setup) -> list[str]:
    return [f"campaign:{campaign.key}" for campaign in setup.campaigns]


async def _unrated(tx: AsyncConnection, team_id: int, currency: str, count: "_Count") -> list[str]:
    if count.first is None or count.last is None:
        return []
    rates = await load_rates(tx, team_id, currency, count.revenue.keys() | count.cost.keys(), count.first, count.last)
    return sorted(other for other, last in count.last_of.items() if rates.rate(other, last) is None)


class _Count:
    """Sums over all that was read."""

    def __init__(self, known: set[str]) -> None:
        self._known = known
        self.rows = self.clicks = self.conversions = 0
        self.first: date | None = None
        self.last: date | None = None
        self.revenue: dict[str, int] = {}
        self.cost: dict[str, int] = {}
        self.last_of: dict[str, date] = {}
        self.statuses: dict[str, int] = {}
        self.click_statuses: dict[str, int] = {}
        self.nowhere: dict[str, int] = {}

    def add_days(self, part: Days) -> None:
        self.rows += len(part.rows)
        for row in part.rows:
            self._add(row)

    def _add(self, row: DayFigures) -> None:
        self.clicks += row.clicks or 0
        self.conversions += row.conversions or 0
        self.first = row.day if self.first is None else min(self.first, row.day)
        self.last = row.day if self.last is None else max(self.last, row.day)
        for amounts, amount in ((self.revenue, row.revenue), (self.cost, row.cost)):
            if amount:
                amounts[row.currency] = amounts.get(row.currency, 0) + amount
                self.last_of[row.currency] = max(self.last_of.get(row.currency, row.day), row.day)
        for word, n in row.statuses.items():
            self.statuses[word] = self.statuses.get(word, 0) + n
        if f"campaign:{row.campaign}" not in self._known:
            self.nowhere[row.campaign] = self.nowhere.get(row.campaign, 0) + (row.clicks or 0)

    def add_clicks(self, part: OldClicks) -> None:
        for click in part.rows:
            if click.status:
                self.click_statuses[click.status] = self.click_statuses.get(click.status, 0) + 1

    def history(self, unrated: list[str]) -> History:
        return History(
            rows=self.rows, first=self.first, last=self.last, clicks=self.clicks, conversions=self.conversions,
            revenue=self.revenue, cost=self.cost, unrated=unrated, nowhere=self.nowhere,
        )  # fmt: skip
