"""Automations: those armed, the usual ones to start from, what they did; each with its last 30 days drawn."""

from collections import Counter
from datetime import timedelta
from typing import Any

from litestar import Response
from litestar.handlers import HTTPRouteHandler

from hub.cockpit.charts import days_chart
from hub.cockpit.page import Cockpit, Visit

DAYS = 30
ACTS = 40  # the latest of a log or back-test that a page shows


def automation_routes(cockpit: Cockpit) -> list[HTTPRouteHandler]:
    @cockpit.get("/cockpit/automation")
    async def listing(visit: Visit) -> Response[Any]:
        listed = await visit.ask("automation list", limit=200)
        templates = await visit.ask("automation templates", limit=50)
        log = await visit.ask("automation log", limit=ACTS)
        return await visit.html(
            "automations.html", section="automation", title="Automations", automations=listed.items,
            templates=templates.items, log=log.items, outcome=_outcome,
        )  # fmt: skip

    @cockpit.get("/cockpit/automation/{code:str}")
    async def single(visit: Visit) -> Response[Any]:
        code = visit.place["code"]
        automation = await visit.ask("automation show", automation=code)
        test = await visit.ask("automation test", automation=automation.code)
        log = await visit.ask("automation log", automation=automation.code, limit=ACTS)
        return await visit.html(
            "automation.html", section="automation", title=automation.name, automation=automation, test=test,
            chart=_chart(visit, test.firings), firings=test.firings[-ACTS:][::-1],
            standing=[now for now in test.now if now.met is not False], log=log.items, outcome=_outcome,
        )  # fmt: skip

    return [listing, single]


def _chart(visit: Visit, firings: list[Any]) -> dict[str, Any]:
    """Acts by day of the last 30 days."""
    zone, today = visit.deployment.zone, visit.context().today
    counts = Counter(firing.at.astimezone(zone).date() for firing in firings)
    days = [today - timedelta(days=n) for n in range(DAYS, -1, -1)]
    return days_chart({day: counts[day] for day in days}, "acts")


def _outcome(act: Any) -> str:
    """What became of an act, in words."""
    words = {"done": act.action, "dry": f"would {act.action}", "ended": "pause ended"}
    return f"webhook, {act.delivery}" if act.outcome == "told" and act.delivery else words.get(act.outcome, act.outcome)
