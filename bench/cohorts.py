"""Cohorts of a million players of two years, in 50 campaigns and 8 countries, a third of them with deposits; in SQLite.

`python -m bench cohorts` measures the reports of kept sums, each against one pass of SQL over the players themselves.
"""

import asyncio
import statistics
import time
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, insert, select, text

from bench.stage import Line, folder, set_up
from storage.db.engine import Database
from storage.reports.cohort_sums import Dimension, rebuild
from storage.reports.cohorts import CohortQuery, cohorts
from storage.revenue.players import touch
from storage.tables import accounts, player_days, player_feeds, players

PLAYERS, DAYS, ROUNDS = 1_000_000, 728, 5
#: What a row is, and what players are filtered by.
WAYS: dict[str, tuple[Dimension, dict[Dimension, tuple[str, ...]]]] = {
    "week": ("week", {}),
    "campaign": ("campaign", {}),
    "source": ("source", {}),
    "country": ("country", {}),
    "campaign in one country": ("campaign", {"country": ("DE",)}),
    "country of half the campaigns": ("country", {"campaign": tuple(map(str, range(1, 26)))}),
    "week of one campaign in two countries": ("week", {"campaign": ("1",), "country": ("DE", "CH")}),
}


async def measured(url: str, *, number: int, rounds: int) -> tuple[dict[str, float], float, float]:
    """Median seconds of each report, of a pass over all players, and what summing up every week took."""
    team_id = await set_up(url)
    database, today = Database(url), datetime.now(UTC).date()
    first = today - timedelta(days=DAYS)
    async with database.begin() as tx:
        account_id = (await tx.execute(select(accounts.c.id))).scalar_one()
        day = (first - datetime(1970, 1, 1, tzinfo=UTC).date()).days
        values = {"n": number, "team": team_id, "account": account_id, "first": day, "days": DAYS}
        await tx.execute(text(_PLAYERS), values)
        await tx.execute(text(_DAYS), values)
        await tx.execute(insert(player_feeds).values(
            account_id=account_id, team_id=team_id, since=first, until=today, recorded_at=datetime.now(UTC)
        ))  # fmt: skip
        await touch(tx, team_id, [first + timedelta(days=n) for n in range(DAYS)])
    began = time.perf_counter()
    await rebuild(database)
    summed = time.perf_counter() - began
    took: dict[str, list[float]] = {way: [] for way in (*WAYS, "pass")}
    for _ in range(rounds):
        for way, (by, keep) in WAYS.items():
            query = CohortQuery(team_id=team_id, first=first, last=today, by=by, keep=keep)
            began = time.perf_counter()
            async with database.read() as tx:
                made = await cohorts(tx, query)
            took[way].append(time.perf_counter() - began)
            if made.total is None or not (keep or number * 0.98 <= made.total.registrations <= number):
                raise RuntimeError(f"{made.total and made.total.registrations} of {number} players")
        began = time.perf_counter()
        async with database.read() as tx:
            joined = players.join(player_days, player_days.c.player_id == players.c.id, isouter=True)
            total = select(players.c.registered, func.count(), func.sum(player_days.c.commission)).select_from(joined)
            (await tx.execute(total.group_by(players.c.registered))).all()
        took["pass"].append(time.perf_counter() - began)
    await database.close()
    medians = {way: statistics.median(seconds) for way, seconds in took.items()}
    return {way: medians[way] for way in WAYS}, medians["pass"], summed


_PLAYERS = """
WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < :n)
INSERT INTO players (team_id, account_id, key, offer_id, campaign_id, source_id, country, currency, registered,
    registration_stated, ftd_day, recorded_at)
SELECT :team, :account, 'k' || n, 1, n % 50 + 1, n % 8 + 1, substr('DEATCHGBFIPLESIT', n * 7 % 8 * 2 + 1, 2), 'EUR',
    :first + n % :days, 1, CASE WHEN n % 3 = 0 THEN :first + n % :days + n % 9 END, 0 FROM c
"""
_DAYS = """
WITH RECURSIVE k(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM k WHERE n < 3)
INSERT INTO player_days (player_id, day, account_id, deposits, deposit_amount, ngr, commission, recorded_at)
SELECT p.id, p.registered + k.n * (3 + p.id % 29), :account, 1, 25000000, 9000000 - p.id % 17 * 1000000, 2500000, 0
FROM players p, k WHERE p.ftd_day IS NOT NULL AND p.registered + k.n * (3 + p.id % 29) < :first + :days
"""


def lines(n: int = ROUNDS, number: int = PLAYERS) -> list[Line]:
    with folder() as place:
        took, whole, summed = asyncio.run(
            measured(f"sqlite+aiosqlite:///{place / 'cohorts.db'}", number=number, rounds=n)
        )
    detail = f"a pass over the players takes {whole:.2f} s, summing up all weeks {summed:.0f} s"
    made = [
        Line(f"cohorts by {way} over {number:,} players, seconds", seconds, 1, at_most=True, detail=detail)
        for way, seconds in took.items()
    ]
    made.append(
        Line("the slowest of them ÷ one SQL pass over the players", max(took.values()) / whole, 1, at_most=True)
    )
    return made
