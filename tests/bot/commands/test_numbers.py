"""Amounts and days at every command that takes them: read right, or refused where they stand, nothing kept."""

import base64
from collections.abc import Awaitable, Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from sqlalchemy import func, select

from bot.commands.spend import NewSpend, SpendImport
from bot.core.arguments import fill
from bot.forms.imports import ImportedRow, rows_of
from storage.clicks.queries import ensure_codec
from storage.ledger.alerts.thresholds import describe, read_rule
from storage.ledger.errors import Refused
from storage.tables import campaigns, conversions, payments, spend
from tests.bot.asking import Asker, asking
from tests.storage.ledger.written import CASES, REFUSED, RIGHT, written_amounts

Opened = Callable[[], Any]
Entrance = Callable[[Asker, str], Awaitable[tuple[int, str]]]
DAY = "2026-11-20"
TODAY = date(2026, 11, 22)


async def spend_in_a_line(say: Asker, text: str) -> tuple[int, str]:
    made = await say(f'spend add field {DAY} "{text}"')
    return made["amount"], made["currency"]


async def _standing_spend(say: Asker) -> tuple[int, str]:
    async with say.database.read() as tx:
        row = (await tx.execute(select(spend.c.amount, spend.c.currency).order_by(spend.c.id.desc()).limit(1))).one()
    return row.amount, row.currency


def _csv(text: str, *, head: str = "campaign;day;amount", before: str = f"field;{DAY}") -> str:
    return f'{head}\n{before};"{text}"\n'


async def spend_in_csv(say: Asker, text: str) -> tuple[int, str]:
    await say.tell("spend import", csv=_csv(text))
    return await _standing_spend(say)


async def spend_in_a_file(say: Asker, text: str) -> tuple[int, str]:
    await say.tell("spend import", file=base64.b64encode(_csv(text).encode("utf-16")).decode())
    return await _standing_spend(say)


async def spend_in_rows(say: Asker, text: str) -> tuple[int, str]:
    await say.tell("spend import", rows=[{"campaign": "field", "day": DAY, "amount": text}])
    return await _standing_spend(say)


async def conversion_added(say: Asker, text: str) -> tuple[int, str]:
    made = await say.tell("conversion add", campaign="field", day=DAY, event="deposit", amount=text)
    return made.amount, made.currency


async def conversion_imported(say: Asker, text: str) -> tuple[int, str]:
    head = "campaign;day;event;amount"
    await say.tell("conversion import", csv=_csv(text, head=head, before=f"field;{DAY};deposit"))
    async with say.database.read() as tx:
        newest = select(conversions.c.amount, conversions.c.currency).order_by(conversions.c.id.desc()).limit(1)
        row = (await tx.execute(newest)).one()
    return row.amount, row.currency


async def payment_added(say: Asker, text: str) -> tuple[int, str]:
    made = await say(f'payment add main "{text}"')
    return made["amount"], made["currency"]


async def cost_of_a_campaign(say: Asker, text: str) -> tuple[int, str]:
    await say.tell("campaign edit", campaign="field", cost=text)
    async with say.database.read() as tx:
        row = (await tx.execute(select(campaigns.c.cost, campaigns.c.currency))).one()
    return row.cost, row.currency


async def threshold_of_a_rule(say: Asker, text: str) -> tuple[int, str]:
    return (await say.tell("payment rule", account="main", rule="player", threshold=text)).threshold, "EUR"


ENTRANCES: list[Entrance] = [
    spend_in_a_line, spend_in_csv, spend_in_a_file, spend_in_rows, conversion_added, conversion_imported,
    payment_added, cost_of_a_campaign, threshold_of_a_rule,
]  # fmt: skip


async def ready(say: Asker) -> None:
    async with say.database.begin() as tx:
        await ensure_codec(tx)
    await say.account()
    await say("campaign create name=field cost_model=daily")


def _expected(entrance: Entrance, text: str) -> tuple[int, str] | None:
    """What an entrance makes of a text; None if refused: costs and thresholds are not below 0, the latter EUR."""
    value, currency = RIGHT[text]
    micros = int(Decimal(value) * 1_000_000)
    if entrance is threshold_of_a_rule:
        return (micros, "EUR") if currency in {"", "EUR"} and micros >= 0 else None
    if entrance is cost_of_a_campaign and micros < 0:
        return None
    return micros, currency or "EUR"


@pytest.mark.parametrize("entrance", ENTRANCES)
async def test_an_amount_is_read_right_or_refused(opened: Opened, entrance: Entrance) -> None:
    async with asking(opened) as say:
        await ready(say)
        read: dict[str, tuple[int, str] | None] = {}
        for text in RIGHT:
            await say("campaign edit field currency=EUR cost=1")
            try:
                read[text] = await entrance(say, text)
            except Refused:
                read[text] = None
        assert read == {text: _expected(entrance, text) for text in RIGHT}


