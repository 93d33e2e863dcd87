"""Rows of long reports stay packed from the connector to the database: they say what the same rows say one by one."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from connectors.base import Connection, Window
from connectors.platforms.smartico import PLATFORM
from storage.ledger.errors import ConnectorError
from storage.ledger.facts import Report, RevenueRow
from storage.ledger.revenue.packed_rows import PackedRows, blocks_of
from storage.ledger.revenue.report_parts import parts_cooperatively, parts_of
from storage.ledger.revenue.suspect import contradiction
from storage.reports import settle
from storage.reports.merged_report import merged_report
from storage.reports.report_view import ReportQuery
from storage.revenue import revisions
from storage.tables import MEASURES
from storage.tables import revenue as table
from tests.storage.books import FIRST, UTC_ZONE, at, build, later, row

Open = Callable[[], Any]
CONNECTION = Connection(timezone="UTC", currency="EUR", credentials={"api_key": "k"})
WINDOW = Window(first=date(2026, 3, 1), last=date(2026, 3, 3))


def record(n: int, **other: Any) -> dict[str, Any]:
    """A record of Smartico's answer; every seventh lacks a count, amounts have six digits."""
    return {
        "dt": f"{WINDOW.first + timedelta(days=n % 3)}T00:00:00.000Z", "link_id": n % 5, "link_name": f"Link {n % 5} ",
        "afp": f"Sub{n}", "brand_id": n % 2, "visit_count": n, "registration_count": None if n % 7 == 0 else n % 4,
        "ftd_count": n % 3, "deposit_total": n + 0.5, "net_pl": -n - 0.000001, "commissions_cpa": 40 * (n % 3),
        "commissions_rev_share": 0.07, "commissions_total": 40 * (n % 3) + 0.07, **other,
    }  # fmt: skip


def read(records: Sequence[dict[str, Any]], **options: Any) -> Report:
    connection = msgspec.structs.replace(CONNECTION, options=options)
    return PLATFORM.read(msgspec.json.encode({"meta": {}, "data": records}), connection, WINDOW)


def read_singly(records: Sequence[dict[str, Any]]) -> list[RevenueRow]:
    return [of for one in records for of in read([one]).rows]


def test_a_long_answer_is_packed_and_says_what_its_records_say_one_by_one() -> None:
    records = [record(n) for n in range(1_700)]
    report = read(records)
    assert isinstance(report.rows, PackedRows)
    assert report.rows.distinct
    assert list(report.rows) == read_singly(records)
    assert report.rows == parts_of(report).report(b"").rows
    assert "registrations" in report.rows.stated - report.rows.whole
    assert "qualified" not in report.rows.stated
    assert report.damage == ""


@pytest.mark.parametrize("at_", [3, 1_200])
def test_an_odd_record_is_read_as_ever(at_: int) -> None:
    records = [record(n) for n in range(1_700)]
    for odd, damaged in (
        (record(at_, afp="Other", visit_count="12"), False),
        (record(at_, afp="Other", nested={"a": 1}), False),
        (record(at_ - 1), True),  # the one before once more
        (record(at_, afp="Other", net_pl=0.1234564), False),
        (record(at_, dt="2026-04-01T00:00:00.000Z"), False),
    ):
        changed = [*records[:at_], odd, *records[at_ + 1 :]]
        report = read(changed)
        expected = {(of.day, of.tag, of.sub, of.part): of for of in read_singly(changed)}
        assert list(report.rows) == list(expected.values())
        assert ("stands twice" in report.damage) is damaged


@pytest.mark.parametrize("large", [{"visit_count": 1 << 62}, {"net_pl": 5_000_000_000_000}, {"net_pl": -5e12}])
def test_figures_that_databases_may_not_keep_are_looked_at_one_by_one(large: dict[str, Any]) -> None:
    records = [record(n, commissions_cpa=0, commissions_total=0) for n in range(1_700)]
    records[1_200] |= large
    rows = read(records).rows
    assert not isinstance(rows, PackedRows)
    assert list(rows) == read_singly(records)


