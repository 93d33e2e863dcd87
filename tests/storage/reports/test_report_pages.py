"""Reports of pages say, byte for byte, what summing every cell again says: whatever moved, was renamed or re-rated."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from storage.clicks.queries import ensure_codec
from storage.db import touch_marks
from storage.db.engine import Database
from storage.reports import merged_report as merged_report_module
from storage.reports import rates, settle, usual_pages, week_sums
from storage.reports.merged_report import ReportQuery, merged_report, paged_report, summed_report
from storage.reports.rates import StoredRate
from storage.reports.report_pages import PAGES
from storage.tables import merged, offers, teams, user_agents
from storage.tables import report_pages as kept_pages
from tests.storage.books import FIRST, UTC_ZONE, Books, at, build, later, row

Open = Callable[[], Any]
FORMS = (("day", "offer"), ("day", "campaign"), ("day", "account", "casino", "month"), ("day",))
WEEKLY_FORMS = (("campaign",), ("offer", "month"), ("account",), ("week", "campaign"), ())
NAMES = count(1)


async def both(tx: Any, books: Books, *by: str) -> Any:
    """The report, made in both ways and found to be the same."""
    query = ReportQuery(team_id=books.team_id, first=FIRST, last=later(4), by=by)
    paged = await paged_report(tx, query)
    summed = await summed_report(tx, query)
    assert paged is not None
    assert b"".join(paged.json()) == msgspec.json.encode(summed)
    assert await merged_report(tx, query) == summed
    return summed


async def both_weekly(tx: Any, books: Books, *by: str) -> None:
    """A report of weeks, made of kept sums and of every cell, and found to be the same."""
    query = ReportQuery(team_id=books.team_id, first=FIRST - timedelta(days=9), last=later(16), by=by)
    of_weeks = await summed_report(tx, query)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(week_sums, "_whole_weeks", lambda *_: {})
        of_cells = await summed_report(tx, query)
    assert of_weeks == of_cells
    assert await summed_report(tx, query) == of_cells  # of the sums that were kept just now


async def settled(database: Database) -> None:
    await settle.settle_all(database, UTC_ZONE)
    await with_pages(database)


async def with_pages(database: Database, now: datetime | None = None) -> int:
    return await usual_pages.make_missing(database, UTC_ZONE, now or at(later(30)), currency="EUR")


async def own_books(tx: Any) -> Books:
    """A team of the example's own, with an account, an offer and a campaign."""
    name = f"t{next(NAMES)}"
    made = insert(teams).values(name=name, code=name, created_at=at(FIRST)).returning(teams.c.id)
    books = Books(int((await tx.execute(made)).scalar_one()), await ensure_codec(tx))
    books.sequence = books.team_id * 1000
    books.ids["acme"] = await books.account(tx, f"acme{books.team_id}")
    await books.offer(tx, "lucky", "acme", "main")
    await books.campaign(tx, "spring", active="lucky")
    agent = upsert(user_agents).values(id=1, text="Mozilla/5.0", device="mobile", os="Android", browser="Chrome")
    await tx.execute(agent.on_conflict_do_nothing())
    return books


steps = st.one_of(
    st.tuples(st.just("sync"), st.sampled_from(["main", "free", "Unclaimed"]), st.sampled_from(["EUR", "USD", "XAU"])),
    st.tuples(st.just("click"), st.integers(0, 3), st.just("")),
    st.tuples(st.sampled_from(["registration", "first_deposit"]), st.integers(0, 3), st.just("")),
    st.tuples(st.sampled_from(["settle", "pages", "forget", "rename", "offer", "postbacks"]), st.just(0), st.just("")),
    st.tuples(st.just("rate"), st.integers(0, 3), st.sampled_from(["0.9", "1.123456789", "2"])),
)


