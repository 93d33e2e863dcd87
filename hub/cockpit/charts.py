"""Charts of pages: Vega-Lite specifications, drawn in the browser with the colours of the page's theme."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import msgspec

from bot.digests.message import DayFigures

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
WIDTH, HEIGHT = 100.0, 20.0


class Sparkline(msgspec.Struct, frozen=True):
    """A line without axes: an SVG path in a box of 100 by 20, and what it shows in words."""

    path: str
    label: str


def sparkline(values: Sequence[float], label: str) -> Sparkline | None:
    """The line of the values; None for fewer than two."""
    if len(values) < 2:
        return None
    top, low = max(values), min(values)
    span = (top - low) or 1.0
    step = WIDTH / (len(values) - 1)
    points = (
        f"{n * step:.1f} {HEIGHT - 1 - (value - low) / span * (HEIGHT - 2):.1f}" for n, value in enumerate(values)
    )
    return Sparkline("M" + "L".join(points), label)


def commission_chart(days: Sequence[DayFigures], currency: str) -> dict[str, Any]:
    """Commission by day, settled and not yet settled apart; spend as a line, without the last day, which goes on."""
    rows = [
        {"day": day.day.isoformat(), "commission": value, "state": state}
        for day in days
        for value, state in ((day.settled, "settled"), (day.pending, "not settled yet"))
        if value is not None
    ]
    spend = [{"day": day.day.isoformat(), "spend": day.spend} for day in days[:-1] if day.spend is not None]
    x = {
        "field": "day", "type": "temporal", "title": None, "axis": {"format": "%d %b", "tickCount": 8, "grid": False},
        "scale": {"domain": [_midnight(days[0].day), _midnight(days[-1].day + timedelta(days=1))]},
    }  # fmt: skip
    bars = {
        "data": {"values": rows},
        "mark": {"type": "bar", "width": {"band": 0.8}},
        "encoding": {
            "x": {**x, "timeUnit": "utcyearmonthdate"},
            "y": {"field": "commission", "type": "quantitative", "title": currency},
            "color": {
                "field": "state",
                "type": "nominal",
                "title": None,
                "scale": {"domain": ["settled", "not settled yet", "spend"], "range": ["accent", "pending", "line"]},
                "legend": {"orient": "top"},
            },
            "tooltip": [
                {"field": "day", "type": "temporal", "format": "%d %b %Y", "title": "Day"},
                {"field": "commission", "type": "quantitative", "format": ",.2f", "title": f"Commission, {currency}"},
                {"field": "state", "title": "State"},
            ],
        },
    }
    line = {
        "data": {"values": spend},
        "mark": {"type": "line", "interpolate": "monotone", "strokeWidth": 1.5, "point": len(spend) == 1},
        "encoding": {
            "x": {**x, "timeUnit": "utcyearmonthdate", "bandPosition": 0.5},
            "y": {"field": "spend", "type": "quantitative"},
            "color": {"datum": "spend"},
        },
    }
    return {"$schema": SCHEMA, "width": "container", "height": 220, "layer": [bars, line] if spend else [bars]}


def _midnight(day: date) -> dict[str, Any]:
    """The start of a day as Vega-Lite writes it."""
    return {"year": day.year, "month": day.month, "date": day.day, "utc": True}


def days_chart(counts: Mapping[date, int], measure: str) -> dict[str, Any]:
    """How often something happened on each day."""
    rows = [{"day": day.isoformat(), "count": count} for day, count in counts.items()]
    return {
        "$schema": SCHEMA,
        "width": "container",
        "height": 110,
        "data": {"values": rows},
        "mark": {"type": "bar", "width": {"band": 0.8}, "color": "accent"},
        "encoding": {
            "x": {
                "field": "day", "type": "temporal", "timeUnit": "utcyearmonthdate", "title": None,
                "axis": {"format": "%d %b", "tickCount": 8, "grid": False},
            },
            "y": {"field": "count", "type": "quantitative", "title": measure, "axis": {"tickMinStep": 1}},
            "tooltip": [
                {"field": "day", "type": "temporal", "format": "%d %b %Y", "title": "Day"},
                {"field": "count", "title": measure.capitalize()},
            ],
        },
    }  # fmt: skip


def lines_chart(points: Sequence[dict[str, Any]], *, x: str, measure: str, group: str | None) -> dict[str, Any]:
    """A measure over days, one line for each group."""
    encoding: dict[str, Any] = {
        "x": {
            "field": x,
            "type": "temporal",
            "timeUnit": "utcyearmonthdate",
            "title": None,
            "axis": {"format": "%d %b", "grid": False},
        },
        "y": {"field": "value", "type": "quantitative", "title": measure},
        "strokeDash": {
            "field": "provisional",
            "type": "nominal",
            "legend": None,
            "scale": {"domain": [False, True], "range": [[1, 0], [4, 3]]},
        },
        "tooltip": [
            {"field": x, "type": "temporal", "format": "%d %b %Y"},
            {"field": "value", "type": "quantitative", "format": ",.2f"},
        ],
    }
    if group:
        encoding["color"] = {"field": "group", "type": "nominal", "title": None, "legend": {"orient": "top"}}
        encoding["tooltip"].append({"field": "group"})
    mark = {"type": "line", "point": {"size": 18}}
    return {
        "$schema": SCHEMA,
        "width": "container",
        "height": 240,
        "data": {"values": list(points)},
        "mark": mark,
        "encoding": encoding,
    }
