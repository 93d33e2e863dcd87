"""Figures of platforms without an API, uploaded as CSV."""

import base64
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from connectors.base import Connection
from connectors.platforms.csv_upload import PLATFORM as CSV_UPLOAD
from storage.ledger.errors import ConnectorError, Refused
from storage.tables import revenue
from tests.hub.syncing import Hub, hub
from tests.storage.ledger.written import CASES, REFUSED, RIGHT, written_amounts

Opened = Callable[[], Any]
CONNECTION = Connection(timezone="UTC", currency="EUR")

EGO = [
    "Date;Website;Clic;Sign.;CPA BL;First Qty Deposit;First Deposit;Revenue CPA;NGR;Total Deposit;Net Income;Earnings",
    "01/10/2026;blog;1.041;10;3;4;160,00 $;240,00 $;-12,50 $;1.400,50 $;-3,75 $;236,25 $",
]
MEXOS = [
    "Date,Campaign,Unique Clicks,Casino Signups Cnt,Sport Signups Cnt,Casino RFD Cnt,Sport RFD Cnt,Commission",
    "2026-10-01,push,40,7,3,3,1,90.00",
]


async def test_presets_and_own_mappings_are_read(opened: Callable[[], Any]) -> None:
    async with hub(opened) as team:
        await team.say("account add csv_upload name=Ego", options={"preset": "ego"})
        assert (await team.say("account add mexos"))["platform"] == "csv_upload"
        own = {"day": "Tag", "tag": "Kampagne", "commission": "Provision"}
        await team.say("account add csv_upload name=Own", options={"columns": own})
        done = await team.say("sync upload ego", lines=EGO)
        assert (done["from"], done["to"], done["rows"], done["suspect"]) == ("2026-10-01", "2026-10-01", 1, None)
        assert (await team.say("sync upload mexos", csv="\n".join(MEXOS)))["revisions"] == 1
        assert (await team.say("sync upload own", lines=["Tag;Kampagne;Provision", "01.10.2026;x;9,50 €"]))["rows"] == 1
        assert (await team.say("sync upload ego", lines=EGO))["revisions"] == 0
        assert (await team.say("account show ego"))["segments"] == ["blog"]
        assert (await team.say("sync status mexos"))["items"][0]["last_success_at"] == "2026-10-20T12:00:00Z"


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("lines", "message"),
    [(["a,b"], "no header"), (["day,tag,commission"], "no line"),
     (["day,tag,commission", "yesterday,x,1"], "no day"), (["day,tag,commission", "2026-10-01,x,abc"], "no number"),
     (["day,tag,commission", "2026-10-01,x"], "cut off"),
     (["day,tag,colour", "2026-10-01,x,1"], "none of its columns")],
)  # fmt: skip
async def test_a_file_that_cannot_be_read_says_why(opened: Callable[[], Any], lines: list[str], message: str) -> None:
    async with hub(opened) as team:
        await team.say("account add csv_upload name=Own")
        with pytest.raises(Refused, match=message) as caught:
            await team.say("sync upload own", lines=lines)
        assert caught.value.field == "lines"


async def uploaded(team: Hub, name: str, **options: str) -> Any:
    """A file of the cases, sent to a new account in EUR."""
    await team.say("account add csv_upload name=Own", options=options)
    return await team.say("sync upload own", file=base64.b64encode((CASES / name).read_bytes()).decode())


async def stored(team: Hub) -> list[tuple[str, str, str, int]]:
    """What is known of the account: day, tag, currency, commission in micro-units."""
    r = revenue.c
    query = select(r.day, r.tag, r.currency, r.commission_other).order_by(r.day, r.tag)
    async with team.runtime.database.read() as tx:
        return [(f"{row.day}", row.tag, row.currency, row.commission_other) for row in await tx.execute(query)]


async def test_a_campaign_called_date_is_a_campaign(opened: Opened) -> None:
    async with hub(opened) as team:
        assert (await uploaded(team, "campaign_named_date.csv"))["rows"] == 2
        assert await stored(team) == [
            ("2026-10-01", "Alpha", "EUR", 40_000_000), ("2026-10-01", "Date", "EUR", 80_000_000),
        ]  # fmt: skip


