"""Rates, payments, forecast, restatements and why, as people ask for them."""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from storage.ledger.errors import Forbidden, Refused
from storage.ledger.facts import Figures, Report, RevenueRow, Role
from storage.revenue.revisions import record_in_slices
from tests.bot.asking import NOON, Asker, asking
from tests.storage.books import UTC_ZONE
from tests.storage.ledger.written import REFUSED, RIGHT

Opened = Callable[[], Any]
DAY = date(2026, 11, 20)


async def stated(say: Asker, account_id: int, *, now: datetime = NOON, currency: str = "EUR", **figures: Any) -> None:
    """What the platform says of the twentieth."""
    row = RevenueRow(day=DAY, tag="main", currency=currency, figures=Figures(**figures))
    report = Report(first=DAY, last=DAY, rows=(row,), raw=b"")
    await record_in_slices(
        say.database, team_id=say.team_id, account_id=account_id, run_id=None, report=report, now=now, zone=UTC_ZONE
    )


async def test_a_rate_of_ones_own_converts_at_once(opened: Opened) -> None:
    async with asking(opened) as say:
        await stated(say, await say.account(), currency="USDT", commission_cpa=100_000_000)
        report = "report merged from=2026-11-20 to=2026-11-20 by=day"
        before = await say(report)
        assert before["totals"]["commission"] is None
        assert before["unassigned"][0]["unconverted"] == {"USDT": 100_000_000}
        made = await say("rate set usdt 0,925 2026-11-20")
        days = {"from": "2026-11-20", "to": "2026-11-20"}
        assert made == {"currency": "USDT", "base": "EUR", "rate": "0.925", "origin": "team", **days}
        after = await say(report)
        assert after["totals"]["commission"] == 92_500_000
        assert "unconverted" not in after["totals"]
        assert (await say("rate list usdt"))["items"] == [made]


async def test_a_range_of_days_gets_a_rate(opened: Opened) -> None:
    async with asking(opened) as say:
        await say("rate set currency=ARS rate=0.0006 from=2026-11-01 to=2026-11-03")
        page = await say("rate list limit=2")
        assert [rate["from"] for rate in page["items"]] == ["2026-11-03", "2026-11-02"]
        rest = await say(f"rate list limit=2 after={page['next']}")
        assert ([rate["from"] for rate in rest["items"]], rest["next"]) == (["2026-11-01"], None)


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ("USDT zero", "rate"),
        ("USDT 0", "rate"),
        ("EUR 1", "currency"),
        ("U$ 1", "currency"),
        ("USDT 1 from=2026-11-03 to=2026-11-01", "to"),
        ("USDT 1 to=2026-11-01", "from"),
        ("USDT 1 2026-11-01 from=2026-11-01", "day"),
    ],
)
async def test_a_wrong_rate_is_refused_at_its_field(opened: Opened, words: str, field: str) -> None:
    async with asking(opened) as say:
        with pytest.raises(Refused) as refused:
            await say(f"rate set {words}")
        assert refused.value.field == field


async def test_a_rate_is_read_right_or_refused_and_nothing_is_kept(opened: Opened) -> None:
    """Every amount of the cases as a rate: above 0, of no currency, and no `1,234`, which may be 1.234 or 1234."""
    right = {text: value for text, (value, beside) in RIGHT.items() if not beside and not value.startswith("-")}
    del right["1,234"]
    async with asking(opened) as say:
        for text, value in right.items():
            made = await say.tell("rate set", currency="USDT", rate=text, day=DAY.isoformat())
            assert Decimal(made.rate) == Decimal(value), text
        for text in (
            *REFUSED,
            *RIGHT.keys() - right.keys(),
            "１，２３４",
            "+1,234",
            "0",
            "0,000",
            "1e13",
            "1e-13",
            "-",
        ):
            with pytest.raises(Refused) as refused:
                await say.tell("rate set", currency="ARS", rate=text, day=DAY.isoformat())
            assert refused.value.field == "rate", text
        assert {item["currency"] for item in (await say("rate list"))["items"]} == {"USDT"}


async def test_owed_and_paid_stand_side_by_side(opened: Opened) -> None:
    async with asking(opened) as say:
        await stated(say, await say.account(), commission_cpa=100_000_000)
        await say("payment add main 120 day=2026-11-21")
        await say("payment rule main none")
        (account,) = (await say("payment owed"))["items"]
        assert (account["payable"], account["paid"], account["outstanding"]) == (100_000_000, 120_000_000, -20_000_000)
        assert "-€20.00 outstanding" in say.shown
        assert (await say("payment list"))["items"][0]["amount"] == 120_000_000
        with pytest.raises(Forbidden):
            await say("payment owed", role=Role.BUYER, campaigns=("spring",))


async def test_vanished_first_deposits_are_listed(opened: Opened) -> None:
    async with asking(opened) as say:
        account = await say.account()
        await stated(say, account, first_deposits=20, ngr=5)
        say.later(days=1)
        await stated(say, account, first_deposits=18, ngr=9, now=say.now)
        moved = await say("revenue restated")
        assert {figure["measure"] for figure in moved["items"]} == {"first_deposits", "ngr"}
        (vanished,) = (await say("revenue vanished"))["items"]
        assert (vanished["measure"], vanished["before"], vanished["now"]) == ("first_deposits", 20, 18)


async def test_why_takes_a_campaign_or_an_offer_in_any_form(opened: Opened) -> None:
    async with asking(opened) as say:
        await stated(say, await say.account(), registrations=2)
        await say('offer add casino="Lucky" account=main tag=main url="https://c.example.test/?s={click_id}"')
        for words in ("lucky-main 2026-11-20", "offer=lucky-main 2026-11-20", "offer=lucky-main day=2026-11-20"):
            answer = await say(f"why {words}")
            assert answer["layers"]["registrations"] == {"postback": None, "platform": 2, "merged": 2}
            assert (answer["offer"], answer["settlement"], answer["discrepancies"]) == ("lucky-main", "settled", [])
        with pytest.raises(Refused, match="no campaign"):
            await say("why nothing")
        with pytest.raises(Refused, match="not a day"):
            await say("why lucky-main someday")


async def test_a_forecast_without_a_past_says_so(opened: Opened) -> None:
    async with asking(opened) as say:
        forecast = await say("forecast")
        assert (forecast["items"], forecast["total"], forecast["estimated"]) == ([], None, True)