@pytest.mark.parametrize("entrance", ENTRANCES)
async def test_what_is_no_amount_is_named_and_nothing_is_kept(opened: Opened, entrance: Entrance) -> None:
    async with asking(opened) as say:
        await ready(say)
        before = await _stored_counts(say)
        for text in REFUSED:
            with pytest.raises(Refused) as refused:
                await entrance(say, text)
            assert refused.value.field in {"amount", "cost", "threshold", "csv", "file", "rows", "currency"}
            assert text.split()[-1].rstrip(".") in str(refused.value), text
            if refused.value.field in {"csv", "file", "rows"}:
                assert str(refused.value).startswith("row 1: " if refused.value.field == "rows" else "line 2: ")
        assert await _stored_counts(say) == before


async def _stored_counts(say: Asker) -> list[int]:
    async with say.database.read() as tx:
        return [
            (await tx.execute(select(func.count()).select_from(table))).scalar_one()
            for table in (spend, conversions, payments)
        ]


async def test_a_sign_of_several_currencies_is_the_fields_own(opened: Opened) -> None:
    async with asking(opened) as say:
        await ready(say)
        await say("account add postback_only name=nordic currency=SEK")
        await say("campaign edit field currency=CAD cost_model=daily cost=1")
        assert (await say('payment add nordic "12,50 kr."'))["currency"] == "SEK"
        for entrance in (spend_in_a_line, spend_in_csv, spend_in_rows, conversion_added, conversion_imported):
            assert await entrance(say, "$5") == (5_000_000, "CAD")
            assert await entrance(say, "US$5") == (5_000_000, "USD")
        assert await cost_of_a_campaign(say, "$0.05") == (50_000, "CAD")
        with pytest.raises(Refused, match="SEK, NOK, DKK or ISK"):
            await say('payment add main "12,50 kr."')
        with pytest.raises(Refused, match="currency says EUR"):
            await say("payment add main $5 currency=EUR")


@pytest.mark.parametrize(
    ("words", "limit"),
    [("commission > 1.050,00", 1050), ("commission < 0,0045", 0.0045), ("commission < –12.50", -12.5),
     ("registrations < 1.000", 1000), ("ftd > 1,234", 1234), ("commission > 1'234.50", 1234.5),
     ("commission > 12 345,60", 12345.6), ("commission > 1e3", 1000), ("profit < (50,00)", -50),
     ("profit < 12.50- in 7d for 2h", -12.5), ("ftd < 1.234,5% of 7d avg", 1234.5), ("roi < –20 % in 7d", -20),
     ("postback failures > 12,5 % in 2h", 12.5), ("spend without regs > € 1.234,-", 1234)],
)  # fmt: skip
def test_the_limit_of_an_alert_is_read_right(words: str, limit: float) -> None:
    rule = read_rule(words, "EUR")
    assert rule.limit == limit
    assert read_rule(describe(rule), "EUR") == rule


@pytest.mark.parametrize("text", RIGHT)
def test_the_limit_of_an_alert_takes_every_amount_in_the_currency_of_the_reports(text: str) -> None:
    value, currency = RIGHT[text]
    if currency not in {"", "EUR"}:
        with pytest.raises(Refused, match=f"in {currency}, and reports are in EUR"):
            read_rule(f"commission < {text} in 7d", "EUR")
        return
    rule = read_rule(f"commission < {text} in 7d", "EUR")
    assert (rule.limit, rule.window) == (float(value), "7d")


@pytest.mark.parametrize("number", [*REFUSED, "$ (12.50)", "40.00 SEK", "US$40.00"])
def test_the_limit_of_an_alert_is_never_another(number: str) -> None:
    with pytest.raises(Refused) as refused:
        read_rule(f"commission > {number}")
    assert refused.value.field == "rule"


def test_the_files_of_the_cases_are_imported_as_they_are() -> None:
    for name in ("spend_excel_unicode.txt", "spend_blank_lines.csv"):
        (row,) = rows_of(SpendImport(file=(CASES / name).read_bytes()), _COLUMNS, amounts=("amount",), days=("day",))
        assert (row.place, row.text("campaign"), row.day("day", TODAY)) == ("line 2", "field", date(2026, 10, 1))
        assert row.amount("amount") == (Decimal("12.50"), "EUR")


_COLUMNS = ("campaign", "day", "amount", "currency")


def _imported(text: str) -> ImportedRow:
    table = f'campaign\tday\tamount\nfield\t{DAY}\t"{text}"\n'
    (row,) = rows_of(SpendImport(csv=table), _COLUMNS, amounts=("amount",), days=("day",))
    return row


