"""Four platforms, four time zones, three currencies, thirty days: what each morning's digest says, and that it adds up.

The digests are compared with thirty_days.txt beside this file; CASINOFLUX_RECORD=1 writes it: read before keeping it.
"""

import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from bot.core.message import Message
from bot.render import terminal
from hub.jobs import digests
from storage.reports import settle
from storage.tables import messages
from tests.hub.syncing import Hub, hub
from tests.standins.market import Figures, Market, served_market

FIRST = date(2026, 9, 1)
DAYS = 30
RATES = {"EUR": Decimal(1), "USD": Decimal("0.9"), "GBP": Decimal("1.15")}
#: platform: zone, currency, segments, credentials
ACCOUNTS = {
    "affilka": ("Europe/Malta", "EUR", ("19941", "20417"), "token=t"),
    "smartico": ("America/New_York", "USD", ("501",), "api_key=k"),
    "cellxpert": ("Asia/Tokyo", "GBP", ("spring",), "affiliate_id=1 api_key=k"),
    "myaffiliates": ("America/Sao_Paulo", "EUR", ("camp12",), "client_id=c client_secret=s"),
}


def earned(day: date, tag: str) -> Figures:
    """What a segment earned on a day: plain to recompute, uneven, now and then negative."""
    n, k = (day - FIRST).days, sum(map(ord, tag))
    ftds = (n * 3 + k) % 5
    return Figures(
        visits=30 + (n * 7 + k) % 25, registrations=4 + ftds + (n + k) % 4, ftds=ftds,
        deposits=ftds * 5_000 + (n * 137 + k) % 4_000, ngr=(n * 977 + k * 31) % 20_000 - 4_000, cpa=ftds * 4_000,
        revshare=((n * 977 + k * 31) % 20_000 - 4_000) // 4,
    )  # fmt: skip


async def set_up(team: Hub, url: str) -> None:
    for currency in ("USD", "GBP"):
        await team.say(f"rate set {currency} {RATES[currency]} from=2026-08-01 to=2026-12-31")
    for platform, (zone, currency, tags, login) in ACCOUNTS.items():
        await team.say(
            f"account add {platform} name={platform} base_url={url}/{platform} {login} timezone={zone} "
            f"currency={currency} test=false",
            options={"requests_per_second": 1000},
        )
        for tag in tags:
            await team.say(
                f'offer add casino="{platform} {tag}" account={platform} tag={tag} name="{platform} {tag}" '
                f'url="https://{platform}.example.test/?c={{click_id}}"'
            )
    offers = [o["code"] for o in (await team.say("offer list"))["items"]]
    await team.say(f'campaign create name="Push" offers={",".join(offers[:3])}')
    await team.say(f'campaign create name="Search" offers={",".join(offers[2:])}')
    await team.say("digest subscribe at=13:30 channel=terminal")


def happens(here: Market, day: date) -> None:
    """What the platforms do by noon of a day: yesterday's figures, restatements, outages."""
    n = (day - FIRST).days
    for platform, (_, _, tags, _) in ACCOUNTS.items():
        for tag in tags:
            here.facts[platform, day - timedelta(days=1), tag] = earned(day - timedelta(days=1), tag)
    if n % 5 == 4:  # Affilka takes two thirds of a day's net revenue back, four days later
        key = ("affilka", day - timedelta(days=4), "19941")
        here.facts[key] = here.facts[key]._replace(ngr=here.facts[key].ngr // 3, revshare=here.facts[key].revshare // 3)
    here.trouble = {}
    if 9 <= n <= 11:
        here.trouble["smartico"] = "down"
    if 14 <= n <= 15:
        here.trouble["cellxpert"] = "key"
    if n == 19:
        here.trouble["smartico"] = "doubled"
    if n == 22:  # a first deposit vanishes
        key = ("myaffiliates", day - timedelta(days=2), "camp12")
        before = here.facts[key]
        here.facts[key] = before._replace(ftds=before.ftds - 1, cpa=before.cpa - 4_000)


async def one_day(team: Hub, here: Market, day: date) -> str:
    """Sync at noon, digest in the afternoon; what the digest says."""
    happens(here, day)
    team.clock.now = datetime(day.year, day.month, day.day, 13, tzinfo=UTC)
    if (day - FIRST).days == 16:
        await team.say("account resume cellxpert")
    await team.sync()
    await settle.settle_all(team.runtime.database, team.runtime.deployment.zone)
    team.clock.later(minutes=30)
    await digests.tick(team.runtime)
    async with team.runtime.database.read() as tx:
        query = select(messages.c.message).order_by(messages.c.id.desc()).limit(1)
        answer = (await tx.execute(query)).scalar_one()
    return f"##### {day}\n{terminal.render(msgspec.convert(answer, Message))}\n"


@pytest.mark.slow
async def test_thirty_days_of_four_platforms_add_up_and_read_well(opened: Callable[[], Any]) -> None:
    with served_market() as (here, url):
        async with hub(opened) as team:
            team.clock.now = datetime(2026, 8, 31, 13, tzinfo=UTC)
            await set_up(team, url)
            messages = [await one_day(team, here, FIRST + timedelta(days=n)) for n in range(DAYS)]
            report = await team.say("report merged 2026-08-31 2026-09-29 by campaign,account")
    assert report["totals"]["commission"] == sum(micro(*key) for key in commissions(here))
    assert report["totals"]["first_deposits"]["platform"] == sum(f.ftds for f in here.facts.values())
    assert report["unassigned"] == []
    path = Path(__file__).with_name("thirty_days.txt")
    if os.environ.get("CASINOFLUX_RECORD") == "1":
        path.write_text("\n".join(messages))
    assert "\n".join(messages) == path.read_text()


def commissions(here: Market) -> list[tuple[str, int]]:
    """Every figure a platform stated, by currency: CPA and rev share where it tells them apart."""
    results: list[tuple[str, int]] = []
    for (platform, _, _), f in here.facts.items():
        parts = (f.cpa + f.revshare,) if platform == "cellxpert" else (f.cpa, f.revshare)
        results += [(ACCOUNTS[platform][1], part) for part in parts]
    return results


def micro(currency: str, cents: int) -> int:
    """A figure in micro-units of the report currency."""
    return int((Decimal(cents) * 10_000 * RATES[currency]).to_integral_value())
