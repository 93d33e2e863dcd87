"""Files of other trackers and spreadsheets: in several languages and encodings, and cut off at every byte."""

import re
from datetime import date

import pytest

from connectors.trackers.registry import FileOptions, read_file
from storage.ledger.errors import Refused
from storage.ledger.imports.tracker import Days, Setup

ENGLISH = """day,campaign,offer,country,clicks,conversions,leads,revenue,cost
2026-09-01,Spring,Lucky,Austria,1200,14,3,240.50,96.00
2026-09-13,Spring,Lucky,DE,300,2,,40.00,24.00
"""
GERMAN = """Datum;Kampagne;Angebot;Land;Klicks;Konversionen;Anmeldungen;Umsatz;Kosten
01.09.2026;Spring;Lucky;Österreich;1.200;14;3;240,50;96,00
13.09.2026;Spring;Lucky;Deutschland;300;2;;40,00;24,00
Gesamt;;;;1.500;16;3;280,50;120,00
"""
RUSSIAN = """Дата;Кампания;Оффер;Страна;Клики;Конверсии;Лиды;Доход;Расход;Прибыль
01.09.2026;Spring;Lucky;Австрия;1 200;14;3;240,50;96,00;144,50
13.09.2026;Spring;Lucky;Германия;300;2;;40,00;24,00;16,00
Итого;;;;1 500;16;3;280,50;120,00;160,50
"""
POLISH = """Data\tKampania\tOferta\tKraj\tKliknięcia\tKonwersje\tRegs\tPrzychód\tKoszt
2026-09-01\tSpring\tLucky\tAustria\t1200\t14\t3\t240,50\t96,00
2026-09-13\tSpring\tLucky\tNiemcy\t300\t2\t\t40,00\t24,00
"""
LANGUAGES = {"English": ENGLISH, "German": GERMAN, "Russian": RUSSIAN, "Polish": POLISH}
OTHERS = {
    "clicks": "click_id,campaign,offer,time,country,status\nabc1,Push,Lucky,2026-10-01 10:00:00,DE,lead\n"
    "abc2,Push,Lucky,2026-10-01 11:00:00,DE,sale\n",
    "offers": "name,url,network\nLucky,https://a.example.test/?s={click_id},Net\nWild,https://b.example.test/?s=1,Net\n",
    "campaigns": "name,alias,source,offers\nPush,xy1,Push House,lucky:3\nNative,xy2,Taboola,lucky:12\n",
    "sources": "name,postback\nPush,https://p.example.test/?c={click_id}\nPop,https://q.example.test/?c={click_id}\n",
}
#: Day, country, clicks, conversions, what the raw statuses count, revenue and cost of each row.
FIGURES: list[tuple[object, ...]] = [
    (date(2026, 9, 1), "AT", 1200, 14, 3, 240_500_000, 96_000_000),
    (date(2026, 9, 13), "DE", 300, 2, 0, 40_000_000, 24_000_000),
]
STATSDRONE = "Lucky Partners,anna,s3cret,push+ios,EUR\nWild Affiliates,key-1,id-1\nLucky Partners,bob,hunter2\n"


def figures(raw: bytes, encoding: str = "") -> list[tuple[object, ...]]:
    """What a file says, as in FIGURES."""
    parts = read_file("csv", raw, FileOptions(encoding=encoding))
    return [
        (row.day, row.country, row.clicks, row.conversions, sum(row.statuses.values()), row.revenue, row.cost)
        for part in parts
        if isinstance(part, Days)
        for row in part.rows
    ]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "cp1251", "cp1250"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_one_table_is_the_same_in_every_language_and_encoding(language: str, encoding: str, ends: str) -> None:
    try:
        raw = LANGUAGES[language].replace("\n", ends).encode(encoding)
    except UnicodeEncodeError:
        return  # the encoding has no letters of that language
    read, refusal = FIGURES, ""
    try:
        read = figures(raw)
    except Refused as error:  # which Windows encoding it is cannot always be known, and is then asked for
        refusal = str(error)
    assert read == FIGURES
    assert not refusal or (encoding.startswith("cp") and "say the encoding" in refusal)
    assert figures(raw, encoding if encoding.startswith("cp") else "") == FIGURES


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("name", [*LANGUAGES, *OTHERS, "StatsDrone"])
def test_a_file_cut_off_in_a_line_is_refused_or_told(name: str, encoding: str) -> None:
    system = "statsdrone" if name == "StatsDrone" else "csv"
    raw = (STATSDRONE if name == "StatsDrone" else (LANGUAGES | OTHERS)[name]).encode(encoding)
    end = "\n".encode(encoding)[-2:] if encoding == "utf-16" else b"\n"
    assert not told(system, raw)
    refusals, silent = [], []
    for at in range(len(raw)):
        try:
            if not told(system, raw[:at]) and not raw[:at].endswith(end):
                silent.append(raw[:at])
        except Refused as refusal:
            refusals.append(refusal)
    # A totals line that is cut off takes no figure with it. A whole line at the end says nothing of more to come.
    assert all(name in LANGUAGES and figures(text) == FIGURES for text in silent)
    assert {refusal.field for refusal in refusals} == {"file"}
    assert not re.search(r"s3cret|hunter2", str(refusals))


def told(system: str, raw: bytes) -> bool:
    """Whether the dry run says that the last line may be cut off."""
    setup = read_file(system, raw, FileOptions())[0]
    assert isinstance(setup, Setup)
    return any(problem.kind == "file" for problem in setup.problems)


def test_a_country_that_is_none_is_told() -> None:
    setup = read_file("csv", ENGLISH.replace("Austria", "Ruritania").encode(), FileOptions())[0]
    assert isinstance(setup, Setup)
    assert [(problem.kind, problem.name) for problem in setup.problems] == [("country", "Ruritania")]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_statsdrones_table_is_the_same_in_every_encoding(encoding: str) -> None:
    raw = STATSDRONE.replace("Lucky", "Glück").replace(",", ";").encode(encoding)
    setup = read_file("statsdrone", raw, FileOptions(encoding="cp1252" if encoding == "cp1252" else ""))[0]
    assert isinstance(setup, Setup)
    assert [account.name for account in setup.accounts] == ["Glück Partners", "Wild Affiliates", "Glück Partners bob"]


def test_a_file_of_more_campaigns_than_a_team_can_have_is_refused() -> None:
    """600,000 names kept the event loop from answering clicks for minutes."""
    lines = "".join(f"c{number},2026-11-01,1\n" for number in range(10_001))
    with pytest.raises(Refused, match="10,001 campaigns, and a file may name 10,000: send it in parts"):
        read_file("csv", f"campaign,day,clicks\n{lines}".encode(), FileOptions())
