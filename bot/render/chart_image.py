"""A chart as a PNG. Only the helper process imports the renderer: it takes 100 MB while it is loaded."""

import re

import msgspec

from bot.core.message import Chart
from bot.render.chart_spec import Theme, specification

SCALE = 2  # pixels of the picture per pixel of a phone's layout
#: Emoji and what joins them: the renderer draws a box for each, since colour fonts are nothing to it.
_EMOJI = re.compile("[\U0001f000-\U0001faff\ufe0f\u200d\U000e0020-\U000e007f]+")


def draw(chart: Chart, theme: Theme = "light") -> bytes:
    """The chart as a PNG about 750 pixels wide."""
    import vl_convert

    spec = msgspec.json.encode(specification(_without_emoji(chart), theme)).decode()
    return bytes(vl_convert.vegalite_to_png(spec, scale=SCALE, show_warnings=False, allowed_base_urls=[]))


def _without_emoji(chart: Chart) -> Chart:
    """The chart with emoji left out of its texts; one that has nothing else keeps them."""

    def plain(text: str) -> str:
        return " ".join(_EMOJI.sub(" ", text).split()) or text

    series = tuple(msgspec.structs.replace(shown, name=plain(shown.name)) for shown in chart.series)
    return msgspec.structs.replace(
        chart, title=plain(chart.title), labels=tuple(map(plain, chart.labels)), series=series
    )