class Story:
    """Steps told by Hypothesis, on a team that all its examples share."""

    def __init__(self, database: Database, books: Books) -> None:
        self.database = database
        self.books = books
        self.moment = 0

    async def step(self, what: str, item: Any, other: str) -> None:
        self.moment += 1
        if what == "settle":
            await settle.settle_all(self.database, UTC_ZONE)
            return
        if what == "pages":
            await with_pages(self.database)
            return
        if what == "forget":
            PAGES.clear()
            week_sums.WEEKS.clear()
            return
        async with self.database.begin() as tx:
            await getattr(self, what)(tx, item, other)

    async def sync(self, tx: Any, tag: str, currency: str) -> None:
        figures: dict[str, Any] = {"first_deposits": self.moment % 4, "ngr": -7 * self.moment}
        figures["commission_cpa"] = 1_000_003
        rows = [row(later(n), tag, currency=currency, **figures) for n in range(self.moment % 3 + 1)]
        await self.books.sync(tx, "acme", rows, now=at(later(9 + self.moment)), days=(FIRST, later(2)))

    async def click(self, tx: Any, day: int, _: str) -> None:
        await self.books.click(tx, at(later(day)), campaign="spring", offer="lucky")

    async def registration(self, tx: Any, day: int, _: str) -> None:
        await self.books.conversion(
            tx, at(later(day)), "registration", campaign="spring", offer="lucky", account="acme"
        )

    async def first_deposit(self, tx: Any, day: int, _: str) -> None:
        place: dict[str, Any] = {"campaign": "spring", "offer": "lucky", "account": "acme"}
        place |= {"amount": 33, "currency": "USD"}
        await self.books.conversion(tx, at(later(day)), "first_deposit", **place)

    async def rename(self, tx: Any, *_: Any) -> None:
        await tx.execute(update(offers).where(offers.c.id == self.books.ids["lucky"]).values(code=f"n{next(NAMES)}"))

    async def offer(self, tx: Any, *_: Any) -> None:
        if "free" not in self.books.ids:
            await self.books.offer(tx, "free", "acme", "free")
            await touch_marks.touch(tx, self.books.team_id, [later(n) for n in range(4)])

    async def postbacks(self, tx: Any, *_: Any) -> None:
        has = offers.c.has_postbacks
        await tx.execute(update(offers).where(offers.c.id == self.books.ids["lucky"]).values(has_postbacks=~has))

    async def rate(self, tx: Any, day: int, rate: str) -> None:
        stored = StoredRate(day=later(day), currency="USD", base="EUR", rate=Decimal(rate), origin="team")
        await rates.store(tx, self.books.team_id, [stored])


Compare = Callable[..., Awaitable[None]]


@pytest.mark.parametrize(("compare", "forms"), [(both, FORMS), (both_weekly, WEEKLY_FORMS)], ids=["pages", "weeks"])
@pytest.mark.slow_on_postgresql
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(answer=st.lists(steps, min_size=4, max_size=12))
def test_pages_and_sums_of_weeks_always_say_what_the_cells_say(
    opened: Open, compare: Compare, forms: Sequence[tuple[str, ...]], answer: list[tuple[str, Any, str]]
) -> None:
    async def example() -> None:
        async with opened() as database:
            async with database.begin() as tx:
                books = await own_books(tx)
            story = Story(database, books)
            for what, item, other in answer:
                await story.step(what, item, other)
                async with database.read() as tx:
                    await compare(tx, books, *forms[story.moment % len(forms)])
            await settled(database)
            async with database.read() as tx:
                for by in forms:
                    await compare(tx, books, *by)

    asyncio.run(example())


