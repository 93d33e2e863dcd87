"""Pending commission: an estimate from the offer's own past, with an honest interval."""

from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any

from storage.ledger.reports.forecast import Accuracy, Estimate, Past, accuracy, estimate, total
from storage.reports.forecast import forecast
from storage.reports.merged_report import ReportQuery
from tests.storage.books import FIRST, at, build, later, row

Open = Callable[[], Any]


def test_an_offer_that_always_pays_the_same_is_estimated_exactly() -> None:
    assert estimate(3, [Past(2, 200)] * 10) == Estimate(300, 300, 300, 10)


def test_too_short_a_past_gives_no_estimate() -> None:
    assert estimate(3, [Past(2, 200)] * 6) is None
    assert estimate(3, [Past(0, 200)] * 10) is None


def test_eight_of_ten_days_turn_out_inside_the_interval() -> None:
    chance = Random(7)
    days = []
    for _ in range(400):
        ftds = chance.randint(0, 12)
        days.append(Past(ftds, sum(max(0, round(chance.gauss(100, 60))) for _ in range(ftds))))
    found = accuracy(days)
    assert found.days > 380
    assert found.share is not None
    assert 0.74 < found.share < 0.9


def test_estimates_of_several_days_are_added_and_their_strays_even_out() -> None:
    assert total([Estimate(100, 70, 130, 9), Estimate(50, 10, 90, 8)]) == Estimate(150, 100, 200, 8)
    assert total([]) is None


async def test_pending_days_are_estimated_and_settled_ones_are_not(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        rows = []
        for n in range(9):
            await books.click(tx, at(later(n)), campaign="spring", offer="lucky")
            await books.conversion(
                tx, at(later(n)), "first_deposit", campaign="spring", offer="lucky", account="acme", txn_id=str(n)
            )
            rows.append(row(later(n), first_deposits=1, commission_cpa=100))
        await books.sync(tx, "acme", rows[:8], now=at(later(8)))
        query = ReportQuery(team_id=books.team_id, first=FIRST, last=FIRST + timedelta(days=8))
        made = await forecast(tx, query)
        (one,) = made.items
        assert (one.day, one.offer, one.commission) == ("2026-10-09", "lucky", None)
        assert one.forecast == Estimate(100, 100, 100, 8)
        assert made.accuracy == Accuracy(1, 1)
        assert made.estimated
