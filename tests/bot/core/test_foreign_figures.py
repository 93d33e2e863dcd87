"""What a member limited to campaigns reads, on every command that reads: nothing of other campaigns' figures, names,
clicks and postbacks, although they share account, offer, site and source. A new command is walked by itself."""

import re
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from sqlalchemy import insert, select, update

from bot.alerts.conditions import CONDITIONS, EVENTS
from bot.alerts.context import AlertContext
from bot.core.command import COMMANDS, Command, run
from bot.core.context import Actor
from bot.core.permissions import Scope
from bot.digests.loading import build
from bot.digests.message import DigestRequest
from bot.render import terminal
from storage import tables as t
from storage.alerts import alert_states
from storage.db import touch_marks
from storage.ledger.clicks.click_id import first_id_at
from storage.ledger.errors import CasinoFluxError
from storage.ledger.facts import Figures, Report, RevenueRow, Role
from storage.revenue import revisions
from storage.tables.types import EPOCH_DAY
from tests.bot.asking import NOON, Asker
from tests.bot.core.test_permissions import arguments
from tests.bot.core.worlds import MINE, OpenWorld, World

pytestmark = pytest.mark.slow

DAY = NOON.date() - timedelta(days=3)
OTHERS = 61_839_472  # of every figure of other campaigns; own ones are so small that sums begin with the same digits
FOREIGN = re.compile(r"61[,.]?839|\bothers[-2]|\bOthers [a-z]|\bothers (?:brand|second)|\btheirs\b|\bbeside\b")
MEASURES = ("visits", "registrations", "first_deposits", "deposits", "qualified", "deposit_amount", "ngr",
            "commission_cpa", "commission_revshare")  # fmt: skip
RULES = ("no clicks for 30m", "postback failures", "sync failed", "suspect", "sync stale", "cap", "domain down",
         "domain expiring", "dead offer link", "ftd", "restatement", "vanished", "discrepancy", "dead postback",
         "clicks < 5000 in 24h", "spend without registrations")  # fmt: skip
#: Optional arguments that a reading command is asked with, too.
WAYS: dict[str, tuple[dict[str, Any], ...]] = {
    "stats": tuple({"range": "30d", "by": [by]} for by in ("campaign", "offer", "site", "source", "account", "casino",
                                                           "group", "day", "sub1", "country")),
    "report merged": ({"from": "2026-11-01", "to": "2026-11-22", "by": ["offer", "campaign"]},),
    "site analytics": tuple({"range": "30d", "by": by} for by in ("day", "campaign", "offer", "country")),
    "site report": ({"range": "30d"},), "site overview": ({"range": "30d"},),
    "find": tuple({"words": words} for words in ("other", "Others", "note", "besid", "brand")),
    "why": ({"day": DAY.isoformat()},), "digest preview": ({"day": DAY.isoformat(), "full": True},
                                                           {"every": "month", "since": "2026-11-01", "full": True}),
    "forecast": ({"from": "2026-11-01"},), "account list": ({"find": "o"},), "offer list": ({"find": "o"},),
}  # fmt: skip


async def test_nothing_of_other_campaigns_is_read_by_a_limited_member(world: OpenWorld, database_kind: str) -> None:
    """On PostgreSQL as a viewer alone: roles are judged before the database is asked."""
    roles = (Role.VIEWER, Role.BUYER) if database_kind == "sqlite" else (Role.VIEWER,)
    async with world() as scene:
        await fill(scene)
        told = []
        for command in COMMANDS.values():
            if not command.reads or command.changes or command.scope is not Scope.OWN:
                continue
            for role in roles:
                actor = Actor(team_id=scene.say.team_id, name="limited", role=role, campaigns=MINE)
                for values in ways(command, scene):
                    text = await answer(scene.say, command, values, actor)
                    if told_of := FOREIGN.findall(text):
                        told.append(f"{command.name} {values} as {role.value}: {set(told_of)}")
        assert told == []


