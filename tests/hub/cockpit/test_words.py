"""What pages say of settings and changes: in words, never as JSON or as Python writes it."""

from datetime import date, timedelta
from typing import Any

from bot.commands.audits import arguments_in_words
from bot.core.command import COMMANDS
from bot.digests.message import DayFigures
from hub.cockpit.charts import commission_chart
from hub.cockpit.entities import _rows
from hub.cockpit.figures import Show
from hub.cockpit.forms import _TITLES, _title
from storage.catalogue.sources import Template

SHOW = Show(locale="en", currency="EUR", timezone="UTC")


def test_a_setting_with_parts_has_a_line_for_each_that_is_set() -> None:
    postbacks = {
        "registration": Template(url="https://source.example/cv?id={source_click_id}"),
        "first_deposit": Template(url="https://source.example/ftd", method="POST", enabled=False),
    }
    assert _rows(SHOW, "Postbacks", postbacks) == [
        ("Postbacks: registration", "https://source.example/cv?id={source_click_id} · GET"),
        ("Postbacks: first_deposit", "not enabled · https://source.example/ftd · POST"),
    ]
    assert _rows(SHOW, "Options", {"test": {"sandbox": True, "retries": 2}}) == [
        ("Options: test", "sandbox · retries 2")
    ]
    assert _rows(SHOW, "Parameters", {"sub1": "zone", "cost": None}) == [("Parameters: sub1", "zone")]


def test_a_setting_that_is_not_set_has_no_line_and_nought_has_one() -> None:
    nothing: tuple[Any, ...] = (None, "", [], {}, {"sub1": None})
    for unset in nothing:
        assert _rows(SHOW, "Cap", unset) == []
    assert _rows(SHOW, "Cap", 0) == [("Cap", "0")]
    assert _rows(SHOW, "Direct", value=False) == [("Direct", "no")]
    assert _rows(SHOW, "Markets", ["DE", "AT"]) == [("Markets", "DE, AT")]


def test_arguments_of_a_change_stand_in_one_line() -> None:
    assert arguments_in_words({"offers": ["a", "b"], "binding": True, "weights": {"a": 2}, "lines": ["x"] * 82}) == (
        'offers=a,b binding=true weights={"a":2} lines=82 of them'
    )


def test_a_chart_of_a_single_day_keeps_its_thirty_days() -> None:
    last = date(2026, 11, 28)
    days = [DayFigures(day=last - timedelta(days=n)) for n in range(29, 1, -1)]
    days += [DayFigures(day=last - timedelta(days=1), settled=471.1, spend=21.0), DayFigures(day=last)]
    bars, line = commission_chart(days, "EUR")["layer"]
    assert bars["encoding"]["x"]["scale"]["domain"] == [
        {"year": 2026, "month": 10, "date": 30, "utc": True}, {"year": 2026, "month": 11, "date": 29, "utc": True},
    ]  # fmt: skip
    assert line["mark"]["point"], "a line of one point shows nothing"


def test_a_form_is_called_what_it_does() -> None:
    assert set(_TITLES) <= set(COMMANDS)
    titles = {name: _title(command) for name, command in COMMANDS.items() if not command.reads}
    assert titles["campaign create"] == "Create campaign"
    nouns = {"details", "files", "image", "logo", "now", "role", "rule"}
    assert [title for title in titles.values() if title.split()[0].lower() in nouns] == []
