"""Automations by command: add, list, show, edit, pause, remove, test, templates, log; faults at their fields."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from hub.jobs.automations import tick
from storage.ledger.errors import Forbidden, Missing, Refused
from storage.ledger.facts import Role
from tests.bot.asking import Asker, asking
from tests.bot.seeding import clicked, converted, reported, tracked
from tests.hub.jobs.test_digests import runtime_of

Opened = Callable[[], Any]
HERE = "channel=slack:C0123456"


async def a_month(say: Asker) -> dict[str, int]:
    """Thirty settled days: an EPC of 0.50, and of 0.05 in the last ten days."""
    ids = await tracked(say)
    for n in range(1, 34):
        at = say.now - timedelta(days=n)
        await clicked(say, ids, at.date(), 400, cost=50_000_000)
        await converted(say, ids, at, 2, event="registration")
        await reported(
            say, ids, at.date(), at=at.replace(hour=6) + timedelta(days=1), registrations=2, first_deposits=1,
            commission_cpa=(20 if n <= 10 else 200) * 10**6,
        )  # fmt: skip
    return ids


async def test_an_automation_is_tried_on_the_last_month_before_it_is_armed(opened: Opened) -> None:
    async with asking(opened) as say:
        await a_month(say)
        made = await say(f"automation add pause offer when epc < 0.20 over 3d with clicks > 500 name=Night {HERE}")
        assert (made["name"], made["action"], made["on"], made["status"]) == ("Night", "pause", "offer", "active")
        assert (made["cooldown"], made["most"], made["dry"]) == ("1d", 10, False)
        # The third poor day is settled at six in the morning of the day after it.
        assert (made["would_have_acted"], made["would_have_acted_on"]) == (1, ["2026-11-15"])
        tried = await say(f"automation test {made['code']}")
        (firing,) = tried["firings"]
        assert (firing["at"], firing["subject"]) == ("2026-11-15T06:00:00Z", "offer Lucky spring")
        assert "EPC €0.05 over 3 days (< €0.20)" in firing["why"]
        # From then on 50 a day were spent and 20 earned; of the 15th itself, what was spent after six.
        assert firing["saved"] == tried["would_have_saved"] == 50_000_000 + 6 * 30_000_000
        assert [(now["subject"], now["met"]) for now in tried["now"]] == [("Lucky spring", True)]
        assert "Would have acted 1 time" in say.shown
        again = await say.tell("automation test", rule="pause offer when epc < 0.01 over 3d")
        assert again.firings == []


async def test_a_rule_may_come_in_parts_or_from_a_template(opened: Opened) -> None:
    async with asking(opened) as say:
        await tracked(say)
        parts = await say.tell(
            "automation add", action="weight", on="offer", to="+20%", when="roi > 30% over 7d",
            campaign=["Spring"], channel="slack:C0123456", **{"with": "ftd > 5"},
        )  # fmt: skip
        assert parts.rule == "weight offer of campaign spring +20% when roi > 30% over 7d with ftd > 5 over 7d"
        made = await say(f"automation add template=stop-loss campaign=spring {HERE}")
        assert made["rule"] == "pause campaign spring when roas <= 1 over 7d with spend > 100 over 7d"
        assert made["name"] == "Stop a campaign that loses"
        assert (await say(f"automation add template=7 {HERE}"))["on"] == "offer"


async def test_every_template_can_be_armed(opened: Opened) -> None:
    async with asking(opened) as say:
        await tracked(say)
        listed = (await say("automation templates"))["items"]
        assert len(listed) == 10
        for number, template in enumerate(listed, 1):
            made = await say(f"automation add template={number} force=true {HERE}")
            assert made["name"] == template["title"]
        assert await tick(runtime_of(say)) == 0


async def test_automations_are_listed_changed_paused_and_removed(opened: Opened) -> None:
    async with asking(opened) as say:
        await tracked(say)
        made = await say(
            f'automation add "tell campaign when clicks > 5" {HERE} quiet=22:00-07:00 timezone=Europe/Berlin'
        )
        code = made["code"]
        changed = await say(f'automation edit {code} rule="tell campaign when clicks > 9" quiet=none most=3 name=Busy')
        assert (changed["rule"], changed["quiet"], changed["most"]) == ("tell campaign when clicks > 9 today", None, 3)
        assert (await say("automation pause Busy"))["status"] == "paused"
        await say("undo")
        assert [item["status"] for item in (await say("automation list"))["items"]] == ["active"]
        assert (await say(f"automation show {made['id']}"))["acts"] == 0
        await say.sure(f"automation remove {code}")
        assert (await say("automation list"))["items"] == []
        with pytest.raises(Missing, match="automation list"):
            await say(f"automation show {code}")


async def test_an_automation_that_contradicts_another_is_refused(opened: Opened) -> None:
    async with asking(opened) as say:
        await tracked(say)
        await say(f'automation add "pause offer when epc < 0.20 over 3d" name=Stop {HERE}')
        with pytest.raises(Refused, match=r"Stop \(automation-1\) does the opposite") as caught:
            await say(f'automation add "resume offer when epc < 0.30 over 3d" {HERE}')
        assert caught.value.field == "rule"
        fits = await say(f'automation add "resume offer when epc >= 0.20 over 3d" {HERE}')
        assert fits["warnings"] == []
        warned = await say(f'automation add "resume offer when roi > 1% over 14d" {HERE}')
        assert "if they undo each other" in warned["warnings"][0]
        assert "under another condition" in warned["warnings"][0]
        forced = await say(f'automation add "resume offer when epc < 0.30 over 3d" force=true {HERE}')
        assert "Stop (automation-1) does the opposite while both conditions hold" in forced["warnings"][0]


FAULTS = (
    ('"pause offer lucky"', "rule"), ("", "rule"), ('"pause offer nope when clicks > 1"', "rule"),
    ('"pause offer when clicks > 1" offer=nope', "offer"),
    ('"pause offer when clicks > 1" cooldown=soon', "cooldown"),
    ('"pause offer when clicks > 1" most=0', "most"), ('"pause offer when clicks > 1" quiet=night', "quiet"),
    ('"pause offer when clicks > 1" schedule=never', "schedule"), ('"webhook offer when clicks > 1"', "url"),
    ('"webhook offer when clicks > 1" url=ftp://x', "url"), ("action=pause", "when"),
    ("action=pause on=moon when=\"clicks > 1\"", "when"), ("template=99", "template"),
    ('"webhook offer when clicks > 1" url=https://x.example.test webhook_secret=short', "webhook_secret"),
    ('"pause offer when epc < 1 USD over 3d"', "rule"), ('"pause offer when epc < offer nope over 3d"', "rule"),
    ('"tell when clicks > 1" campaign=spring', "rule"),
)  # fmt: skip


async def test_faults_of_an_automation_are_told_at_their_field(opened: Opened) -> None:
    async with asking(opened) as say:
        await tracked(say)
        for words, field in FAULTS:
            with pytest.raises(Refused) as caught:
                await say(f"automation add {words} {HERE}")
            assert caught.value.field == field, words
        assert (await say("automation list"))["items"] == []


async def test_a_viewer_and_a_limited_buyer_stay_within_their_limits(opened: Opened) -> None:
    async with asking(opened) as say:
        await tracked(say)
        await tracked(say, campaign="autumn", tag="autumn")
        theirs = await say(f'automation add "tell campaign when clicks > 5" {HERE}')
        with pytest.raises(Forbidden):
            await say(f'automation add "tell when clicks > 5" {HERE}', role=Role.VIEWER)
        own = await say(
            f'automation add "tell campaign when clicks > 5" {HERE}', role=Role.BUYER, campaigns=("autumn",)
        )
        listed = (await say("automation list", role=Role.BUYER, campaigns=("autumn",)))["items"]
        assert [item["code"] for item in listed] == [own["code"]]
        with pytest.raises(Forbidden, match="not of your campaigns"):
            await say(f"automation pause {theirs['code']}", role=Role.BUYER, campaigns=("autumn",))
        with pytest.raises(Forbidden):
            await say(f'automation add "pause campaign spring when clicks > 5" {HERE}', role=Role.BUYER,
                      campaigns=("autumn",))  # fmt: skip
