"""Digests on time, exactly once, on both databases."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from hub.jobs import digests
from hub.jobs.digests import tick
from hub.runtime.runtime import Runtime
from hub.runtime.settings import read_settings
from storage.db.secrets import Box
from storage.tables import messages, subscriptions
from tests.bot.asking import Asker, asking

Opened = Callable[[], Any]


def runtime_of(say: Asker) -> Runtime:
    settings = read_settings({"CASINOFLUX_SECRET_KEY": "k"})
    return Runtime(
        settings=settings, database=say.database, box=Box("k"), ports=say.ports, team_id=say.team_id,
        clock=lambda: say.now,
    )  # fmt: skip


async def queued(say: Asker) -> list[Any]:
    async with say.database.read() as tx:
        return list((await tx.execute(select(messages).order_by(messages.c.id))).all())


async def test_a_digest_is_sent_once_each_day(opened: Opened) -> None:
    async with asking(opened) as say:
        item = await say("digest subscribe at=12:01 channel=slack:C0123456")
        hub = runtime_of(say)
        assert await tick(hub) == 0
        say.later(minutes=1)
        assert await tick(hub) == 1
        assert await tick(hub) == 0
        say.later(days=1)
        assert await tick(hub) == 1
        sent = await queued(say)
        assert [row.key for row in sent] == [f"digest:{item['id']}:2026-11-22", f"digest:{item['id']}:2026-11-23"]
        assert sent[0].message["title"].startswith("Sat 21 Nov")
        assert (await say("digest list"))["items"][0]["next_at"] == "2026-11-24T12:01:00Z"


async def test_two_processes_send_it_once(opened: Opened) -> None:
    async with asking(opened) as say:
        await say("digest subscribe at=12:01 channel=slack:C0123456")
        say.later(minutes=2)
        assert sorted(await asyncio.gather(*(tick(runtime_of(say)) for _ in range(4)))) == [0, 0, 0, 1]
        assert len(await queued(say)) == 1


async def test_one_missed_while_down_comes_once_late_with_a_note(opened: Opened) -> None:
    async with asking(opened) as say:
        await say("digest subscribe at=12:01 channel=slack:C0123456")
        say.later(days=3)
        assert await tick(runtime_of(say)) == 1
        (sent,) = await queued(say)
        notes = [block["text"] for block in sent.message["blocks"] if block["type"] == "notice"]
        assert "was due Tue 24 Nov 12:01 (UTC) and comes late" in notes[0]
        assert "2 earlier ones left out" in notes[0]
        assert await tick(runtime_of(say)) == 0


async def test_many_rooms_at_once_get_theirs(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "PAUSE", 0.0)
    async with asking(opened) as say:
        for n in range(60):
            await say(f"digest subscribe at=12:01 channel=telegram:-100{n}")
        say.now += timedelta(minutes=2)
        assert await tick(runtime_of(say)) == 60
        assert len(await queued(say)) == 60


async def test_digests_that_cannot_be_made_do_not_keep_others_from_theirs(opened: Opened) -> None:
    async with asking(opened) as say:
        for n in range(digests.BATCH + 1):
            await say(f"digest subscribe at=12:01 channel=telegram:-100{n}")
        good = await say("digest subscribe at=12:02 channel=slack:C0123456")
        async with say.database.begin() as tx:
            broken = subscriptions.c.id != good["id"]
            await tx.execute(update(subscriptions).where(broken).values(timezone="Mars/Olympus"))
        say.later(minutes=3)
        assert await tick(runtime_of(say)) == 1
        assert [row.subscription_id for row in await queued(say)] == [good["id"]]


async def test_a_weekly_digest_covers_the_week_before(opened: Opened) -> None:
    async with asking(opened) as say:
        await say("digest subscribe every=week channel=slack:C0123456")
        say.later(hours=21)
        assert await tick(runtime_of(say)) == 1
        assert (await queued(say))[0].message["title"].startswith("Week 2026-W47")
