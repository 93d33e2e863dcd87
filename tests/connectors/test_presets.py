"""Presets of files for platforms without an API: constructed exports with the header words that they know."""

from datetime import date
from typing import Any

import msgspec
import pytest

from connectors.base import Connection
from connectors.platforms.csv_upload import PLATFORM, PRESETS, TITLES
from connectors.registry import platform_name, preset_name
from storage.ledger.errors import ConnectorError
from storage.ledger.facts import Report
from storage.ledger.revenue.suspect import contradiction
from tests.connectors.recordings import figures

TODAY = date(2026, 10, 20)

FILES: dict[str, list[str]] = {
    "netrefer": [
        "Date,Marketing Source,Clicks,Signups,First Time Depositing Customers,Deposits,Net Revenue,Earnings",
        "2026-10-01,spring,41,10,4,400.00,88.40,340.00",
        "2026-10-02,spring,3,0,0,20.50,-12.50,-3.75",
        "Total,,44,10,4,420.50,75.90,336.25",
    ],
    "ego": [
        "Date;Website;Clic;Sign.;CPA BL;First Qty Deposit;Revenue CPA;NGR;Total Deposit;Earnings",
        "01/10/2026;spring;41;10;3;4;240,00 €;88,40 €;400,00 €;340,00 €",
        "02/10/2026;spring;3;0;0;0;0,00 €;-12,50 €;20,50 €;-3,75 €",
        "Total;;44;10;3;4;240,00 €;75,90 €;420,50 €;336,25 €",
    ],
    "mexos": [
        (
            "Date,Campaign,Unique Clicks,Casino Signups Cnt,Sport Signups Cnt,Casino RFD Cnt,Sport RFD Cnt,Deposit Cnt,"
            "Net Gaming After Deduction,Commission"
        ),
        "2026-10-01,spring,41,7,3,3,1,9,88.40,340.00",
        "2026-10-02,spring,3,0,0,0,0,1,-12.50,-3.75",
        "Total,,44,7,3,3,1,10,75.90,336.25",
    ],
    "partnermatrix": [
        (
            "Date,Tracking Code,Clicks,Registrations,First Time Deposits,Deposits,Total Deposits,NGR,CPA Commission,"
            "Revenue Share Commission,Total Commission"
        ),
        "2026-10-01,spring,41,10,4,9,400.00,88.40,240.00,100.00,340.00",
        "2026-10-02,spring,3,0,0,1,20.50,-12.50,0.00,-3.75,-3.75",
        "Total,,44,10,4,10,420.50,75.90,240.00,96.25,336.25",
    ],
    "raventrack": [
        "Date,Campaign,s1,Clicks,Sign Ups,FTDs,Net Revenue,Total Earnings",
        "2026-10-01,spring,clk_9f2,41,10,4,88.40,340.00",
        "2026-10-02,spring,,3,0,0,-12.50,-3.75",
        "Total,,,44,10,4,75.90,336.25",
    ],
    "quintessence": [
        "Date,Site,anid,Visits,New Registrations,FTD,Net Gaming Revenue,Commission",
        "2026-10-01,spring,clk_9f2,41,10,4,88.40,340.00",
        "2026-10-02,spring,,3,0,0,-12.50,-3.75",
        "Total,,,44,10,4,75.90,336.25",
    ],
}
#: What every one of the files says, in micro-units.
SAID = {"visits": 44, "registrations": 10, "first_deposits": 4, "ngr": 75_900_000}


def read(preset: str, lines: list[str] | bytes) -> Report:
    raw = lines if isinstance(lines, bytes) else ("\n".join(lines) + "\n").encode()
    account = Connection(timezone="UTC", currency="EUR", options={"preset": preset})
    return PLATFORM.read_upload(raw, account, TODAY)


def sums(report: Report) -> dict[str, int]:
    results: dict[str, int] = {}
    for row in report.rows:
        for name, value in figures(row.figures).items():
            results[name] = results.get(name, 0) + value
    return results


def test_every_preset_has_a_file_here() -> None:
    assert set(FILES) == set(PRESETS) - {"custom"}
    assert set(TITLES) < set(FILES)


@pytest.mark.parametrize("preset", FILES)
def test_a_file_gives_its_figures_and_agrees_with_its_totals(preset: str) -> None:
    report = read(preset, FILES[preset])
    told = sums(report)
    assert SAID.items() <= told.items()
    assert sum(told.get(f"commission_{kind}", 0) for kind in ("cpa", "revshare", "other")) == 336_250_000
    assert {(row.day, row.tag) for row in report.rows} == {(date(2026, 10, 1), "spring"), (date(2026, 10, 2), "spring")}
    assert contradiction(report, report.rows) is None
    assert report.damage == ""


@pytest.mark.parametrize("preset", FILES)
def test_totals_that_contradict_the_lines_are_said(preset: str) -> None:
    head, *lines, totals = FILES[preset]
    report = read(preset, [head, *lines, totals.replace("44", "45")])
    assert report.damage or contradiction(report, report.rows)


@pytest.mark.parametrize("preset", FILES)
def test_a_restated_file_changes_the_line_that_changed(preset: str) -> None:
    head, first, second, _ = FILES[preset]
    before, after = read(preset, [head, first, second]), read(preset, [head, first.replace("41", "39"), second])
    changed: list[Any] = [row for row in after.rows if row not in before.rows]
    assert [(row.day, row.figures.visits) for row in changed] == [(date(2026, 10, 1), 39)]


@pytest.mark.parametrize("preset", FILES)
def test_a_file_cut_anywhere_before_its_last_line_is_refused_or_says_only_what_it_said(preset: str) -> None:
    whole = ("\n".join(FILES[preset]) + "\n").encode()
    existing = {(row.day, row.tag, row.sub): row.figures for row in read(preset, whole).rows}
    last_cell = whole[: whole.rindex(b"\nTotal")].rindex(b";" if b";" in whole else b",")
    ends = {whole.index(b"\n", place) for place in range(len(whole) - len(FILES[preset][-1]) - 2)}
    places = [*range(whole.index(b"\n") + 1, last_cell), *ends]
    refused = 0
    for at in places:
        cell = whole[:at].rpartition(b"\n")[2]
        if cell.count(b";" if b";" in whole else b",") == FILES[preset][0].count(";" if b";" in whole else ","):
            continue  # within a line's last cell: nothing in the file tells a shorter number from a cut one
        try:
            report = read(preset, whole[:at])
        except ConnectorError:
            refused += 1
            continue
        for row in report.rows:
            assert msgspec.to_builtins(row.figures) == msgspec.to_builtins(existing[row.day, row.tag, row.sub]), at
    assert refused > 10


@pytest.mark.parametrize("preset", FILES)
def test_a_file_of_another_layout_names_the_columns_that_were_expected(preset: str) -> None:
    with pytest.raises(ConnectorError, match=r"expected .*; got Date, Colour|has no header line"):
        read(preset, ["Date,Colour,Shade", "2026-10-01,red,7"])


def test_a_bare_count_or_sum_of_deposits_is_taken_as_neither() -> None:
    report = read("partnermatrix", FILES["partnermatrix"])
    assert [row.figures.deposits for row in report.rows] == [None, None]


@pytest.mark.parametrize(("word", "preset"), [("EGO", "ego"), ("Partner Matrix", "partnermatrix"), ("mexos", "mexos")])
def test_a_platform_that_is_a_preset_is_known_by_its_name(word: str, preset: str) -> None:
    assert (platform_name(word), preset_name(word)) == ("csv_upload", preset)
    assert preset_name("affilka") == preset_name("netrefer") == ""
