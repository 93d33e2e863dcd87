"""Properties of the delayed layer on both databases, whatever Hypothesis thinks of."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from storage.catalogue import teams
from storage.clicks.queries import ensure_codec
from storage.db.engine import Database
from storage.db.schema import upgrade
from storage.ledger.facts import RevenueRow
from storage.reports import settle
from storage.tables import accounts, casinos, user_agents
from tests.storage.books import FIRST, UTC_ZONE, Books, at, build, later, row

NAMES = count(1)
RELAXED = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

figures = st.fixed_dictionaries(
    {
        "registrations": st.none() | st.integers(0, 9),
        "first_deposits": st.none() | st.integers(0, 5),
        "ngr": st.integers(-(10**7), 10**7),
        "commission_cpa": st.none() | st.integers(-(10**7), 10**7),
    }
)
keys = st.tuples(st.integers(0, 3), st.sampled_from(["main", "Unclaimed"]), st.sampled_from(["", "x", "spring"]))
truths = st.dictionaries(keys, figures, max_size=8)
windows = st.tuples(st.integers(0, 3), st.integers(0, 3)).map(lambda days: (min(days), max(days)))


def rows_of(truth: dict[Any, Any], first: int, last: int) -> list[RevenueRow]:
    return [row(later(n), tag, sub=sub, **f) for (n, tag, sub), f in truth.items() if first <= n <= last]


@pytest.fixture
def ready(database_url: str) -> str:
    """A database with a team in it; every example brings an account of its own."""

    async def prepare(database: Database) -> None:
        await upgrade(database)
        async with database.begin() as tx:
            await build(tx)

    asyncio.run(opened(database_url, prepare))
    return database_url


async def opened(url: str, work: Callable[[Database], Awaitable[None]]) -> None:
    database = Database(url)
    try:
        await work(database)
    finally:
        await database.close()


async def own_books(tx: Any) -> Books:
    """Books with an account, an offer and a campaign that no other example has."""
    books = Books(await teams.first(tx, at(FIRST)), await ensure_codec(tx))
    books.ids["casino"] = (await tx.execute(select(casinos.c.id))).scalar_one()
    assert (await tx.execute(select(user_agents.c.id))).first()
    assert (await tx.execute(select(accounts.c.id))).first()
    name = f"n{next(NAMES)}"
    books.sequence = int(name[1:]) * 1000
    books.ids["account"] = await books.account(tx, f"a{name}")
    books.ids["offer"] = await books.offer(tx, f"o{name}", f"a{name}", "main")
    books.ids["campaign"] = await books.campaign(tx, f"c{name}")
    return books


def name_of(books: Books) -> str:
    return next(name for name in books.ids if name.startswith("an"))


async def shown(tx: Any, books: Books, **query: Any) -> Any:
    return await books.report(tx, "day", "offer", "campaign", last=later(4), accounts=(name_of(books),), **query)


@pytest.mark.slow_on_postgresql
@RELAXED
@given(truth=truths, request=st.lists(windows, max_size=5))
def test_any_order_and_overlap_of_syncs_gives_the_same_report(
    ready: str, truth: dict[Any, Any], request: list[tuple[int, int]]
) -> None:
    async def example(database: Database) -> None:
        made = []
        async with database.begin() as tx:
            for order in ([(0, 3)], [*request, (0, 1), (1, 3), *reversed(request)]):
                books = await own_books(tx)
                for number, (first, last) in enumerate(order):
                    days = later(first), later(last)
                    when = at(later(9)) + timedelta(hours=number)
                    await books.sync(tx, name_of(books), rows_of(truth, first, last), now=when, days=days)
                made.append(plain(await shown(tx, books)))
                await settle.settle(tx, UTC_ZONE)
                assert plain(await shown(tx, books)) == made[-1]
        assert made[0] == made[1]

    asyncio.run(opened(ready, example))


def plain(report: Any) -> list[Any]:
    """Measures without the names that differ between examples."""
    rows = [(row.group["day"], row.ngr, row.commission, row.registrations, row.settlement) for row in report.rows]
    rest = [(item.group["day"], item.group["tag"], item.ngr, item.commission) for item in report.unassigned]
    return [*rows, *rest, report.totals]


steps = st.one_of(
    st.tuples(st.just("sync"), truths),
    st.tuples(st.just("click"), st.integers(0, 3)),
    st.tuples(st.sampled_from(["registration", "first_deposit", "deposit"]), st.integers(0, 3)),
)


@pytest.mark.slow_on_postgresql
@RELAXED
@given(steps_taken=st.lists(steps, min_size=1, max_size=6))
def test_as_of_any_past_moment_gives_what_was_shown_then(ready: str, steps_taken: list[Any]) -> None:
    async def example(database: Database) -> None:
        async with database.begin() as tx:
            books = await own_books(tx)
            offer, campaign = (next(n for n in books.ids if n.startswith(kind)) for kind in ("on", "cn"))
            then = []
            for hour, (what, how) in enumerate(steps_taken):
                # Things happen one after the other, each known when it happens; days of clicks follow the moment.
                moment = at(later(hour // 2), 6 + hour)
                if what == "sync":
                    days = FIRST, later(3)
                    await books.sync(tx, name_of(books), rows_of(how, 0, 3), now=moment, days=days)
                elif what == "click":
                    await books.click(tx, moment, campaign=campaign, offer=offer)
                else:
                    place = {"campaign": campaign, "offer": offer, "account": name_of(books)}
                    await books.conversion(tx, moment, what, amount=how * 1000, **place)
                if hour % 2:
                    await settle.settle(tx, UTC_ZONE)
                then.append((moment + timedelta(minutes=1), await shown(tx, books)))
            for moment, report in then:
                assert await shown(tx, books, as_of=moment) == report

    asyncio.run(opened(ready, example))
