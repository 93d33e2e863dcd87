"""Touch marks: none is lost, whoever settles at the same time; a campaign's days are found by an index."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import event, func, insert, select, text

from storage.db import touch_marks
from storage.db.engine import Database, Work
from storage.reports import settle
from storage.tables import revenue, touched
from tests.storage.scene import NOON, build

T = TypeVar("T")
UTC_ZONE = ZoneInfo("UTC")
DAY = date(2026, 10, 1)


class SlowSettler(Database):
    """Between what it reads and what it writes another settler finishes, and a day is touched."""

    def __init__(self, database: Database, team_id: int) -> None:
        super().__init__(database.url)
        self.others, self.team_id, self.overtaken = database, team_id, False

    async def run(self, work: Work[T], *, patience: float = 10.0, **words: Any) -> T:
        if not self.overtaken:
            self.overtaken = True
            await settle.settle_all(self.others, UTC_ZONE)
            async with self.others.begin() as tx:
                await touch_marks.touch(tx, self.team_id, [DAY])
        return await super().run(work, patience=patience, **words)


async def test_two_settlers_at_once_lose_no_mark(opened: Callable[[], Any]) -> None:
    async with opened() as database:
        async with database.begin() as tx:
            team_id = (await build(tx)).team_id
            await touch_marks.touch(tx, team_id, [DAY])
        slow = SlowSettler(database, team_id)
        try:
            merged = await settle.settle_all(slow, UTC_ZONE)
        finally:
            await slow.close()
        assert merged == 2, "the day that was touched meanwhile is merged again"
        async with database.read() as tx:
            assert (await tx.execute(select(func.count()).select_from(touched))).scalar_one() == 0


async def test_a_day_that_a_report_is_being_written_to_is_merged_once_it_is_whole(opened: Callable[[], Any]) -> None:
    async with opened() as database:
        async with database.begin() as tx:
            team_id = (await build(tx)).team_id
            await touch_marks.touch(tx, team_id, [DAY, DAY + timedelta(days=1)])
        with touch_marks.being_written(team_id, DAY, DAY):
            assert await settle.settle_all(database, UTC_ZONE) == 1
        assert await settle.settle_all(database, UTC_ZONE) == 1
        assert touch_marks.days_being_written() == ()


async def test_the_days_of_a_campaigns_code_are_found_by_an_index(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        rows = [
            {"team_id": scene.team_id, "account_id": scene.account_id, "day": DAY - timedelta(days=n), "tag": "t",
             "tag_key": "t", "sub": "" if n % 10 else f"Code{n}", "currency": "EUR", "recorded_at": NOON,
             "report_id": 1} for n in range(500)
        ]  # fmt: skip
        await tx.execute(insert(revenue), rows)
        await tx.execute(text("ANALYZE"))
        statements: list[tuple[str, Any]] = []
        event.listen(
            tx.sync_connection, "before_cursor_execute",
            lambda _c, _cursor, statement, parameters, _context, _many: statements.append((statement, parameters)),
        )  # fmt: skip
        assert await touch_marks.days_named(tx, scene.team_id, "code50") == [DAY - timedelta(days=50)]
        explain = "EXPLAIN QUERY PLAN" if database.sqlite else "EXPLAIN"
        for statement, parameters in statements.copy():
            plan = [str(row) for row in await tx.exec_driver_sql(f"{explain} {statement}", parameters)]
            assert any("ix_revenue_team_id_day_sub" in line for line in plan), plan