async def test_a_column_decides_between_day_and_month_first(opened: Opened) -> None:
    async with hub(opened) as team:
        assert (await uploaded(team, "day_first.csv"))["warnings"] == []
        assert [row[0] for row in await stored(team)] == ["2026-02-03", "2026-02-26"]


async def test_a_column_that_does_not_decide_is_read_by_the_setting_and_said_so(opened: Opened) -> None:
    async with hub(opened) as team:
        done = await uploaded(team, "day_first_sorted.csv", day_order="dmy")
        assert [row[0] for row in await stored(team)] == ["2026-10-01", "2026-10-02", "2026-10-03"]
        assert "does not decide between day first and month first: read day first" in done["warnings"][0]


async def test_a_column_that_does_not_decide_withdraws_no_settled_day(opened: Opened) -> None:
    async with hub(opened) as team:
        await team.say("account add csv_upload name=Own")
        days = ["2026-01-10", "2026-02-05", "2026-03-10", "2026-10-01", "2026-10-02", "2026-10-03"]
        await team.say("sync upload own", lines=["day,tag,commission", *(f"{day},alpha,5" for day in days)])
        before = await stored(team)
        sent = base64.b64encode((CASES / "day_first_sorted.csv").read_bytes()).decode()
        with pytest.raises(Refused, match=r"day first or month first.*2026-02-05.*day_order") as refused:
            await team.say("sync upload own", file=sent)
        assert refused.value.field == "file"
        assert await stored(team) == before


async def test_windows_letters_are_read_where_the_account_says_which_and_else_refused(opened: Opened) -> None:
    async with hub(opened) as team:
        with pytest.raises(Refused, match=r"line 2.*windows-1251.*UTF-8"):
            await uploaded(team, "cp1251.csv")
        assert await stored(team) == []
        await team.say("account edit own", options={"encoding": "windows-1251"})
        sent = base64.b64encode((CASES / "cp1251.csv").read_bytes()).decode()
        await team.say("sync upload own", file=sent)
        assert [row[1:] for row in await stored(team)] == [
            ("Промо Осень", "EUR", 40_000_000), ("Промо Осень", "EUR", 80_500_000),
        ]  # fmt: skip


async def test_a_sign_of_another_currency_is_that_currency(opened: Opened) -> None:
    async with hub(opened) as team:
        await uploaded(team, "other_currency_sign.csv")
        assert [row[2:] for row in await stored(team)] == [("USD", 40_000_000), ("USD", 80_500_000)]


