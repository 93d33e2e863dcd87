"""What a minute of automations costs: a thousand of them, of a team with 60 offers in 40 campaigns and 45 days."""

import asyncio
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from sqlalchemy import insert

import bot.commands  # noqa: F401  registers every command
from bench.stage import Line, table
from hub.jobs.automations import tick
from hub.runtime.ports import HubPorts
from hub.runtime.runtime import Runtime
from hub.runtime.settings import read_settings
from storage.automations.automations import NewAutomation, add
from storage.catalogue import teams
from storage.chat import channels
from storage.db.engine import Database
from storage.db.schema import upgrade
from storage.db.secrets import Box
from storage.ledger.automations.steps import Terms
from storage.ledger.facts import Role
from storage.reports import settle
from storage.tables import accounts, campaign_offers, campaigns, casinos, click_rollup, conversions, offers, touched
from storage.tables.types import EPOCH_DAY

AUTOMATIONS, OFFERS, CAMPAIGNS, DAYS = 1_000, 60, 40, 45
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
RULES = (
    "tell offer when registrations = 0 over 24h with clicks > {n}00000",
    "tell campaign when spend > {n}00000 today",
    "pause offer when cr < 0.0001 over 3d with clicks > {n}00000",
    "tell campaign when clicks < 1% of 7d avg over 7d and spend > {n}00000",
    "tell offer when cpa > {n}00000 over 14d and ftd > 100000",
)


async def run() -> dict[str, Any]:
    """Seconds of processor of a minute's run (the first, which reads the days, and the usual one), beside a minute's
    run without automations.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = read_settings({"CASINOFLUX_SECRET_KEY": "k"})
        database = Database(f"sqlite+aiosqlite:///{Path(folder) / 'bench.db'}")
        await upgrade(database)
        try:
            runtime = await _runtime(database, settings)
            none = await _processor(runtime)
            await _arm(database, runtime.team_id)
            first = await _processor(runtime)
            usual = [await _processor(runtime) for _ in range(5)]
            return {"automations": AUTOMATIONS, "first": first, "minute": median(usual), "without": none}
        finally:
            await database.close()


async def _processor(runtime: Runtime) -> float:
    began = time.process_time()
    await tick(runtime)
    return round(time.process_time() - began, 3)


async def _runtime(database: Database, settings: Any) -> Runtime:
    async with database.begin() as tx:
        team_id = await teams.first(tx, NOW)
    await _fill(database, team_id, Random(7))
    runtime = Runtime(
        settings=settings, database=database, box=Box("k"), ports=HubPorts(settings), team_id=team_id,
        clock=lambda: NOW,
    )  # fmt: skip
    await settle.settle_all(database, runtime.deployment.zone)
    return runtime


async def _fill(database: Database, team_id: int, chance: Random) -> None:
    named = {"team_id": team_id, "created_at": NOW}
    async with database.begin() as tx:
        await tx.execute(insert(accounts).values(
            **named, id=1, name="main", code="main", platform="postback_only", timezone="UTC", currency="EUR",
            options={}, postback_key="k",
        ))  # fmt: skip
        await tx.execute(
            insert(casinos).values(
                **named, id=1, name="Lucky", code="lucky", status="draft", payment_methods=[], markets=[]
            )
        )
        await tx.execute(insert(offers), [
            {**named, "id": n, "name": f"Offer {n}", "code": f"offer-{n}", "casino_id": 1, "account_id": 1,
             "url": "https://a.example.test/", "tag": str(n), "tag_key": str(n), "markets": [], "status": "active"}
            for n in range(1, OFFERS + 1)
        ])  # fmt: skip
        await tx.execute(insert(campaigns), [
            {**named, "id": n, "name": f"Campaign {n}", "code": f"campaign-{n}", "cost_model": "link", "rules": [],
             "direct": False, "binding": True, "status": "active"} for n in range(1, CAMPAIGNS + 1)
        ])  # fmt: skip
        pairs = [(n, 1 + (n * k) % OFFERS) for n in range(1, CAMPAIGNS + 1) for k in (1, 7, 11)]
        pairs = sorted(set(pairs))
        await tx.execute(insert(campaign_offers), [
            {"campaign_id": campaign, "offer_id": offer, "position": n, "weight": 1}
            for n, (campaign, offer) in enumerate(pairs)
        ])  # fmt: skip
        today = (NOW.date() - EPOCH_DAY).days
        for back in range(DAYS):
            day = NOW.date() - timedelta(days=back)
            await tx.execute(insert(click_rollup), [
                {"team_id": team_id, "hour": (today - back) * 24 + hour, "campaign_id": campaign, "site_id": 0,
                 "offer_id": offer, "source_id": 0, "country": "DE", "device": "mobile", "currency": "EUR",
                 "clicks": (n := chance.randint(5, 60)), "unique_clicks": n, "bot_clicks": 0, "site_visits": 0,
                 "outgoing": 0, "cost": n * 100_000}
                for campaign, offer in pairs for hour in (3, 9, 11)
            ])  # fmt: skip
            await tx.execute(insert(conversions), [
                {"team_id": team_id, "account_id": 1, "campaign_id": campaign, "site_id": 0, "offer_id": offer,
                 "source_id": 0, "event": "registration", "status": "approved", "is_ftd": False,
                 "occurred_at": NOW - timedelta(days=back, hours=1), "received_at": NOW, "day": day,
                 "visit_day": day, "marks": []}
                for campaign, offer in pairs
            ])  # fmt: skip
            await tx.execute(insert(touched).values(team_id=team_id, day=day))


async def _arm(database: Database, team_id: int) -> None:
    async with database.begin() as tx:
        room_id = await channels.room_of(tx, team_id, channels.read("terminal"), NOW)
        for n in range(AUTOMATIONS):
            rule = RULES[n % len(RULES)].format(n=1 + n // len(RULES))
            await add(tx, NOW, NewAutomation(
                team_id=team_id, name=f"automation {n}", room_id=room_id, thread="", terms=Terms(rule=rule),
                campaigns=None, role=Role.OWNER, member_id=None, token_id=None, made_by="shell", webhook_secret=None,
            ))  # fmt: skip


def lines() -> list[Line]:
    figures = asyncio.run(run())
    detail = f"first run {figures['first']:.2f} s, without automations {figures['without']:.3f} s"
    seconds = figures["minute"]
    return [Line("a minute of 1,000 automations, s", seconds, 2, at_most=True, detail=f"of the processor; {detail}")]


if __name__ == "__main__":
    print(table(lines()))
