"""A chart as a PNG. Only the helper process imports the renderer: it takes 100 MB while it is loaded."""

import msgspec

from bot.core.message import Chart
from bot.render.chart_spec import Theme, specification

SCALE = 2  # pixels of the picture per pixel of a phone's layout


def draw(chart: Chart, theme: Theme = "light") -> bytes:
    """The chart as a PNG about 750 pixels wide."""
    import vl_convert

    spec = msgspec.json.encode(specification(chart, theme)).decode()
    return bytes(vl_convert.vegalite_to_png(spec, scale=SCALE, show_warnings=False, allowed_base_urls=[]))
