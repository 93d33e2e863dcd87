"""Why: differences between the layers with their probable cause and the ids to ask about."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import insert

from storage.ledger.reports.discrepancies import ComparedConversion, Evidence, explain
from storage.reports.explain import Why, why
from storage.reports.merged_report import ReportQuery
from storage.tables import postbacks, rates
from tests.storage.books import FIRST, Books, at, build, later, row

Open = Callable[[], Any]
LONG_AFTER = at(later(9))


async def asked(tx: Any, books: Books, now: datetime = LONG_AFTER, **filters: Any) -> Why:
    query = ReportQuery(team_id=books.team_id, first=FIRST, last=FIRST, **filters or {"campaigns": ("spring",)})
    return await why(tx, query, now=now)


async def ftd(tx: Any, books: Books, when: Any, **columns: Any) -> None:
    await books.click(tx, when, campaign="spring", offer="lucky")
    await books.conversion(tx, when, "first_deposit", campaign="spring", offer="lucky", account="acme", **columns)


async def unknown_click(tx: Any, books: Books, txn: str) -> None:
    await tx.execute(
        insert(postbacks).values(
            team_id=books.team_id, account_id=books.ids["acme"], received_at=at(FIRST), method="GET", query=b"",
            body=b"", digest=txn, outcome="unmatched", event="first_deposit", txn_id=txn,
        )
    )  # fmt: skip


async def test_layers_that_agree_have_no_discrepancy(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        await ftd(tx, books, at(FIRST), txn_id="t1")
        await books.sync(tx, "acme", [row(FIRST, first_deposits=1)], now=at(later(1)))
        result = await asked(tx, books, offers=("lucky",))
        assert (result.discrepancies, result.settlement) == ([], "settled")
        assert result.layers.first_deposits.merged == 1


async def test_an_unknown_click_id_is_found_out(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        await ftd(tx, books, at(FIRST), txn_id="t1")
        await unknown_click(tx, books, "t2")
        await books.sync(tx, "acme", [row(FIRST, first_deposits=2)], now=at(later(1)))
        (item,) = (await asked(tx, books)).discrepancies
        assert (item.measure, item.postback, item.platform) == ("first_deposits", 1, 2)
        assert (item.cause, item.ids, item.offer) == ("unknown click id", ["t2"], "lucky")


async def test_the_edge_of_the_platforms_day_is_found_out(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        await books.account(tx, "west", zone="America/New_York")
        await books.offer(tx, "west-offer", "west", "w")
        await books.click(tx, at(FIRST), campaign="spring", offer="west-offer")
        place = {"campaign": "spring", "offer": "west-offer", "account": "west"}
        await books.conversion(tx, at(FIRST, 2), "registration", txn_id="night", **place)
        await books.conversion(tx, at(FIRST, 12), "registration", txn_id="noon", **place)
        await books.sync(tx, "west", [row(FIRST, "w", registrations=1)], now=at(later(5)))
        (item,) = (await asked(tx, books, offers=("west-offer",))).discrepancies
        assert (item.cause, item.ids) == ("time-zone edge", ["night"])


async def test_a_restated_figure_is_found_out(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        await ftd(tx, books, at(FIRST), txn_id="t1")
        await ftd(tx, books, at(FIRST, 13), txn_id="t2")
        await books.sync(tx, "acme", [row(FIRST, first_deposits=2, ngr=5)], now=at(later(3)))
        await books.sync(tx, "acme", [row(FIRST, first_deposits=1, ngr=5)], now=at(later(5)))
        (item,) = (await asked(tx, books)).discrepancies
        assert (item.cause, item.ids) == ("restatement", ["t1", "t2"])


async def test_a_late_batch_is_told_while_the_day_is_young_by_the_ids_the_platform_lacks(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        word = await books.click(tx, at(FIRST), campaign="spring", offer="lucky")
        existing = books.codec.decode(word)
        await ftd(tx, books, at(FIRST), txn_id="t1", click_id=existing)
        await ftd(tx, books, at(FIRST, 13), txn_id="t2")
        await books.sync(tx, "acme", [row(FIRST, sub=word, first_deposits=1)], now=at(later(1)))
        (item,) = (await asked(tx, books, now=at(later(1), 13))).discrepancies
        assert (item.cause, item.ids) == ("late batch", ["t2"])


async def test_a_reversal_here_that_still_counts_there_is_found_out(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        await ftd(tx, books, at(FIRST), txn_id="t1", status="reversed")
        await books.sync(tx, "acme", [row(FIRST, first_deposits=1)], now=at(later(1)))
        (item,) = (await asked(tx, books)).discrepancies
        assert (item.cause, item.ids) == ("reversal", ["t1"])


def test_the_same_player_twice_is_a_duplicate() -> None:
    conversions = [ComparedConversion(ref=ref, here=True, there=True, player="p", once=True) for ref in ("a", "b")]
    answer = explain("first_deposits", 2, 1, Evidence(conversions=conversions))
    assert answer is not None
    assert (answer.cause, answer.ids) == ("duplicate", ["a", "b"])


def test_what_the_platform_lists_without_a_postback_is_a_missing_postback() -> None:
    answer = explain("registrations", 0, 1, Evidence(stated=["clickid"]))
    assert answer is not None
    assert (answer.cause, answer.ids) == ("missing postback", ["clickid"])


async def test_no_row_on_a_settled_day_shows_the_postback_against_zero(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        await ftd(tx, books, at(FIRST), txn_id="t1")
        await books.sync(tx, "acme", [row(later(1), first_deposits=1)], now=at(later(2)), days=(FIRST, later(1)))
        (young,) = (await asked(tx, books, now=at(later(1), 12))).discrepancies
        assert (young.postback, young.platform, young.cause, young.ids) == (1, 0, "late batch", ["t1"])
        (old,) = (await asked(tx, books)).discrepancies
        assert (old.cause, old.ids) == ("not reported", ["t1"]), "it can be late no more"


async def test_a_restatement_has_both_values_and_when(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        await ftd(tx, books, at(FIRST), txn_id="t1")
        await ftd(tx, books, at(FIRST, 13), txn_id="t2")
        await books.sync(tx, "acme", [row(FIRST, first_deposits=1)], now=at(FIRST, 20))
        await books.sync(tx, "acme", [row(FIRST, first_deposits=2)], now=at(later(1)))
        await books.sync(tx, "acme", [row(FIRST, first_deposits=1)], now=at(later(5)))
        (item,) = (await asked(tx, books)).discrepancies
        assert item.restatement is not None
        assert (item.restatement.before, item.restatement.after, item.restatement.at) == (2, 1, at(later(5)))
        assert item.restatement.rows


async def test_a_figure_that_was_restated_and_came_back_is_no_restatement(opened: Open) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        await ftd(tx, books, at(FIRST), txn_id="t1")
        for registered, deposited, day in ((4, 1, 1), (8, 3, 3), (4, 2, 5)):
            figures = row(FIRST, registrations=registered, first_deposits=deposited)
            await books.sync(tx, "acme", [figures], now=at(later(day)))
        registrations, deposits = (await asked(tx, books)).discrepancies
        assert (registrations.platform, registrations.cause, registrations.restatement) == (4, "missing postback", None)
        assert (deposits.platform, deposits.cause) == (2, "restatement"), "it came back only half of the way"


async def test_a_restatement_of_rows_in_two_currencies_is_told_in_the_reports_own(opened: Open) -> None:
    """100 dollars are 50 euros: the platform took 20 of 70 euros back."""
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        rate = {"currency": "USD", "base": "EUR", "day": FIRST, "rate": "0.5", "origin": "team"}
        await tx.execute(insert(rates).values(team_id=books.team_id, **rate))
        await ftd(tx, books, at(FIRST), txn_id="t1", amount=70_000_000)
        for euros, now in ((20_000_000, later(1)), (0, later(5))):
            rows = [
                row(FIRST, currency="USD", first_deposits=1, deposits=1, deposit_amount=100_000_000),
                row(FIRST, currency="EUR", first_deposits=0, deposits=0, deposit_amount=euros),
            ]
            await books.sync(tx, "acme", rows, now=at(now))
        (item,) = (await asked(tx, books)).discrepancies
        assert (item.measure, item.cause, item.ids) == ("deposit_amount", "restatement", ["t1"])
        assert item.restatement is not None
        assert (item.restatement.before, item.restatement.after) == (70_000_000, 50_000_000)


async def test_evidence_is_that_of_the_campaign_asked_about(opened: Open) -> None:
    """An allocated row is named with this campaign's weight and share; ids of the other campaign stay out."""
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        await books.campaign(tx, "autumn", active="lucky")
        word = await books.click(tx, at(FIRST), campaign="autumn", offer="lucky")
        await ftd(tx, books, at(FIRST), txn_id="mine")
        for n in range(3):
            await books.click(tx, at(FIRST), campaign="autumn", offer="lucky")
            await books.conversion(
                tx,
                at(FIRST, 14 + n),
                "first_deposit",
                campaign="autumn",
                offer="lucky",
                account="acme",
                txn_id=f"their{n}",
            )
        rows = [row(FIRST, first_deposits=1, commission_cpa=100), row(FIRST, sub=word, first_deposits=1)]
        await books.sync(tx, "acme", rows, now=at(later(1)))
        for tx_id in ("late1",):
            await tx.execute(
                insert(postbacks).values(
                    team_id=books.team_id, account_id=books.ids["acme"], received_at=at(FIRST), method="GET",
                    query=b"", body=b"", digest=tx_id, outcome="rejected", event="first_deposit", txn_id=tx_id,
                    click_id=books.codec.decode(word),
                )
            )  # fmt: skip
        result = await asked(tx, books)
        (item,) = result.discrepancies
        assert (item.postback, item.platform, item.ids) == (1, 0, ["mine"])
        (allocated,) = result.allocated
        assert allocated.measures["commission_cpa"].share == 25
        first_deposits = allocated.measures["first_deposits"]
        assert (first_deposits.weighed_by, first_deposits.weight, first_deposits.of) == ("first_deposits", 1, 4)
        answer = msgspec.json.encode(result).decode()
        assert not any(name in answer for name in ("their", "late1", word, "autumn"))
        assert (await asked(tx, books, offers=("lucky",))).allocated == []


def test_amounts_that_differ_with_equal_counts_name_the_deposits() -> None:
    conversions = [
        ComparedConversion(ref="a", here=True, there=True, amount=5),
        ComparedConversion(ref="b", here=True, there=True, counts=False),
    ]
    answer = explain("deposit_amount", 5, 4, Evidence(conversions=conversions, is_amount=True))
    assert answer is not None
    assert (answer.cause, answer.ids) == ("amounts differ", ["a"])
