"""The merged report out of the database: kept or merged on the spot, now or as it was believed."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, insert, select, update

from storage.catalogue import campaigns as campaign_queries
from storage.db import touch_marks
from storage.ledger.clicks.click_id import first_id_at
from storage.ledger.errors import Refused
from storage.ledger.reports.report_rows import Layers, MergedReport
from storage.reports import settle
from storage.tables import (
    campaign_offer_spans,
    click_rollup,
    clicks,
    conversion_states,
    conversions,
    merged,
    outgoing,
    spend,
    touched,
)
from storage.tables.types import EPOCH_DAY
from tests.storage.books import FIRST, UTC_ZONE, Books, at, build, later, row

Open = Callable[[], Any]


def only(report: MergedReport) -> Any:
    (row,) = report.rows
    return row


async def busy_day(tx: Any) -> Books:
    """Two clicks, a registration and a first deposit on the first day; the platform's figures a day later."""
    books = await build(tx)
    word = await books.click(tx, at(FIRST, 9), campaign="spring", offer="lucky")
    await books.click(tx, at(FIRST, 10), campaign="spring", offer="lucky", sub1="banner", country="AT")
    shared: dict[str, Any] = {"campaign": "spring", "offer": "lucky", "account": "acme", "country": "DE"}
    await books.conversion(tx, at(FIRST, 11), "registration", **shared)
    await books.conversion(tx, at(FIRST, 12), "first_deposit", amount=50_000_000, **shared)
    books.ids["word"] = books.codec.decode(word) or 0
    return books


