"""Any Message at all, for fuzzing, and a few that look like the real ones."""

from hypothesis import strategies as st

from bot.core.message import Button, Buttons, Chart, Fields, File, Message, Notice, Series, Table, Text

NASTY = st.sampled_from(
    [
        "<!channel>",
        "@everyone",
        "<b>bold</b>",
        "&amp;",
        "```",
        "*x*",
        "_y_",
        "💸" * 40,
        "مرحبا",
        "a\nb\n",
        " ",
        "\x1b[31m",
    ]
)
SHORT = st.text(max_size=60) | NASTY
LONG = st.builds(lambda text, times: text * times, SHORT, st.integers(1, 400))
ANY = SHORT | LONG
NUMBER = st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.floats(-1e6, 1e6)


def _tuple(element: st.SearchStrategy[str], most: int) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(element, max_size=most).map(tuple)


TABLE = st.builds(
    Table,
    _tuple(SHORT, 24),
    st.builds(lambda row, times: (row,) * times, _tuple(SHORT, 24), st.integers(0, 300)),
    st.lists(st.integers(0, 30), max_size=4).map(tuple),
)
CHART = st.builds(
    Chart,
    SHORT,
    _tuple(SHORT, 40),
    st.lists(st.builds(Series, SHORT, st.lists(NUMBER, max_size=40).map(tuple)), max_size=8).map(tuple),
    SHORT,
)
BUTTON = st.builds(
    Button,
    ANY,
    st.just("") | ANY,
    st.just("") | st.sampled_from(["https://example.test/x", "http://127.0.0.1/", "//["]),
)
BLOCK = st.one_of(
    st.builds(Text, ANY, st.booleans(), st.booleans()),
    st.builds(Fields, st.lists(st.tuples(ANY, ANY), max_size=30).map(tuple)),
    TABLE,
    CHART,
    st.builds(Buttons, st.lists(BUTTON, max_size=60).map(tuple)),
    st.builds(Notice, st.sampled_from(["ok", "info", "warning", "error"]), ANY),
    st.builds(File, SHORT, ANY),
)
MESSAGE = st.builds(Message, ANY, st.lists(BLOCK, max_size=70).map(tuple), st.booleans())

DIGEST = Message(
    "Yesterday: 18 FTDs · 760.00 EUR commission · ROI 153 %",
    (
        Fields((("Clicks", "1,200"), ("Registrations", "61"), ("FTDs", "18"), ("Commission", "760.00 EUR"))),
        Table(
            ("Campaign", "FTD", "Profit"),
            (("spring-fb", "12", "410.00"), ("<!channel> & co", "6", "-12.50"), ("seo", "–", "–")),
            (1, 2),
        ),
        Chart(
            "FTDs, last 7 days",
            ("16", "17", "18", "19", "20", "21", "22"),
            (Series("FTD", (10.0, 12.0, 9.0, 20.0, 18.0, 17.0, 18.0)),),
        ),
        Notice("warning", "Restated: lucky-star 20 → 18 FTDs on 2026-10-01"),
        Text("https://track.example.test/c/abc", code=True),
        Buttons(
            (Button("Why", "why spring-fb yesterday"), Button("Pause", "campaign pause spring-fb", style="danger"))
        ),
    ),
)
