"""Invoices in numbered order, statements of an account, PDF and CSV."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from bot.core.context import Actor
from bot.core.message import File
from storage.ledger.errors import Missing, Refused
from storage.ledger.facts import Role
from storage.tables import revenue
from tests.bot.asking import NOON, Asker, asking
from tests.hub.jobs.test_domain_orders import of

Opened = Callable[[], Any]


async def earned(say: Asker, account_id: int, day: date, euros: int) -> None:
    async with say.database.begin() as tx:
        await tx.execute(insert(revenue).values(
            team_id=say.team_id, account_id=account_id, day=day, tag="a", tag_key="a", currency="EUR",
            commission_cpa=euros * 1_000_000, recorded_at=NOON, report_id=1,
        ))  # fmt: skip


async def test_invoices_are_numbered_and_payments_settle_the_oldest_first(opened: Opened) -> None:
    async with asking(opened) as say:
        number = await say.account()
        await earned(say, number, date(2026, 9, 5), 100)
        await earned(say, number, date(2026, 10, 5), 70)
        with pytest.raises(Refused, match="invoice details"):
            await say("invoice add main 2026-09")
        await say('invoice details name="Red Ltd" address="1 Main St|Valletta" prefix=CF- days=14')
        first = await say("invoice add main 2026-09")
        second = await say('invoice add main recipient="Lucky Affiliates|Malta"')
        assert [(each["code"], each["month"], each["amount"]) for each in (first, second)] == [
            ("CF-2026-0001", "2026-09", 100_000_000), ("CF-2026-0002", "2026-10", 70_000_000)]  # fmt: skip
        assert second["due"] == str(NOON.date() + timedelta(days=14))
        with pytest.raises(Refused, match="nothing is payable"):
            await say("invoice add main 2026-10")
        await say("payment add main 120")
        say.later(days=20)
        listed = (await say("invoice list"))["items"]
        assert [(each["state"], each["paid"], each["open"]) for each in listed] == [
            ("overdue", 20_000_000, 50_000_000), ("paid", 100_000_000, 0)]  # fmt: skip
        assert (await say.sure("invoice cancel CF-2026-0001"))["state"] == "cancelled"
        third = await say("invoice add main 2026-09")
        assert third["code"] == "CF-2026-0003"
        (statement,) = (await say("payment statement main"))["items"]
        assert [(line["month"], line["billed"], line["paid"], line["open"], line["overdue"])
                for line in statement["lines"]] == [
            ("2026-09", 100_000_000, 50_000_000, 50_000_000, 0), ("2026-10", 70_000_000, 70_000_000, 0, 0),
            ("2026-11", 0, 0, 0, 0)]  # fmt: skip
        with pytest.raises(Missing):
            await say("invoice show 2026-0099")


async def test_an_invoice_and_a_statement_come_as_pdf_and_csv(sqlite_url: str) -> None:
    async with asking(of(sqlite_url)) as say:
        await earned(say, await say.account(), date(2026, 10, 5), 70)
        await say('invoice details name="Ред & Ltd" bank="IBAN MT00"')
        await say("invoice add main")
        actor = Actor(team_id=say.team_id, name="anna", role=Role.OWNER)
        paper = (await say.ask("invoice show 2026-0001 format=pdf", actor)).message.blocks[0]
        assert isinstance(paper, File)
        assert (paper.name, paper.data[:5], paper.mime) == ("invoice-2026-0001.pdf", b"%PDF-", "application/pdf")
        assert b"FontFile" in paper.data
        table = (await say.ask("payment statement main format=csv", actor)).message.blocks[0]
        assert isinstance(table, File)
        assert (
            table.text.splitlines()[1]
            == "EUR,2026-10,70.000000,70.000000,0.000000,70.000000,0.000000,70.000000,0.000000"
        )
