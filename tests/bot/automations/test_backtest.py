"""The back-test and the live run agree on the same history, whatever the history and the rule."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from sqlalchemy import insert, select, update

from hub.jobs.automations import end_pauses, run_team
from hub.runtime.runtime import Runtime
from storage.alerts.live_counts import hour_of
from storage.automations import automations
from storage.automations.automations import Armed
from storage.db.touch_marks import touch
from storage.tables import automation_acts, click_rollup, settled_days, spend
from tests.bot.asking import Asker, asking
from tests.bot.seeding import converted, reported, tracked
from tests.hub.jobs.test_digests import runtime_of

Opened = Callable[[], Any]
Ids = dict[str, int]
ZONE = ZoneInfo("Asia/Kolkata")  # its hours begin at half past
DAYS = 3

#: What a campaign of the history has of it in an hour; ratios as they are.
SUMS = {
    "clicks": 12, "unique_clicks": 9, "bot_clicks": 2, "site_visits": 6, "outgoing": 3, "registrations": 1.5,
    "ftd": 0.6, "deposits": 1, "qualified": 0.3, "deposit_amount": 20, "spend": 2, "expected_registrations": 1,
}  # fmt: skip
REVENUE = {
    "commission": 1, "commission_cpa": 0.6, "commission_revshare": 0.3, "commission_other": 0.1, "ngr": 1.5,
    "visits": 2, "profit": -1,
}  # fmt: skip
RATIOS = {"cr": 10, "ctr": 50, "reg2dep": 35, "cpa": 4}
REVENUE_RATIOS = {"epc": 0.1, "roas": 0.4, "roi": -50}
HOURS = {"today": 12, "over 1h": 1, "over 5h": 5, "over 30h": 30, "yesterday": 24, "over 2d": 36, "over 3d": 60,
         "since start": 40}  # fmt: skip
SETTLED = ("yesterday", "over 2d", "over 3d", "since start")
CAMPAIGNS = ("one", "two", "three", "four")
BASES = ("usual", "7d avg", "weekday avg", "others", "campaign two")
USUAL = ("usual", "7d", "30d", "weekday")


def rules_by_chance(chance: Random) -> list[str]:
    """Four rules of each measure, and some of several comparisons."""
    rules = [f"tell {_noun(chance)} when {_comparison(chance, measure)}"
             for measure in (*SUMS, *RATIOS, *REVENUE, *REVENUE_RATIOS) for _ in range(4)]  # fmt: skip
    for _ in range(12):
        one, two, three = (_comparison(chance, chance.choice([*SUMS, *RATIOS])) for _ in range(3))
        rules.append(f"tell {_noun(chance)} when {one} and (not ({two}) or {three}) with clicks > 20 today")
    return [
        *rules, "tell offer when hour >= 9 and clicks > 60 today", "tell when weekday = mon and ftd > 2 today",
        "pause offer until 4h when spend > 12 today", "tell campaign when spend > 300% of payout over 5h",
    ]  # fmt: skip


def _noun(chance: Random) -> str:
    return chance.choice(["offer", "campaign", "source", ""])


def _comparison(chance: Random, measure: str) -> str:
    revenue = measure in {*REVENUE, *REVENUE_RATIOS}
    window = chance.choice(SETTLED if revenue else tuple(HOURS))
    sign = chance.choice(["<", ">", "<=", ">=", "!="])
    if chance.random() < 0.3 and measure != "expected_registrations":
        base = chance.choice(BASES[3:] if window == "since start" else BASES)
        return f"{measure} {sign} {chance.choice([60, 100, 150])}% of {base} {window}"
    ratio = {**RATIOS, **REVENUE_RATIOS}.get(measure)
    scale = ratio if ratio is not None else {**SUMS, **REVENUE}[measure] * HOURS[window]
    limit = scale * chance.choice([0.4, 0.8, 1, 1.3])
    return f"{measure} {sign} {limit if measure in {'epc', 'roas'} or abs(limit) < 3 else round(limit)} {window}"


class Past:
    """A team's history of chance: four campaigns, an offer in each, whose costs are known in different ways."""

    def __init__(self, say: Asker, chance: Random) -> None:
        self.say, self.chance = say, chance
        self.places: list[Ids] = []
        self.told: dict[date, int] = {}
        self.first = True

    async def begin(self) -> None:
        """Campaigns one (costs of clicks), two (told by the source during the day), three (told the day after), four
        (paid by registration)."""
        say = self.say
        for name in CAMPAIGNS:
            ids = await tracked(say, campaign=name, tag=name)
            cost = "cost_model=cpa cost=3 cost_event=registration" if name == "four" else ""
            source = await say(f"source add name=Source-{name}")
            await say(f"campaign edit {name} source={source['code']} {cost}")
            self.places.append(ids | {"source_id": source["id"]})

    @property
    def local(self) -> datetime:
        return self.say.now.astimezone(ZONE)

    async def happen(self) -> None:
        """What happens in this hour, all at once: in the first one everything, so that all of it is measured."""
        now, say, chance = self.local, self.say, self.chance
        for n, ids in enumerate(self.places):
            if (clicks := 4 if self.first else chance.choice([0, 4, 12, 30])) == 0:
                continue
            await self._clicked(ids, clicks, cost=clicks * 150_000 if n in {0, 2} else 0)
            for event, odds in (("registration", 0.6), ("first_deposit", 0.3), ("deposit", 0.2), ("qualified", 0.1)):
                if self.first or chance.random() < odds:
                    await self._converted(ids, event, chance.randint(1, 3))
        self.first, day = False, now.date()
        if now.hour in {8, 14, 20}:
            self.told[day] = self.told.get(day, 0) + chance.randint(5, 20)
            await self._record_cost(self.places[1], day, self.told[day], "api")
        if now.hour == 9:
            await self._record_cost(self.places[2], day - timedelta(days=1), chance.randint(10, 40), "csv")
        if now.hour == 6:
            await self.settle(day - timedelta(days=1))
        say.later(minutes=1)

    async def settle(self, day: date) -> None:
        """What the platform says of a day."""
        say = self.say
        for tag, ids in zip(CAMPAIGNS, self.places, strict=True):
            await self._reported(ids, day, tag, self.chance.randint)
        async with say.database.begin() as tx:
            await tx.execute(update(settled_days).where(settled_days.c.day == day).values(settled_at=say.now))

    async def _reported(self, ids: Ids, day: date, tag: str, some: Callable[[int, int], int]) -> None:
        async with self.say.database.begin() as tx:
            await tx.execute(settled_days.delete().where(settled_days.c.day == day))
        await reported(
            self.say, ids, day, at=self.say.now, tag=tag, registrations=some(0, 40), first_deposits=some(0, 20),
            deposits=some(0, 30), qualified=some(0, 8), deposit_amount=some(0, 500) * 10**6, ngr=some(-50, 90) * 10**6,
            visits=some(10, 90), commission_cpa=some(0, 30) * 10**6, commission_revshare=some(-10, 20) * 10**6,
            commission_other=some(0, 5) * 10**6,
        )  # fmt: skip

    async def _clicked(self, ids: Ids, clicks: int, *, cost: int) -> None:
        say = self.say
        async with say.database.begin() as tx:
            await tx.execute(insert(click_rollup).values(
                team_id=say.team_id, hour=hour_of(say.now, ZONE.key), campaign_id=ids["campaign_id"], site_id=0,
                offer_id=ids["offer_id"], source_id=ids["source_id"], country="DE", device="mobile",
                currency="EUR" if cost else "", clicks=clicks, unique_clicks=clicks * 3 // 4,
                bot_clicks=self.chance.randint(0, 4), site_visits=clicks // 2, outgoing=clicks // 4, cost=cost,
            ))  # fmt: skip
            await touch(tx, say.team_id, [self.local.date()])

    async def _converted(self, ids: Ids, event: str, n: int) -> None:
        day = self.local.date()
        amount = self.chance.randint(5, 40) * 10**6 if event in {"first_deposit", "deposit"} else None
        await converted(self.say, ids, self.say.now, n, event=event, day=day, visit_day=day, currency="EUR",
                        source_id=ids["source_id"], amount=amount)  # fmt: skip
        async with self.say.database.begin() as tx:
            await touch(tx, self.say.team_id, [day])

    async def _record_cost(self, ids: Ids, day: date, euros: int, origin: str) -> None:
        say = self.say
        async with say.database.begin() as tx:
            await tx.execute(insert(spend).values(
                team_id=say.team_id, campaign_id=ids["campaign_id"], day=day, origin=origin, amount=euros * 10**6,
                currency="EUR", recorded_at=say.now,
            ))  # fmt: skip
            await touch(tx, say.team_id, [day])


