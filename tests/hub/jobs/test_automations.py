"""Automations as the hub runs them: act once, tell, undo, wait for figures, stop in loops, end pauses."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import delete, insert, select, update

from bot.automations import runner
from bot.core.context import Actor
from hub.cli.standins.web import StubAnswer, StubRequest
from hub.jobs import outbound
from hub.jobs.automations import tick, watch_budgets
from hub.jobs.timetable import TIMETABLE
from storage.clicks import partitions
from storage.ledger.clicks.click_id import first_id_at
from storage.ledger.errors import Missing, Refused
from storage.ledger.facts import Role
from storage.ledger.outbound.webhooks import WebhookCall, signed
from storage.outbound import claims
from storage.tables import (
    audits,
    automation_acts,
    automations,
    campaign_offers,
    campaigns,
    clicks,
    members,
    messages,
    offers,
    revenue,
    revenue_reports,
    settled_days,
)
from storage.tables.types import EPOCH_DAY
from tests.bot.asking import Asker, asking
from tests.bot.seeding import clicked, converted, days_ago, reported, tracked
from tests.hub.jobs.test_digests import runtime_of
from tests.standins.serving import answering

Opened = Callable[[], Any]
HERE = "channel=slack:C0123456"
EPC = "pause offer when epc < 0.20 over 3d with clicks > 500"


async def said(say: Asker) -> list[str]:
    async with say.database.read() as tx:
        return [row.message["title"] for row in await tx.execute(select(messages).order_by(messages.c.id))]


async def buttons(say: Asker) -> list[dict[str, str]]:
    async with say.database.read() as tx:
        row = (await tx.execute(select(messages).order_by(messages.c.id.desc()).limit(1))).one()
    return [button for block in row.message["blocks"] for button in block.get("buttons", [])]


async def poor_days(say: Asker, ids: dict[str, int], *, clicks: int = 400, euros: int = 10) -> None:
    """Three settled days with a low commission per click."""
    for n in range(1, 4):
        day = days_ago(say, n)
        await clicked(say, ids, day, clicks, cost=50_000_000)
        await converted(say, ids, say.now - timedelta(days=n), 1, event="first_deposit")
        await reported(
            say, ids, day, at=say.now - timedelta(hours=1), first_deposits=1, registrations=2,
            commission_cpa=euros * 10**6,
        )  # fmt: skip


async def status_of(say: Asker, offer: str = "lucky-spring") -> str:
    return str((await say(f"offer show {offer}"))["status"])


async def log(say: Asker) -> list[tuple[str, str]]:
    return [(item["outcome"], item["label"]) for item in (await say("automation log"))["items"]]


async def test_an_offer_that_earns_too_little_is_paused_told_and_resumed_by_its_button(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        await poor_days(say, ids)
        made = await say(f'automation add "{EPC}" name="Night watch" {HERE}')
        assert made["rule"] == "pause offer when epc < 0.2 over 3d with clicks > 500 over 3d"
        hub = runtime_of(say)
        assert await tick(hub) == 1
        assert await status_of(say) == "paused"
        assert await said(say) == ["🤖 Night watch paused offer Lucky spring"]
        async with say.database.read() as tx:
            audit = (await tx.execute(select(audits).order_by(audits.c.id.desc()).limit(1))).one()
        assert (audit.actor, audit.face, audit.command) == (f"{made['code']} Night watch", "automation", "offer pause")
        undo = next(button for button in await buttons(say) if button["label"] == "Undo")
        assert undo["command"] == f"undo {audit.id}"
        say.later(minutes=1)
        assert await tick(hub) == 0
        await say(undo["command"])
        assert await status_of(say) == "active"
        say.later(minutes=1)
        assert await tick(hub) == 0  # a person took it back: not again while the condition lasts
        assert await status_of(say) == "active"
        assert await log(say) == [("done", "offer Lucky spring")]


async def test_a_group_is_a_scope_that_follows_what_is_put_into_it(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        await poor_days(say, ids)
        await say("offer edit lucky-spring group=Nordics")
        await say("group add Baltics")
        made = await say(f'automation add "pause offer in group Baltics when {EPC.partition("when ")[2]}" {HERE}')
        assert made["rule"] == "pause offer of group baltics when epc < 0.2 over 3d with clicks > 500 over 3d"
        hub = runtime_of(say)
        assert await tick(hub) == 0
        await say("offer edit lucky-spring group=Baltics")
        say.later(minutes=1)
        assert await tick(hub) == 1
        assert await status_of(say) == "paused"
        await say.sure("group remove Baltics")
        say.later(minutes=1)
        assert await tick(hub) == 0
        assert (await say(f"automation show {made['code']}"))["waiting"] == ["group baltics is not there any more"]
        with pytest.raises(Missing):
            await say(f'automation add action=pause on=offer when="epc < 0.20 over 3d" group=Baltic {HERE}')


async def test_pending_figures_are_no_reason_to_act_and_it_says_why(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        await poor_days(say, ids)
        async with say.database.begin() as tx:
            await tx.execute(delete(settled_days))
        made = await say(f'automation add "{EPC}" {HERE}')
        assert await tick(runtime_of(say)) == 0
        assert await status_of(say) == "active"
        shown = await say(f"automation show {made['code']}")
        assert shown["waiting"] == ["figures of main are pending"]
        assert "does not act on Lucky spring: figures of main are pending" in (await said(say))[0]
        assert await tick(runtime_of(say)) == 0
        assert len(await said(say)) == 1


async def test_a_held_report_and_a_lacking_rate_are_no_reason_to_act(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        await poor_days(say, ids)
        await say(f'automation add "{EPC}" {HERE}')
        async with say.database.begin() as tx:
            held = await tx.execute(insert(revenue_reports).values(
                team_id=say.team_id, account_id=ids["account_id"], fetched_at=say.now, from_day=days_ago(say, 9),
                to_day=days_ago(say, 1), state="suspect", reason="doubled", raw=b"",
            ).returning(revenue_reports.c.id))  # fmt: skip
            held_id = held.scalar_one()
        assert await tick(runtime_of(say)) == 0
        assert "a report of main is held" in (await said(say))[0]
        async with say.database.begin() as tx:
            await tx.execute(update(revenue_reports).where(revenue_reports.c.id == held_id).values(state="discarded"))
        async with say.database.begin() as tx:
            await tx.execute(update(revenue).where(revenue.c.day == days_ago(say, 2)).values(currency="XOF"))
        await clicked(say, ids, days_ago(say, 2), 10, hour=3)
        say.later(minutes=1)
        assert await tick(runtime_of(say)) == 0
        assert await status_of(say) == "active"
        assert "no exchange rate for XOF" in (await said(say))[-1]


async def test_what_is_not_measured_is_no_zero(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        await clicked(say, ids, days_ago(say, 0), 500, hour=11)
        await say(f'automation add "pause offer when registrations = 0 today with clicks > 100" {HERE}')
        assert await tick(runtime_of(say)) == 0  # no postback ever came: silence says nothing
        await converted(say, ids, say.now - timedelta(days=1), 1, event="registration")
        assert await tick(runtime_of(say)) == 1
        assert await status_of(say) == "paused"


async def test_a_dry_run_only_tells(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        await poor_days(say, ids)
        made = await say(f'automation add "{EPC}" dry=true name=Careful {HERE}')
        assert await tick(runtime_of(say)) == 1
        assert await status_of(say) == "active"
        assert await said(say) == ["🤖 Careful would pause offer Lucky spring (dry run)"]
        await say(f"automation edit {made['code']} dry=false cooldown=1m")
        say.later(minutes=1)
        assert await tick(runtime_of(say)) == 1
        assert await status_of(say) == "paused"


async def test_two_processes_and_a_restart_act_once(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        await poor_days(say, ids)
        await say(f'automation add "{EPC}" {HERE}')
        whole = runner.AutomationRunner._queue_message

        async def dies(*_: Any) -> None:
            raise OSError("the process ends in the middle of the act")

        monkeypatch.setattr(runner.AutomationRunner, "_queue_message", dies)
        assert await tick(runtime_of(say)) == 0
        assert await status_of(say) == "active"  # nothing of it stands
        monkeypatch.setattr(runner.AutomationRunner, "_queue_message", whole)
        assert sorted(await asyncio.gather(*(tick(runtime_of(say)) for _ in range(3)))) == [0, 0, 1]
        async with say.database.read() as tx:
            assert len((await tx.execute(select(automation_acts))).all()) == 1
            paused = select(audits).where(audits.c.command == "offer pause")
            assert len((await tx.execute(paused)).all()) == 1


async def test_a_day_budget_pauses_a_campaign_until_midnight(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        await say(f'automation add "pause campaign when budget 100 a day is reached" name=Budget {HERE}')
        hub = runtime_of(say)
        await clicked(say, ids, days_ago(say, 0), 500, hour=11, cost=99_000_000)
        assert await watch_budgets(hub) == 0
        await clicked(say, ids, days_ago(say, 0), 5, hour=12, cost=1_000_000)
        say.later(seconds=1)
        assert await watch_budgets(hub) == 1
        assert (await say("campaign show spring"))["status"] == "paused"
        say.later(hours=11)
        assert await tick(hub) == 0
        say.later(hours=1)
        assert await tick(hub) == 1
        assert (await say("campaign show spring"))["status"] == "active"
        assert await said(say) == [
            "🤖 Budget paused campaign spring", "🤖 Budget resumed campaign spring: its pause is over"
        ]  # fmt: skip
        assert await log(say) == [("ended", "campaign spring"), ("done", "campaign spring")]


async def test_what_a_person_changed_since_is_not_resumed(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        await say(f'automation add "pause campaign until 2h when clicks > 10" {HERE}')
        await clicked(say, ids, days_ago(say, 0), 50, hour=11)
        assert await tick(runtime_of(say)) == 1
        await say("campaign resume spring")
        await say("campaign pause spring")
        say.later(hours=3)
        assert await tick(runtime_of(say)) == 0
        assert (await say("campaign show spring"))["status"] == "paused"


async def test_automations_that_undo_each_other_are_stopped_after_three_acts(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        await clicked(say, ids, days_ago(say, 0), 50, hour=11, cost=1_000_000)
        more = f"cooldown=1m repeat=true {HERE}"
        await say(f'automation add "pause offer when clicks > 10 today" name=Stopper {more}')
        other = await say(f'automation add "resume offer when spend < 5 today" name=Starter {more}')
        assert "if they undo each other three times" in other["warnings"][0]
        acts = []
        for _ in range(12):
            acts.append(await tick(runtime_of(say)))
            say.later(minutes=2)
        assert sum(acts) == 3
        listed = (await say("automation list"))["items"]
        assert [item["status"] for item in listed] == ["stopped", "stopped"]
        assert sum("has stopped: automations undo each other" in text for text in await said(say)) == 2
        await say(f"automation resume {listed[0]['code']}")
        assert (await say(f"automation show {listed[0]['code']}"))["status"] == "active"


async def test_an_automation_may_do_what_its_creator_may_now(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        await poor_days(say, ids)
        await say(f'automation add "{EPC}" {HERE}')
        async with say.database.begin() as tx:
            made = await tx.execute(insert(members).values(
                team_id=say.team_id, name="Ann", code="ann", role="viewer", created_at=say.now
            ).returning(members.c.id))  # fmt: skip
            member_id = made.scalar_one()
            await tx.execute(update(automations).values(member_id=member_id))
        assert await tick(runtime_of(say)) == 0
        assert await status_of(say) == "active"
        assert "needs the role buyer" in (await said(say))[0]
        say.later(minutes=1)
        assert await tick(runtime_of(say)) == 0
        assert len(await said(say)) == 1
        async with say.database.begin() as tx:
            await tx.execute(update(members).values(removed_at=say.now))
        say.later(minutes=5)
        assert await tick(runtime_of(say)) == 0
        (stopped,) = (await say("automation list"))["items"]
        assert (stopped["status"], stopped["stopped_why"]) == (
            "stopped", "its creator has left the team, or their token was revoked"
        )  # fmt: skip
        # Whoever starts it again answers for it from now on.
        await say(f'automation edit automation-1 cooldown=1m rule="{EPC.replace("500", "400")}"')
        await say("automation resume automation-1")
        say.later(minutes=5)
        assert await tick(runtime_of(say)) == 1
        assert await status_of(say) == "paused"


async def member(say: Asker, name: str, *, role: Role = Role.OWNER, only: tuple[str, ...] | None = None) -> Actor:
    """A member of the team, as the actor of commands."""
    async with say.database.begin() as tx:
        made = await tx.execute(insert(members).values(
            team_id=say.team_id, name=name, code=name.lower(), role=role.value, created_at=say.now,
            campaigns=None if only is None else list(only),
        ).returning(members.c.id))  # fmt: skip
        number = made.scalar_one()
    return Actor(team_id=say.team_id, name=name.lower(), role=role, member_id=number, campaigns=only)


@pytest.mark.parametrize("line", ["automation edit automation-1 most=2", "automation resume automation-1"])
async def test_a_limited_member_who_changes_an_automation_lends_it_no_more_than_their_own_rights(
    opened: Opened, line: str
) -> None:
    """An owner's automation about one campaign pauses an offer that other campaigns use; a buyer of that campaign
    makes it do nothing that the buyer may not do."""
    async with asking(opened) as say:
        ids = await tracked(say)
        await say("campaign create name=autumn offers=lucky-spring")
        await poor_days(say, ids)
        owner, buyer = await member(say, "Ann"), await member(say, "Bob", role=Role.BUYER, only=("spring",))
        await say.ask(f'automation add "{EPC}" campaign=spring {HERE}', owner)
        await say.ask("automation pause automation-1", owner)
        await say.ask(line, buyer)
        await say.ask("automation resume automation-1", owner)
        assert await tick(runtime_of(say)) == 0
        assert await status_of(say) == "active"
        assert "serves more than your campaigns" in (await say("automation log"))["items"][0]["why"]
        await say.ask(f'automation edit automation-1 cooldown=1m rule="{EPC.replace("500", "400")}"', owner)
        say.later(minutes=5)
        assert await tick(runtime_of(say)) == 1
        assert await status_of(say) == "paused"


@pytest.mark.parametrize("kind", ["tell", "webhook"])
async def test_what_only_tells_tells_no_more_than_its_creator_may_see_now(opened: Opened, kind: str) -> None:
    async with asking(opened) as say:
        spring, autumn = await tracked(say), await tracked(say, campaign="autumn", tag="autumn")
        for ids in (spring, autumn):
            await clicked(say, ids, days_ago(say, 0), 50, hour=11)
        ann = await member(say, "Ann", role=Role.BUYER)
        await say.ask(f'automation add "{kind} campaign when clicks > 10" url=https://x.example.test {HERE}', ann)
        await say("member role ann buyer campaigns=autumn")
        assert await tick(runtime_of(say)) == 1
        assert await log(say) == [("told", "campaign autumn")]
        await say.ask(f'automation add "{kind} campaign when clicks > 10" campaign=autumn {HERE} '
                      "url=https://x.example.test", ann)  # fmt: skip
        await say("member role ann buyer campaigns=spring")
        await say("member invite role=owner")
        assert await tick(runtime_of(say)) == 1
        assert await log(say) == [
            ("told", "campaign spring"),
            ("stopped", f"{kind} campaign autumn when clicks > 10 today"),
            ("told", "campaign autumn"),
        ]  # fmt: skip
        await say.sure("member remove ann")
        await say("automation edit automation-2 name=Owners")
        say.later(days=1, hours=1)
        for ids in (spring, autumn):
            await clicked(say, ids, days_ago(say, 0), 50, hour=12)
        assert await tick(runtime_of(say)) == 0
        assert [of["status"] for of in (await say("automation list"))["items"]] == ["stopped", "stopped"]


async def test_what_an_automation_compares_with_is_of_campaigns_that_its_reader_may_see(opened: Opened) -> None:
    async with asking(opened) as say:
        spring, autumn = await tracked(say), await tracked(say, campaign="autumn", tag="autumn")
        await say("campaign edit autumn offers=lucky-autumn,lucky-spring")
        autumn_spring = {**autumn, "offer_id": spring["offer_id"]}
        await clicked(say, spring, days_ago(say, 0), 50, hour=11)
        await clicked(say, autumn_spring, days_ago(say, 0), 900, hour=11)
        await poor_days(say, autumn, euros=77)
        buyer = await member(say, "Bob", role=Role.BUYER, only=("spring",))
        for rule, own in (
            ("tell campaign when clicks < 200% of offer lucky-spring today", "200% of offer lucky-spring"),
            ("tell campaign when spend < 100% of payout today", None),
        ):
            tried = (await say.ask(f'automation test rule="{rule}"', buyer)).result
            assert [(of.subject, "950" in of.why, "1,900" in of.why, "77" in of.why) for of in tried.now] == [
                ("spring", False, False, False)
            ], tried.now
            assert own is None or (own in tried.now[0].why and "100" in tried.now[0].why)
        whole = await say('automation test rule="tell campaign spring when clicks < 200% of offer lucky-spring today"')
        assert "1,900" in whole["now"][0]["why"]
        # What an owner's automation reported of others stays out of the log that the buyer reads.
        await say(
            f'automation add "tell campaign when clicks < 200% of offer lucky-spring today" campaign=spring {HERE}'
        )
        assert await tick(runtime_of(say)) == 1
        (act,) = (await say("automation log"))["items"]
        (seen,) = (await say.ask("automation log", buyer)).result.items
        assert "1,900" in act["why"]
        assert seen.why == "it compares with figures of other campaigns"


async def test_automations_of_others_are_not_named_where_they_contradict(opened: Opened) -> None:
    async with asking(opened) as say:
        await tracked(say)
        await say(f'automation add "pause offer when epc < 0.20 over 3d" name=Secret {HERE}')
        buyer = await member(say, "Bob", role=Role.BUYER, only=("spring",))
        with pytest.raises(Refused, match="an automation that is not yours does the opposite") as caught:
            await say.ask(f'automation add "resume offer when epc < 0.30 over 3d" {HERE}', buyer)
        assert "Secret" not in str(caught.value)
        made = await say.ask(f'automation add "resume offer when epc < 0.30 over 3d" force=true {HERE}', buyer)
        assert "Secret" not in str(made.result.warnings)
        assert made.result.warnings


async def test_credentials_in_a_webhooks_address_are_shown_nowhere(opened: Opened) -> None:
    async with asking(opened) as say:
        await tracked(say)
        url = "https://x.example.test/T0/B0/abcdefghij1234567890XYZ?token=t0p"
        made = await say(f'automation add "webhook campaign when clicks > 10" url={url} {HERE}')
        await say("automation edit automation-1 most=3")
        shown = [made, await say("automation list"), await say("automation show automation-1"), await say("audit")]
        for secret in ("abcdefghij1234567890XYZ", "t0p"):
            assert secret not in str(shown)
        async with say.database.read() as tx:
            assert (await tx.execute(select(automations.c.terms))).scalar_one()["url"] == url


async def test_an_entity_that_is_gone_is_said_and_the_others_go_on(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        await tracked(say, campaign="autumn", tag="autumn")
        await clicked(say, ids, days_ago(say, 0), 50, hour=11)
        made = await say(f'automation add "pause offer lucky-spring,lucky-autumn when clicks > 10" {HERE}')
        async with say.database.begin() as tx:
            gone = select(offers.c.id).where(offers.c.code == "lucky-autumn")
            await tx.execute(delete(campaign_offers).where(campaign_offers.c.offer_id.in_(gone)))
            await tx.execute(update(offers).where(offers.c.code == "lucky-autumn").values(code="other", name="Other"))
        assert await tick(runtime_of(say)) == 1
        assert await status_of(say) == "paused"
        assert (await say(f"automation show {made['code']}"))["waiting"] == [
            "offer lucky-autumn is not there any more"
        ]  # fmt: skip


async def test_weights_and_caps_are_changed_and_taken_back(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        await tracked(say, campaign="autumn", tag="autumn")
        await say("campaign edit spring offers=lucky-spring:10,lucky-autumn:10")
        await clicked(say, ids, days_ago(say, 0), 50, hour=11)
        await say(f'automation add "weight offer lucky-spring +25% up to 12 when clicks > 10" {HERE}')
        await say(f'automation add "cap offer lucky-spring to 7 clicks a day when clicks > 10" {HERE}')
        assert await tick(runtime_of(say)) == 2
        assert (await say("campaign show spring"))["offers"] == ["lucky-spring:12", "lucky-autumn:10"]
        offer = await say("offer show lucky-spring")
        assert (offer["cap"], offer["cap_event"]) == (7, "click")
        async with say.database.read() as tx:
            rows = (await tx.execute(select(automation_acts).order_by(automation_acts.c.id))).all()
        for row in rows:
            await say(f"undo {row.audit_id}")
        assert (await say("campaign show spring"))["offers"] == ["lucky-spring:10", "lucky-autumn:10"]
        assert (await say("offer show lucky-spring"))["cap"] is None


async def test_a_webhook_is_queued_with_its_act_and_signed_when_it_is_sent(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        await clicked(say, ids, days_ago(say, 0), 50, hour=11)
        made = await say(f'automation add "webhook campaign when clicks > 10" url=https://hooks.example.test/x {HERE}')
        assert made["webhook_secret"].startswith("whsec_")
        assert (await say("automation list"))["items"][0]["webhook_secret"] is None
        assert await tick(runtime_of(say)) == 1
        async with say.database.begin() as tx:
            (claimed,) = await claims.claim(tx, say.now, by_host={"hooks.example.test": 5})
        settings = runtime_of(say).box.open(str(claimed.credentials_secret))
        request, secrets = outbound.ready(claimed, settings, say.now)
        assert secrets == [made["webhook_secret"]]
        body = msgspec.json.decode(request.body)
        assert body["type"] == "automation.fired"
        assert body["data"]["subject"] == {"kind": "campaign", "code": "spring", "name": "spring"}
        assert body["data"]["figures"][0]["value"] == 50
        assert request.headers["webhook-id"] == claimed.key
        later, _ = outbound.ready(claimed, settings, say.now + timedelta(minutes=5))
        assert later.headers["webhook-signature"] != request.headers["webhook-signature"]
        assert (await say("automation log"))["items"][0]["delivery"] == "queued"


def test_a_signature_is_the_one_standard_webhooks_documents() -> None:
    from datetime import UTC, datetime

    call = WebhookCall(url="https://example.test/", body='{"test": 2432232314}')
    at = datetime.fromtimestamp(1614265330, UTC)
    request = signed(call, key="msg_p5jXN8AQM9LWM0D4loKWxJek", secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", now=at)
    assert request.headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_quiet_hours_and_schedules_are_kept(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        await clicked(say, ids, days_ago(say, 0), 50, hour=11)
        await say(f'automation add "pause offer when clicks > 10" quiet=11:00-12:30 {HERE}')
        await say(f'automation add "tell campaign when clicks > 10" schedule="mon-fri 9-18" {HERE}')
        assert await tick(runtime_of(say)) == 0  # noon on a Sunday
        say.later(minutes=31)
        assert await tick(runtime_of(say)) == 1
        assert await status_of(say) == "paused"


async def test_a_limited_buyer_automates_own_campaigns_only(opened: Opened) -> None:
    async with asking(opened) as say:
        spring = await tracked(say)
        autumn = await tracked(say, campaign="autumn", tag="autumn")
        for ids in (spring, autumn):
            await clicked(say, ids, days_ago(say, 0), 50, hour=11)
        await say(f'automation add "pause campaign when clicks > 10" {HERE}', role=Role.BUYER, campaigns=("autumn",))
        assert await tick(runtime_of(say)) == 1
        async with say.database.read() as tx:
            rows = {row.code: row.status for row in await tx.execute(select(campaigns))}
        assert rows == {"spring": "active", "autumn": "paused"}


async def from_placements(
    say: Asker, ids: dict[str, int], source_id: int, counts: dict[str, int], **when: float
) -> None:
    """Clicks with a placement as sub1, at ten cents each."""
    at = say.now - timedelta(**when)
    day = (at.date() - EPOCH_DAY).days
    rows = [
        {"id": first_id_at(at) + place * 1_000 + n, "team_id": say.team_id, "site_id": 0, "offer_id": 0,
         "campaign_id": ids["campaign_id"], "source_id": source_id, "hour": day * 24 + at.hour, "unique_click": 1,
         "bot": 0, "reason": 0, "user_agent_id": 0, "sub1": placement, "cost": 100_000, "currency": "EUR"}
        for place, (placement, number) in enumerate(counts.items()) for n in range(number)
    ]  # fmt: skip
    async with say.database.begin() as tx:
        await partitions.ensure(tx, at)
        await tx.execute(insert(clicks), rows)


async def test_a_placement_that_brings_nothing_is_blocked_told_and_taken_back(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        source = await say("source add name=Push placement=sub1")
        await say("campaign edit spring source=push fallback_url=https://f.example.test/")
        for n in (1, 2):
            await from_placements(say, ids, source["id"], {"good": 80, "bad": 80, "small": 5}, days=n)
        await converted(
            say, ids, say.now - timedelta(days=1), 1, event="first_deposit", sub1="good", source_id=source["id"]
        )
        made = await say(f'automation add "block placement when spend > 10 and ftd = 0 over 7d" name=Cleaner {HERE}')
        assert made["would_have_acted"] is None  # clicks are counted from now on
        assert await tick(runtime_of(say)) == 1
        (listed,) = (await say("placement list"))["items"]
        assert (listed["placement"], listed["list"], listed["source"], listed["sub"]) == (
            "bad",
            "block",
            "push",
            "sub1",
        )
        assert listed["added_by"] == f"{made['code']} Cleaner"
        assert await said(say) == ["🤖 Cleaner blocked placement bad of Push"]
        say.later(minutes=1)
        await from_placements(say, ids, source["id"], {"small": 120}, minutes=0.5)
        assert await tick(runtime_of(say)) == 1  # counted on, each click once
        assert {item["placement"] for item in (await say("placement list"))["items"]} == {"bad", "small"}
        facts = (await say("automation log"))["items"][0]["why"]
        assert "spend €13.00 over 7 days" in facts
        undo = next(button for button in await buttons(say) if button["label"] == "Undo")
        await say(undo["command"])
        assert [item["placement"] for item in (await say("placement list"))["items"]] == ["bad"]
        say.later(minutes=1)
        assert await tick(runtime_of(say)) == 0
        tried = await say(f"automation test {made['code']}")
        assert {firing["subject"] for firing in tried["firings"]} == {"placement bad of Push"}


async def test_placements_wait_for_their_sub_id(opened: Opened) -> None:
    async with asking(opened) as say:
        await tracked(say)
        await say("source add name=Push")
        made = await say(f'automation add "block placement when spend > 10 and ftd = 0 over 7d" {HERE}')
        assert await tick(runtime_of(say)) == 0
        assert "no source says which sub id" in (await say(f"automation show {made['code']}"))["waiting"][0]


async def test_a_webhook_arrives_and_private_addresses_are_never_called(opened: Opened) -> None:
    received: list[dict[str, str]] = []

    def receive(request: StubRequest) -> StubAnswer:
        received.append(request.headers)
        return StubAnswer(503 if len(received) == 1 else 204)

    with answering(receive) as address:
        async with asking(opened) as say:
            ids = await tracked(say)
            await clicked(say, ids, days_ago(say, 0), 50, hour=11)
            url = f"{address}/hook"
            await say(f'automation add "webhook campaign when clicks > 10" url={url} {HERE}')
            hub = runtime_of(say)
            assert await tick(hub) == 1
            hub.settings = msgspec.structs.replace(hub.settings, allow_private_hosts=True)
            for _ in range(3):
                say.later(hours=1)
                await outbound.tick(hub)
            assert len(received) == 2  # again after the 503, and no more after it was taken
            assert received[0]["webhook-id"] == received[1]["webhook-id"]
            assert (await say("automation log"))["items"][0]["delivery"] == "sent"
            await say(f'automation add "webhook offer when clicks > 10" url={url} {HERE}')
            assert await tick(hub) == 1
            hub.settings = msgspec.structs.replace(hub.settings, allow_private_hosts=False)
            await outbound.tick(hub)
            assert len(received) == 2  # loopback is private
            assert (await say("automation log"))["items"][0]["delivery"] == "dead"


async def test_a_budget_is_not_over_by_more_than_the_clicks_of_a_second(opened: Opened) -> None:
    """The job looks twice a second: what came in between is all that can be beyond."""
    assert {job.name: job.seconds for job in TIMETABLE if job.name in {"budgets", "automations"}} == {
        "automations": 60, "budgets": 0.5
    }  # fmt: skip
    async with asking(opened) as say:
        ids = await tracked(say)
        await say(f'automation add "pause campaign when budget 100 a day is reached" {HERE}')
        hub, spent = runtime_of(say), 0
        for n in range(1, 30):
            await clicked(say, ids | {"offer_id": 1_000 + n}, days_ago(say, 0), 50, hour=12, cost=5_000_000)
            spent += 5
            say.later(seconds=0.5)
            if await watch_budgets(hub):
                break
        assert (spent, (await say("campaign show spring"))["status"]) == (100, "paused")