@given(written_amounts())
def test_an_amount_in_any_convention_is_read_back_in_chat_and_from_a_table(
    written: tuple[str, Decimal, str],
) -> None:
    text, value, currency = written
    new = fill(NewSpend, {"campaign": "x", "day": DAY, "amount": text}, TODAY)
    assert (new.amount, (new.currency or "").replace("$", "USD")) == (value, currency)
    amount, beside = _imported(text).amount("amount")
    assert (amount, beside.replace("$", "USD")) == (value, currency)


@pytest.mark.parametrize("words", ["Total", "Gesamtsumme", "Total général", "Suma:", "Итого", "合計", "Totale (EUR)"])
def test_a_totals_line_that_is_the_sum_is_left_out_and_another_is_a_row(words: str) -> None:
    """In an upload likewise: tests/hub/jobs/test_uploads.py."""
    table = f'campaign;day;amount\na;{DAY};"1.234,50"\nb;{DAY};"0,50"\n{words};;'
    rows = rows_of(SpendImport(csv=f"{table}1.235\n"), _COLUMNS, amounts=("amount",), days=("day",))
    assert [row.text("campaign") for row in rows] == ["a", "b"]
    rows = rows_of(SpendImport(csv=f"{table}1.236\n"), _COLUMNS, amounts=("amount",), days=("day",))
    assert rows[-1].text("campaign") == words, "the command refuses it by its line"


DAMAGED = {
    "a quote that is never closed": ('campaign,day,amount\nfield,2026-11-20,1\nfield,2026-11-20,"2\n', "line 3: "),
    "a row with a cell too many": ("campaign,day,amount\nfield,2026-11-20,1\nfield,2026-11-20,2,3\n", "line 3: "),
    "a row with a cell too few": ("campaign,day,amount\nfield,2026-11-20,1\nfield,2026-11-20\n", "line 3: "),
    "an amount that is none": (
        "campaign,day,amount\nfield,2026-11-20,1\nfield,2026-11-20,1.2k\n", "line 3: amount: '1.2k'"
    ),
    "a day that is none": (
        "campaign,day,amount\nfield,2026-11-20,1\nfield,31.02.2026,2\n", "line 3: day: '31.02.2026'"
    ),
    "days that do not decide": (
        "campaign,day,amount\nfield,03/02/2026,1\nfield,04/02/2026,2\n", "line 2, column 'day': '03/02/2026'"
    ),
    "a column that is missing": ("campaign,day\nfield,2026-11-20\n", "line 2: amount: the header has no such column"),
    "conventions that contradict": (
        'campaign,day,amount\nfield,2026-11-20,"1,50"\nfield,2026-11-20,1.5\n', "lines 2 and 3, column 'amount': "
    ),
    "a campaign there is none of": (
        "campaign,day,amount\nfield,2026-11-20,1\nfeld,2026-11-20,2\n", "line 3: no campaign 'feld'"
    ),
    "two currencies on one day of a campaign": (
        "campaign,day,amount\nfield,2026-11-20,1 EUR\nfield,2026-11-20,2 USD\n", "line 3: amount: is in USD"
    ),
    "two columns of one name": ("campaign,day,amount,amount\nfield,2026-11-20,1,2\n", "line 1: 2 columns"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED)
async def test_a_damaged_table_is_refused_whole_and_named(opened: Opened, damage: str) -> None:
    text, reason = DAMAGED[damage]
    async with asking(opened) as say:
        await ready(say)
        for given_as in ({"csv": text}, {"file": base64.b64encode(text.encode()).decode()}):
            with pytest.raises(Refused) as refused:
                await say.tell("spend import", **given_as)
            assert reason in str(refused.value)
            assert refused.value.field == next(iter(given_as))
        assert await _stored_counts(say) == [0, 0, 0]


async def test_tables_of_any_line_end_and_separator_are_imported(opened: Opened) -> None:
    async with asking(opened) as say:
        await ready(say)
        for number, (mark, end) in enumerate((m, e) for m in ",;\t|" for e in ("\n", "\r\n", "\r")):
            rows = [["campaign", "day", "amount"], ["field", DAY, f"{number + 1}"], ["", "", ""]]
            text = end.join(mark.join(row) for row in rows) + end
            await say.tell("spend import", csv=text)
            assert await _standing_spend(say) == ((number + 1) * 1_000_000, "EUR")


async def test_what_follows_a_blank_in_an_amount_is_no_currency(opened: Opened) -> None:
    async with asking(opened) as say:
        await say.account()
        await say("offer add casino=Lucky account=main tag=a url=https://lucky.example.test/?s={click_id}")
        await say("campaign create field offers=lucky-a")
        for rest in ("1 234", "1 234,50", "amount=1 234"):
            with pytest.raises(Refused, match=r"is no currency: an amount is written without blanks"):
                await say(f"spend add field {DAY} {rest}")
        async with say.database.read() as tx:
            assert (await tx.execute(select(func.count()).select_from(spend))).scalar_one() == 0
        assert (await say(f"spend add field {DAY} 1234 euro"))["currency"] == "EUR"
