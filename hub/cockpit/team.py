"""Team, alerts and digests: who may do what, what was changed by whom with its undo, who is notified of what."""

from typing import Any

from litestar import Response
from litestar.handlers import HTTPRouteHandler

from hub.cockpit.page import Cockpit, Visit


def team_routes(cockpit: Cockpit) -> list[HTTPRouteHandler]:
    @cockpit.get("/cockpit/team")
    async def team(visit: Visit) -> Response[Any]:
        members = await visit.ask("member list", limit=500)
        tokens = await visit.ask_if_allowed("token list", limit=200)
        after = {"after": visit.query["after"]} if visit.query.get("after") else {}
        audit = await visit.ask_if_allowed("audit", limit=60, **after)
        settings = await visit.ask_if_allowed("settings")
        return visit.html(
            "team.html", section="team", title="Team", members=members.items, tokens=tokens.items if tokens else [],
            audit=audit.items if audit else [], next=audit.next if audit else None, settings=settings,
            arguments_in_words=_in_words,
        )  # fmt: skip

    @cockpit.get("/cockpit/alerts")
    async def alerts(visit: Visit) -> Response[Any]:
        listed = await visit.ask("alert list", limit=200)
        automations = await visit.ask_if_allowed("automation list", limit=200)
        return visit.html(
            "alerts.html", section="alert", title="Alerts", alerts=listed.items,
            automations=automations.items if automations else None,
        )  # fmt: skip

    @cockpit.get("/cockpit/digests")
    async def digests(visit: Visit) -> Response[Any]:
        listed = await visit.ask("digest list", limit=200)
        return visit.html("digests.html", section="digest", title="Digests", digests=listed.items)

    return [team, alerts, digests]


def _in_words(arguments: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in arguments.items())
