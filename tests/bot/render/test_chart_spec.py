"""Charts: what their Vega-Lite specification says, and the pictures made of it."""

import io
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from PIL import Image

from bot.core.message import Chart, Series
from bot.render.chart_image import draw
from bot.render.chart_spec import COLOURS, Theme, legend, specification
from tests.bot.messages import CHART
from tests.bot.render.test_renderers import FUZZ

DAYS = tuple(f"{n:02} Nov" for n in range(1, 31))
DIGEST = Chart(
    "Commission, spend and FTDs, 30 days",
    DAYS,
    (
        Series("Commission", tuple(None if n > 25 else n * 10.0 for n in range(30)), "bar"),
        Series("Commission, not settled", tuple(90.0 if n > 25 else None for n in range(30)), "bar", provisional=True),
        Series("Spend", (40.0,) * 30, "bar"),
        Series("FTDs", tuple(None if n == 7 else float(n % 9) for n in range(30))),
    ),
    "EUR",
)


def panels(chart: Chart, theme: Theme = "light") -> list[Any]:
    panels: list[Any] = specification(chart, theme)["vconcat"]
    return panels


def test_amounts_and_counts_have_panels_of_their_own_with_titled_axes_and_legends() -> None:
    bars, lines = panels(DIGEST)
    assert [panel["encoding"]["y"]["axis"]["title"] for panel in (bars, lines)] == ["EUR", "FTDs"]
    assert bars["encoding"]["color"]["scale"]["domain"] == ["Commission", "Commission, not settled", "Spend"]
    assert bars["encoding"]["color"]["legend"]["orient"] == "top"
    assert specification(DIGEST)["title"]["text"] == ["Commission, spend and FTDs, 30 days"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_provisional_series_is_a_pale_outlined_kind_of_its_own_series(theme: Theme) -> None:
    encoding = panels(DIGEST, theme)[0]["encoding"]
    settled, provisional, spend = encoding["color"]["scale"]["range"]
    assert settled == COLOURS[theme][0]
    assert spend == COLOURS[theme][1]
    assert provisional not in COLOURS[theme]
    assert encoding["stroke"]["condition"]["test"] == {"field": "series", "oneOf": ["Commission, not settled"]}
    groups = {point["series"]: point["group"] for point in panels(DIGEST)[0]["data"]["values"]}
    assert groups["Commission"] == groups["Commission, not settled"] != groups["Spend"]
    assert "◻️ Commission, not settled" in legend(DIGEST)


def test_what_is_not_known_is_a_gap_and_never_zero() -> None:
    values = {point["at"]: point["value"] for point in panels(DIGEST)[1]["data"]["values"]}
    assert values[7] is None
    assert values[8] == 8.0
    assert all(point["value"] is not None for point in panels(DIGEST)[0]["data"]["values"])


def test_names_are_data_and_no_program() -> None:
    chart = Chart("x", ("'];alert(1)//", '"', "c"), (Series("datum.value", (1.0, 2.0, 3.0)),))
    assert panels(chart)[0]["encoding"]["x"]["axis"]["labelExpr"] == r"""["'];alert(1)//","\"","c"][datum.value]"""
    assert draw(chart).startswith(b"\x89PNG")


@FUZZ
@given(CHART)
def test_any_chart_has_a_specification_and_a_legend(chart: Chart) -> None:
    assert specification(chart)["vconcat"]
    assert isinstance(legend(chart), str)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("chart", [DIGEST, Chart("Удача", ("a",), (Series("Клики", (1.0,)),))])
def test_a_picture_has_the_width_of_a_phone_and_is_not_blank(chart: Chart, theme: Theme) -> None:
    image = Image.open(io.BytesIO(draw(chart, theme))).convert("RGB")
    assert 600 <= image.width <= 900
    assert 150 <= image.height <= 1200
    assert len(image.getcolors(1 << 20) or []) > 10


def test_the_colours_of_the_series_stand_in_the_picture() -> None:
    image = Image.open(io.BytesIO(draw(DIGEST))).convert("RGB")
    shown = {colour for count, colour in image.getcolors(1 << 20) or [] if count > 50}
    expected = [tuple(bytes.fromhex(colour[1:])) for colour in COLOURS["light"][:3]]
    assert all(colour in shown for colour in expected)
    assert all(first != second for first, second in pairwise(expected))


def test_a_picture_of_names_with_emoji_is_that_of_the_names_without() -> None:
    """The renderer would draw boxes."""
    labels = ("Spring 💸", "👨‍👩‍👧‍👦 Familie", "🏴‍☠️ Pirates", "Plain")
    bare = ("Spring", "Familie", "☠ Pirates", "Plain")
    values = (Series("Clicks 💸", (3.0, 2.0, 1.0, 1.0), "bar"),)
    with_emoji = draw(Chart("Clicks", labels, values, "", True))
    without = draw(Chart("Clicks", bare, (msgspec.structs.replace(values[0], name="Clicks"),), "", True))
    assert with_emoji == without