async def test_lines_alike_of_two_players_are_summed(opened: Opened) -> None:
    async with hub(opened) as team:
        await team.say("account add csv_upload name=Own")
        await team.say("sync upload own", lines=["day,tag,commission", *["2026-10-01,alpha,86.50"] * 2])
        assert await stored(team) == [("2026-10-01", "alpha", "EUR", 173_000_000)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
async def test_any_line_end_and_encoding_with_a_mark_is_read(opened: Opened, end: str, encoding: str) -> None:
    text = end.join(
        ["sep=;", "day;tag;commission;;", "2026-10-01;Промо;1.050,00;;", ";;;;", "2026-10-02;b;(0,50);;", ""]
    )
    async with hub(opened) as team:
        await team.say("account add csv_upload name=Own")
        await team.say("sync upload own", file=base64.b64encode(text.encode(encoding)).decode())
        assert await stored(team) == [
            ("2026-10-01", "Промо", "EUR", 1_050_000_000), ("2026-10-02", "b", "EUR", -500_000),
        ]  # fmt: skip


WORDS_OF_TOTALS = (
    "Total", "Gesamtsumme", "Total général", "Suma:", "Итого", "合計", "Totale (EUR)", "Gesamtergebnis", "Total geral",
    "Total for 2026-10-01 - 2026-10-02", "Общий итог", "Celkom",
)  # fmt: skip


@pytest.mark.parametrize("words", WORDS_OF_TOTALS)
def test_a_totals_line_in_any_language_is_no_row_and_damage_where_it_is_wrong(words: str) -> None:
    table = f"day;tag;commission\n2026-10-01;a;12,50\n2026-10-02;b;7,50\n{words};;"
    right, wrong = (CSV_UPLOAD.read_upload(f"{table}{total}\n".encode(), CONNECTION) for total in ("20,00", "21,00"))
    assert (len(right.rows), right.damage) == (2, "")
    assert wrong.damage == (
        "line 4: the totals contradict the rows above them: commission other 21 where they sum to 20"
    )


def _as_a_cell(text: str) -> str:
    quoted = text.replace('"', '""')
    return f'"{quoted}"'


def commission_of(text: str) -> tuple[int | None, str]:
    """The commission in micro-units and the currency that an upload and a platform's CSV make of one cell."""
    table = f"day,tag,commission\n2026-10-01,alpha,{_as_a_cell(text)}\n"
    (row,) = CSV_UPLOAD.read_upload(table.encode(), CONNECTION).rows
    return row.figures.commission_other, row.currency


@pytest.mark.parametrize("text", RIGHT)
def test_an_amount_in_an_upload_is_read_right(text: str) -> None:
    value, currency = RIGHT[text]
    assert commission_of(text) == (int(Decimal(value) * 1_000_000), currency or "EUR")


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_amount_in_an_upload_is_named_with_its_line_and_column(text: str) -> None:
    with pytest.raises(ConnectorError) as refused:
        commission_of(text)
    assert str(refused.value).startswith("the report cannot be read: line 2, column 'commission': ")


@given(written_amounts())
def test_an_amount_in_any_convention_is_read_back_from_an_upload(written: tuple[str, Decimal, str]) -> None:
    text, value, currency = written
    assert commission_of(text) == (int(value * 1_000_000), currency or "EUR")


@given(
    st.lists(st.decimals(min_value=-(10**8), max_value=10**8, places=2), min_size=1, max_size=6),
    st.sampled_from([(",", "."), (".", ","), (" ", ","), ("'", "."), ("", ".")]), st.sampled_from(",;\t|"),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%Y/%m/%d", "%d %b %Y"]),
)  # fmt: skip
def test_a_table_in_any_convention_is_read_back(
    amounts: list[Decimal], convention: tuple[str, str], separator: str, encoding: str, end: str, day_format: str
) -> None:
    thousands, mark = convention
    lines = [separator.join(["day", "tag", "commission"])]
    for number, amount in enumerate(amounts):
        day = date(2026, 10, 1) + timedelta(days=number)
        whole, _, cents = f"{amount:,f}".partition(".")
        cell = _as_a_cell(f"{whole.replace(',', thousands)}{mark}{cents}")
        lines.append(separator.join([day.strftime(day_format), "alpha", cell]))
    report = CSV_UPLOAD.read_upload((end.join(lines) + end).encode(encoding), CONNECTION)
    assert [row.figures.commission_other for row in report.rows] == [int(amount * 1_000_000) for amount in amounts]
    assert [row.day.day for row in report.rows] == list(range(1, len(amounts) + 1))


DAMAGED = {
    "an unclosed quote": ('day,tag,commission\n2026-10-01,a,1\n2026-10-02,"b,2\n', "line 3"),
    "a cell too many": ("day,tag,commission\n2026-10-01,a,1\n2026-10-02,b,2,3\n", "line 3"),
    "a last line cut off": ("day,tag,commission\n2026-10-01,a,1\n2026-10-0", "line 3"),
    "a day that is none": ("day,tag,commission\n31.02.2026,b,2\n", "line 2, column 'day': '31.02.2026'"),
    "a week in a row": ("day,tag,commission\n2026-10-01 - 2026-10-07,b,2\n", "line 2, column 'day': '2026-10-01 - "),
    "a month in Finnish": ("day,tag,commission\n3 marraskuu 2026,b,2\n", "line 2, column 'day': '3 marraskuu 2026'"),
    "a year too early": ("day,tag,commission\n2026-10-01,a,1\n0026-10-02,b,2\n", "line 3, column 'day': '0026-10-02'"),
    "a day that has not come": (
        "day,tag,commission\n2026-10-01,a,1\n2026-10-21,b,2\n",
        "line 3, column 'day': '2026-10-21' (2026-10-21) has not come yet: the last day may be 2026-10-20",
    ),
    "months that have not come": ("day,tag,commission\n10/01/2026,a,1\n11/03/2026,b,2\n", "'11/03/2026' (2026-11-03)"),
    "a fraction of a player": ("day,tag,registrations\n2026-10-01,a,-0.004\n", "column 'registrations': '-0.004'"),
    "days that contradict": (
        "day,tag,commission\n2026-02-01,a,1\n26/02/2026,a,1\n02/26/2026,a,1\n",
        "lines 3 and 4, column 'day': '26/02/2026' has the day first and '02/26/2026' the month: write 2026-10-31",
    ),
    "marks that contradict": (
        'day,tag,commission\n2026-10-01,a,"1,50"\n2026-10-02,a,1.5\n', "lines 2 and 3, column 'commission': '1.5' and"
    ),
    "two columns of one name": ("day,tag,commission,commission\n2026-10-01,a,1,2\n", "line 1"),
    "two currencies in a row": (
        "day,tag,currency,commission\n2026-10-01,a,EUR,$5\n",
        "line 2, column 'commission': '$5' is in USD where the row",
    ),
    "a currency beside one amount alone": (
        "day,tag,commission_cpa,commission\n2026-10-01,a,3,$5\n",
        "line 2, column 'commission': '$5' is in USD where other amounts are in EUR",
    ),
    "a field too large": (f"day,tag,commission\n2026-10-01,{'a' * 1_200_000},1\n", "line 2"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED)
async def test_a_damaged_file_is_refused_whole_and_the_place_named(opened: Opened, damage: str) -> None:
    text, place = DAMAGED[damage]
    async with hub(opened) as team:
        await team.say("account add csv_upload name=Own")
        sent = base64.b64encode(text.encode()).decode()
        with pytest.raises(Refused) as refused:
            await team.say("sync upload own", file=sent)
        assert refused.value.field == "file"
        assert place in str(refused.value)
        assert await stored(team) == []


async def test_a_long_field_and_an_unknown_column_are_read(opened: Opened) -> None:
    async with hub(opened) as team:
        await team.say("account add csv_upload name=Own")
        text = f'day,tag,note,commission\n2026-10-01,a,"{"x" * 200_000}",1\n'
        assert (await team.say("sync upload own", file=base64.b64encode(text.encode()).decode()))["rows"] == 1


async def test_a_brand_called_total_with_the_same_figures_every_day_keeps_its_rows(opened: Opened) -> None:
    text = (
        "day,tag,commission\n2026-10-01,Total,5\n2026-10-02,Total,5\n2026-10-02,a,2\n2026-10-02,Subtotal,7\n"
        "2026-10-03,Total,0\nTotal,,12\n"
    )
    async with hub(opened) as team:
        await team.say("account add csv_upload name=Own")
        done = await team.say("sync upload own", file=base64.b64encode(text.encode()).decode())
        assert done["suspect"] is None
        assert [(day, tag, worth) for day, tag, _, worth in await stored(team)] == [
            ("2026-10-01", "Total", 5_000_000), ("2026-10-02", "Total", 5_000_000), ("2026-10-02", "a", 2_000_000),
            ("2026-10-03", "Total", 0),
        ]  # fmt: skip


async def test_a_total_that_contradicts_its_rows_holds_the_file(opened: Opened) -> None:
    text = "day,tag,commission\n2026-10-01,a,1\n2026-10-02,b,2\nTotal,,4\n"
    async with hub(opened) as team:
        await team.say("account add csv_upload name=Own")
        done = await team.say("sync upload own", file=base64.b64encode(text.encode()).decode())
        assert "line 4" in done["suspect"]
        assert await stored(team) == []
