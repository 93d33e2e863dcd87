"""Statistics by command, on both databases."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from bot.core.command import parse, run
from bot.core.context import Actor
from bot.telegram.html import render as telegram_html
from storage.ledger.errors import Forbidden, Missing, Refused
from storage.ledger.facts import Role
from tests.bot.asking import Asker, asking
from tests.bot.seeding import clicked, converted, days_ago, reported, tracked

Opened = Callable[[], Any]


async def yesterday_tracked(say: Asker) -> dict[str, int]:
    ids = await tracked(say)
    yesterday, at = days_ago(say, 1), say.now - timedelta(days=1)
    await clicked(say, ids, yesterday, 1200, cost=300_000_000)
    await converted(say, ids, at, 60, event="registration")
    await converted(say, ids, at, 20, event="first_deposit", amount=50_000_000, currency="EUR")
    return ids


async def test_provisional_revenue_is_pending_and_never_nought(opened: Opened) -> None:
    async with asking(opened) as say:
        await yesterday_tracked(say)
        report = await say("stats yesterday")
        assert report["totals"]["commission"] is None
        assert report["rows"][0]["group"] == {"campaign": "spring"}
        assert "20 FTDs, commission pending" in say.shown
        assert "€300.00" in say.shown
        assert "€0" not in say.shown


async def test_settled_figures_stand_with_the_postbacks_beside_them(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await yesterday_tracked(say)
        await reported(
            say, ids, days_ago(say, 1), at=say.now, registrations=61, first_deposits=19, commission_cpa=760_000_000
        )
        report = await say("stats 7d by day,campaign")
        assert report["totals"]["commission"] == 760_000_000
        assert (report["from"], report["to"]) == ("2026-11-16", "2026-11-22")
        for shown in ("19 (20)", "€760.00", "€460.00", "153%", "5.1%", "31.1%", "€0.63", "✓"):
            assert shown in say.shown


async def test_a_range_filter_or_dimension_at_fault_is_named(opened: Opened) -> None:
    async with asking(opened) as say:
        await tracked(say)
        for words, field, error in (
            ("stats someday", "range", Refused), ("stats 7d by moon", "by", Refused),
            ("stats 7d campaign=nope", "campaign", Missing), ("stats clock=sun", "clock", Refused),
            ("stats as_of=later", "as_of", Refused), ("stats 2026-11-09..2026-11-01", "range", Refused),
            ('stats own="M = profit, m = spend"', "own", Refused), ('stats own="M = 1e400"', "own", Refused),
        ):  # fmt: skip
            with pytest.raises(error) as caught:
                await say(words)
            assert caught.value.field == field


async def test_a_buyer_sees_own_campaigns_only(opened: Opened) -> None:
    async with asking(opened) as say:
        await yesterday_tracked(say)
        other = await tracked(say, campaign="autumn", tag="autumn")
        await clicked(say, other, days_ago(say, 1), 77)
        mine = await say("stats yesterday", role=Role.BUYER, campaigns=("autumn",))
        assert [row["group"]["campaign"] for row in mine["rows"]] == ["autumn"]
        assert mine["totals"]["clicks"] == 77
        with pytest.raises(Forbidden, match="not one of yours"):
            await say("stats yesterday campaign=spring", role=Role.BUYER, campaigns=("autumn",))


async def test_an_empty_range_says_so(opened: Opened) -> None:
    async with asking(opened) as say:
        await tracked(say)
        assert (await say("stats today"))["rows"] == []
        assert say.shown.startswith("22 Nov 2026: nothing happened")


async def test_a_report_comes_as_a_file_for_a_spreadsheet(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await yesterday_tracked(say)
        await reported(say, ids, days_ago(say, 1), at=say.now, tag="=cmd", first_deposits=3, commission_cpa=1_500_000)
        await say("stats yesterday by day,campaign csv=true")
        lines = say.shown[say.shown.index("day,campaign") :].split("\n\n")[0].splitlines()
        first, second = (dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:])
        assert (first["campaign"], first["clicks"], first["registrations_postback"]) == ("spring", "1200", "60")
        assert (first["spend"], first["commission"], first["deposit_amount_postback"]) == (
            "300.000000",
            "",
            "1000.000000",
        )
        assert (second["account"], second["tag"], second["commission"]) == ("main", "'=cmd", "1.500000")


async def test_a_report_has_columns_by_formula_and_is_sorted_by_one(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await yesterday_tracked(say)
        await reported(say, ids, days_ago(say, 1), at=say.now, first_deposits=19, commission_cpa=760_000_000)
        await clicked(say, await tracked(say, campaign="autumn", tag="autumn"), days_ago(say, 1), 77)
        line = 'stats yesterday own="Margin = profit / commission * 100, Per FTD=commission/first_deposits"'
        report = await say(f"{line} sort=Margin")
        assert [row["group"]["campaign"] for row in report["rows"]] == ["spring", "autumn"]
        assert report["rows"][0]["own"] == {"Margin": pytest.approx(4600 / 76), "Per FTD": 40.0}
        assert report["rows"][1]["own"] == {"Margin": None, "Per FTD": None}
        assert report["totals"]["own"]["Per FTD"] == 40.0
        for shown in ("Margin", "Per FTD", "60.53", "40.00", "lowest margin first"):
            assert shown in say.shown
        await say(f"{line} by campaign csv=true")
        lines = say.shown[say.shown.index("campaign,clicks") :].splitlines()
        header = lines[0].split(",")
        margins = {line.split(",")[0]: line.split(",")[header.index("Margin")] for line in lines[1:3]}
        assert margins == {"spring": "60.526316", "autumn": ""}
        saved = await say(f"view save name=Margins query='{line}'")
        assert "own=Margin%3Dprofit" in saved["query"]
        for wrong in ("Margin=comission", "profit / commission", "A=1,B=1,C=1,D=1,E=1,F=1"):
            with pytest.raises(Refused) as refused:
                await say(f'stats own="{wrong}"')
            assert refused.value.field == "own"


async def test_a_long_report_says_what_it_left_out(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        for n in range(110):
            await clicked(say, ids, days_ago(say, n), 5)
        assert len((await say("stats 110d by day"))["rows"]) == 110
        assert "and 10 more rows" in say.shown


async def test_rows_are_sorted_cut_and_paged_while_totals_stay_whole(opened: Opened) -> None:
    async with asking(opened) as say:
        for name, clicks in (("one", 10), ("two", 30), ("three", 20)):
            await clicked(say, await tracked(say, campaign=name, tag=name), days_ago(say, 1), clicks)

        async def order(words: str) -> list[str]:
            report = await say(f"stats yesterday by campaign {words}")
            assert report["totals"]["clicks"] == 60
            return [row["group"]["campaign"] for row in report["rows"]]

        assert await order("sort=clicks") == ["one", "three", "two"]
        assert await order("sort=-clicks top 2") == ["two", "three"]
        assert await order("sort=epc") == ["one", "three", "two"], "what is not known keeps its order, last"
        first = await say("stats yesterday by campaign sort=-clicks limit=2")
        assert (len(first["rows"]), first["next"]) == (2, "2")
        rest = await say(f"stats yesterday by campaign sort=-clicks limit=2 after={first['next']}")
        assert ([row["group"]["campaign"] for row in rest["rows"]], rest["next"]) == (["one"], None)
        for words, field in (("sort=moon", "sort"), ("after=x", "after"), ("top=0", "top"), ("format=xml", "format"),
                             ("week=40", "week"), ("day=monday", "day"), ("month=2026-W40", "month"),
                             ("week=2026-W54", "week"), ("day=2026-02-30", "day"),
                             ("month=2026-13", "month")):  # fmt: skip
            with pytest.raises(Refused) as caught:
                await say(f"stats yesterday {words}")
            assert caught.value.field == field


async def test_every_dimension_is_a_filter_and_codes_have_names_beside(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await yesterday_tracked(say)
        await clicked(say, ids, days_ago(say, 2), 7)
        await say("campaign edit spring name='Spring 2026'")
        report = await say("stats 7d by day,campaign")
        assert report["names"] == {"campaign": {"spring": "Spring 2026"}}
        assert (await say("stats 7d by day day=2026-11-20"))["totals"]["clicks"] == 7
        assert (await say("stats 7d by month week=2026-W47,2026-W46"))["totals"]["clicks"] == 1207
        assert (await say("stats 7d month=2026-10"))["rows"] == []
        for name, value in (("country", "de"), ("device", "mobile"), ("sub1", "banner")):
            by_value = await say(f"stats 7d by {name}")
            filtered = await say(f"stats 7d by campaign {name}={value}")
            of_value = [row for row in by_value["rows"] if (row["group"][name] or "").lower() == value]
            expected = sum(row["clicks"] for row in of_value) or None
            assert filtered["totals"]["clicks"] == expected, name
            assert (await say(f"stats 7d by {name} {name}=nothing"))["rows"] == []
        for name in ("casino", "account", "offer"):
            group = (await say(f"stats 7d by {name}"))["rows"][0]["group"][name]
            assert (await say(f"stats 7d {name}={group}"))["totals"]["clicks"] == 1207


async def test_a_filter_by_a_sub_id_keeps_its_clicks_and_conversions(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await yesterday_tracked(say)
        at = say.now - timedelta(days=1)
        await converted(say, ids, at, 3, event="registration", sub2="left", country="AT")
        report = await say("stats 7d by sub2,country sub2=Left,right country=AT")
        (row,) = report["rows"]
        assert row["group"] == {"sub2": "left", "country": "AT"}
        assert row["registrations"]["postback"] == 3


async def test_registration_gaps_stand_like_ftd_gaps_and_spend_without_a_rate_is_said(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await yesterday_tracked(say)
        await reported(say, ids, days_ago(say, 1), at=say.now, registrations=61, first_deposits=20)
        await say(f"spend add spring {days_ago(say, 1)} 80 currency=SEK")
        await say("stats 7d")
        assert "61 (60)" in say.shown
        lacking = "no exchange rate for spend SEK80.00"
        assert lacking in say.shown.replace("\N{NO-BREAK SPACE}", "")
        await say("digest preview")
        assert "61 (60)" in say.shown
        assert lacking in say.shown.replace("\N{NO-BREAK SPACE}", "")


async def test_a_question_is_asked_as_it_is_said(opened: Opened) -> None:
    async with asking(opened) as say:
        await yesterday_tracked(say)
        poor = await tracked(say, campaign='"Казино Вулкан"', tag="poor")
        await clicked(say, poor, days_ago(say, 1), 10, cost=900_000_000)
        worst = await say("worst campaign this week by spend")
        assert [row["group"]["campaign"] for row in worst["rows"]] == ["spring"]
        best = await say("best 2 campaigns last 7 days by spend")
        assert [row["spend"] for row in best["rows"]] == [900_000_000, 300_000_000]
        assert "Казино Вулкан" in say.shown


async def test_a_range_is_compared_with_another(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await yesterday_tracked(say)
        await clicked(say, ids, days_ago(say, 8), 1000)
        report = await say("stats yesterday vs last saturday by campaign")
        assert (report["versus"]["from"], report["versus"]["to"]) == ("2026-11-21", "2026-11-21")
        report = await say("stats last 7 days vs previous by campaign")
        assert (report["versus"]["from"], report["versus"]["to"]) == ("2026-11-09", "2026-11-15")
        assert report["versus"]["totals"]["clicks"] == 1000
        assert "Against 09 Nov 2026 to 15 Nov 2026" in say.shown or "Against 09 Nov to 15 Nov 2026" in say.shown
        assert "+20%" in say.shown


async def test_a_change_beyond_reading_is_said_so(opened: Opened) -> None:
    """From a profit of 10 to a loss of 5,924; the numbers for machines stay what they are."""
    async with asking(opened) as say:
        ids = await tracked(say)
        for back, clicks, cost, paid in ((8, 10, 0, 10_000_000), (1, 6_000, 5_944_000_000, 20_000_000)):
            day = days_ago(say, back)
            await clicked(say, ids, day, clicks, cost=cost)
            await reported(say, ids, day, at=say.now, first_deposits=1, commission_cpa=paid)
        report = await say("stats last 7 days vs previous by campaign")
        assert report["totals"]["profit"] == -5_924_000_000
        assert report["versus"]["totals"]["profit"] == 10_000_000
        line = next(line for line in say.shown.splitlines() if line.startswith("Total") and "below" in line)
        assert line.split() == ["Total", "×600", "–", "0%", "+100%", "below", "-999%"]


@pytest.mark.parametrize(
    ("line", "column"),
    [
        ("stats 7d by offer sort=-roi", "ROI"), ("worst offers 7d by epc", "EPC"), ("top 3 by cr", "CR"),
        ("best campaign 7d by cpa", "CPA"), ("stats 7d sort=unique_clicks", "Unique clicks"),
        ("stats 7d by campaign,offer sort=-profit", "Profit"), ("stats 7d sort=-revenue", "Commission"),
    ],
)  # fmt: skip
async def test_what_a_report_is_sorted_by_is_shown_on_a_phone(opened: Opened, line: str, column: str) -> None:
    async with asking(opened) as say:
        await yesterday_tracked(say)
        actor = Actor(team_id=say.team_id, name="o", role=Role.OWNER)
        answer = await say.ask(line, actor)
        shown = telegram_html(answer.message)[0].html
        assert column in next(row for row in shown.split("\n") if row.startswith("<pre>"))
        assert "first" in shown


async def test_a_ranking_puts_what_is_pending_last_and_knows_that_less_cpa_is_better(opened: Opened) -> None:
    async with asking(opened) as say:
        await yesterday_tracked(say)
        for name, commission, cost in (("rich", 900_000_000, 100_000_000), ("poor", 1_000_000, 200_000_000)):
            ids = {"account_id": await say.account(name)}
            url = "https://a.example.test/?s={click_id}"
            ids["offer_id"] = (await say(f"offer add casino={name} account={name} url={url} tag={name}"))["id"]
            ids["campaign_id"] = (await say(f"campaign create name={name} offers={name}-{name}"))["id"]
            await clicked(say, ids, days_ago(say, 1), 10, cost=cost)
            await converted(say, ids, say.now - timedelta(days=1), 2, event="first_deposit", amount=1, currency="EUR")
            await reported(
                say, ids, days_ago(say, 1), at=say.now, tag=name, first_deposits=2, commission_cpa=commission
            )

        async def order(words: str) -> list[str]:
            actor = Actor(team_id=say.team_id, name="o", role=Role.OWNER)
            command, arguments = parse(words)
            context = say.context(actor)
            context.face = "telegram"
            report = (await run(command, arguments, context)).result
            return [row.group["campaign"] for row in report.rows]

        assert await order("worst 3 campaigns yesterday") == ["poor", "rich", "spring"]
        assert await order("best 3 campaigns yesterday by roi") == ["rich", "poor", "spring"]
        assert await order("worst 3 campaigns yesterday by roi") == ["poor", "rich", "spring"]
        assert await order("best campaigns yesterday by cpa") == ["spring", "rich", "poor"]
        assert await order("worst campaigns 3 yesterday by cpa") == ["poor", "rich", "spring"]
        assert await order("top campaigns 2 of the week by cpa") == ["poor", "rich"]
        assert await order("best campaign by ctr") == ["rich"], "without visits to sites the weightiest"