def test_whole_amounts_and_fractions_that_came_before_are_read_alike() -> None:
    for amounts in ((0, 40, 7), (0.0, 40, 7.5), (7.5, 0, 999_999_999), (1_000_000_000, 0, 7)):
        records = [record(n, net_pl=amounts[n % 3]) for n in range(1_700)]
        assert list(read(records).rows) == read_singly(records)
    with pytest.raises(ConnectorError, match="net_pl"):
        read([record(n, net_pl=True) for n in range(1_700)])


def test_what_databases_do_not_keep_is_looked_for() -> None:
    report = read([record(n, link_name="a\0b") for n in range(1_700)])
    assert isinstance(report.rows, PackedRows)
    assert not report.rows.distinct


def test_totals_are_compared_with_packed_rows() -> None:
    rows = PackedRows.of(blocks_of([row(FIRST, sub=f"s{n}", registrations=2, ngr=n) for n in range(1_200)]))
    for stated, wrong in ((2_400, False), (2_401, True)):
        figures = msgspec.structs.replace(row(FIRST).figures, registrations=stated)
        report = Report(first=FIRST, last=FIRST, rows=rows, raw=b"", totals=figures)
        assert (contradiction(report, rows) is not None) is wrong
        assert (contradiction(report, list(rows)) is not None) is wrong


async def test_packed_rows_are_recorded_and_merged_like_others(opened: Open) -> None:
    rows = [
        row(later(n % 3), tag=("Main", "other", "x")[n % 3], sub=f"S{n}", registrations=None if n % 5 else n, ngr=n)
        for n in range(2_300)
    ]
    packed = PackedRows.of(blocks_of(rows))
    packed.distinct = True
    restated = [msgspec.structs.replace(rows[7], figures=msgspec.structs.replace(rows[7].figures, ngr=9)), *rows[8:]]
    packed_again = PackedRows.of(blocks_of(restated))
    packed_again.distinct = True
    stored, outcomes = list[Any](), list[Any]()
    columns = [table.c[name] for name in ("day", "tag", "tag_key", "sub", "currency", "withdrawn", *MEASURES)]
    async with opened() as database:
        async with database.begin() as tx:
            books = await build(tx)
            await books.account(tx, "beta")
            await books.offer(tx, "star", "beta", "main")
        for account, reports in (("acme", (tuple(rows), tuple(restated))), ("beta", (packed, packed_again))):
            for hour, of in enumerate(reports):
                report = Report(first=FIRST, last=later(2), rows=of, raw=b"")
                assert (await parts_cooperatively(report)).report(b"").rows == of
                outcomes.append(await revisions.record_in_slices(
                    database, team_id=books.team_id, account_id=books.ids[account], run_id=None, report=report,
                    now=at(later(4), hour), zone=UTC_ZONE,
                ))  # fmt: skip
            mine = select(*columns).where(table.c.account_id == books.ids[account]).order_by(*columns[:4])
            async with database.read() as tx:
                stored.append((await tx.execute(mine)).all())
        await settle.settle_all(database, UTC_ZONE)
        query = ReportQuery(team_id=books.team_id, first=FIRST, last=later(2), by=("account",))
        async with database.read() as tx:
            merged = await merged_report(tx, query)
    assert stored[0] == stored[1]
    assert len(stored[0]) == 2_300
    assert outcomes[:2] == outcomes[2:]
    assert (outcomes[0].revisions, outcomes[1].restated) == (2_300, 7)  # the first row says nothing but zeros
    acme, beta = merged.rows
    for one, other in ((acme, beta), *zip(merged.unassigned[:2], merged.unassigned[2:], strict=True)):
        assert (one.registrations, one.ngr) == (other.registrations, other.ngr)
    assert acme.ngr == sum(of.figures.ngr or 0 for of in restated if of.tag == "Main")


async def test_packed_figures_too_large_are_refused(opened: Open) -> None:
    rows = PackedRows.of(blocks_of([row(FIRST, sub=f"s{n}", ngr=n or 1 << 62) for n in range(1_200)]))
    async with opened() as database:
        async with database.begin() as tx:
            books = await build(tx)
        with pytest.raises(ConnectorError, match="too large"):
            await revisions.record_in_slices(
                database, team_id=books.team_id, account_id=books.ids["acme"], run_id=None,
                report=Report(first=FIRST, last=FIRST, rows=rows, raw=b""), now=at(later(4)), zone=UTC_ZONE,
            )  # fmt: skip
