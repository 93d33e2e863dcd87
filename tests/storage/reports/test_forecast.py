"""Pending commission over the database: which days are history, which are pending, and what is said of too little."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from storage.reports.forecast import Forecast, forecast
from storage.reports.merged_report import ReportQuery
from tests.storage.books import FIRST, Books, at, build, later, row

Open = Callable[[], Any]
HUNDRED = 100_000_000


async def pays_by_ftd(tx: AsyncConnection, days: int) -> Books:
    """Every second day one FTD of 100, settled; the day after the last one has an FTD and is pending."""
    books = await build(tx)
    rows = []
    for n in [*range(0, days, 2), days]:
        await books.click(tx, at(later(n)), campaign="spring", offer="lucky")
        await books.conversion(
            tx, at(later(n)), "first_deposit", campaign="spring", offer="lucky", account="acme", txn_id=str(n)
        )
        rows.append(row(later(n), first_deposits=1, commission_cpa=HUNDRED))
    await books.sync(tx, "acme", rows[:-1], now=at(later(days)), days=(FIRST, later(days - 1)))
    return books


async def forecast_of(tx: AsyncConnection, books: Books, last: int, hour: int | None = None) -> Forecast:
    query = ReportQuery(team_id=books.team_id, first=later(last - 5), last=later(last))
    return await forecast(tx, query, now=None if hour is None else at(later(last), hour))


async def test_pending_days_are_estimated_and_settled_ones_are_not(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await pays_by_ftd(tx, 60)
        made = await forecast_of(tx, books, 60)
        (item,) = made.items
        assert (item.day, item.offer, item.first_deposits) == (later(60).isoformat(), "lucky", 1)
        assert item.forecast is not None
        assert (item.forecast.estimate, item.forecast.low, item.forecast.high) == (HUNDRED, HUNDRED, HUNDRED)
        assert made.total is not None
        assert made.total.estimate == HUNDRED
        assert made.accuracy.share == 1
        assert made.accuracy.days > 20
        assert made.missing == 0
        assert made.estimated


async def test_days_without_a_row_are_history_with_nothing_and_pending_ones_are_asked_for(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await pays_by_ftd(tx, 60)
        made = await forecast_of(tx, books, 62)
        assert [item.day for item in made.items] == [later(n).isoformat() for n in (60, 61, 62)]
        assert [item.forecast.estimate for item in made.items if item.forecast] == [HUNDRED, 0, 0]
        assert {item.forecast.days for item in made.items if item.forecast} == {60}


async def test_a_day_that_is_not_over_may_still_bring_an_ftd(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await pays_by_ftd(tx, 60)
        today = (await forecast_of(tx, books, 62, hour=12)).items[-1].forecast
        assert today is not None
        assert 0 < today.estimate < HUNDRED
        assert today.high >= HUNDRED


async def test_too_short_a_history_is_said(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await pays_by_ftd(tx, 10)
        made = await forecast_of(tx, books, 10)
        (item,) = made.items
        assert (item.forecast, item.lacking) == (None, "10 of 28 settled days, 5 of 10 FTDs")
        assert (made.total, made.missing, made.accuracy.days) == (None, 1, 0)


async def test_a_total_has_an_interval_and_a_record_of_its_own(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await pays_by_ftd(tx, 60)
        await books.offer(tx, "happy", "acme", "second")
        rows = [row(later(n), "second", first_deposits=1, ngr=0, commission_revshare=(n + n % 7) * 1_000_000)
                for n in range(60)]  # fmt: skip
        await books.sync(tx, "acme", [*rows, *(row(later(n), first_deposits=1, commission_cpa=HUNDRED)
                                               for n in range(0, 60, 2))], now=at(later(60)))  # fmt: skip
        made = await forecast_of(tx, books, 61)
        assert {item.offer for item in made.items} == {"happy", "lucky"}
        assert made.total is not None
        assert made.total.estimate == sum(item.forecast.estimate for item in made.items if item.forecast)
        assert made.total.low <= made.total.estimate <= made.total.high
        assert made.total_accuracy.days > 20


async def test_history_ends_where_the_first_pending_day_begins(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await pays_by_ftd(tx, 60)
        query = ReportQuery(team_id=books.team_id, first=later(62), last=later(62) + timedelta(days=1))
        made = await forecast(tx, query)
        assert [item.day for item in made.items] == [later(62).isoformat(), later(63).isoformat()]
