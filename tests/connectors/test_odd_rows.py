"""Every connector against rows that platforms should not send: no case changes a figure."""

import csv
import io
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from connectors.base import Window
from connectors.http import Http
from connectors.registry import platform
from storage.ledger.facts import Report
from tests.connectors.recordings import answers, connection, window
from tests.connectors.test_bad_input import FETCHED, again, fetched, right, whole
from tests.connectors.web import serving

Rows = Callable[[list[Any]], list[Any]]


def strange(rows: list[Any]) -> list[Any]:
    """A column that is not known."""
    return [row | {"unheard_of": "17 things"} if isinstance(row, dict) else row for row in rows]


def twice(rows: list[Any]) -> list[Any]:
    """The last row once more."""
    return [*rows, rows[-1]] if rows and isinstance(rows[-1], dict) else rows


def changed(content: bytes, rows: Rows) -> bytes:
    """A recorded answer whose rows were changed, be it JSON, CSV or XML."""
    head, body = whole(content)
    text = body.decode()
    if b"json" in head:
        return again(content, msgspec.json.encode(_in_json(msgspec.json.decode(body), rows)))
    if b"xml" in head:
        return again(content, _in_xml(text, rows))
    return again(content, _in_csv(text, rows).encode())


def _in_json(value: Any, rows: Rows) -> Any:
    if isinstance(value, list):
        return rows([_in_json(item, rows) for item in value])
    if isinstance(value, dict):
        return {name: _in_json(item, rows) for name, item in value.items()}
    return value


def _in_csv(text: str, rows: Rows) -> str:
    dialect = csv.Sniffer().sniff(text.splitlines()[0], delimiters=",;\t")
    result = list(csv.DictReader(io.StringIO(text), dialect=dialect))
    made = rows(list(result))
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(made[0]), delimiter=dialect.delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(made)
    return out.getvalue()


def _in_xml(text: str, rows: Rows) -> bytes:
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        children = list(parent)
        if len(children) > 1 and len({child.tag for child in children}) == 1:
            if rows is twice:
                parent.append(children[-1])
            else:
                for child in children:
                    ElementTree.SubElement(child, "unheard_of").text = "17 things"
    return ElementTree.tostring(root)


@pytest.mark.parametrize("name", FETCHED)
async def test_a_column_no_one_has_heard_of_changes_nothing(name: str) -> None:
    assert (await fetched(name, lambda content: changed(content, strange))).rows == (await right(name)).rows


@pytest.mark.parametrize("name", FETCHED)
async def test_a_row_sent_twice_counts_once(name: str) -> None:
    assert (await fetched(name, lambda content: changed(content, twice))).rows == (await right(name)).rows


async def of_days(name: str, days: Window) -> Report:
    remaining = iter(answers(name, "normal"))
    last = answers(name, "normal")[-1]
    http = Http(allow_private=True, first_wait=0.01, seconds=60.0)
    async with serving(lambda _request: next(remaining, last)) as web, http:
        return await platform(name).fetch(http, connection(name, "normal", web.url), days)


@pytest.mark.parametrize("name", FETCHED)
async def test_rows_of_days_not_asked_for_are_left_out(name: str) -> None:
    request = window(name, "normal")
    days = Window(first=request.first, last=request.first)
    outcome = (await of_days(name, days)).rows
    assert {row.day for row in outcome} <= {request.first}
    assert [row for row in outcome if row.figures] == [
        row for row in (await right(name)).rows if row.day == request.first
    ]
