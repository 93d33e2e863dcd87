"""The back-test and the live run agree on the same history, whatever the history and the rule."""

from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import select, update

from hub.jobs.automations import tick
from storage.tables import automation_acts, settled_days
from tests.bot.asking import Asker, asking
from tests.bot.seeding import clicked, converted, reported, tracked
from tests.hub.jobs.test_digests import runtime_of

Opened = Callable[[], Any]
RULES = (
    "tell offer when registrations = 0 over 6h with clicks > 20",
    "tell offer when epc < 0.30 over 2d with clicks > 50",
    "tell campaign when spend > 15 today or (cr < 4 over 24h and clicks > 80)",
    "tell offer when clicks > 150% of 7d avg over 12h",
    "pause offer until 4h when hour >= 9 and clicks > 60 today",
)
DAYS = 4


async def an_hour_of_chance(say: Asker, ids: dict[str, int], chance: Random) -> None:
    """What happened in the hour before now; at six, what the platform says of yesterday."""
    at = say.now - timedelta(hours=1)
    clicks = chance.choice([0, 3, 9, 14])
    if clicks:
        await clicked(say, ids, at.date(), clicks, hour=at.hour, cost=clicks * 100_000)
    if chance.random() < 0.4:
        await converted(say, ids, at + timedelta(minutes=30), chance.randint(1, 3), event="registration")
    if say.now.hour == 6:
        day = (say.now - timedelta(days=1)).date()
        await reported(say, ids, day, at=say.now, first_deposits=1, registrations=2,
                       commission_cpa=chance.choice([5, 40]) * 10**6)  # fmt: skip
        async with say.database.begin() as tx:
            await tx.execute(update(settled_days).where(settled_days.c.day == day).values(settled_at=say.now))


@pytest.mark.slow
async def test_the_backtest_says_what_the_live_run_did(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        chance = Random(15)
        say.now = say.now.replace(hour=0)
        made = [await say(f'automation add "{rule}" cooldown=3h most=50 channel=slack:C0123456') for rule in RULES]
        for _ in range(DAYS * 24):
            say.later(hours=1)
            await an_hour_of_chance(say, ids, chance)
            await tick(runtime_of(say))
        for automation in made:
            a = automation_acts.c
            query = select(a.at).where(a.automation_id == automation["id"], a.outcome.in_(("done", "told")))
            async with say.database.read() as tx:
                live = sorted((await tx.execute(query)).scalars())
            tried = await say.tell("automation test", automation=automation["code"])
            past = [firing.at for firing in tried.firings]
            assert past == live, automation["rule"]
            assert live, automation["rule"]
