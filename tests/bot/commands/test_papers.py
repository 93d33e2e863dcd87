"""What is sent to a finance department: nothing is cut off or overlaps, and the PDF says what the CSV says."""

import io
import re
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from typing import Any

import pytest
from pypdf import PdfReader
from sqlalchemy import insert

from bot.core.context import Actor
from bot.core.message import File
from bot.render.paper import Paper, PaperTable, specifications, wrapped
from storage.ledger.facts import Role
from storage.tables import revenue
from tests.bot.asking import NOON, Asker, asking
from tests.hub.jobs.test_domain_orders import of

Opened = Callable[[], Any]
LONG = "Очень Длинное Имя Партнёрской Программы Удача и Счастье International Affiliates Malta Ltd & Co. KG"
CURRENCIES = ("EUR", "USD", "BRL")
#: Months in each currency.
MONTHS = [f"{year}-{month:02}" for year in (2024, 2025) for month in range(1, 13)]


async def earned(say: Asker, account_id: int) -> None:
    """Commission in three currencies, each month, some of it taken back."""
    async with say.database.begin() as tx:
        await tx.execute(insert(revenue), [
            {"team_id": say.team_id, "account_id": account_id, "day": date.fromisoformat(f"{month}-05"), "tag": "a",
             "tag_key": "a", "currency": currency, "recorded_at": NOON, "report_id": 1,
             "commission_cpa": (1_234_567 + 1000 * n if n % 7 else -50) * 1_000_000 + 890_000}
            for n, month in enumerate(MONTHS) for currency in CURRENCIES
        ])  # fmt: skip


async def file_of(say: Asker, line: str) -> File:
    actor = Actor(team_id=say.team_id, name="anna", role=Role.OWNER)
    sent = (await say.ask(line, actor)).message.blocks[0]
    assert isinstance(sent, File)
    return sent


def text_of(paper: File) -> list[str]:
    assert paper.data.startswith(b"%PDF-")
    return [page.extract_text() for page in PdfReader(io.BytesIO(paper.data)).pages]


async def test_a_long_statement_says_on_paper_what_its_csv_says(sqlite_url: str) -> None:
    async with asking(of(sqlite_url)) as say:
        number = await say.account()
        await earned(say, number)
        await say(f'account edit main name="{LONG}"')
        await say(
            'invoice details name="قصر الحظ" address="Unter den Linden 17|Berlin" tax_id=DE1 bank="IBAN MT00" days=5'
        )
        await say("invoice add main 2024-02 currency=EUR")
        await say("invoice add main 2024-03 currency=USD")
        say.later(days=9)
        await say("invoice add main 2024-04 currency=EUR")
        table = (await file_of(say, "payment statement main format=csv")).text.splitlines()
        pages = text_of(await file_of(say, "payment statement main format=pdf"))
        assert len(pages) > 2
        plain = " ".join(" ".join(pages).split())
        for piece in (
            LONG,
            "In BRL",
            "In EUR",
            "In USD",
            "Berlin",
            "IBAN MT00",
            f"1 / {len(pages)}",
            "overdue",
            "open",
        ):
            assert piece in plain, piece
        for line in table[1:]:
            currency, month, *amounts = line.split(",")
            shown = [f"{abs(round(float(amount), 2)):,.2f}" for amount in amounts]
            assert re.search(rf"{month}\D+" + r"\D+".join(map(re.escape, shown)), plain), (currency, line)
        assert len(table) > 3 * len(MONTHS)
        one = text_of(await file_of(say, "payment statement main 2024-02 format=pdf"))
        assert "2026-0001" in one[0]
        assert "2024-04" not in "".join(one)


@pytest.mark.parametrize("wide", [False, True])
def test_nothing_leaves_the_page_or_runs_into_another_text(wide: bool) -> None:
    figures = tuple(f"−CA${10**n},234,567.89" for n in range(3, 9)) if wide else ("€1,234,567.89",)
    table = PaperTable(
        title="In CAD", columns=("Month", *("Commission" for _ in figures)), total=("Total", *figures),
        rows=tuple((f"2026-{n % 12 + 1:02} {LONG if n % 5 == 0 else ''}", *figures) for n in range(120)),
    )  # fmt: skip
    paper = Paper(
        title=f"Statement: {LONG} {LONG}", sender=(LONG, "A" * 200), recipient=(LONG, "界" * 90),
        fields=(("Date", "2026-11-28"),), tables=(table, table), notes=(LONG,), wide=wide,
    )  # fmt: skip
    pages = specifications(paper)
    assert len(pages) > 2
    months = 0
    for page in pages:
        marks = page["data"][0]["values"]
        months += sum(bool(re.match(r"2026-\d\d(?: |$)", mark["t"])) for mark in marks)
        spans: dict[int, list[tuple[float, float]]] = {}
        for mark in marks:
            letters = sum(2 if ord(char) > 0x2E80 else 1 for char in mark["t"])
            room = letters * mark["s"] * (0.66 if mark["w"] == "bold" else 0.58)
            begin = mark["x"] - room if mark["a"] == "right" else mark["x"]
            spans.setdefault(mark["y"], []).append((begin, begin + room))
            assert 20 < mark["y"] < page["height"] - 20
            assert begin > 20, mark
            assert begin + room < page["width"] - 20, mark
        for of_line in spans.values():
            assert all(end < begin for (_, end), (begin, _) in pairwise(sorted(of_line)))
    assert months == 240


def test_a_word_longer_than_its_room_is_broken_and_nothing_of_it_is_lost() -> None:
    for text in ("x" * 500, LONG, "界" * 77, "a b", ""):
        lines = wrapped(text, 100)
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
