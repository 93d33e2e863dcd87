"""What an answer states of its rows: their number or totals that contradict them, or are gone later, are damage."""

from collections.abc import Callable
from datetime import date
from typing import Any

import msgspec
import pytest

from connectors.base import Connection, Window
from connectors.pages import Page, bundle
from connectors.registry import platform
from storage.ledger.facts import Report
from storage.ledger.revenue.suspect import contradiction

WINDOW = Window(first=date(2026, 10, 1), last=date(2026, 10, 1))
DAY = "2026-10-01"
Change = Callable[[Any], None]


def affilka_cells() -> list[dict[str, Any]]:
    return [
        {"name": "visits_count", "value": 5},
        {"name": "partner_income", "value": {"amount": "7.5", "currency": "EUR"}},
    ]


def affilka() -> Any:
    row = [{"name": "day", "value": DAY}, {"name": "campaign_id", "value": 1}, *affilka_cells()]
    return {"rows": {"data": [row]}, "totals": {"data": [affilka_cells()]}, "current_page": 1, "total_pages": 1}


def scaleo() -> Any:
    figures = {"clicks": 5, "conversions": 2, "revenue": 7.5}
    return {
        "status": "success",
        "info": {"rows": [{"day": DAY, "offer_id": 1, "statistics": figures}], "totals": figures},
    }


def everflow() -> Any:
    figures = {"total_click": 5, "cv": 2, "revenue": 7.5}
    columns = [{"column_type": "offer", "id": "1", "label": "Demo"}]
    return {"table": [{"columns": columns, "reporting": figures}], "summary": figures}


def tune() -> Any:
    row = {
        "Stat": {"date": DAY, "offer_id": "1", "clicks": "5", "conversions": "2", "payout": "7.5", "currency": "EUR"}
    }
    return {"response": {"status": 1, "data": {"page": 1, "pageCount": 1, "count": 1, "data": {"a": row}}}}


def affise() -> Any:
    row = {"slice": {"day": DAY, "offer": {"id": "1"}}, "traffic": {"uniq": "5"}, "currency": "EUR",
           "actions": {"confirmed": {"count": 2, "revenue": 7.5}}}  # fmt: skip
    return {"status": 1, "stats": [row], "pagination": {"page": 1, "limit": 500, "total": 1}}


def alanbase() -> Any:
    row = {"group_fields": [{"label": "Demo", "id": 1}], "click_count": 5,
           "conversions": {"confirmed": {"count": 2, "payout": 7.5}}}  # fmt: skip
    return {"data": [row], "meta": {"page": 1, "last_page": 1, "total_count": 1}}


def referon() -> Any:
    figures = {"clicks": 5, "registrations": 2, "commission": "7.50"}
    row = {"date": DAY, "media_item": "MI-1", **figures}
    return {"data": [row], "totals": figures, "total_count": 1}


def smartico() -> Any:
    row = {"dt": f"{DAY}T00:00:00.000Z", "link_id": 1, "visit_count": 5, "ftd_count": 2, "commissions_total": 7.5}
    return {"data": [row], "meta": {"affiliate_id": 1, "total": 1}}


def netrefer() -> Any:
    figures = {"Clicks": 5, "Signups": 2, "Earnings": 7.5}
    return {"data": [{"Date": DAY, "MarketingSource": "spring", **figures}], "totals": figures, "total_count": 1}


def trackbox() -> Any:
    customer = {"uniqueid": "u1", "created": f"{DAY} 10:00:00", "depositor": 0, "first_depositDate": None}
    return {"data": [{"customerData": customer, "tracking": {"so": "spring"}}], "meta": {"total": 1, "lastPage": 1}}


def read(name: str, content: Any, shape: tuple[str, ...] | None = None) -> Report:
    body = msgspec.json.encode(content)
    by_day = name in {"everflow", "alanbase"}
    connection = Connection(timezone="UTC", currency="EUR", shape=shape)
    return platform(name).read(bundle([Page(DAY, body), Page("end", b"")]) if by_day else body, connection, WINDOW)


def fault(report: Report) -> str:
    return report.damage or contradiction(report, report.rows) or ""


def put(value: Any, *path: str | int) -> Change:
    """A change that puts the value at a place of the answer; None takes it away."""

    def change(content: Any) -> None:
        for part in path[:-1]:
            content = content[part]
        if value is None:
            del content[path[-1]]
        else:
            content[path[-1]] = value

    return change


ANSWERS: dict[str, tuple[Callable[[], Any], Change, Change]] = {
    "affilka": (affilka, put(57, "totals", "data", 0, 0, "value"), put([], "totals", "data")),
    "scaleo": (scaleo, put({"clicks": 5, "revenue": 75.0}, "info", "totals"), put({}, "info", "totals")),
    "everflow": (everflow, put({"total_click": 6, "revenue": 7.5}, "summary"), put(None, "summary")),
    "tune": (tune, put(3, "response", "data", "count"), put(None, "response", "data", "count")),
    "affise": (affise, put(2, "pagination", "total"), put(None, "pagination")),
    "alanbase": (alanbase, put(2, "meta", "total_count"), put(None, "meta")),
    "referon": (referon, put(2, "total_count"), put(None, "total_count")),
    "smartico": (smartico, put(4, "meta", "total"), put(None, "meta", "total")),
    "netrefer": (netrefer, put(57, "totals", "Clicks"), put(None, "total_count")),
    "trackbox": (trackbox, put(2, "meta", "total"), put(None, "meta", "total")),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_what_an_answer_states_of_its_rows_is_compared_with_them(name: str) -> None:
    answer, wrong, _ = ANSWERS[name]
    assert fault(read(name, answer())) == ""
    content = answer()
    wrong(content)
    assert fault(read(name, content)) != ""


@pytest.mark.parametrize("name", ANSWERS)
def test_what_earlier_answers_stated_and_this_one_lacks_is_damage(name: str) -> None:
    answer, _, removed = ANSWERS[name]
    shape = read(name, answer()).shape
    content = answer()
    removed(content)
    assert fault(read(name, content)) == ""
    assert "it lacks" in fault(read(name, content, shape))


def test_totals_of_referon_are_compared_too() -> None:
    content = referon()
    content["totals"]["commission"] = "75"
    assert "7.50" in fault(read("referon", content))


def test_affilka_without_a_row_contradicts_totals_that_it_states() -> None:
    content = affilka()
    content["rows"]["data"] = []
    assert "0 visits" in fault(read("affilka", content))


def test_an_answer_without_rows_need_not_state_totals() -> None:
    content = scaleo()
    shape = read("scaleo", content).shape
    content["info"] = {"rows": [], "totals": {}}
    assert fault(read("scaleo", content, shape)) == ""
