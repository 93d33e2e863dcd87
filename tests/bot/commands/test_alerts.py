"""Alerts by command, on both databases."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from storage.ledger.errors import Forbidden, Missing, Refused
from storage.ledger.facts import Role
from storage.tables import sync_runs
from tests.bot.asking import Asker, asking
from tests.bot.seeding import clicked, converted, reported, tracked

Opened = Callable[[], Any]
HERE = "channel=slack:C0123456"


async def a_month(say: Asker) -> dict[str, int]:
    """Ten FTDs a day, but two on three days; a settled commission of 1,000 a day."""
    ids = await tracked(say)
    for n in range(1, 31):
        at = say.now - timedelta(days=n)
        await clicked(say, ids, at.date(), 400, cost=50_000_000)
        await converted(say, ids, at, 2 if n in {3, 9, 15} else 10, event="first_deposit", amount=10**8, currency="EUR")
        await converted(say, ids, at, 20, event="registration")
        await reported(say, ids, at.date(), at=at + timedelta(days=1), first_deposits=10, commission_cpa=10**9)
    return ids


async def test_an_alert_is_tried_on_the_last_month_before_it_is_armed(opened: Opened) -> None:
    async with asking(opened) as say:
        await a_month(say)
        alert = await say(f'alert add "registrations < 50% of 7d avg" for=2h {HERE}')
        assert alert["would_have_fired"] == 0
        assert (alert["rule"], alert["for"], alert["state"], alert["channel"]) == (
            "registrations < 50% of 7d avg for 2h", "2h", "idle", "slack:C0123456",
        )  # fmt: skip
        clicks = await say(f'alert add "clicks > 100 in yesterday" {HERE}')
        assert clicks["would_have_fired"] == 30
        assert "would have fired 30 times in 30 days" in say.shown


async def test_days_that_would_have_fired_are_named(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        for n in range(1, 15):
            at = say.now - timedelta(days=n)
            await converted(say, ids, at, 2 if n in {3, 9} else 10, event="first_deposit", amount=10**8, currency="EUR")
        alert = await say(f'alert add rule="ftd < 50% of 7d avg" campaign=spring {HERE}')
        assert (alert["would_have_fired"], alert["would_have_fired_on"]) == (2, ["2026-11-13", "2026-11-19"])
        assert alert["campaigns"] == ["spring"]


PASTS: list[tuple[str, int | None]] = [
        ("commission < 900 in yesterday", 0), ("commission > 900 in yesterday", 30), ("roi > 100% in 7d", 30),
        ("cpa > 20 in yesterday", 0), ("clicks < 100 in 1h", 30), ("no clicks for 2h", 29), ("sync failed", 2),
        ("discrepancy > 50%", 3), ("ftd", 276), ("high-value ftd > 99", 276), ("high-value ftd > 100", 0),
        ("spend without registrations", 0), ("vanished", 0), ("restatement > 5%", 0), ("cap at 80%", 0),
        ("postback failures", 0), ("dead postback", 0), ("sync stale", 0), ("domain down", None),
    ]  # fmt: skip


@pytest.mark.slow_on_postgresql
async def test_every_kind_tells_its_past(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await a_month(say)
        runs = [("failed", 9), ("failed", 8), ("done", 7), ("failed", 6), ("done", 5)]
        async with say.database.begin() as tx:
            await tx.execute(insert(sync_runs), [
                {"team_id": say.team_id, "account_id": ids["account_id"], "requested_at": at, "finished_at": at,
                 "state": state} for state, n in runs for at in [say.now - timedelta(hours=n)]
            ])  # fmt: skip
        backtests = [(rule, (await say(f'alert add "{rule}" {HERE}'))["would_have_fired"]) for rule, _ in PASTS]
        assert backtests == PASTS


async def test_alerts_are_listed_snoozed_and_removed(opened: Opened) -> None:
    async with asking(opened) as say:
        failed = await say(f"alert add kind=sync_failed {HERE} quiet=22:00-07:00 timezone=Europe/Berlin cooldown=2h")
        two = await say(f"alert add kind=no_clicks for=45m {HERE}")
        assert (failed["kind"], failed["quiet"], failed["cooldown"]) == ("sync failed", "22:00-07:00", "2h")
        assert two["rule"] == "no clicks for 45m"
        assert [item["code"] for item in (await say("alert list"))["items"]] == [failed["code"], two["code"]]
        snoozed = await say(f"alert snooze {failed['code']} 2h")
        assert snoozed["snoozed_until"] == "2026-11-22T14:00:00Z"
        assert len((await say("alert mute 30m"))["items"]) == 2
        await say(f"alert ack {failed['id']}")
        await say.sure(f"alert remove {failed['code']}")
        assert [item["code"] for item in (await say("alert list"))["items"]] == [two["code"]]
        with pytest.raises(Missing, match="alert list"):
            await say(f"alert show {failed['code']}")


@pytest.mark.parametrize(
    ("words", "field"),
    [('"ftd lower please"', "rule"), ("", "rule"), ("kind=moon", "kind"), ('"ftd < 5" for=soon', "for"),
     ('"ftd < 5" cooldown=0m', "cooldown"), ('"ftd < 5" quiet=night', "quiet"),
     ('"ftd < 5" campaign=nope', "campaign")],
)  # fmt: skip
async def test_faults_of_an_alert_are_told_at_their_field(opened: Opened, words: str, field: str) -> None:
    async with asking(opened) as say:
        with pytest.raises(Refused) as caught:
            await say(f"alert add {words} {HERE}")
        assert caught.value.field == field


async def test_a_buyer_touches_alerts_of_own_campaigns_only(opened: Opened) -> None:
    async with asking(opened) as say:
        await tracked(say)
        await tracked(say, campaign="autumn", tag="autumn")
        theirs = await say(f"alert add ftd campaign=spring {HERE}")
        mine = await say(f"alert add ftd {HERE}", role=Role.BUYER, campaigns=("autumn",))
        assert mine["campaigns"] == ["autumn"]
        with pytest.raises(Forbidden, match="not of your campaigns"):
            await say(f"alert remove {theirs['code']}", role=Role.BUYER, campaigns=("autumn",))


async def test_a_rule_needs_no_quotes(opened: Opened) -> None:
    async with asking(opened) as say:
        await tracked(say)
        alert = await say(f"alert add ftd < 50% of 7d avg for 2h campaign=spring {HERE}")
        assert (alert["rule"], alert["campaigns"]) == ("ftd < 50% of 7d avg for 2h", ["spring"])
        assert (await say(f"alert add no clicks for 45m {HERE}"))["rule"] == "no clicks for 45m"


async def test_a_snooze_is_ended_by_hand_and_by_undo_of_one_alert_and_of_all(opened: Opened) -> None:
    async with asking(opened) as say:
        for rule in ("ftd < 50% of 7d avg", "clicks < 100 in 1h"):
            await say(f'alert add "{rule}" {HERE}')

        async def snoozed() -> list[bool]:
            return [alert["snoozed_until"] is not None for alert in (await say("alert list"))["items"]]

        await say("alert snooze alert-2 2h")
        assert await snoozed() == [False, True]
        await say("undo")
        assert await snoozed() == [False, False]
        await say("alert mute 3h")
        assert await snoozed() == [True, True]
        (mute,) = [entry for entry in (await say("audit"))["items"] if entry["command"] == "alert mute"]
        await say(f"undo {mute['id']}")
        assert await snoozed() == [False, False]
        await say("alert snooze 1 2h")
        await say("alert snooze 1 off")
        assert "ended the snooze of alert-1" in say.shown
        await say("alert ack 1")
        assert "the-owner acknowledged alert-1: " in say.shown
        with pytest.raises(Refused, match="for: 'never'"):
            await say("alert snooze 1 never")
