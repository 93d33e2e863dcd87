"""Carrying an import out: entities, then daily figures, then click ids, in transactions of some milliseconds.

Everything can be done again: entities are known by the tracker's ids and never changed once they are here, figures of
an import replace those of earlier ones, click ids that are known stay.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import date, datetime
from functools import partial
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import Row, case, delete, func, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.clicks import imported_clicks
from storage.clicks.imported_clicks import batched
from storage.db import config_version, touch_marks
from storage.db.engine import Database, Work
from storage.db.secrets import Box
from storage.imports import imports
from storage.imports.entities import EntityFactory
from storage.imports.imports import Result, Whose
from storage.imports.plans import MOST_PROBLEMS, TITLES, entity_ids, standing_of
from storage.ledger.errors import Refused
from storage.ledger.imports.decisions import Decisions, Made, decide
from storage.ledger.imports.tracker import DayFigures, Days, OldClicks, Problem, Setup, counted
from storage.tables import campaign_aliases, click_rollup, cutovers, imported_days, imported_entities, revenue
from storage.tables.types import EPOCH_DAY

ROWS_AT_ONCE = 100
MADE_AT_ONCE = 25
_COUNTS = ("clicks", "unique_clicks", "conversions")
_EVENTS = {"registration": "registrations", "first_deposit": "first_deposits", "deposit": "deposits",
           "qualified": "qualified", "reversal": "reversals"}  # fmt: skip
MEASURES = (*_COUNTS, *_EVENTS.values(), "revenue", "cost")
_KEY = ("team_id", "day", "campaign_id", "offer_id", "country", "system", "host", "currency")
#: Trackers whose report of a range is whole: what it no longer says of a day is gone.
WHOLE = {"keitaro", "binom", "voluum", "redtrack"}

T = TypeVar("T")
Progress = Callable[[int, int], Awaitable[None]]


class Importer:
    """One import, carried out."""

    def __init__(
        self, database: Database, box: Box, row: Row[Any], *, clock: Callable[[], datetime], zone: ZoneInfo,
        currency: str, progress: Progress,
    ) -> None:  # fmt: skip
        self._database, self._box, self._row = database, box, row
        self._clock, self._zone, self._currency = clock, zone, currency
        self._progress = progress
        self._settings = imports.settings_of(row)
        self._parts = imports.StoredParts(database, row.id)
        self._whose = Whose(team_id=row.team_id, system=row.system, host=row.host)
        self._problems: list[Problem] = []
        self._steps = self._of = 0

    async def work(self) -> Result:
        """Do all of it. Raises DatabaseUnavailable and the like; what was done stays, and is found again."""
        setup = await imports.setup_of(self._parts)
        async with self._database.read() as tx:
            decisions = decide(setup, await standing_of(tx, self._whose), TITLES[self._row.system])
            parts = await imports.count_parts(tx, self._row.id)
        self._problems += decisions.problems
        self._of = len(decisions.made) + imports.ROWS_PER_PART * parts
        await self._make(setup, decisions)
        day_rows = await self._import_days()
        clicks, left_out = await self._import_clicks()
        await self._write(config_version.bump)
        return Result(
            made={kind: decisions.count(kind) for kind in decisions.known}, problems=self._problems[:MOST_PROBLEMS],
            days=day_rows, old_clicks=clicks, left_out=left_out,
        )  # fmt: skip

    async def _write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """A transaction of some milliseconds, which awaits nothing but its statements."""
        return await self._database.run(work)

    async def _write_all(self, batches: Iterable[Work[bool]]) -> None:
        """Several such, which share a transaction while no other writer waits."""
        await self._database.run_batches(batches)

    async def _step(self, steps: int) -> None:
        self._steps += steps
        await self._progress(min(self._steps, self._of), self._of)

    async def _make(self, setup: Setup, decisions: Decisions) -> None:
        factory = EntityFactory(
            self._box, self._row, self._settings, clock=self._clock, zone=self._zone, currency=self._currency
        )
        async with self._database.read() as tx:
            factory.ids = await entity_ids(tx, self._whose) | decisions.meant
        rows = [self._entity(key, entity_id, {}) for key, entity_id in decisions.meant.items()]
        statement = upsert(imported_entities).on_conflict_do_nothing()
        await self._write_all(partial(_run, statement, some) for some in batched(rows, ROWS_AT_ONCE))
        for some_made in batched(decisions.made, MADE_AT_ONCE):
            await self._write_all(partial(self._make_one, factory, made) for made in some_made)
            await self._step(len(some_made))
        self._problems += factory.problems
        await self._add_aliases(setup, factory.ids)
        await self._add_cutovers(setup, factory.ids)

    async def _make_one(self, factory: EntityFactory, made: Made, tx: AsyncConnection) -> bool:
        key = f"{made.kind}:{made.entity.key}"
        try:
            entity_id, values = await factory.make(tx, made)
        except Refused as error:
            self._problems.append(Problem(kind=made.kind, name=made.name, why=f"it is left out: {error}"))
            return True
        factory.ids[key] = entity_id
        await tx.execute(insert(imported_entities), [self._entity(key, entity_id, values)])
        return True

    def _entity(self, key: str, entity_id: int, values: Mapping[str, Any]) -> dict[str, Any]:
        kind, _, theirs = key.partition(":")
        return {
            "team_id": self._row.team_id, "system": self._row.system, "host": self._row.host, "kind": kind,
            "key": theirs, "entity_id": entity_id, "made": dict(values),
        }  # fmt: skip

    async def _add_aliases(self, setup: Setup, ids: Mapping[str, int]) -> None:
        a = campaign_aliases.c
        rows = [
            {"team_id": self._row.team_id, "campaign_id": ids[f"campaign:{campaign.key}"], "alias": alias}
            for campaign in setup.campaigns
            for alias in dict.fromkeys(campaign.aliases)
        ]
        async with self._database.read() as tx:
            query = select(a.alias, a.campaign_id).where(a.team_id == self._row.team_id)
            campaign_of = {row.alias: row.campaign_id for row in await tx.execute(query)}
        self._problems += [
            Problem(kind="link", name=row["alias"], why="another campaign has this old link already")
            for row in rows
            if campaign_of.get(row["alias"], row["campaign_id"]) != row["campaign_id"]
        ]
        new = [row for row in rows if row["alias"] not in campaign_of]
        statement = upsert(campaign_aliases).on_conflict_do_nothing()
        await self._write_all(partial(_run, statement, some) for some in batched(new, ROWS_AT_ONCE))

    async def _add_cutovers(self, setup: Setup, ids: Mapping[str, int]) -> None:
        """Our figures begin on the day asked for, or with a campaign's first click here if that was earlier."""
        mine = sorted({ids[f"campaign:{campaign.key}"] for campaign in setup.campaigns})
        for campaign_ids in batched(mine, ROWS_AT_ONCE):
            r = click_rollup.c
            first = (
                select(r.campaign_id, func.min(r.hour).label("hour"))
                .where(r.team_id == self._row.team_id, r.campaign_id.in_(campaign_ids), r.clicks > 0)
                .group_by(r.campaign_id)
            )
            async with self._database.read() as tx:
                clicked = {row.campaign_id: row.hour // 24 for row in await tx.execute(first)}
            rows = [
                {
                    "campaign_id": number,
                    "team_id": self._row.team_id,
                    "day": min(self._settings.cutover, _day(clicked.get(number)) or self._settings.cutover),
                }
                for number in campaign_ids
            ]
            await self._write(partial(_run, upsert(cutovers).on_conflict_do_nothing(), rows))

    async def _import_days(self) -> int:
        async with self._database.read() as tx:
            ids = await entity_ids(tx, self._whose)
        d, count = imported_days.c, 0
        await self._delete_days(d.import_id == self._row.id)  # of an attempt that was broken off, or other meanings
        async for part in self._parts.each(Days):
            rows = self._summed(part, ids)
            await self._write_all(partial(_run, _ADD_DAYS, some) for some in batched(rows, ROWS_AT_ONCE))
            count += len(part.rows)
            await self._step(imports.ROWS_PER_PART)
        if self._row.system in WHOLE and count:
            outdated = d.import_id != self._row.id, d.day.between(self._settings.first, self._settings.last)
            await self._delete_days(*outdated)
        return count

    async def _delete_days(self, *where: Any) -> None:
        d = imported_days.c
        conditions = (d.team_id == self._row.team_id, d.system == self._row.system, d.host == self._row.host, *where)
        async with self._database.read() as tx:
            of_days = list((await tx.execute(select(d.day).where(*conditions).distinct())).scalars())
        await self._write_all(
            partial(_run, delete(imported_days).where(*conditions, d.day == day), None) for day in of_days
        )

    def _summed(self, part: Days, ids: Mapping[str, int]) -> list[dict[str, Any]]:
        rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        for figures in part.rows:
            values = self._values(figures, ids)
            key = tuple(values[name] for name in _KEY)
            before = rows.setdefault(key, values)
            if before is not values:
                for name in MEASURES:
                    before[name] = _sum(before[name], values[name])
        return list(rows.values())

    def _values(self, figures: DayFigures, ids: Mapping[str, int]) -> dict[str, Any]:
        events = counted(figures.statuses, self._settings.meaning)
        mapped = set(self._settings.meaning.values())
        return {
            "team_id": self._row.team_id, "day": figures.day, "system": self._row.system, "host": self._row.host,
            "campaign_id": ids.get(f"campaign:{figures.campaign}", 0), "offer_id": ids.get(f"offer:{figures.offer}", 0),
            "country": figures.country.upper()[:2], "currency": figures.currency, "import_id": self._row.id,
            "clicks": figures.clicks, "unique_clicks": figures.unique_clicks, "conversions": figures.conversions,
            **{column: events.get(event, 0) if event in mapped else None for event, column in _EVENTS.items()},
            "revenue": figures.revenue, "cost": figures.cost,
        }  # fmt: skip

    async def _import_clicks(self) -> tuple[int, int]:
        count = left_out = 0
        async with self._database.read() as tx:
            ids = await entity_ids(tx, self._whose)
            sources = await imported_clicks.sources_of(tx, self._row.team_id)
        async for part in self._parts.each(OldClicks):
            rows = [
                imported_clicks.ImportedClick(
                    click=old.click, campaign_id=campaign_id, offer_id=ids.get(f"offer:{old.offer}", 0),
                    source_id=sources.get(campaign_id, 0), at=old.at or self._clock(), country=old.country,
                    source_click=old.source_click,
                )
                for old in part.rows
                if (campaign_id := ids.get(f"campaign:{old.campaign}", 0))
            ]  # fmt: skip
            for some in batched(rows, ROWS_AT_ONCE):
                added, refused = await self._write(
                    partial(imported_clicks.add, team_id=self._row.team_id, clicks=some, zone=self._zone)
                )
                count, left_out = count + added, left_out + refused
            await self._step(imports.ROWS_PER_PART)
        if count:
            await self._touch_revenue()
        return count, left_out

    async def _touch_revenue(self) -> None:
        """Revenue that came back with click ids may be of these."""
        r = revenue.c
        query = select(r.day).where(r.team_id == self._row.team_id, r.sub != "").distinct()
        async with self._database.read() as tx:
            moved = list((await tx.execute(query)).scalars())
        await self._write(partial(touch_marks.touch, team_id=self._row.team_id, days=moved))


async def _run(statement: Any, rows: Any, tx: AsyncConnection) -> bool:
    await tx.execute(statement, rows)
    return True


def _add_days_statement() -> Any:
    """Add to what this import has said of the key already, replace what an earlier one said."""
    statement = upsert(imported_days)
    here, new = imported_days.c, statement.excluded
    same = here.import_id == new.import_id
    sums = {
        name: case((same, func.coalesce(here[name] + new[name], here[name], new[name])), else_=new[name])
        for name in MEASURES
    }
    return statement.on_conflict_do_update(index_elements=list(_KEY), set_={**sums, "import_id": new.import_id})


_ADD_DAYS = _add_days_statement()


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other


def _day(number: int | None) -> date | None:
    return None if number is None else date.fromordinal(EPOCH_DAY.toordinal() + number)
