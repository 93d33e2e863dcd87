"""Pages of the usual reports wait until nothing is merged any more, and then come by themselves."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from hub.jobs.timetable import settle_touched
from hub.runtime.ports import HubPorts
from hub.runtime.runtime import Runtime
from hub.runtime.settings import Settings
from storage.db.secrets import Box
from storage.reports.report_pages import PAGES
from storage.reports.usual_pages import LONGEST, PAUSE, PagesDue
from storage.tables import report_pages
from tests.storage.books import FIRST, Books, at, build, later, row

START = at(later(20))
SECOND = timedelta(seconds=1)


def test_pages_wait_for_a_pause_and_a_minute_at_most() -> None:
    due = PagesDue(START)
    assert not due.at(START + PAUSE - SECOND)
    assert due.at(START + PAUSE)
    due.note_none_missing()
    assert not due.at(START + LONGEST)
    now, waited = START + LONGEST, timedelta(0)
    due.note_merge(now)
    while not due.at(now + waited):
        waited += SECOND
        due.note_merge(now + waited)
    assert waited == LONGEST
    due.note_none_missing()
    assert not due.is_waiting


@pytest.mark.slow_on_postgresql
async def test_pages_come_by_themselves_when_nothing_is_merged_any_more(opened: Callable[[], Any]) -> None:
    now = [START]
    settings = Settings(secret_key="k" * 32)
    async with opened() as database:
        async with database.begin() as tx:
            books = await build(tx)
        runtime = Runtime(
            settings=settings, database=database, box=Box("k" * 32), ports=HubPorts(settings), team_id=books.team_id,
            clock=lambda: now[0],
        )  # fmt: skip

        async def kept_after(wait: timedelta) -> int:
            now[0] += wait
            await settle_touched(runtime)
            async with database.read() as tx:
                return int((await tx.execute(select(func.count()).select_from(report_pages))).scalar_one())

        async def sync(ngr: int) -> None:
            async with database.begin() as tx:
                await books.sync(tx, "acme", [row(FIRST, ngr=ngr), row(later(1), ngr=ngr)], now=now[0])

        await sync(1)
        assert await kept_after(PAUSE) == 0  # merged just now
        assert await kept_after(PAUSE - SECOND) == 0
        await sync(2)
        assert await kept_after(SECOND) == 0
        assert await ngr(database, books) == 4  # before there are pages
        assert await kept_after(PAUSE) == 4  # two days by offer and by campaign
        PAGES.clear()
        assert await ngr(database, books) == 4
        assert await kept_after(SECOND) == 4
        assert not runtime.state["pages"].is_waiting


async def ngr(database: Any, books: Books) -> int | None:
    async with database.read() as tx:
        total: int | None = (await books.report(tx, "day", "offer", last=later(1))).totals.ngr
    return total
