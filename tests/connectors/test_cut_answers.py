"""An answer that breaks off, at whatever byte, is refused or held: it is never read as a shorter report."""

from datetime import date, timedelta

import msgspec
import pytest

from connectors.base import Connection, Window
from connectors.platforms.myaffiliates import PLATFORM
from storage.ledger.errors import ConnectorError
from storage.ledger.facts import Report

FIRST = date(2026, 10, 1)
WINDOW = Window(first=FIRST, last=date(2026, 10, 31))
FRESH = Connection(timezone="UTC", currency="EUR")


def answered(rows: int, *, blocks: int = 1, end: str = "\n") -> bytes:
    """A report as a portal sends it: a header and a totals line for each customer group."""
    lines: list[str] = []
    for block in range(blocks):
        lines.append("Date,Campaign,Clicks,Signups,FTD,Total Deposits,Income CPA,Income Revshare,Income")
        part = range(block, rows, blocks)
        for n in part:
            day = FIRST + timedelta(days=n % 31)
            lines.append(
                f"{day},spring-{n // 31:02},{100 + n},{20 + n % 7},{n % 5},{50 + n}.50,{n % 5 * 40}.00,{n % 9}.25,"
                f"{n % 5 * 40 + n % 9}.25"
            )
        cents = [(5050 + 100 * n, n % 5 * 4000, n % 9 * 100 + 25) for n in part]
        deposits, cpa, share = (sum(column) for column in zip(*cents, strict=True))
        counts = [sum(column) for column in zip(*((100 + n, 20 + n % 7, n % 5) for n in part), strict=True)]
        money = [f"{value // 100}.{value % 100:02}" for value in (deposits, cpa, share, cpa + share)]
        lines.append(",".join(["Total", "", *map(str, counts), *money]))
    return (end.join(lines) + end).encode()


def read(raw: bytes, connection: Connection) -> Report | None:
    """The report; None where it is refused."""
    try:
        return PLATFORM.read(raw, connection, WINDOW)
    except ConnectorError:
        return None


def taken_as_whole(whole: bytes, connection: Connection, *, step: int = 1, closely: int = 0) -> list[int]:
    """The positions, each `step` and all of the last `closely`, at which an answer's beginning passes for the whole."""
    taken = []
    positions = {*range(0, len(whole), step), *range(len(whole) - closely, len(whole))}
    for at in sorted(positions):
        report = read(whole[:at], connection)
        if report is not None and not report.damage:
            taken.append(at)
    return taken


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_short_myaffiliates_answer_cut_at_any_byte_is_never_taken_as_whole(end: str) -> None:
    whole = answered(40, end=end)
    report = read(whole, FRESH)
    assert report is not None
    assert (report.damage, len(report.rows)) == ("", 40)
    existing = msgspec.structs.replace(FRESH, shape=report.shape)
    assert taken_as_whole(whole, FRESH) == []
    assert taken_as_whole(whole, existing) == []


def test_an_answer_cut_after_a_customer_group_is_noticed_once_a_whole_one_is_known() -> None:
    whole = answered(40, blocks=2)
    report = read(whole, FRESH)
    assert report is not None
    assert report.damage == ""
    assert taken_as_whole(whole, msgspec.structs.replace(FRESH, shape=report.shape)) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_long_myaffiliates_answer_is_never_taken_as_whole_when_cut() -> None:
    whole = answered(580)
    assert len(whole) > 31_000
    assert taken_as_whole(whole, FRESH, step=29, closely=600) == []
