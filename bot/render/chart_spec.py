"""A chart as a Vega-Lite specification: the same for a picture in a chat and for a page that draws it live.

Bars and lines have panels of their own, one above the other, since amounts and counts share no scale. A provisional
series stacks on the bars of its colour, pale and with a dashed outline. Laid out for the width of a phone.
https://vega.github.io/vega-lite/docs/
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from bot.core.message import Chart, Series
from bot.render.text_columns import cut, last, line

Theme = Literal["light", "dark"]
Json = dict[str, Any]

WIDTH, PANEL = 300, 130  # of the plot, in pixels at the size of a phone (360 with its axes)
MOST_SERIES = 6
MOST_ROWS = 60  # of a heat map
MOST_POINTS = 400
ROOMY_ROWS, ROOMY_COLUMNS = 16, 6  # up to so many, a heat map has room for the values
FONT = "Roboto, DejaVu Sans, sans-serif"  # Roboto comes with vl-convert
COLOURS: dict[Theme, tuple[str, ...]] = {
    "light": ("#2563eb", "#ea580c", "#16a34a", "#9333ea", "#db2777", "#0d9488"),
    "dark": ("#60a5fa", "#fb923c", "#4ade80", "#c084fc", "#f472b6", "#2dd4bf"),
}
SIGNS = ("🟦", "🟧", "🟩", "🟪", "🟥", "🟫")
_GROUND = {"light": "#ffffff", "dark": "#1b1f27"}
_INK = {"light": "#374151", "dark": "#d1d5db"}
_ON_STRONG = {"light": "#ffffff", "dark": "#10151d"}
_ON_PALE = {"light": "#1f2937", "dark": "#e5e7eb"}
_GRID = {"light": "#e5e7eb", "dark": "#374151"}
_NAME = 40  # characters of a series' name


def specification(chart: Chart, theme: Theme = "light") -> Json:
    """The chart in Vega-Lite; what is not known is left out, never drawn as zero."""
    if chart.heat:
        return _frame(chart, theme) | heat_map(chart, theme)
    series = drawn_series(chart)
    labels = [line(label) for label in chart.labels[:MOST_POINTS]]
    if chart.ranked and series:
        return _frame(chart, theme) | _ranked(chart, series[0], labels, theme)
    panels = [_panel(chart, kind, series, labels, theme) for kind in ("bar", "line") if _of_kind(series, kind)]
    return _frame(chart, theme) | {
        "vconcat": panels or [_panel(chart, "line", series, labels, theme)],
        "spacing": 14,
        "resolve": {"scale": {"color": "independent"}, "legend": {"color": "independent"}},
    }


def _frame(chart: Chart, theme: Theme) -> Json:
    """What every chart has around it."""
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": {"text": _wrapped(line(chart.title)), "anchor": "start", "offset": 12},
        "background": _GROUND[theme],
        "padding": 14,
        "config": _config(theme),
    }


def drawn_series(chart: Chart) -> list[tuple[int, Series]]:
    """The series with a value, and the number of each one's colour: a provisional one shares its predecessor's."""
    colour, numbered = -1, []
    for series in chart.series[:MOST_SERIES]:
        colour += 0 if series.provisional and colour >= 0 else 1
        if any(is_known(value) for value in series.values):
            numbered.append((colour, series))
    return numbered


def is_known(value: float | None) -> bool:
    return value is not None and abs(value) < 1e15


def drawable(chart: Chart) -> bool:
    """Whether a picture shows more than the text does: three points at least."""
    return any(sum(is_known(value) for value in series.values) > 2 for series in chart.series)


def legend(chart: Chart) -> str:
    """Title, what the colours mean with the last values, and the span, as text; of a ranking or heat map its title."""
    if chart.ranked or chart.heat:
        return line(chart.title)
    parts = []
    for colour, series in drawn_series(chart):
        sign = "◻️" if series.provisional else SIGNS[colour]
        unit = line(chart.unit_of(series))
        parts.append(f"{sign} {cut(line(series.name), _NAME)} {last(series)} {unit}".rstrip())
    span = f"{line(chart.labels[0])} – {line(chart.labels[-1])}" if chart.labels else ""
    return "\n".join(part for part in (line(chart.title), "  ".join(parts), span) if part)


def _ranked(chart: Chart, drawn: tuple[int, Series], labels: Sequence[str], theme: Theme) -> Json:
    """A bar beside each name, with its value at its end."""
    number, series = drawn
    points = [
        {"at": at, "label": labels[at] or "–", "value": value, "shown": last(Series("", (value,)))}
        for at, value in enumerate(series.values[: len(labels)])
        if is_known(value)
    ]
    names = _js([cut(label, 40) or "–" for label in labels])
    axis = {"title": None, "labelExpr": f"{names}[datum.value]", "labelLimit": 130, "ticks": False, "domain": False}
    value_axis = {
        "title": cut(line(chart.unit), 18) or None, "grid": False, "labels": False, "ticks": False, "domain": False
    }  # fmt: skip
    encoding: Json = {
        "y": {"field": "at", "type": "ordinal", "axis": axis, "scale": {"paddingInner": 0.25}},
        "x": {"field": "value", "type": "quantitative", "axis": value_axis},
        "tooltip": [{"field": name} for name in ("label", "value")],
    }
    text = {"type": "text", "align": "left", "dx": 4, "color": _INK[theme], "fontSize": 11, "clip": False}
    at_end = {"x": {"field": "end", "type": "quantitative"}, "text": {"field": "shown", "type": "nominal"}}
    return {
        "width": WIDTH - 150,
        "height": {"step": 24},
        "data": {"values": points},
        "transform": [{"calculate": "max(datum.value, 0)", "as": "end"}],
        "encoding": encoding,
        "layer": [
            {"mark": {"type": "bar", "color": COLOURS[theme][number], "cornerRadiusEnd": 2}},
            {"mark": text, "encoding": at_end},
        ],
    }


def heat_map(chart: Chart, theme: Theme) -> Json:
    """A field for each value, darker the more it is, with the value in it if there is room; what is not known stays
    empty."""
    series = chart.series[:MOST_ROWS]
    points = [
        {"row": at, "name": cut(line(row.name), 18) or "–", "column": label, "value": value,
         "shown": _short(value, chart.unit)}
        for at, row in enumerate(series)
        for label, value in zip(chart.labels, row.values, strict=False)
        if is_known(value)
    ]  # fmt: skip
    names = _js([cut(line(row.name), 18) or "–" for row in series])
    axis = {"grid": False, "ticks": False, "domain": False, "labelLimit": 110}
    scheme = ["#dbeafe", "#1d4ed8"] if theme == "light" else ["#27364d", "#93c5fd"]
    legend_ = {"title": cut(line(chart.unit), 18) or None, "orient": "bottom", "format": "~s"}
    scale = {"range": scheme, "interpolate": "lab", "zero": False, "nice": False}
    fields: Json = {"mark": {"type": "rect", "cornerRadius": 2}, "encoding": {
        "color": {"field": "value", "type": "quantitative", "scale": scale, "legend": legend_},
        "tooltip": [{"field": name} for name in ("name", "column", "value")],
    }}  # fmt: skip
    roomy = len(chart.labels) <= ROOMY_COLUMNS
    return {
        "width": WIDTH - 60,
        "height": {"step": 22 if len(series) <= ROOMY_ROWS else 14},
        "data": {"values": points},
        "encoding": {
            "x": {"field": "column", "type": "ordinal", "sort": None,
                  "scale": {"domain": list(chart.labels), "paddingInner": 0.03},
                  "axis": {**axis, "title": "week", "labelAngle": 0, "labelOverlap": True}},
            "y": {"field": "row", "type": "ordinal",
                  "scale": {"domain": list(range(len(series))), "paddingInner": 0.08},
                  "axis": {**axis, "title": None, "labelExpr": f"{names}[datum.value]"}},
        },
        "layer": [fields, *([_written(points, theme)] if roomy and len(series) <= ROOMY_ROWS else [])],
    }  # fmt: skip


def _written(points: Sequence[Json], theme: Theme) -> Json:
    """The values of a heat map in their fields, light on dark and dark on light."""
    values = [point["value"] for point in points]
    middle = (min(values) + max(values)) / 2 if values else 0
    strong = {"condition": {"test": f"datum.value > {middle}", "value": _ON_STRONG[theme]}, "value": _ON_PALE[theme]}
    encoding = {"text": {"field": "shown", "type": "nominal"}, "color": strong}
    return {"mark": {"type": "text", "fontSize": 11}, "encoding": encoding}


def _short(value: float | None, unit: str) -> str:
    """A value as it fits a field of a heat map: cents below a hundred, none of percentages."""
    number = value or 0
    return f"{number:.0f}" if unit == "%" or abs(number) >= 100 else f"{number:.2f}"


def _of_kind(series: Sequence[tuple[int, Series]], kind: str) -> list[tuple[int, Series]]:
    return [(colour, shown_series) for colour, shown_series in series if shown_series.kind == kind]


def _panel(chart: Chart, kind: str, series: Sequence[tuple[int, Series]], labels: Sequence[str], theme: Theme) -> Json:
    shown = _of_kind(series, kind)
    names = [cut(line(series.name), _NAME) for _, series in shown]
    colours = [_colour(colour, theme, pale=series.provisional) for colour, series in shown]
    legend_ = {"orient": "top", "direction": "horizontal", "title": None, "columns": 2, "offset": 4}
    encoding: Json = {
        "x": _x(labels),
        "y": {"field": "value", "type": "quantitative", "axis": {"title": _unit(chart, kind, names), **_Y_AXIS}},
        "color": {
            "field": "series", "type": "nominal", "legend": legend_, "scale": {"domain": names, "range": colours}
        },
        "tooltip": [{"field": name} for name in ("label", "series", "value")],
    }  # fmt: skip
    if kind == "bar":
        encoding |= _bars(shown, names, theme)
    return {
        "width": WIDTH,
        "height": PANEL,
        "data": {"values": list(_points(shown, names, labels))},
        "mark": _LINE if kind == "line" else {"type": "bar", "strokeDash": [2, 2]},
        "encoding": encoding,
    }


def _colour(number: int, theme: Theme, *, pale: bool) -> str:
    """A colour of the palette, or that colour mixed with the ground."""
    colour = COLOURS[theme][number]
    if not pale:
        return colour
    pairs = zip(bytes.fromhex(colour[1:]), bytes.fromhex(_GROUND[theme][1:]), strict=True)
    return "#" + bytes(round(0.45 * channel + 0.55 * ground) for channel, ground in pairs).hex()


def _points(shown: Sequence[tuple[int, Series]], names: Sequence[str], labels: Sequence[str]) -> Iterable[Json]:
    for (colour, series), name in zip(shown, names, strict=True):
        for at, label in enumerate(labels):
            value = series.values[at] if at < len(series.values) else None
            point = {"at": at, "label": label, "series": name, "group": colour, "value": value}
            if is_known(value):
                yield point
            elif series.kind == "line":
                yield point | {"value": None}


def _bars(shown: Sequence[tuple[int, Series]], names: Sequence[str], theme: Theme) -> Json:
    """Bars of one colour stack, those of different ones stand side by side; provisional ones are pale and dashed."""
    provisional = [name for name, (_, series) in zip(names, shown, strict=True) if series.provisional]
    test = {"field": "series", "oneOf": provisional}
    outline = {"test": test, "value": _INK[theme]}
    groups = {colour for colour, _ in shown}
    return {
        "stroke": {"condition": outline, "value": None},
        "strokeWidth": {"condition": {"test": test, "value": 0.8}, "value": 0},
    } | ({"xOffset": {"field": "group", "type": "nominal"}} if len(groups) > 1 else {})


def _x(labels: Sequence[str]) -> Json:
    """Positions are numbers, so that labels alike keep their own places; about six of them are written out."""
    every = max(1, -(-len(labels) // 6))
    words = [cut(label, 14) for label in labels]
    axis = {
        "title": None, "grid": False, "labelAngle": 0, "values": list(range(0, len(labels), every)),
        "labelExpr": f"{_js(words)}[datum.value]", "labelOverlap": True, "ticks": False, "labelPadding": 6,
    }  # fmt: skip
    return {
        "field": "at", "type": "ordinal", "axis": axis, "scale": {"domain": list(range(len(labels)))}
    }  # fmt: skip


def _js(words: Sequence[str]) -> str:
    """The words as an array of a Vega expression."""
    return msgspec.json.encode(words).decode()


def _unit(chart: Chart, kind: str, names: Sequence[str]) -> str:
    unit = line(chart.unit)
    if kind == "line" and any(series.kind == "bar" for series in chart.series):
        return cut(names[0], 18) if names else ""  # the unit is that of the bars
    return cut(unit, 18)


def _wrapped(title: str) -> list[str]:
    """A title in at most two lines of a phone's width."""
    lines = [""]
    for word in title.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > 36:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return [cut(text, 38) for text in lines[:2]]


_LINE = {
    "type": "line",
    "strokeWidth": 2.5,
    "strokeJoin": "round",
    "point": {"size": 30, "filled": True},
    "interpolate": "linear",
}
_Y_AXIS = {
    "labelExpr": "format(datum.value, '~s')",
    "tickCount": 4,
    "titlePadding": 8,
    "domain": False,
    "ticks": False,
    "labelPadding": 6,
}


def _config(theme: Theme) -> Json:
    ink = _INK[theme]
    return {
        "font": FONT,
        "view": {"stroke": None},
        "title": {"color": ink, "fontSize": 15, "fontWeight": "bold", "lineHeight": 19},
        "axis": {
            "labelColor": ink, "titleColor": ink, "gridColor": _GRID[theme], "domainColor": _GRID[theme],
            "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal",
        },
        "legend": {"labelColor": ink, "titleColor": ink, "labelFontSize": 12, "symbolSize": 90, "labelLimit": 160},
    }  # fmt: skip