async def test_a_settled_week_is_summed_once_until_it_moves(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as database:
        async with database.begin() as tx:
            books = await build(tx)
            rows = [row(later(n), ngr=n, commission_cpa=n) for n in range(5)]
            await books.sync(tx, "acme", rows, now=at(later(20)))
        await settled(database)
        last, monday = later(20), FIRST + timedelta(days=-FIRST.weekday() % 7)
        query = ReportQuery(team_id=books.team_id, first=monday - timedelta(days=7), last=last, by=("offer",))
        async with database.read() as tx:
            before = await summed_report(tx, query)
        read: list[bytes] = []
        note_reading(monkeypatch, read)
        async with database.read() as tx:
            assert await summed_report(tx, query) == before
        assert read == []
        async with database.begin() as tx:
            await books.sync(tx, "acme", [row(later(2), commission_cpa=50)], now=at(later(21)))
        await settled(database)
        async with database.read() as tx:
            after = await summed_report(tx, query)
        assert 1 <= len(read) <= 7
        assert (after.totals.commission or 0) - (before.totals.commission or 0) == 48


def note_reading(monkeypatch: pytest.MonkeyPatch, read: list[bytes]) -> None:
    """Note the cells of each day that a summed report reads."""
    decoder = merged_report_module._decoder

    class Noting:
        def decode(self, stored: bytes) -> Any:
            read.append(stored)
            return decoder.decode(stored)

    monkeypatch.setattr(merged_report_module, "_decoder", Noting())


@pytest.mark.slow_on_postgresql
async def test_after_a_restart_pages_come_from_the_database_and_only_what_was_restated_is_made_again(
    opened: Open,
) -> None:
    async with opened() as database:
        async with database.begin() as tx:
            books = await build(tx)
            rows = [row(later(n), ngr=n, commission_cpa=n) for n in range(5)]
            await books.sync(tx, "acme", rows, now=at(later(20)))
        await settled(database)
        async with database.begin() as tx:
            await tx.execute(update(merged).where(merged.c.day == FIRST).values(cells=b"not read any more"))
        PAGES.clear()
        async with database.read() as tx:
            before = await books.report(tx, "day", "offer", last=later(4))
            assert [row.commission for row in before.rows] == [0, 1, 2, 3, 4]
        async with database.begin() as tx:
            await books.sync(tx, "acme", [row(later(2), commission_cpa=50)], now=at(later(21)))
            moved = await books.report(tx, "day", "offer", last=later(4))
            assert [row.commission for row in moved.rows] == [0, 1, 50, 3, 4]
        await settled(database)
        async with database.read() as tx:
            assert await books.report(tx, "day", "offer", last=later(4)) == moved


@pytest.mark.slow_on_postgresql
async def test_days_that_still_move_get_no_page(opened: Open) -> None:
    async with opened() as database:
        async with database.begin() as tx:
            books = await build(tx)
            await books.sync(tx, "acme", [row(FIRST, ngr=1), row(later(3), ngr=2)], now=at(later(4)))
        await settle.settle_all(database, UTC_ZONE)
        assert await with_pages(database, at(later(4))) == 1
        assert await with_pages(database, at(later(4))) == 0
        async with database.read() as tx:
            days = set((await tx.execute(select(kept_pages.c.day))).scalars())
        assert days == {FIRST}


@pytest.mark.slow_on_postgresql
async def test_pages_of_many_days_are_made_the_latest_first_and_a_day_that_moved_gets_new_ones(opened: Open) -> None:
    many = usual_pages.DAYS_IN_A_GO + 3
    async with opened() as database:
        async with database.begin() as tx:
            books = await build(tx)
            rows = [row(later(n), ngr=n) for n in range(many)]
            await books.sync(tx, "acme", rows, now=at(later(many + 5)))
        await settle.settle_all(database, UTC_ZONE)
        made = [await with_pages(database, at(later(many + 5))) for _ in range(3)]
        assert made == [usual_pages.DAYS_IN_A_GO, 3, 0]
        async with database.begin() as tx:
            await books.sync(tx, "acme", [row(later(1), ngr=50)], now=at(later(many + 6)), days=(later(1), later(1)))
        await settle.settle_all(database, UTC_ZONE)
        PAGES.clear()
        async with database.read() as tx:
            before = await both(tx, books, "day", "offer")  # of cells where the page is one of other cells
        assert await with_pages(database, at(later(many + 6))) == 1
        async with database.begin() as tx:
            await tx.execute(update(merged).values(cells=b"not read any more"))
        PAGES.clear()
        async with database.read() as tx:
            assert await books.report(tx, "day", "offer", last=later(4)) == before


@pytest.mark.slow_on_postgresql
async def test_days_settled_before_they_had_versions_are_read_from_their_cells(opened: Open) -> None:
    async with opened() as database:
        async with database.begin() as tx:
            books = await build(tx)
            await books.sync(tx, "acme", [row(FIRST, ngr=1)], now=at(later(9)))
        await settled(database)
        async with database.begin() as tx:
            await tx.execute(update(merged).values(version=None))
            assert (await both(tx, books, "day", "offer")).totals.ngr == 1
