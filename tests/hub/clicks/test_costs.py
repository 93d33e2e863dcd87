"""What clicks cost by each model, and budgets: under load no more is spent than there is."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

from storage.catalogue.campaigns import costs_on
from storage.clicks import budgets
from storage.clicks.rollup_check import check
from storage.ledger.cost_models import WHOLE_SHARE, share_of
from storage.ledger.errors import Refused
from storage.ledger.facts import Reason
from storage.reports.merged_report import ReportQuery, merged_report
from storage.tables import budget_counts, conversions
from tests.bot.commands.test_clicks import say, shown_message
from tests.hub.clicks.click_deployment import ClickDeployment, click_deployment


async def visit(d: ClickDeployment, n: int, path: str = "/c/one", **headers: str) -> Any:
    return await d.get(path, ip=headers.pop("ip", f"10.{n // 65536}.{n // 256 % 256}.{n % 256}"), **headers)


async def costs(d: ClickDeployment) -> list[tuple[int | None, str | None]]:
    return [(click.cost, click.currency) for click in await d.stored()]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("cost_model=cpc cost=0.05", [50_000, 50_000, 50_000]),
        ("cost_model=cpm cost=1.255", [1_255, 1_255, 1_255]),
        ("cost_model=unique cost=0.2", [200_000, 0, 200_000]),
        ("cost_model=cpc cost=0.05 country_costs=US:0.08,DE:0.06", [80_000, 80_000, 50_000]),
        ("cost_model=cpa cost=30", [None, None, None]),
        ("cost_model=per_day cost=30", [None, None, None]),
    ],
)
async def test_a_click_costs_what_the_model_says(upgraded_url: str, words: str, expected: list[int | None]) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await say(d, f"campaign create one offers=a {words}")
        await d.clicks.refresh()
        for ip in ("8.8.8.8", "8.8.8.8", "192.0.2.1"):
            await visit(d, 0, ip=ip)
        assert [cost for cost, _ in await costs(d)] == expected
        assert await check(d.database) == []


async def test_a_days_budget_stops_a_campaign_under_load_and_is_never_passed(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d, click_deployment(upgraded_url, create="") as other:
        await d.offer("a")
        await say(
            d,
            "campaign create one offers=a cost_model=cpc cost=0.05 budget_day=3.02 fallback_url=https://back.example.test/",
        )
        for process in (d, other):
            await process.clicks.refresh()
        processes = (d, other) if not d.database.sqlite else (d,)
        answers = await asyncio.gather(*(visit(processes[n % len(processes)], n) for n in range(150)))
        hosts = [answer.host for answer in answers]
        assert (hosts.count("a.example.test"), hosts.count("back.example.test")) == (60, 90)
        rows = await d.stored()
        assert sum(click.cost or 0 for click in rows) == 3_000_000
        assert {click.reason for click in rows if not click.offer_id} == {Reason.BUDGET}
        simulation = await say(d, "simulate click one")
        assert (simulation.reason, simulation.url) == ("budget", "https://back.example.test/")
        await say(d, "campaign edit one budget_day=4")
        await d.clicks.refresh()
        assert [(await visit(d, 1000 + n)).host for n in range(21)].count("a.example.test") == 20
        assert await check(d.database) == []


async def test_budgets_of_a_day_begin_again_and_the_whole_one_does_not(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await say(d, "campaign create one offers=a budget_day=0.10 budget_total=0.25")
        await d.clicks.refresh()
        now = datetime.now(UTC)
        sent = []
        for day in range(3):
            moment = (now + timedelta(days=day)).timestamp()
            d.clicks.state.seconds = lambda moment=moment: moment  # type: ignore[misc]
            answers = [await visit(d, 10 * day + n, "/c/one?cost=0.05") for n in range(4)]
            sent.append([answer.host for answer in answers].count("a.example.test"))
        assert sent == [2, 2, 1]
        turned = [click for click in await d.stored() if not click.offer_id]
        assert {(click.reason, click.cost) for click in turned} == {
            (Reason.BUDGET, 50_000)
        }  # the source has charged it
        # A new budget counts what was spent before it was set.
        await say(d, "campaign edit one budget_day=0 budget_total=0")
        await say(d, "campaign edit one budget_total=0.65")
        used = {row.period: row.n for row in await d.rows(budget_counts)}
        assert used[datetime(1970, 1, 1, tzinfo=UTC).date()] == 600_000


async def test_a_budget_spread_over_the_day_is_released_by_the_quarter_hour(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        words = "cost_model=cpc cost=0.05 budget_day=9.60 pacing=even fallback_url=https://back.example.test/"
        await say(d, f"campaign create one offers=a {words}")
        await d.clicks.refresh()
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        sent = []
        for hours, n in ((0.1, 5), (0.3, 5), (1.1, 20), (23.9, 250)):
            moment = midnight + timedelta(hours=hours)
            d.clicks.state.seconds = moment.timestamp
            hosts = [answer.host for answer in await asyncio.gather(*(visit(d, 1000 * n + k) for k in range(n)))]
            sent.append(hosts.count("a.example.test"))
        assert sent == [2, 2, 6, 182]  # 0.10 a quarter of an hour
        reasons = [click.reason for click in await d.stored() if not click.offer_id]
        assert (reasons.count(Reason.PACED), reasons.count(Reason.BUDGET)) == (20, 68)
        simulation = await say(d, f"simulate click one at={midnight:%Y-%m-%d}T03:00")
        assert simulation.reason == "budget"
        card = str(await shown_message(d, "campaign show one"))
        assert "spread evenly over the day" in card


async def test_a_budget_spread_by_usual_hours_follows_the_clicks_of_the_last_four_weeks(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1}, cost_model="fixed", cost=50_000)
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        for hours, n in ((-4, 30), (-5, 10), (1, 7)):  # yesterday at 20:00 and 19:00; today does not count
            moment = midnight + timedelta(hours=hours)
            d.clicks.state.seconds = moment.timestamp
            for k in range(n):
                await visit(d, k)
        await say(d, "campaign edit one budget_day=8 pacing=usual")
        await d.clicks.refresh()
        plan = d.clicks.state.plans.campaigns["one"]
        assert [plan.released[4 * hour - 1] for hour in (19, 20, 21, 24)] == [0, 2_000_000, 8_000_000, 8_000_000]
        assert (await say(d, "simulate click one at=2026-11-01T12:00")).reason == "paced"
        await budgets.learn_all_hours(d.database, ZoneInfo("UTC"), midnight + timedelta(days=1, hours=3))
        await d.clicks.refresh()
        assert d.clicks.state.plans.campaigns["one"].released[7] == 8_000_000 * 7 // 47


async def test_undo_sets_pacing_back_for_clicks_too(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await say(d, "campaign create one offers=a cost_model=cpc cost=0.05 budget_day=9.60 pacing=even")
        await d.clicks.refresh()
        evenly = d.clicks.state.plans.campaigns["one"].released
        assert evenly[0] == 100_000
        for words, whole in (("pacing=usual budget_day=4.80", [4_800_000]), ("pacing=none", []), ("budget_day=0", [])):
            await say(d, f"campaign edit one {words}")
            await d.clicks.refresh()
            assert list(d.clicks.state.plans.campaigns["one"].released[-1:]) == whole
            await say(d, "undo")
            await d.clicks.refresh()
            plan = d.clicks.state.plans.campaigns["one"]
            assert (plan.released, plan.budget_day) == (evenly, 9_600_000)
        assert "spread evenly over the day" in str(await shown_message(d, "campaign show one"))


@pytest.mark.parametrize(
    ("words", "field", "told"),
    [
        ("cost_model=cpm cost=0.0005", "cost", "three digits"), ("cost_model=cpa", "cost", "missing"),
        ("cost_model=revshare cost=120", "cost", "at most 100"), ("cost_model=cpx cost=1", "cost_model", "one of link"),
        ("cost_model=daily budget_day=10", "budget_day", "budgets are for"), ("cost=-1", "cost", "negative"),
        ("cost_model=cpa cost=1 cost_event=deposit", "cost_event", "one of registration"),
        ("cost=0.05 cost_event=registration", "cost_event", "only cost_model=cpa"),
        ("cost=0.05 country_costs=DEU:1", "country_costs", "a country and its price"),
        ("cost_model=per_day cost=5 country_costs=DE:1", "country_costs", "only with"),
    ],
)  # fmt: skip
async def test_costs_that_cannot_be_are_refused_at_their_field(
    sqlite_url: str, words: str, field: str, told: str
) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        with pytest.raises(Refused, match=told) as caught:
            await say(d, f"campaign create one offers=a {words}")
        assert caught.value.field == field


async def spend_of(d: ClickDeployment, day: Any) -> int | None:
    query = ReportQuery(team_id=d.runtime.team_id, first=day, last=day, by=("campaign",))
    async with d.database.read() as tx:
        report = await merged_report(tx, query)
    return report.totals.spend


async def convert(
    d: ClickDeployment, campaign: int, event: str, country: str, day: Any, status: str = "approved"
) -> None:
    now = datetime.now(UTC)
    async with d.database.begin() as tx:
        await tx.execute(insert(conversions).values(
            team_id=d.runtime.team_id, account_id=d.made["account"], campaign_id=campaign, site_id=0,
            offer_id=d.made["a"], source_id=0, event=event, status=status, is_ftd=event == "first_deposit",
            occurred_at=now, received_at=now, day=day, marks=[], country=country,
        ))  # fmt: skip


async def test_a_price_per_conversion_and_per_day_is_the_spend_of_the_day(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        made = await say(d, "campaign create one offers=a cost_model=cpa cost=37.75")
        today = datetime.now(UTC).date()
        for event, country, status in [
            ("first_deposit", "DE", "approved"), ("first_deposit", "AT", "pending"), ("registration", "DE", "approved"),
            ("first_deposit", "DE", "reversed"),
        ]:  # fmt: skip
            await convert(d, made.id, event, country, today, status)
        assert await spend_of(d, today) == 75_500_000
        await say(d, "campaign edit one cost_model=per_day cost=12")
        assert not await spend_of(d, today)
        await d.clicks.refresh()
        await visit(d, 1)
        assert await spend_of(d, today) == 12_000_000
        await say(d, f"spend add one {today} 99")
        assert await spend_of(d, today) == 99_000_000


async def test_days_before_a_change_keep_what_they_cost(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        made = await say(d, "campaign create one offers=a cost_model=cpa cost=30")
        today = datetime.now(UTC).date()
        async with d.database.read() as tx:
            assert (await costs_on(tx, d.runtime.team_id, [today]))[today][made.id].cost == 30_000_000
            before = today - timedelta(days=1)
            assert (await costs_on(tx, d.runtime.team_id, [today, before]))[before] == {}
        await say(d, "campaign edit one cost=40")
        async with d.database.read() as tx:
            assert (await costs_on(tx, d.runtime.team_id, [today]))[today][made.id].cost == 40_000_000
        await say(d, "undo")
        assert (await say(d, "campaign show one")).cost == 30_000_000


@given(st.lists(st.integers(-(10**12), 10**12), max_size=8), st.integers(1, WHOLE_SHARE))
def test_a_share_is_exact_over_parts_and_rounds_half_to_even(parts: list[int], share: int) -> None:
    total, paid = 0, 0
    for part in parts:
        total += part
        paid += share_of(total, share) - paid
    assert paid == share_of(sum(parts), share)
    exact = abs(2 * (share_of(total, share) * WHOLE_SHARE - total * share))
    assert exact < WHOLE_SHARE or (exact == WHOLE_SHARE and share_of(total, share) % 2 == 0)
    assert share_of(total, WHOLE_SHARE) == total


async def test_budgets_are_listed_ahead_or_behind_with_the_time_they_will_be_used_up(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        noon = datetime(2026, 10, 5, 12, tzinfo=UTC)
        d.runtime.clock = lambda: noon
        d.clicks.state.seconds = noon.timestamp
        assert "No campaign has a budget" in (await shown_message(d, "budget")).title
        for code, clicks in (("fast", 75), ("slow", 10), ("even", 50), ("done", 101)):
            await say(d, f"campaign create {code} offers=a cost_model=cpc cost=0.10 budget_day=10 budget_total=500")
            await d.clicks.refresh()
            await asyncio.gather(*(visit(d, n, f"/c/{code}") for n in range(clicks)))
        await say(d, "campaign create none offers=a cost_model=cpc cost=0.10")
        shown = {item.campaign: item for item in (await say(d, "campaign budget")).items}
        assert {code: (of.used_day, of.expected, of.pace, of.used_up_at) for code, of in shown.items()} == {
            "fast": (7_500_000, 5_000_000, "ahead", "16:00"), "slow": (1_000_000, 5_000_000, "behind", None),
            "even": (5_000_000, 5_000_000, "on pace", None), "done": (10_000_000, 5_000_000, "used up", None),
        }  # fmt: skip
        [only] = (await say(d, "budget slow")).items
        assert (only.campaign, only.used_total, only.budget_total) == ("slow", 1_000_000, 500_000_000)
        text = str(await shown_message(d, "campaign budget fast"))
        assert "€7.50 of €10.00 (75%)" in text
        assert "€2.50 ahead, used up about 16:00" in text
