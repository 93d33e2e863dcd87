"""Every connector without each of its columns in turn: said, or unknown, but never another figure."""

from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree

import pytest

from storage.ledger.errors import CasinoFluxError
from storage.ledger.facts import Report
from tests.connectors.recordings import answers, figures
from tests.connectors.test_bad_input import FETCHED, again, fetched, right, whole
from tests.connectors.test_odd_rows import changed

#: Columns whose absence sends the connector to another one, or to ask day by day (a recording cannot tell days apart).
OTHERWISE = {
    ("income_access", "period"),
    ("cellxpert", "Visitors"),
    ("myaffiliates", "Clicks"),
    ("affilka", "amount_cents"),
}
COMMISSION = ("commission_cpa", "commission_revshare", "commission_other")


def columns(name: str) -> list[str]:
    """The columns of a connector's recorded rows."""
    results: dict[str, None] = {}

    def see(rows: list[Any]) -> list[Any]:
        results.update(dict.fromkeys(key for row in rows for key in _cells(row)))
        return rows

    for content in answers(name, "normal"):
        head, body = whole(content)
        if b"xml" in head:
            results.update(dict.fromkeys(cell.tag for row in _xml_rows(ElementTree.fromstring(body)) for cell in row))
        else:
            changed(content, see)
    return list(results)


def _cells(row: Any) -> Iterator[str]:
    """Names of a row's cells, those of the groups in it included."""
    for key, value in row.items() if isinstance(row, dict) else ():
        if isinstance(value, dict):
            yield from _cells(value)
        elif not isinstance(value, list):
            yield key


def _bare(row: Any, column: str) -> Any:
    if not isinstance(row, dict):
        return row
    return {key: _bare(value, column) for key, value in row.items() if key != column}


def _xml_rows(root: ElementTree.Element) -> Iterator[ElementTree.Element]:
    for parent in list(root.iter()):
        rows = list(parent)
        if len(rows) > 1 and len({row.tag for row in rows}) == 1:
            yield from rows


def without(column: str) -> Callable[[bytes], bytes]:
    def rows(values: list[Any]) -> list[Any]:
        return [_bare(row, column) for row in values]

    def change(content: bytes) -> bytes:
        head, body = whole(content)
        if b"xml" not in head:
            return changed(content, rows)
        root = ElementTree.fromstring(body)
        for row in _xml_rows(root):
            for cell in [cell for cell in row if cell.tag == column]:
                row.remove(cell)
        return again(content, ElementTree.tostring(root))

    return change


def total(answer: dict[str, int]) -> int:
    return sum(answer.get(name, 0) for name in COMMISSION)


def agree(now: dict[str, int], before: dict[str, int]) -> bool:
    """What is told is what was told; a part of the commission without a column may count as `other` commission."""
    differing = {name for name, value in now.items() if before.get(name) != value}
    return not differing or (differing <= set(COMMISSION) and total(now) == total(before))


def sums(report: Report) -> dict[str, int]:
    results: dict[str, int] = {}
    for row in report.rows:
        for name, value in figures(row.figures).items():
            results[name] = results.get(name, 0) + value
    return results


@pytest.mark.parametrize("name", FETCHED)
async def test_a_column_that_is_missing_is_said_or_unknown(name: str) -> None:
    whole_report = await right(name)
    existing = {(row.day, row.tag, row.sub, row.part): figures(row.figures) for row in whole_report.rows}
    refused = 0
    for column in columns(name):
        if (name, column) in OTHERWISE:
            continue
        try:
            report = await fetched(name, without(column))
        except CasinoFluxError:
            refused += 1
            continue
        if report.damage:
            refused += 1
            continue
        if any((row.day, row.tag, row.sub, row.part) not in existing for row in report.rows):
            assert sums(report) == sums(whole_report), column  # told by another name, the figures are the same
            continue
        for row in report.rows:
            before = existing[row.day, row.tag, row.sub, row.part]
            assert agree(figures(row.figures), before), column
    assert columns(name)