async def armed(say: Asker, *, usual: bool) -> list[Armed]:
    """The automations that compare with what is usual, or those that do not."""
    async with say.database.read() as tx:
        return [of for of in await automations.all_active(tx)
                if any(f"of {word}" in of.terms.rule for word in USUAL) is usual]  # fmt: skip


def as_tried(at: datetime) -> datetime:
    """When the back-test sees what the live run did then: at the full hour, or in the last minute of the hour."""
    local = at.astimezone(ZONE)
    return at if not local.minute else (local.replace(minute=59)).astimezone(UTC)


async def acts_of(say: Asker, automation_id: int, since: datetime) -> list[tuple[datetime, str]]:
    a = automation_acts.c
    query = select(a.at, a.label).where(a.automation_id == automation_id, a.outcome.in_(("done", "told")), a.at > since)
    async with say.database.read() as tx:
        return sorted((as_tried(row.at), row.label) for row in await tx.execute(query))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("database_kind", ["sqlite"])  # what is read is tested on both elsewhere; this takes long
async def test_the_backtest_says_what_the_live_run_did(opened: Opened) -> None:
    """Each hour has something happen once, at a minute of chance: of what the back-test sees of an hour, its beginning
    and its end, the live run then sees the same. What is usual grows with each minute, so it is looked at where the
    back-test looks, at the first and the last."""
    async with asking(opened) as say:
        say.deployment = msgspec.structs.replace(say.deployment, timezone=ZONE.key)
        chance = Random(15)
        past, rules = Past(say, chance), rules_by_chance(chance)
        say.now = start = datetime(2026, 11, 20, tzinfo=ZONE).astimezone(UTC)
        await past.begin()
        hub = runtime_of(say)
        hub.settings = msgspec.structs.replace(hub.settings, report_timezone=ZONE.key)
        made = [await say(f'automation add "{rule}" cooldown=1m most=1000 force=true channel=slack:C0123456')
                for rule in rules]  # fmt: skip
        await _look(say, hub, False, True)
        for _ in range(DAYS):
            await _day(say, past, hub)
        acted: dict[str, int] = {}
        differing = {}
        for automation in made:
            live = await acts_of(say, automation["id"], start)
            tried = await say.tell("automation test", automation=automation["code"])
            past_acts = sorted((of.at, of.subject) for of in tried.firings if of.at > start)
            if past_acts != live:
                differing[automation["rule"]] = {
                    "live": set(live) - set(past_acts),
                    "tried": set(past_acts) - set(live),
                }
            acted[automation["rule"]] = len(live)
        assert differing == {}
        silent = [rule for rule, number in acted.items() if not number]
        assert len(silent) < len(acted) / 2, silent
        for measure in (*SUMS, *RATIOS, *REVENUE, *REVENUE_RATIOS):
            assert any(number and f"{measure} " in rule for rule, number in acted.items()), measure


async def _day(say: Asker, past: Past, hub: Runtime) -> None:
    """Twenty-four hours, and the full hour after them."""
    begin = say.now
    for hour in range(24):
        say.now = begin + timedelta(hours=hour, minutes=past.chance.randint(2, 50))
        await past.happen()
        await _look(say, hub, False)
        say.now = begin + timedelta(hours=hour, minutes=59)
        await _look(say, hub, False, True)
        say.now = begin + timedelta(hours=hour + 1)
        await _look(say, hub, False, True)


async def _look(say: Asker, hub: Runtime, *which: bool) -> None:
    await end_pauses(hub)
    for usual in which:
        await run_team(hub, say.team_id, await armed(say, usual=usual))