async def test_a_digest_of_campaigns_holds_nothing_of_others(world: OpenWorld) -> None:
    async with world() as scene:
        await fill(scene)
        request = DigestRequest(
            team_id=scene.say.team_id, first=DAY, last=DAY, every="day", campaigns=MINE, full=True,
            told_until=NOON - timedelta(days=30), now=NOON, deployment=scene.say.deployment,
        )  # fmt: skip
        async with scene.say.database.read() as tx:
            text = terminal.render(await build(tx, request))
        assert "own offer" in text.lower() or "mine" in text
        assert FOREIGN.findall(text) == []


async def test_an_alert_of_campaigns_tells_nothing_of_others(world: OpenWorld) -> None:
    async with world() as scene:
        await fill(scene)
        limited: dict[str, Any] = {"role": Role.BUYER, "campaigns": MINE}
        made = [await scene.say(f'alert add "{rule}" channel=terminal', **limited) for rule in RULES]
        assert FOREIGN.findall(str(made)) == []
        async with scene.say.database.begin() as tx:
            await tx.execute(update(t.alerts).values(created_at=NOON - timedelta(days=30)))
        told: dict[str, str] = {}
        for alert in made:
            async with scene.say.database.read() as tx:
                _, watch = await alert_states.find(tx, scene.say.team_id, alert["code"])
                context = AlertContext(tx, watch, NOON, scene.say.deployment)
                kind = watch.rule.kind
                readings: Any = await (CONDITIONS.get(kind) or EVENTS[kind])(context)
            told[alert["rule"]] = str(readings)
        assert {rule: text for rule, text in told.items() if FOREIGN.search(text)} == {}


def ways(command: Command, scene: World) -> list[dict[str, Any]]:
    """The arguments of a reading command: none, each of `WAYS`, and each with every own and shared entity."""
    optional = WAYS.get(command.name, ({},))
    found = [] if any(reference.required for reference in command.references) else list(optional)
    for reference in command.references:
        for whose in ("own", "shared"):
            for word in scene.words.get(reference.nouns[0], {}).get(whose, ())[:1]:
                found += [{**way, **arguments(command, reference, word, scene.words)} for way in optional]
    return found or [arguments(command, command.references[0], "mine", scene.words)]


async def answer(say: Asker, command: Command, values: dict[str, Any], actor: Actor) -> str:
    """All that a person or a machine is told."""
    try:
        given = await run(command, values, say.context(actor))
    except CasinoFluxError as error:
        return str(error)
    return msgspec.json.encode(given.result).decode() + terminal.render(given.message)