async def test_the_report_has_the_contracts_shape(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await busy_day(tx)
        figures = row(FIRST, first_deposits=1, commission_cpa=100_000_000, ngr=-5)
        await books.sync(tx, "acme", [figures], now=at(later(1)))
        made = msgspec.json.decode(msgspec.json.encode(await books.report(tx, "day", "campaign")))
        assert (made["timezone"], made["currency"], made["from"], made["to"]) == (
            "UTC",
            "EUR",
            "2026-10-01",
            "2026-10-01",
        )
        (item,) = made["rows"]
        assert item["group"] == {"day": "2026-10-01", "campaign": "spring"}
        assert item["first_deposits"] == {"postback": 1, "platform": 1, "merged": 1}
        assert item["registrations"] == {"postback": 1, "platform": None, "merged": 1}
        assert item["deposit_amount"] == {"postback": 50_000_000, "platform": None, "merged": 50_000_000}
        expected = {"clicks": 2, "ngr": -5, "commission": 100_000_000, "spend": None, "settlement": "settled"}
        assert {name: item[name] for name in expected} == expected
        assert "unconverted" not in item
        assert made["totals"]["clicks"] == 2


async def test_kept_cells_say_what_merging_on_the_spot_says(opened: Open) -> None:
    async with opened() as database:
        async with database.begin() as tx:
            books = await busy_day(tx)
            await books.sync(tx, "acme", [row(FIRST, ngr=7), row(FIRST, "other", ngr=1)], now=at(later(1)))
            fresh = await books.report(tx, "campaign", "offer", "account", "casino")
            assert (await tx.execute(select(func.count()).select_from(merged))).scalar_one() == 0
        assert await settle.settle_all(database, UTC_ZONE) == 1
        async with database.read() as tx:
            assert (await tx.execute(select(func.count()).select_from(touched))).scalar_one() == 0
            assert await books.report(tx, "campaign", "offer", "account", "casino") == fresh


async def test_a_mark_made_while_settling_is_not_lost(opened: Open) -> None:
    async with opened() as database:
        async with database.begin() as tx:
            books = await busy_day(tx)
            await settle.settle(tx, UTC_ZONE)
            await books.click(tx, at(FIRST, 13), campaign="spring", offer="lucky")
            assert only(await books.report(tx, "day")).clicks == 3
        assert await settle.settle_all(database, UTC_ZONE) == 1


async def test_a_report_as_of_an_earlier_moment_shows_what_was_believed_then(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await busy_day(tx)
        seen: dict[Any, Any] = {}

        async def look(moment: Any) -> None:
            seen[moment] = await books.report(tx, "day", "campaign", last=later(2))

        await look(at(FIRST, 23))
        await books.sync(tx, "acme", [row(FIRST, first_deposits=20, ngr=90)], now=at(later(1)))
        await look(at(later(1), 13))
        await books.sync(tx, "acme", [row(FIRST, first_deposits=18, ngr=-90)], now=at(later(2)))
        await reverse(tx, at(later(2), 13))
        await spent(tx, books, 5, at(later(2), 14))
        await books.click(tx, at(later(2), 15), campaign="spring", offer="lucky")
        await look(at(later(2), 16))
        for moment, then in seen.items():
            assert await books.report(tx, "day", "campaign", last=later(2), as_of=moment) == then
        restated = await books.report(tx, "day", as_of=at(later(2), 16))
        assert only(restated).first_deposits == Layers(0, 18, 18)
        assert only(await books.report(tx, "day", as_of=at(FIRST, 9, 30))).clicks == 1


async def test_a_click_that_went_on_later_belonged_to_no_offer_before(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        await books.site(tx, "wall")
        word = await books.click(tx, at(FIRST, 9), campaign="spring", site="wall")
        before = await books.report(tx, "campaign", "offer", "country")
        await went_on(tx, books, books.codec.decode(word), at(FIRST, 10, 30))
        after = await books.report(tx, "campaign", "offer", "country")
        assert only(after).group["offer"] == "lucky"
        assert await books.report(tx, "campaign", "offer", "country", as_of=at(FIRST, 9, 30)) == before
        assert await books.report(tx, "campaign", "offer", "country", as_of=at(FIRST, 10, 15)) == before
        assert await books.report(tx, "campaign", "offer", "country", as_of=at(FIRST, 10, 45)) == after


async def went_on(tx: Any, books: Books, click_id: Any, when: Any) -> None:
    """What the writer does when a visitor of a site goes on to its offer."""
    place = {"team_id": books.team_id, "campaign_id": books.ids["spring"], "site_id": books.ids["wall"]}
    offer = books.ids["lucky"]
    hour = (when.date() - EPOCH_DAY).days * 24 + when.hour
    row = {"id": first_id_at(when), "click_id": click_id, "offer_id": offer, "hour": hour, "bot": 0}
    await tx.execute(insert(outgoing).values(**place, **row))
    await tx.execute(update(clicks).where(clicks.c.id == click_id).values(offer_id=offer))
    await tx.execute(update(click_rollup).values(offer_id=offer))
    counts = {"clicks": 0, "unique_clicks": 0, "bot_clicks": 0, "site_visits": 0, "outgoing": 1, "cost": 0}
    rest = {"source_id": 0, "country": "DE", "device": "mobile", "currency": "", "offer_id": offer, "hour": hour}
    await tx.execute(insert(click_rollup).values(**place, **rest, **counts))


async def reverse(tx: Any, when: Any) -> None:
    """The first deposit is taken back."""
    c = conversions.c
    result = (await tx.execute(select(conversions).where(c.event == "first_deposit"))).one()
    await tx.execute(conversions.update().where(c.id == result.id).values(status="reversed"))
    await tx.execute(
        insert(conversion_states).values(
            team_id=result.team_id, conversion_id=result.id, recorded_at=when, status="reversed", is_ftd=True,
            amount=result.amount, currency="EUR", occurred_at=result.occurred_at, day=result.day,
        )
    )  # fmt: skip
    await touch_marks.touch(tx, result.team_id, [result.day])


async def spent(tx: Any, books: Books, amount: int, when: Any) -> None:
    await tx.execute(
        insert(spend).values(
            team_id=books.team_id, campaign_id=books.ids["spring"], day=FIRST, origin="manual", amount=amount,
            currency="EUR", recorded_at=when,
        )
    )  # fmt: skip
    await touch_marks.touch(tx, books.team_id, [FIRST])


async def test_spend_given_again_replaces_what_was_given(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await busy_day(tx)
        await spent(tx, books, 5, at(later(1)))
        await spent(tx, books, 3, at(later(2)))
        assert only(await books.report(tx, "day")).spend == 3


async def test_by_country_and_sub_every_figure_still_adds_up(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await busy_day(tx)
        await books.sync(tx, "acme", [row(FIRST, ngr=-7, commission_cpa=101)], now=at(later(1)))
        plain = (await books.report(tx, "day")).totals
        for by in (("country",), ("device",), ("sub1",), ("country", "sub1", "sub2", "campaign")):
            assert msgspec.structs.replace((await books.report(tx, *by)).totals, allocated=True) == plain, by
        countries = {row.group["country"]: row.clicks for row in (await books.report(tx, "country")).rows}
        assert countries == {"AT": 1, "DE": 1}
        subs = {row.group["sub1"]: row.clicks for row in (await books.report(tx, "sub1")).rows}
        assert subs == {"banner": 1, None: 1}


async def test_by_the_visits_clock_figures_stand_on_the_day_of_the_click(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        word = await books.click(tx, at(FIRST), campaign="spring", offer="lucky")
        await books.conversion(
            tx, at(later(3)), "first_deposit", campaign="spring", offer="lucky", account="acme", visit_day=FIRST
        )
        rows = [row(later(3), sub=word.upper(), first_deposits=1, commission_cpa=9), row(later(3), "other", ngr=1)]
        await books.sync(tx, "acme", rows, now=at(later(5)))
        visit = await books.report(tx, "day", last=later(3), clock="visit")
        by_day = {row.group["day"]: row for row in visit.rows}
        assert by_day["2026-10-01"].first_deposits == Layers(1, 1, 1)
        assert by_day["2026-10-01"].commission == 9
        assert only(await books.report(tx, "day", clock="visit")).commission == 9
        event = await books.report(tx, "day", first=later(3), last=later(3))
        assert only(event).commission == 9
        assert visit.unassigned[0].group["day"] == "2026-10-04"


async def test_fast_launch_shows_no_zero_for_what_it_does_not_measure(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        await books.site(tx, "wall")
        await books.offer(tx, "free", "acme", "free")
        await books.click(tx, at(FIRST), site="wall", offer="free")
        figures = row(FIRST, "free", registrations=3, first_deposits=1, commission_revshare=40)
        await books.sync(tx, "acme", [figures], now=at(FIRST, 20))
        report = only(await books.report(tx, "site"))
        assert (report.group, report.clicks, report.commission) == ({"site": "wall"}, 1, 40)
        assert report.registrations == Layers(None, 3, 3)
        assert (report.spend, report.settlement) == (None, "provisional")


async def test_a_new_campaign_claims_todays_revenue_of_its_offers_at_once(opened: Open) -> None:
    async with opened() as database:
        async with database.begin() as tx:
            books = await build(tx)
            await books.offer(tx, "free", "acme", "free")
            await books.sync(tx, "acme", [row(FIRST, "free", ngr=7), row(later(-9), sub="New", ngr=2)], now=at(FIRST))
        await settle.settle_all(database, UTC_ZONE)
        async with database.begin() as tx:
            values = {"name": "New", "code": "new", "cost_model": "none", "rules": [], "status": "active"}
            weights = {books.ids["free"]: 1}
            await campaign_queries.add(tx, team_id=books.team_id, now=at(FIRST, 13), values=values, weights=weights)
            result = await books.report(tx, "campaign", first=later(-9))
            assert {row.group["campaign"]: row.ngr for row in result.rows} == {"new": 9}


async def test_a_campaign_is_partial_while_an_offer_of_it_without_any_figure_waits_for_its_account(
    opened: Open,
) -> None:
    async with opened() as database:
        async with database.begin() as tx:
            books = await busy_day(tx)
            await books.account(tx, "late")
            await books.offer(tx, "other", "late", "main")
            span = {"team_id": books.team_id, "campaign_id": books.ids["spring"], "since": at(FIRST, 0)}
            await tx.execute(insert(campaign_offer_spans).values(offer_id=books.ids["other"], **span))
            await books.sync(tx, "acme", [row(FIRST, ngr=7)], now=at(later(1)))
            for by in (("day", "campaign"), ("campaign",), ("month",)):
                report = only(await books.report(tx, *by))
                assert (report.settlement, report.ngr) == ("partial", 7), by
            assert [row.group["offer"] for row in (await books.report(tx, "offer")).rows] == ["lucky"]
            assert only(await books.report(tx, "offer")).settlement == "settled"
        await settle.settle_all(database, UTC_ZONE)
        async with database.begin() as tx:
            assert only(await books.report(tx, "day", "campaign")).settlement == "partial"
            await books.sync(tx, "late", [], now=at(later(1)), days=(FIRST, FIRST))
            assert only(await books.report(tx, "day", "campaign")).settlement == "settled"


async def test_filters_keep_what_is_asked_for(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await busy_day(tx)
        await books.campaign(tx, "autumn")
        await books.click(tx, at(FIRST), campaign="autumn", offer="lucky")
        await books.sync(tx, "acme", [row(FIRST, "other", ngr=1)], now=at(later(1)))
        report = await books.report(tx, "campaign", campaigns=("autumn",))
        assert (only(report).group, report.unassigned) == ({"campaign": "autumn"}, [])
        assert (await books.report(tx, "campaign", accounts=("acme",))).totals.ngr == 1
        assert (await books.report(tx, "campaign", accounts=("unknown",))).rows == []


async def test_unknown_dimensions_are_refused_with_the_nearest(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        with pytest.raises(Refused, match="'campaign'"):
            await books.report(tx, "campain")
        with pytest.raises(Refused, match="ends before"):
            await books.report(tx, "day", first=later(1))
