"""How answers put it: both years of a range, one day in the singular, the latest first, zones named."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert

from bot.core.command import COMMANDS, parse
from bot.core.context import Actor
from bot.core.message import Buttons
from bot.render import terminal
from bot.render.figures import days, plural
from bot.telegram import html as telegram_html
from storage.clicks.queries import ensure_codec
from storage.ledger.facts import Role
from storage.ledger.numbers import read_exact
from storage.reports import rates
from storage.tables import outbound
from tests.bot.asking import asking
from tests.bot.seeding import clicked, converted, days_ago, tracked

Opened = Callable[[], Any]


async def test_a_range_over_new_year_has_both_years(opened: Opened) -> None:
    async with asking(opened) as say:
        say.now = datetime(2027, 1, 10, 12, tzinfo=UTC)
        await clicked(say, await tracked(say), days_ago(say, 15), 1)
        await say("stats since 20 dec vs previous")
        assert say.shown.startswith("20 Dec 2026 to 10 Jan 2027: 1 click, ")
        assert "Against 28 Nov to 19 Dec 2026" in say.shown
        await say("rate set USD 0.9 from=2026-12-30 to=2027-01-02")
        assert "on 30 Dec 2026 to 02 Jan 2027" in say.shown
        await say("site overview 30d")


@pytest.mark.parametrize(
    ("number", "words"), [(1, "1 day"), (2, "2 days"), (0, "0 days"), (1200, "1,200 days"), (None, "– days")]
)
def test_one_is_said_in_the_singular(number: int | None, words: str) -> None:
    assert plural(number, "day") == words


def test_a_single_day_is_no_range() -> None:
    day = datetime(2026, 11, 22, tzinfo=UTC).date()
    assert days(day, day) == "22 Nov 2026"


async def test_figures_of_one_are_said_in_the_singular(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await tracked(say)
        await clicked(say, ids, days_ago(say, 0), 1)
        await converted(say, ids, say.now, 1, event="first_deposit")
        await say("stats today")
        assert ": 1 click, " in say.shown
        assert ", 1 FTD, " in say.shown


async def test_conversions_and_payments_begin_with_the_latest(opened: Opened) -> None:
    async with asking(opened) as say:
        async with say.database.begin() as tx:
            await ensure_codec(tx)
        ids = await tracked(say)
        for n in range(3):
            await converted(say, ids, say.now - timedelta(days=2 - n), 1, event="registration")
            await say(f"payment add main {n + 1}")
        first = await say("conversion list limit=2")
        assert [item["id"] for item in first["items"]] == [3, 2]
        assert "Older: conversion list after=2" in say.shown
        assert [item["id"] for item in (await say(f"conversion list after={first['next']}"))["items"]] == [1]
        assert [item["id"] for item in (await say("conversion list latest=no"))["items"]] == [1, 2, 3]
        assert [item["amount"] for item in (await say("payment list"))["items"]] == [3_000_000, 2_000_000, 1_000_000]


async def test_rates_are_the_teams_own_unless_asked(opened: Opened) -> None:
    async with asking(opened) as say:
        async with say.database.begin() as tx:
            await rates.store(tx, rates.EVERYBODY, [
                rates.StoredRate(day=days_ago(say, 1), currency="EUR", base="USD", rate=read_exact("1.1"),
                                 origin="ecb")
            ])  # fmt: skip
        assert (await say("rate list"))["items"] == []
        assert "published ones are used" in say.shown
        assert "rate list origin=all" in say.shown
        await say("rate set USD 0.9")
        origins = [(words, [item["origin"] for item in (await say(f"rate list {words}"))["items"]])
                   for words in ("", "origin=published", "USD origin=all")]  # fmt: skip
        assert origins == [("", ["team"]), ("origin=published", ["ecb"]), ("USD origin=all", ["team", "ecb"])]


async def test_uploaded_accounts_stand_in_the_status_of_syncs(opened: Opened) -> None:
    async with asking(opened) as say:
        await say.tell("account add", platform="csv_upload", name="Mexos Büro")
        await say("account add postback_only")
        await say("sync status")
        assert "Sync of Mexos Büro (mexos-buro): by upload" in say.shown
        assert "with the next upload" in say.shown
        assert "Sync now" not in say.shown
        await say.tell("account add", platform="csv_upload", name="Second")
        await say("sync status")
        assert [line.split()[0] for line in say.shown.splitlines()[4:6]] == ["Mexos", "Second"]


async def test_a_report_of_the_past_says_its_moment_with_its_zone(opened: Opened) -> None:
    async with asking(opened) as say:
        say.deployment = msgspec.structs.replace(say.deployment, timezone="Europe/Malta")
        await clicked(say, await tracked(say), days_ago(say, 1), 3)
        await say("stats 7d as_of=2026-11-22T09:00")
        assert "as of 2026-11-22 09:00 Europe/Malta time" in say.shown
        await say("stats 7d as_of=2026-11-22T09:00+05:00")
        assert "as of 2026-11-22 05:00 Europe/Malta time" in say.shown


@pytest.mark.parametrize(
    "line",
    ["alert list", "digest list", "payment list", "token list", "view list", "domain list", "source list",
     "automation list", "postback sent", "postback log"],
)  # fmt: skip
async def test_an_empty_list_has_a_button_for_the_first_entry_for_those_who_may(opened: Opened, line: str) -> None:
    async with asking(opened) as say:
        await tracked(say)
        for role in (Role.OWNER, Role.VIEWER):
            answer = await say.ask(line, Actor(team_id=say.team_id, name="o", role=role)) if (
                role is Role.OWNER or COMMANDS[line].role is Role.VIEWER
            ) else None  # fmt: skip
            buttons = [b for block in (answer.message.blocks if answer else ()) if isinstance(block, Buttons)
                       for b in block.buttons]  # fmt: skip
            assert buttons or role is Role.VIEWER
            for button in buttons:
                assert role.includes(parse(button.command)[0].role), button


async def test_sent_postbacks_say_why_one_is_skipped_and_when_the_next_try_is(opened: Opened) -> None:
    async with asking(opened) as say:
        source = (await say("source add Push"))["id"]
        async with say.database.begin() as tx:
            for n, state in enumerate(("skipped", "queued")):
                await tx.execute(insert(outbound).values(
                    team_id=say.team_id, source_id=source, event="first_deposit", idempotency_key=f"key-{n}",
                    host="push.example.test",
                    request={"method": "GET", "url": "https://push.example.test/"}, state=state, attempts=n,
                    next_at=say.now + timedelta(minutes=5), created_at=say.now,
                ))  # fmt: skip
        answer = await say.ask("postback sent", Actor(team_id=say.team_id, name="o", role=Role.OWNER))
        phone = "".join(part.html for part in telegram_html.render(answer.message))
        for shown in (terminal.render(answer.message), phone):
            assert "no click id of the source" in shown
            assert f"{say.now + timedelta(minutes=5):%Y-%m-%d %H:%M} UTC" in shown
            assert "FTD" in shown


async def test_a_cost_has_the_digits_it_needs(opened: Opened) -> None:
    async with asking(opened) as say:
        await tracked(say)
        for cost, shown in (("0.1", "0.10 EUR a click"), ("0.0045", "0.0045 EUR a click"), ("1234", "1,234.00 EUR")):
            await say(f"campaign edit spring cost={cost} budget_day=50")
            assert f"{shown}" in say.shown
            assert "50.00 EUR a day" in say.shown


def test_the_usage_beside_an_error_is_no_wall() -> None:
    assert COMMANDS["offer edit"].usage(most=2) == "offer edit <offer> [name=…] [url=…] … help offer edit"
    assert COMMANDS["offer copy"].usage(most=6) == COMMANDS["offer copy"].usage()