async def fill(scene: World) -> None:
    """Figures of the own campaign and of others on what they share and on what is each one's own: clicks, conversions,
    spend, page views, deliveries, a settled day of revenue that was restated, and a held report."""
    team, database = scene.say.team_id, scene.say.database
    ids = {noun: {whose: int(words[-1]) for whose, words in of.items()} for noun, of in scene.words.items()
           if noun in {"account", "offer", "site", "source"}}  # fmt: skip
    async with database.begin() as tx:
        campaigns = {row.code: row.id for row in await tx.execute(select(t.campaigns).where(
            t.campaigns.c.team_id == team
        ))}  # fmt: skip
        capped = t.offers.update().where(t.offers.c.id == ids["offer"]["shared"])
        await tx.execute(capped.values(cap=9, cap_event="click", cap_period="day"))
        for campaign, whose, n in (
            ("mine", "own", 3), ("also", "shared", 2), ("theirs", "others", OTHERS), ("beside", "shared", OTHERS),
        ):  # fmt: skip
            place = {noun: ids[noun][whose] for noun in ("offer", "site", "source")}
            await _facts(tx, team, campaigns[campaign], place, ids["account"][whose], n=n)
        for whose in ("own", "shared", "others"):
            await tx.execute(t.domains.update().where(t.domains.c.code == f"{whose}-domain").values(
                status="live", registered_until=NOON.date() + timedelta(days=1),
                state={"health": {"ok": False, "error": f"{whose} is away", "faults": [f"{whose} is away"]}},
            ))  # fmt: skip
        await touch_marks.touch(tx, team, [DAY])
    for whose, campaign in (("own", "mine"), ("others", "theirs")):
        await scene.say(
            f'offer add casino="{whose} brand" account=shared-account name="{whose} second" tag={whose}2 '
            "url=https://a.example.test/?s={click_id}"
        )
        await scene.say(f"campaign edit {campaign} offers={whose}-offer,{whose}-second")
    await scene.say("view remove others-view")
    await scene.say('view save "Others week" "stats 7d offer=others-offer"')
    rows = [("own2", 3), ("shared", 4 * OTHERS), ("others2", OTHERS)]
    await _synced(scene, ids["account"]["shared"], rows, at=NOON - timedelta(days=2))
    await _synced(scene, ids["account"]["shared"], [(tag, n // 2) for tag, n in rows], at=NOON - timedelta(hours=3))


async def _facts(tx: Any, team: int, campaign: int, place: dict[str, int], account: int, *, n: int) -> None:
    at = datetime.combine(DAY, NOON.timetz())
    hour = (DAY - EPOCH_DAY).days * 24 + 12
    where = {"campaign_id": campaign, **{f"{noun}_id": number for noun, number in place.items()}}
    word = f"others-{campaign}" if n == OTHERS else f"fine-{campaign}"
    click = first_id_at(at) + campaign
    await tx.execute(insert(t.clicks).values(
        id=click, team_id=team, hour=hour, unique_click=1, bot=0, reason=0, user_agent_id=0, country="DE",
        sub1=word, source_click_id=word, **where,
    ))  # fmt: skip
    await tx.execute(insert(t.click_rollup).values(
        team_id=team, hour=hour, country="DE", device="mobile", currency="EUR", clicks=n, unique_clicks=n,
        bot_clicks=0, site_visits=n, outgoing=n, cost=n * 1_000_000, **where,
    ))  # fmt: skip
    await tx.execute(insert(t.site_views).values(
        id=click, team_id=team, site_id=place["site"], day=(DAY - EPOCH_DAY).days, at=at, visitor=word, click_id=click,
        campaign_id=campaign, referrer=f"{word}.example", seen=[], clicked=[],
    ))  # fmt: skip
    state = {"status": "approved", "is_ftd": True, "amount": n * 1_000_000, "currency": "EUR", "occurred_at": at,
             "day": DAY}  # fmt: skip
    conversion = (await tx.execute(insert(t.conversions).values(
        team_id=team, account_id=account, event="first_deposit", received_at=at, marks=[], click_id=click,
        txn_id=f"{word}-txn", player_id=f"{word}-player", **state, **where,
    ).returning(t.conversions.c.id))).scalar_one()  # fmt: skip
    await tx.execute(insert(t.conversion_states).values(
        team_id=team, conversion_id=conversion, recorded_at=at, **state
    ))  # fmt: skip
    for outcome in ("accepted", "rejected"):
        await tx.execute(insert(t.postbacks).values(
            team_id=team, account_id=account, received_at=NOON - timedelta(minutes=5), method="GET",
            query=f"txn_id={word}".encode(), body=b"", digest=f"{word}{outcome}", outcome=outcome, click_id=click,
            event="first_deposit", txn_id=f"{word}-{outcome}",
        ))  # fmt: skip
    await tx.execute(insert(t.outbound).values(
        team_id=team, source_id=place["source"], conversion_id=conversion, event="first_deposit",
        idempotency_key=f"{word}-key", request={"url": f"https://{word}.example/"}, host=f"{word}.example",
        state="dead", attempts=1, created_at=NOON, next_at=NOON,
    ))  # fmt: skip
    await tx.execute(insert(t.spend).values(
        team_id=team, campaign_id=campaign, day=DAY, amount=n * 1_000_000, currency="EUR", recorded_at=NOON,
        origin="manual",
    ))  # fmt: skip


async def _synced(scene: World, account: int, rows: list[tuple[str, int]], *, at: datetime) -> None:
    """A report of an account that all share, on which every tag has an offer of its own."""
    report = Report(first=DAY, last=DAY, raw=b"x", rows=tuple(
        RevenueRow(day=DAY, tag=tag, currency="EUR", figures=Figures(**dict.fromkeys(MEASURES, n))) for tag, n in rows
    ))  # fmt: skip
    await revisions.record_in_slices(
        scene.say.database, team_id=scene.say.team_id, account_id=account, run_id=None, report=report, now=at,
        zone=ZoneInfo("UTC"),
    )  # fmt: skip
