"""A day with new clicks is marked for merging at most once a second, once more when the hub stops, or after it died."""

import asyncio
import time

from sqlalchemy import delete, select

from hub.jobs.timetable import touch_after_killed
from storage.db.engine import Database
from storage.tables import touched
from tests.hub.clicks.click_deployment import click_deployment


async def test_a_mark_that_is_put_off_costs_no_transaction_and_is_written_when_the_hub_stops(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        await d.get("/c/one", ip="192.0.2.1")
        writer, marks = d.clicks.writer, d.clicks.writer._state.touches
        later = time.monotonic() + 1_000_000
        marks._last = dict.fromkeys(marks._last, later)  # as if written this very moment, for long
        [(team_id, _)] = marks._last
        async with d.database.begin() as tx:
            await tx.execute(delete(touched))
        await d.get("/c/one", ip="192.0.2.2")
        assert marks.pending
        commits = writer.tally["commits"]
        writer._wake.set()
        await asyncio.sleep(0.2)
        assert writer.tally["commits"] == commits
        assert await d.count(touched) == 0
    database = Database(upgraded_url)
    async with database.read() as tx:
        assert (await tx.execute(select(touched.c.team_id))).scalars().all() == [team_id]
    await database.close()


async def test_days_of_a_hub_that_was_killed_and_stays_away_are_marked_by_another(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        await d.get("/c/one", ip="192.0.2.1")
        async with d.database.begin() as tx:
            await tx.execute(delete(touched))
        await touch_after_killed(d.runtime)
        assert await d.count(touched) == (0 if d.database.sqlite else 2), "the day, and the one before"
