"""The digest by command: who gets it, and what it says, on both databases."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from storage.ledger.errors import Forbidden, Missing, Refused
from storage.ledger.facts import Role
from storage.tables import accounts, postbacks, revenue
from tests.bot.asking import Asker, asking
from tests.bot.seeding import clicked, converted, days_ago, reported, tracked

Opened = Callable[[], Any]


async def test_a_room_is_subscribed_listed_and_unsubscribed(opened: Opened) -> None:
    async with asking(opened) as say:
        subscription = await say("digest subscribe at=13:30 timezone=Europe/Berlin channel=slack:C0123456")
        assert (subscription["at"], subscription["timezone"], subscription["every"], subscription["channel"]) == (
            "13:30", "Europe/Berlin", "day", "slack:C0123456",
        )  # fmt: skip
        assert subscription["next_at"] == "2026-11-22T12:30:00Z"  # still ahead today
        assert await say("digest subscribe at=13:30 timezone=Europe/Berlin channel=slack:C0123456") == subscription
        weekly = await say("digest subscribe every=week channel=telegram:-1001234567890/5")
        assert weekly["next_at"] == "2026-11-23T09:00:00Z"
        assert [item["id"] for item in (await say("digest list"))["items"]] == [subscription["id"], weekly["id"]]
        assert "telegram:-1001234567890/5" in say.shown
        await say(f"digest unsubscribe {subscription['code']}")
        assert [item["id"] for item in (await say("digest list"))["items"]] == [weekly["id"]]


@pytest.mark.parametrize(
    ("words", "field"),
    [("at=25:00 channel=terminal", "at"), ("timezone=Mars/Base channel=terminal", "timezone"),
     ("channel=email:me", "channel"), ("every=hour channel=terminal", "every"),
     ("campaigns=nope channel=terminal", "campaigns"), ("weekdays=someday channel=terminal", "weekdays"),
     ("weekdays=² channel=terminal", "weekdays")],
)  # fmt: skip
async def test_faults_of_a_subscription_are_told_at_their_field(opened: Opened, words: str, field: str) -> None:
    async with asking(opened) as say:
        with pytest.raises(Refused) as caught:
            await say(f"digest subscribe {words}")
        assert caught.value.field == field


async def test_an_unknown_digest_is_named(opened: Opened) -> None:
    async with asking(opened) as say:
        with pytest.raises(Missing, match="digest list"):
            await say("digest unsubscribe 99")
        with pytest.raises(Refused, match="which one"):
            await say("digest unsubscribe")


async def a_week(say: Asker) -> dict[str, int]:
    """Ten FTDs a day for a week, twenty yesterday, and all but yesterday settled."""
    ids = await tracked(say)
    for n in range(1, 9):
        at = say.now - timedelta(days=n)
        await clicked(say, ids, at.date(), 500, cost=100_000_000)
        await converted(say, ids, at, 10 + 10 * (n == 1), event="first_deposit", amount=10**7, currency="EUR")
        if n > 1:
            await reported(
                say, ids, at.date(), at=at + timedelta(days=1), first_deposits=10, ngr=10**8, commission_cpa=10**9
            )
    return ids


async def test_the_preview_tells_yesterday_against_the_week_before(opened: Opened) -> None:
    async with asking(opened) as say:
        await a_week(say)
        preview = await say("digest preview")
        assert preview["title"] == "Sat 21 Nov: 20 FTDs, 0 regs, commission pending"
        assert preview["from"] == preview["to"] == "2026-11-21"
        assert preview["text"] == say.shown
        for shown in ("500 (0% vs 7-day avg)", "20 (+100% vs 7-day avg)", "▲", "€100.00", "pending"):
            assert shown in say.shown


async def test_pending_revenue_comes_with_an_estimate(opened: Opened) -> None:
    async with asking(opened) as say:
        await a_week(say)
        async with say.database.begin() as tx:
            await tx.execute(update(accounts).values(platform="affilka"))
        await say("digest preview")
        assert "main: 21 Nov, waiting for a sync" in say.shown
        assert "No estimate yet: " in say.shown
        assert " of 28 settled days, " in say.shown
        assert "Estimate from FTDs in hand" not in say.shown


async def test_the_estimate_comes_with_its_range_and_its_record(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        for n in range(60, 0, -1):
            at = say.now - timedelta(days=n)
            await converted(say, ids, at, 1, event="first_deposit", amount=10**7, currency="EUR")
            if n > 1:
                await reported(say, ids, at.date(), at=at + timedelta(days=1), first_deposits=1, commission_cpa=10**8)
        async with say.database.begin() as tx:
            await tx.execute(update(accounts).values(platform="affilka"))
        await say("digest preview")
        assert "Estimate from FTDs in hand: ≈ €100 (80%: €100 … €100). Of " in say.shown
        assert "past outcomes 100% were inside their range." in say.shown
        made = await say("forecast")
        assert made["total"]["estimate"] >= 10**8
        assert made["accuracy"]["inside"] == made["accuracy"]["days"] > 20
        assert "past outcomes 100% were inside their range." in say.shown


async def test_restated_and_vanished_figures_are_told_with_what_they_were(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await a_week(say)
        figures = {"first_deposits": 8, "ngr": -5 * 10**7, "commission_cpa": 8 * 10**8}
        await reported(say, ids, days_ago(say, 4), at=say.now, **figures)  # type: ignore[arg-type]
        await say("digest preview")
        lines = say.shown.splitlines()
        assert lines[2] == "Changed since the last digest"  # before all else
        assert "• 18 Nov main / spring: NGR €100.00 → -€50.00" in lines
        assert "• 18 Nov main / spring: FTDs 10 → 8" in lines


async def test_spend_without_a_rate_is_said_in_the_digest_as_in_stats(opened: Opened) -> None:
    async with asking(opened) as say:
        await a_week(say)
        await say("spend add spring 2026-11-21 50 USDT")
        for line in ("digest preview", "stats yesterday"):
            await say(line)
            assert "USDT" in say.shown, line
            assert "spend" in next(shown_line for shown_line in say.shown.splitlines() if "USDT" in shown_line), line
        await say("rate set USDT 0.5 2026-11-21")
        for line in ("digest preview", "stats yesterday"):
            await say(line)
            assert "USDT" not in say.shown, line


async def test_a_digest_is_one_screen_and_more_on_request(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await a_week(say)
        for n in range(20):
            await clicked(say, await tracked(say, campaign=f"extra-{n}", tag=f"t{n}"), days_ago(say, 1), n + 1)
        for n in range(2, 9):
            await reported(say, ids, days_ago(say, n), at=say.now, ngr=n * 10**6)
        preview = await say("digest preview")
        assert len(say.shown.splitlines()) < 50
        assert "… and 16 more rows: More has them all" in say.shown
        (more,) = (
            button["command"]
            for block in preview["message"]["blocks"] if block["type"] == "buttons"
            for button in block["buttons"] if button["label"] == "More"
        )  # fmt: skip
        say.later(days=3)
        full = await say(more)
        assert (full["from"], full["to"]) == (preview["from"], preview["to"])
        assert say.shown.count("extra-") >= 20
        assert sum("NGR" in line for line in say.shown.splitlines()) == 7
        assert "Deposits" in say.shown


async def test_figures_without_a_rate_are_said_beside_the_figures(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        await clicked(say, ids, days_ago(say, 1), 10)
        await reported(say, ids, days_ago(say, 1), at=say.now, commission_cpa=10**8)
        async with say.database.begin() as tx:
            await tx.execute(update(revenue).values(currency="CHF"))
        await say("digest preview")
        assert "no exchange rate for commission CHF" in say.shown.replace("\xa0", " ")


async def test_what_needs_a_hand_is_told(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await a_week(say)
        async with say.database.begin() as tx:
            await tx.execute(update(accounts).values(platform="affilka", error="the token was refused"))
            await tx.execute(insert(postbacks).values(
                team_id=say.team_id, account_id=ids["account_id"], received_at=say.now - timedelta(days=1),
                method="GET", query=b"", body=b"", digest="x", outcome="unmatched",
            ))  # fmt: skip
        await say("offer add casino=Other account=main url=https://b.example.test/?s={click_id} force=true")
        await say("digest preview")
        assert "main: sync failed: the token was refused" in say.shown
        assert "1 unmatched postback" in say.shown
        assert "offer Other has no tag" in say.shown
        assert "main: 21 Nov, waiting for a sync" in say.shown
        assert "3 to look at" in say.shown.splitlines()[0]


async def test_a_buyers_digest_keeps_to_own_campaigns(opened: Opened) -> None:
    async with asking(opened) as say:
        await a_week(say)
        other = await tracked(say, campaign="autumn", tag="autumn")
        await clicked(say, other, days_ago(say, 1), 77)
        await say("digest preview", role=Role.BUYER, campaigns=("autumn",))
        assert "77" in say.shown
        assert "spring" not in say.shown
        mine = await say("digest subscribe channel=terminal", role=Role.BUYER, campaigns=("autumn",))
        assert mine["campaigns"] == ["autumn"]
        with pytest.raises(Forbidden, match="not one of yours"):
            await say("digest subscribe channel=terminal campaigns=spring", role=Role.BUYER, campaigns=("autumn",))


async def test_a_team_in_fast_launch_sees_no_fake_nought_and_no_talk_of_sources(opened: Opened) -> None:
    async with asking(opened) as say:
        account_id = await say.account()
        offer = await say("offer add casino=Lucky account=main url=https://a.example.test/?s={click_id} tag=wall")
        ids = {"account_id": account_id, "offer_id": offer["id"], "campaign_id": 0}
        figures = {"first_deposits": 2, "commission_cpa": 180 * 10**6}
        await reported(say, ids, days_ago(say, 1), at=say.now, tag="wall", **figures)
        await say("digest preview")
        assert say.shown.startswith("Sat 21 Nov: 2 FTDs, commission €180\n")
        assert "–" in say.shown
        row = next(line for line in say.shown.splitlines() if line.lower().startswith("lucky wall"))
        assert row.split()[2:] == ["–", "–", "2", "€180.00", "–", "€180.00", "–", "✓"]
        assert "source" not in say.shown.lower()
        assert "campaign" not in say.shown.lower()


async def test_a_new_team_gets_a_digest_too(opened: Opened) -> None:
    async with asking(opened) as say:
        for every in ("day", "week", "month"):
            preview = await say(f"digest preview every={every}")
            assert "Nothing happened" in preview["text"]
        assert preview["title"].startswith("October 2026")
