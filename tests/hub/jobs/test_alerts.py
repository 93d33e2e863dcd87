"""Alerts as the hub runs them: fire, acknowledge, resolve in the thread, storms, quiet, on both databases."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import insert, select, update

from hub.cli.standins.web import StubAnswer
from hub.jobs import offer_links
from hub.jobs.alerts import notice, tick
from storage.tables import accounts, messages, postbacks
from tests.bot.asking import Asker, asking
from tests.bot.seeding import clicked, converted, days_ago, reported, tracked
from tests.hub.jobs.test_digests import runtime_of
from tests.standins.serving import answering

Opened = Callable[[], Any]
HERE = "channel=slack:C0123456"


async def told(say: Asker) -> list[Any]:
    async with say.database.read() as tx:
        return list((await tx.execute(select(messages).order_by(messages.c.id))).all())


async def titles(say: Asker) -> list[str]:
    return [row.message["title"] for row in await told(say)]


async def set_error(say: Asker, error: str | None) -> None:
    async with say.database.begin() as tx:
        await tx.execute(update(accounts).values(platform="affilka", error=error))


async def test_a_failing_sync_fires_once_and_is_over_in_the_same_thread(opened: Opened) -> None:
    async with asking(opened) as say:
        await tracked(say)
        item = await say(f"alert add kind=sync_failed {HERE}")
        hub = runtime_of(say)
        assert await tick(hub) == 0
        await set_error(say, "the token was refused")
        assert await tick(hub) == 1
        say.later(minutes=1)
        assert await tick(hub) == 0
        assert (await say("alert list"))["items"][0]["state"] == "firing"
        await say(f"alert ack {item['code']}")
        assert (await say("alert list"))["items"][0]["state"] == "acknowledged"
        await set_error(say, None)
        assert await tick(hub) == 1
        assert await titles(say) == [
            "🔴 sync of main failed: the token was refused", "🟢 Over: sync of main works again"
        ]  # fmt: skip
        fired, over = await told(say)
        assert over.answers == fired.key
        assert (await say("alert list"))["items"][0]["state"] == "idle"
        labels = [button["label"] for block in fired.message["blocks"] for button in block.get("buttons", [])]
        assert labels == ["Ack", "Snooze 1h", "Why"]


async def test_two_processes_tell_an_alert_once(opened: Opened) -> None:
    async with asking(opened) as say:
        await tracked(say)
        await say(f"alert add kind=sync_failed {HERE}")
        await set_error(say, "down")
        assert sorted(await asyncio.gather(*(tick(runtime_of(say)) for _ in range(3)))) == [0, 0, 1]


async def test_a_figure_fires_against_the_same_part_of_earlier_days(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        for n in range(1, 8):
            await converted(say, ids, say.now - timedelta(days=n, hours=2), 10, event="first_deposit")
            await converted(say, ids, say.now - timedelta(days=n, hours=-4), 50, event="first_deposit")
        await say(f'alert add "ftd < 50% of 7d avg" campaign=spring {HERE}')
        await converted(say, ids, say.now - timedelta(hours=1), 6, event="first_deposit")
        assert await tick(runtime_of(say)) == 0  # 6 of 10 by noon is no alarm, though 60 is a day's average
        await say(f'alert add "ftd < 70% of 7d avg" {HERE}')
        assert await tick(runtime_of(say)) == 1
        assert (await titles(say))[0].startswith("🔴 FTD 6 today, 60% of the 7-day average of 10")


async def test_a_rule_on_a_number_fires_at_once(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        await clicked(say, ids, days_ago(say, 0), 50, hour=11)
        await say(f'alert add "clicks < 100" {HERE}')
        await say(f'alert add "clicks > 20 in 3h" {HERE}')
        await say(f'alert add "registrations < 1" for=10m {HERE}')
        assert await tick(runtime_of(say)) == 2
        say.later(minutes=10)
        assert await tick(runtime_of(say)) == 1
        assert await tick(runtime_of(say)) == 0
        assert (await titles(say))[2] == "🔴 registrations 0 today (registrations < 1 for 10m)"


async def test_silence_of_a_campaign_is_told(opened: Opened) -> None:
    async with asking(opened) as say:
        await tracked(say)
        await say(f"alert add kind=no_clicks for=30m campaign=spring {HERE}")
        assert await tick(runtime_of(say)) == 0
        say.later(minutes=31)
        assert await tick(runtime_of(say)) == 1
        assert await titles(say) == ["🔴 no clicks on spring for 30m"]


async def test_first_deposits_are_told_once_each(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        await converted(say, ids, say.now - timedelta(hours=1), 1, event="first_deposit")
        await say(f"alert add kind=ftd {HERE}")
        await say(f'alert add "high-value ftd > 500" {HERE}')
        say.later(minutes=1)
        await converted(say, ids, say.now, 1, event="first_deposit", amount=50_000_000, currency="EUR")
        await converted(say, ids, say.now, 1, event="first_deposit", amount=900_000_000, currency="EUR")
        await say("rate set currency=SEK day=today rate=0.09")
        await converted(say, ids, say.now, 1, event="first_deposit", amount=900_000_000, currency="SEK")
        assert await tick(runtime_of(say)) == 2
        assert await tick(runtime_of(say)) == 0
        say.later(minutes=5)
        assert await tick(runtime_of(say)) == 0
        assert sorted(await titles(say)) == ["🔔 3 × ftd", "🔔 FTD on Lucky spring by spring: €900.00"]


async def test_many_alerts_at_once_are_one_message(opened: Opened) -> None:
    async with asking(opened) as say:
        await tracked(say)
        for n in range(1, 6):
            await say(f'alert add "clicks < {n}" {HERE}')
        assert await tick(runtime_of(say)) == 1
        assert (await titles(say))[0].startswith("🔴 5 alerts: clicks 0 today")


async def test_a_snoozed_alert_keeps_still_and_tells_again(opened: Opened) -> None:
    async with asking(opened) as say:
        await tracked(say)
        item = await say(f'alert add "clicks < 1" {HERE}')
        assert await tick(runtime_of(say)) == 1
        await say(f"alert snooze {item['code']} 30m")
        say.later(minutes=5)
        assert await tick(runtime_of(say)) == 0
        say.later(minutes=26)
        assert await tick(runtime_of(say)) == 1


async def test_restatements_discrepancies_and_what_vanished_are_told(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        await converted(say, ids, say.now - timedelta(days=2), 10, event="first_deposit")
        await reported(say, ids, days_ago(say, 2), at=say.now, first_deposits=10, ngr=10**8, commission_cpa=10**9)
        for kind in ("vanished", "restatement", "discrepancy"):
            await say(f"alert add kind={kind} {HERE}")
        say.later(minutes=1)
        assert await tick(runtime_of(say)) == 0
        await reported(say, ids, days_ago(say, 2), at=say.now, first_deposits=8, ngr=10**8, commission_cpa=10**9)
        assert await tick(runtime_of(say)) == 3
        assert sorted(await titles(say)) == [
            "🔔 20 Nov main / spring: FTDs restated, 10 → 8",
            "🔔 20 Nov main / spring: FTDs withdrawn, 10 → 8",
            "🔔 2026-11-20 Lucky spring: 10 FTDs by postbacks, 8 by the platform (20% apart)",
        ]
        assert await tick(runtime_of(say)) == 0


async def test_failing_postbacks_are_told_per_account(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        await say(f"alert add kind=postback_failures {HERE}")
        async with say.database.begin() as tx:
            await tx.execute(insert(postbacks), [
                {"team_id": say.team_id, "account_id": ids["account_id"], "received_at": say.now - timedelta(minutes=5),
                 "method": "GET", "query": b"", "body": b"", "digest": str(n), "outcome": outcome}
                for n, outcome in enumerate(["accepted", "unmatched", "rejected", "accepted"])
            ])  # fmt: skip
        assert await tick(runtime_of(say)) == 1
        assert await titles(say) == ["🔴 2 of 4 postbacks of main failed (50%)"]


async def test_quiet_hours_hold_alerts_back(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        await say(f"alert add kind=ftd quiet=11:00-12:30 {HERE}")
        await say(f'alert add "clicks < 1" quiet=11:00-12:30 {HERE}')
        await converted(say, ids, say.now + timedelta(minutes=1), 1, event="first_deposit")
        say.later(minutes=10)
        assert await tick(runtime_of(say)) == 0
        say.later(minutes=21)
        assert await tick(runtime_of(say)) == 2


async def test_a_dead_offer_link_is_found_and_found_again(opened: Opened) -> None:
    statuses = [410]
    with answering(lambda _request: StubAnswer(statuses[-1])) as address:
        async with asking(opened) as say:
            await say.account()
            await say(f"offer add casino=Lucky account=main url={address}/land?s={{click_id}} tag=x")
            hub = runtime_of(say)
            hub.settings = msgspec.structs.replace(hub.settings, allow_private_hosts=True)
            assert await offer_links.tick(hub) == 0  # no alert asked for it
            await say(f'alert add "dead offer link" {HERE}')
            assert await offer_links.tick(hub) == 1
            assert await offer_links.tick(hub) == 0
            assert await tick(hub) == 1
            statuses.append(200)
            say.later(hours=7)
            assert await offer_links.tick(hub) == 1
            assert await tick(hub) == 1
            assert await titles(say) == [
                "🔴 the link of Lucky x leads nowhere: it answers 410", "🟢 Over: the link of Lucky x works again"
            ]  # fmt: skip


async def test_first_deposits_are_noticed_between_the_minutes(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        await say(f"alert add kind=ftd {HERE}")
        await say(f'alert add "clicks < 1" {HERE}')
        say.later(seconds=5)
        await converted(say, ids, say.now, 1, event="first_deposit")
        assert await notice(runtime_of(say)) == 1
        assert await notice(runtime_of(say)) == 0
        assert await titles(say) == ["🔔 FTD on Lucky spring by spring"]
