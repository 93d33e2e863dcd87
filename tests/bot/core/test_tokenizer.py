"""What people type is understood: quotes, phones' typography, days and ranges."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.tokenizer import MAX_ARGUMENT, day, period, previous_period, split, yes
from storage.ledger.errors import Refused

TODAY = date(2026, 11, 22)  # a Sunday


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            'offer add casino="Lucky Star" tag=x',
            [(None, "offer"), (None, "add"), ("casino", "Lucky Star"), ("tag", "x")],
        ),
        ("casino=“Lucky Star”", [("casino", "Lucky Star")]),
        ("stats\u00a07d", [(None, "stats"), (None, "7d")]),
        ("url=https://a.example.test/?s={click_id}&b=2", [("url", "https://a.example.test/?s={click_id}&b=2")]),
        (r'name="say \"hi\""', [("name", 'say "hi"')]),
        ('alert add "ftd < 50% of 7d avg"', [(None, "alert"), (None, "add"), (None, "ftd < 50% of 7d avg")]),
        ("—json", [(None, "json")]),
        ("stats --csv=true —by=day", [(None, "stats"), ("csv", "true"), ("by", "day")]),
        ("name='Lucky Star' x=y", [("name", "Lucky Star"), ("x", "y")]),
        ("name=‘Lucky Star’", [("name", "Lucky Star")]),
        ("name=O’Brien casino=Rock'n'Roll", [("name", "O'Brien"), ("casino", "Rock'n'Roll")]),
        ("name=🍀 x=שלום", [("name", "🍀"), ("x", "שלום")]),
    ],
)
def test_words_come_apart_as_meant(text: str, words: list[tuple[str | None, str]]) -> None:
    assert split(text) == words


def test_an_open_quote_is_named() -> None:
    with pytest.raises(Refused, match="quote") as caught:
        split('offer add casino="Lucky Star')
    assert caught.value.field == "casino"


def test_an_overlong_value_is_refused() -> None:
    with pytest.raises(Refused, match="3,000"):
        split("name=" + "x" * (MAX_ARGUMENT + 1))


@given(st.text(max_size=300))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        words = split(text)
    except Refused:
        return
    assert all(isinstance(value, str) for _, value in words)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("today", TODAY), ("yesterday", date(2026, 11, 21)), ("2026-10-01", date(2026, 10, 1)),
        ("01.10.2026", date(2026, 10, 1)), ("1 oct", date(2026, 10, 1)), ("oct 1 2025", date(2025, 10, 1)),
        ("monday", date(2026, 11, 16)), ("3d ago", date(2026, 11, 19)), ("sunday", TODAY),
        ("last sunday", date(2026, 11, 15)), ("on monday", date(2026, 11, 16)),
        ("the day before yesterday", date(2026, 11, 20)),
    ],
)  # fmt: skip
def test_days_as_people_write_them(text: str, expected: date) -> None:
    assert day(text, TODAY) == expected


@pytest.mark.parametrize("text", ["soon", "2026-13-01", "31.02.2026", "", "1 foo", "١ oct", "-٣d", "1 oct ２０２６"])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        day(text, TODAY)


@pytest.mark.parametrize(
    "text", ["1 octopus", "marble 3", "3 marraskuu", "3 märz", "money", "wedding", "sunshine", "1 oc"]
)
def test_a_word_that_only_begins_like_a_month_or_weekday_is_no_day(text: str) -> None:
    for read in (day, period):
        with pytest.raises(ValueError, match=r"day|month|range"):
            read(text, TODAY)


@pytest.mark.parametrize("text", ["1 oct", "1 octob", "1 October", "oct. 1", "october 1, 2026"])
def test_a_month_is_its_name_or_its_first_letters(text: str) -> None:
    assert day(text, TODAY) == date(2026, 10, 1)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("7d", date(2026, 11, 16), TODAY), ("mtd", date(2026, 11, 1), TODAY), ("today", TODAY, TODAY),
        ("2026-10-01..2026-10-31", date(2026, 10, 1), date(2026, 10, 31)),
        ("last-month", date(2026, 10, 1), date(2026, 10, 31)), ("last month", date(2026, 10, 1), date(2026, 10, 31)),
        ("this week", date(2026, 11, 16), TODAY), ("last week", date(2026, 11, 9), date(2026, 11, 15)),
        ("nov", date(2026, 11, 1), TODAY), ("dec", date(2025, 12, 1), date(2025, 12, 31)),
        ("oct..nov", date(2026, 10, 1), TODAY), ("mon", date(2026, 11, 16), date(2026, 11, 16)),
        ("last sunday", date(2026, 11, 15), date(2026, 11, 15)), ("since 1 oct", date(2026, 10, 1), TODAY),
        ("1-5 oct", date(2026, 10, 1), date(2026, 10, 5)), ("1 oct to 5 oct", date(2026, 10, 1), date(2026, 10, 5)),
        ("28 dec - 3 jan", date(2025, 12, 28), date(2026, 1, 3)), ("last 7 days", date(2026, 11, 16), TODAY),
        ("1 oct - 7 oct 2025", date(2025, 10, 1), date(2025, 10, 7)),
        ("q3", date(2026, 7, 1), date(2026, 9, 30)), ("q4", date(2026, 10, 1), TODAY),
        ("2025 q4", date(2025, 10, 1), date(2025, 12, 31)), ("q4 2025", date(2025, 10, 1), date(2025, 12, 31)),
        ("last 3 months", date(2026, 8, 23), TODAY), ("last two weeks", date(2026, 11, 9), TODAY),
        ("past month", date(2026, 10, 23), TODAY), ("1 year", date(2025, 11, 23), TODAY),
        ("in november", date(2026, 11, 1), TODAY), ("the last 7 days", date(2026, 11, 16), TODAY),
        ("year to date", date(2026, 1, 1), TODAY), ("week 40", date(2026, 9, 28), date(2026, 10, 4)),
        ("week 52", date(2025, 12, 22), date(2025, 12, 28)), ("weekend", date(2026, 11, 21), TODAY),
        ("last weekend", date(2026, 11, 14), date(2026, 11, 15)), ("since q3", date(2026, 7, 1), TODAY),
        ("day before yesterday", date(2026, 11, 20), date(2026, 11, 20)),
        ("q2 to q3", date(2026, 4, 1), date(2026, 9, 30)),
        ("1st of oct", date(2026, 10, 1), date(2026, 10, 1)), ("since the 2nd of nov", date(2026, 11, 2), TODAY),
        ("nov 1-7", date(2026, 11, 1), date(2026, 11, 7)), ("oct-nov", date(2026, 10, 1), TODAY),
        ("mon-wed", date(2026, 11, 16), date(2026, 11, 18)), ("28.12.-3.1.", date(2025, 12, 28), date(2026, 1, 3)),
        ("28.12.2025-03.01.2026", date(2025, 12, 28), date(2026, 1, 3)), ("h1", date(2026, 1, 1), date(2026, 6, 30)),
        ("2025", date(2025, 1, 1), date(2025, 12, 31)), ("2024..2025", date(2024, 1, 1), date(2025, 12, 31)),
        ("kw 46", date(2026, 11, 9), date(2026, 11, 15)), ("w47 2025", date(2025, 11, 17), date(2025, 11, 23)),
        ("two weeks ago", date(2026, 11, 2), date(2026, 11, 8)), ("a month ago", date(2026, 10, 1), date(2026, 10, 31)),
        ("of the week", date(2026, 11, 16), TODAY), ("this month so far", date(2026, 11, 1), TODAY),
        ("2026-W40", date(2026, 9, 28), date(2026, 10, 4)), ("last quarter", date(2026, 7, 1), date(2026, 9, 30)),
    ],
)  # fmt: skip
def test_ranges_end_where_people_expect(text: str, first: date, last: date) -> None:
    assert period(text, TODAY) == (first, last)


@pytest.mark.parametrize(
    "text",
    [
        "0d",
        "2026-10-31..2026-10-01",
        "forever",
        "q5",
        "week 60",
        "in",
        "the last",
        "nov 31-33",
        "..",
        "week",
        "28.12.-",
    ],
)
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        period(text, TODAY)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("7d", date(2026, 11, 9), date(2026, 11, 15)), ("mtd", date(2026, 10, 1), date(2026, 10, 22)),
        ("last week", date(2026, 11, 2), date(2026, 11, 8)), ("oct", date(2026, 9, 1), date(2026, 9, 30)),
        ("yesterday", date(2026, 11, 20), date(2026, 11, 20)),
    ],
)  # fmt: skip
def test_the_range_before_has_the_same_days_of_its_week_or_month(text: str, first: date, last: date) -> None:
    assert previous_period(text, *period(text, TODAY)) == (first, last)


def test_yes_and_no() -> None:
    assert yes("on")
    assert not yes("0")
    with pytest.raises(ValueError):
        yes("maybe")


def test_a_line_written_from_a_command_reads_back_as_it() -> None:
    from bot.core.command import line_of, parse

    for value in ("plain", "two words", 'a "quoted" one', "back\\slash", "it's", "a=b", "Казино Вулкан"):
        command, arguments = parse(line_of(parse("campaign create x")[0], {"name": value, "source": "fb"}))
        assert (command.name, arguments) == ("campaign create", {"name": value, "source": "fb"})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("why spring 25 nov", {"what": "spring", "day": "25 nov"}),
        ("why spring last monday", {"what": "spring", "day": "last monday"}),
        ("why spring 25 nov 2025", {"what": "spring", "day": "25 nov 2025"}),
        ("why spring day=day before yesterday", {"what": "spring", "day": "day before yesterday"}),
        (
            "spend add spring oct 1 2000 EUR",
            {"campaign": "spring", "day": "oct 1", "amount": "2000", "currency": "EUR"},
        ),
        ("spend add spring yesterday 20", {"campaign": "spring", "day": "yesterday", "amount": "20"}),
    ],
)
def test_a_day_of_several_words_needs_no_quotes(line: str, words: dict[str, str]) -> None:
    from bot.core.command import parse

    assert parse(line)[1] == words
