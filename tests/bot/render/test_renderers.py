"""Every message on every channel: within the platform's limits, shown as typed, never an exception."""

import json
import re
from html.parser import HTMLParser
from typing import Any

from hypothesis import HealthCheck, given, settings

from bot.core.message import Button, Buttons, Chart, Message, Series, Table, Text
from bot.render import terminal
from bot.slack import blocks as slack_blocks
from bot.telegram import html as telegram_html
from tests.bot.messages import DIGEST, MESSAGE
from tests.generated import examples
from tests.standins.slack_limits import check_slack

FUZZ = settings(max_examples=examples(120), suppress_health_check=list(HealthCheck))


class Tags(HTMLParser):
    """Reads what Telegram would: only its tags, each closed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert tag in {"b", "i", "pre", "code"}
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read_html(text: str) -> str:
    tags = Tags()
    tags.feed(text)
    tags.close()
    assert not tags.open
    return tags.text


def check_telegram(parts: list[telegram_html.Part]) -> None:
    assert parts
    for part in parts:
        if part.file:
            assert not part.html
            continue
        limit = 1024 if part.chart else 4096
        assert part.chart or telegram_html.size(part.html)
        assert telegram_html.size(part.html) <= limit
        assert read_html(part.html).strip() or part.chart
        keys = [key for row in part.keys for key in row]
        assert len(keys) <= 100
        assert all(0 < len(key.data.encode()) <= 64 for key in keys if not key.url)
        assert all(key.label for key in keys)


@FUZZ
@given(MESSAGE)
def test_any_message_fits_slack(message: Message) -> None:
    check_slack(slack_blocks.render(message))


@FUZZ
@given(MESSAGE)
def test_any_message_fits_slack_without_its_newer_blocks(message: Message) -> None:
    sent = slack_blocks.fallback(message)
    check_slack(sent)
    assert {block["type"] for block in sent["blocks"]} <= {"header", "section", "context", "actions"}


@FUZZ
@given(MESSAGE)
def test_any_message_fits_telegram(message: Message) -> None:
    check_telegram(telegram_html.render(message))


@FUZZ
@given(MESSAGE)
def test_any_message_prints_without_steering_the_terminal(message: Message) -> None:
    assert "\x1b" not in terminal.render(message)


def test_a_mention_in_a_name_calls_no_one() -> None:
    message = Message("<!channel> sale", (Text("see <@U123> *now*"), Text("<!here>", strong=True)))
    sent = json.dumps(slack_blocks.render(message), ensure_ascii=False)
    assert not re.search(r"<[!@#]", sent)
    assert slack_blocks.render(message)["text"] == "&lt;!channel&gt; sale"


def test_telegram_shows_html_as_typed() -> None:
    (part,) = telegram_html.render(Message("<b>x</b> & y", (Text("1 < 2"),)))
    assert read_html(part.html) == "<b>x</b> & y\n\n1 < 2"


def test_slack_shows_a_native_table_and_chart() -> None:
    kinds = [block["type"] for block in slack_blocks.render(DIGEST)["blocks"]]
    assert kinds == ["header", "section", "table", "data_visualization", "section", "section", "actions"]


def test_a_gap_in_a_chart_is_never_drawn_as_zero() -> None:
    gap = Chart("FTD", ("1", "2", "3"), (Series("FTD", (1.0, None, 3.0)),))
    assert "data_visualization" not in str(slack_blocks.render(Message("x", (gap,))))


def test_a_long_table_on_slack_says_how_much_is_left_out() -> None:
    table = Table(("a",), tuple((str(n),) for n in range(250)))
    blocks = slack_blocks.render(Message("x", (table,)))["blocks"]
    assert len(blocks[1]["rows"]) == 100
    assert blocks[2]["elements"][0]["text"] == "… and 151 more rows"


def test_a_narrow_table_is_aligned_on_telegram_and_a_wide_one_is_listed() -> None:
    narrow, wide = (
        Table(("a", "n"), (("x", "10"), ("yy", "9")), (1,)),
        Table(("a",) + ("column",) * 4, (("long text",) * 5,)),
    )
    assert "<pre>a    n\n──  ──\nx   10\nyy   9</pre>" in telegram_html.render(Message("t", (narrow,)))[0].html
    assert (
        "<b>long text</b>\ncolumn long text · column long text" in telegram_html.render(Message("t", (wide,)))[0].html
    )


def test_a_table_has_five_columns_at_most_on_telegram() -> None:
    heads, row = tuple(f"Head{n}" for n in range(8)), tuple(f"value {n} of some length" for n in range(8))
    for phone, shown in (((), [0, 1, 2, 3, 4]), ((0, 7, 3, 2, 1, 6), [0, 1, 2, 3, 7])):
        text = "".join(part.html for part in telegram_html.render(Message("M", (Table(heads, (row,), phone=phone),))))
        assert [n for n in range(8) if f"value {n}" in text] == shown


def test_a_very_long_answer_comes_as_a_file_on_telegram() -> None:
    parts = telegram_html.render(Message("Log", (Text("line\n" * 9000),)))
    assert [part.file.name for part in parts if part.file] == ["answer.txt"]
    assert len(parts) == 2


def test_a_long_command_behind_a_telegram_button_has_a_short_id() -> None:
    message = Message("x", (Buttons((Button("Go", "offer add " + "x" * 100), Button("Short", "stats 7d"))),))
    ((first, second),) = telegram_html.render(message)[0].keys
    assert first.data.startswith("#")
    assert second.data == "=stats 7d"
    assert telegram_html.long_commands(message) == ["offer add " + "x" * 100]


def test_a_local_address_stands_in_the_text_where_telegram_refuses_it_as_a_button() -> None:
    (part,) = telegram_html.render(Message("x", (Buttons((Button("Open", url="http://127.0.0.1:8000/s/a"),)),)))
    assert part.keys == ()
    assert "Open: http://127.0.0.1:8000/s/a" in part.html


def test_the_terminal_shows_the_whole_digest() -> None:
    shown = terminal.render(DIGEST)
    assert "spring-fb         12  410.00" in shown
    assert "→ Why: why spring-fb yesterday" in shown


def test_codes_in_a_table_of_texts_are_never_cut_on_telegram() -> None:
    code = "alpine-spins-alpine-spins-germany"
    table = Table(("Offer", "Code", "Status"), (("Alpine Spins", code, "active"),), phone=(0, 1, 2))
    assert code in telegram_html.render(Message("t", (table,)))[0].html


def test_numbers_in_a_table_are_shortened_and_never_cut_on_telegram() -> None:
    row = ("Казино Вулкан весна Германия", "1,234,567", "1,234 (1,230)", "€123,456,789,012.00", "1,234%")
    table = Table(("Campaign", "Clicks", "FTDs", "Profit", "ROI"), (row,), (1, 2, 3, 4), phone=(0, 1, 2, 3, 4))
    shown = telegram_html.render(Message("t", (table,)))[0].html
    assert "1.23M 1,234  €123B" in shown
    assert "…" in shown
