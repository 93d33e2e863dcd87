"""Cohorts: players by week of registration, campaign, source or country as a heat map by age, and as a table."""

from typing import Any

from litestar import Response
from litestar.handlers import HTTPRouteHandler

from bot.commands.cohorts import by_size, cohort_file, cohort_heat, group_name
from bot.render.chart_spec import heat_map
from hub.cockpit.page import Cockpit, Visit
from storage.ledger.reports.cohorts import HORIZONS
from storage.reports.cohort_sums import DIMENSIONS
from storage.reports.cohorts import Cohorts

FEW = 5  # rows of a short heat map
MOST = 200  # rows of the table; the CSV has them all


def cohort_routes(cockpit: Cockpit) -> list[HTTPRouteHandler]:
    @cockpit.get("/cockpit/cohorts")
    async def cohorts_page(visit: Visit) -> Response[Any]:
        made = await _asked(visit)
        show = visit.query.get("show") or "ltv"
        rows = by_size(made)
        return await visit.html(
            "cohorts.html", section="cohorts", title="Cohorts", made=made, rows=rows[:MOST], more=len(rows) - MOST,
            chart=_chart(made, show), few=len(rows) <= FEW, shown=show, dimensions=DIMENSIONS, horizons=HORIZONS,
            named=lambda row: group_name(made, row),
        )  # fmt: skip

    @cockpit.get("/cockpit/cohorts.csv")
    async def cohorts_csv(visit: Visit) -> Response[Any]:
        file = cohort_file(await _asked(visit))
        headers = {"content-disposition": f'attachment; filename="{file.name}"', "cache-control": "no-store"}
        return Response(file.data, media_type="text/csv", headers=headers)

    return [cohorts_page, cohorts_csv]


async def _asked(visit: Visit) -> Cohorts:
    names = ("by", "show", "from", "to", "campaign", "source", "offer", "account", "country")
    made: Cohorts = await visit.ask("cohorts", **visit.filled(*names))
    return made


def _chart(made: Cohorts, show: str) -> dict[str, Any] | None:
    """The heat map in the colours of the page's theme."""
    heat = cohort_heat(made, show)
    if not heat.labels:
        return None
    spec = heat_map(heat, "light")
    fields, *written = spec["layer"]
    fields["encoding"]["color"]["scale"]["range"] = ["accent-soft", "accent"]
    for text in written:
        colour = text["encoding"]["color"]
        colour["condition"]["value"], colour["value"] = "accent-ink", "ink"
    rows = len(spec["encoding"]["y"]["scale"]["domain"])
    size = {"width": "container", "height": rows * spec["height"]["step"]}
    return {"$schema": "https://vega.github.io/schema/vega-lite/v6.json", **spec, **size}
