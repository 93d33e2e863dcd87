"""Cohorts from uploaded players: figures by age, restated files, forgotten players, maturity, forecasts, CSV."""

import random
from base64 import b64encode
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from storage.ledger.dates import monday_of
from storage.ledger.errors import Refused
from storage.ledger.reports.cohorts import HORIZONS
from storage.revenue import players
from storage.tables import players as player_table
from tests.bot.asking import NOON, asking

Opened = Callable[[], Any]
TODAY = NOON.date()  # a Sunday


def written(rows: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return "\n".join([",".join(names), *(",".join(str(row.get(name, "")) for name in names) for row in rows)])


def invented(seed: int, *, accounts: int = 60) -> list[dict[str, Any]]:
    """Days of players of half a year, some with deposits and losses."""
    dice = random.Random(seed)
    rows = []
    for number in range(accounts):
        registered = TODAY - timedelta(days=dice.randrange(0, 210))
        base = {"player": f"p{number}", "registered": registered, "click id": f"push{number % 2}",
                "country": dice.choice(["DE", "AT", ""])}  # fmt: skip
        rows.append({**base, "day": registered, "deposits": 0})
        for _ in range(dice.choice([0, 0, 1, 2, 5])):
            day = registered + timedelta(days=min(dice.randrange(0, 200), (TODAY - registered).days))
            rows.append({**base, "day": day, "deposits": 1, "deposit amount": dice.randrange(10, 90),
                         "ngr": dice.randrange(-50, 90), "commission": f"{dice.randrange(-20, 40)}.5"})  # fmt: skip
    return rows


def naive(rows: list[dict[str, Any]], group: Callable[[dict[str, Any]], Any]) -> dict[Any, dict[str, Any]]:
    """The same report, player by player and without any band or sum that is kept."""
    made: dict[Any, dict[str, Any]] = {}
    by_player = defaultdict(list)
    for row in rows:
        by_player[row["player"]].append(row)
    for told in by_player.values():
        registered = told[0]["registered"]
        paid = [row["day"] for row in told if row.get("deposits")]
        cell = made.setdefault(group(told[0]), defaultdict(int))
        cell["registrations"] += 1
        cell["first_deposits"] += bool(paid)
        cell["commission"] += sum(round(float(row.get("commission") or 0) * 1e6) for row in told)
        for number in range(26):
            if monday_of(registered) + timedelta(days=6 + 7 * (number + 1) - 1) <= TODAY:
                ages = {(day - registered).days // 7 for day in paid}
                cell[f"depositors {number}"] += any(age <= number for age in ages)
                cell[f"active {number}"] += number in ages
        for horizon in HORIZONS:
            if monday_of(registered) + timedelta(days=6 + horizon - 1) > TODAY:
                continue
            cell[f"players {horizon}"] += 1
            cell[f"worth {horizon}"] += sum(
                round(float(row.get("commission") or 0) * 1e6)
                for row in told
                if (row["day"] - registered).days < horizon
            )
    return made


@pytest.mark.parametrize("seed", range(2))
async def test_cohorts_agree_with_a_sum_over_every_player(opened: Opened, seed: int) -> None:
    rows = [*invented(seed), {"player": "last", "registered": TODAY, "day": TODAY, "deposits": 0, "country": "DE"}]
    async with asking(opened) as say:
        await say.account()
        await say("campaign create Push0 fallback_url=https://a.example.test")
        await say.tell("player upload", account="main", file=b64encode(written(rows).encode()).decode())
        again = await say.tell("player upload", account="main", file=b64encode(written(rows).encode()).decode())
        assert (again.new, again.changed) == (0, 0)
        for by, group in (
            ("week", lambda row: f"{row['registered'].isocalendar()[0]}-W{row['registered'].isocalendar()[1]:02}"),
            ("country", lambda row: row["country"]),
            ("campaign", lambda row: "push0" if row.get("click id") == "push0" else ""),
        ):
            report = await say(f"cohorts {by} from=2026-01-05")
            agree(report, naive(rows, group))
            of_push = [row for row in rows if row.get("click id") == "push0"]
            agree(await say(f"cohorts {by} from=2026-01-05 campaign=push0"), naive(of_push, group))
            german = [row for row in of_push if row["country"] in {"DE", "AT"}]
            agree(await say(f"cohorts {by} from=2026-01-05 campaign=push0 country=DE,AT"), naive(german, group))


def agree(report: dict[str, Any], expected: dict[Any, dict[str, Any]]) -> None:
    """Every figure of the report is that of the naive computation, and there is no group more or less."""
    assert {row["group"] for row in report["items"]} == set(expected)
    for row in report["items"]:
        right = expected[row["group"]]
        assert (row["registrations"], row["first_deposits"]) == (right["registrations"], right["first_deposits"])
        assert (row["commission"] or 0) == right["commission"]
        for horizon in HORIZONS:
            players_ = right[f"players {horizon}"]
            worth = round(right[f"worth {horizon}"] / players_) if players_ else None
            assert row["ltv"][str(horizon)] == worth or row["commission"] is None
            assert row["ltv_players"][str(horizon)] == players_
        for number in range(26):
            depositors, active = right[f"depositors {number}"], right[f"active {number}"]
            assert row["retention"][number] == (active / depositors if depositors else None)


async def test_amounts_are_converted_at_the_rate_of_each_week_and_left_out_without_one(opened: Opened) -> None:
    rows = [
        {"player": f"p{number}", "registered": day, "day": day, "deposits": 1, "commission": 10, "currency": currency}
        for number, (day, currency) in enumerate(
            (TODAY - timedelta(days=days), currency) for days in (60, 50) for currency in ("EUR", "USD", "XAF")
        )
    ]
    rows.append(rows[0] | {"player": "last", "registered": TODAY, "day": TODAY, "commission": 0})
    async with asking(opened) as say:
        await say.account()
        for days, rate in ((60, "0.5"), (50, "0.25")):
            await say(f"rate set USD {rate} from={monday_of(TODAY - timedelta(days=days))}")
        await say.tell("player upload", account="main", csv=written(rows))
        report = await say("cohorts week from=2026-09-01")
        assert [row["commission"] for row in report["items"][:2]] == [15_000_000, 12_500_000]
        assert report["total"]["ltv"]["30"] == round(27_500_000 / 6)
        assert report["unconverted"] == {"XAF": 20_000_000}


async def test_totals_are_placed_by_what_they_rose_and_restated(opened: Opened) -> None:
    async with asking(opened) as say:
        await say.account()
        say.now = NOON - timedelta(days=10)
        first = TODAY - timedelta(days=10)

        async def told(commission: int) -> Any:
            row = {"User_ID": "A-1", "registered": first, "total deposits": 20, "commission": commission}
            return await say.tell("player upload", account="main", csv=written([row, row | {"User_ID": "B-1"}]))

        assert (await told(5)).totals
        say.later(days=9)
        await told(12)
        say.later(days=1)
        assert (await told(12)).changed == 0
        await told(11)  # restated
        row = (await say("cohorts from=2026-11-01"))["total"]
        assert (row["registrations"], row["first_deposits"], row["days_to_ftd"]) == (2, 2, 0)
        assert (row["commission"], row["deposit_amount"]) == (22_000_000, 40_000_000)
        say.later(days=-5)
        assert (await told(8)).outdated == 2


async def test_ids_are_hashes_unless_the_account_keeps_them_and_a_forgotten_player_stays_away(opened: Opened) -> None:
    line = "player,registered,commission\nA-1,2026-11-02,5\nB-1,2026-11-02,6"
    async with asking(opened) as say:
        await say.account()
        await say.tell("player upload", account="main", csv=line)
        async with say.database.read() as tx:
            rows = list(await tx.execute(select(player_table)))
        assert all(row.player_id is None and row.key[-1:] + "-" != "1" for row in rows)
        assert not any("A-1" in str(value) for row in rows for value in row)
        assert (await say.sure("player forget main A-1"))["forgotten"]
        assert not (await say.sure("player forget main A-1"))["forgotten"]
        await say.tell("player upload", account="main", csv=line)
        assert (await say("cohorts from=2026-11-01"))["total"]["registrations"] == 1
        say.now += timedelta(days=60)
        assert await players.drop_ids(say.database, say.now, days=30) == 0


@pytest.mark.parametrize(("text", "fault"), [
    ("player,registered,commission\nA,2026-11-02,five", "line 2: column 'commission'"),
    ("player,registered,commission\nA,2026-12-02,5", "after today"),
    ("player,day,commission\nA,2026-12-02,5", "after today"),
    ("name,commission\nA,5", "no header line"),
    ("player,registered\n", "no line of players"),
    ("player,registered,commission,currency\nA,2026-11-02,5,XYZ1", "XYZ1"),
])  # fmt: skip
async def test_a_damaged_file_of_players_is_refused_whole(opened: Opened, text: str, fault: str) -> None:
    async with asking(opened) as say:
        await say.account()
        with pytest.raises(Refused, match=fault) as refusal:
            await say.tell("player upload", account="main", csv=text)
        assert refusal.value.field == "csv"
        assert (await say("cohorts"))["until"] is None


async def test_a_campaign_breaks_even_once_commission_has_caught_up(opened: Opened) -> None:
    async with asking(opened) as say:
        await say("campaign create Push fallback_url=https://a.example.test")
        await say("spend add push 2026-11-22 10")
        shown = await say("campaign breakeven push")
        assert (shown["day"], shown["spend"], shown["commission"]) == (None, 10_000_000, 0)
        assert "not broken even: €10.00 to go" in say.shown
