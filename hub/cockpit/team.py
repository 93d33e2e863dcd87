"""Team, alerts, digests, webhooks, imports: who may do what, who changed what and its undo, who receives what."""

from datetime import timedelta
from typing import Any

from litestar import Response
from litestar.handlers import HTTPRouteHandler

from bot.commands.audits import arguments_in_words
from hub.cockpit.charts import days_chart
from hub.cockpit.page import Cockpit, Visit
from storage.imports.plans import TITLES
from storage.outbound.webhooks import EVENTS


def team_routes(cockpit: Cockpit) -> list[HTTPRouteHandler]:
    @cockpit.get("/cockpit/team")
    async def team(visit: Visit) -> Response[Any]:
        members = await visit.ask("member list", limit=500)
        tokens = await visit.ask_if_allowed("token list", limit=200)
        audit = await visit.ask_if_allowed("audit", limit=60, **visit.filled("after"))
        settings = await visit.ask_if_allowed("settings")
        return await visit.html(
            "team.html", section="team", title="Team", members=members.items, tokens=tokens.items if tokens else [],
            audit=audit.items if audit else [], next=audit.next if audit else None, settings=settings,
            arguments_in_words=arguments_in_words,
        )  # fmt: skip

    @cockpit.get("/cockpit/alerts")
    async def alerts(visit: Visit) -> Response[Any]:
        listed = await visit.ask("alert list", limit=200)
        return await visit.html("alerts.html", section="alert", title="Alerts", alerts=listed.items)

    @cockpit.get("/cockpit/alert/{code:str}")
    async def alert(visit: Visit) -> Response[Any]:
        shown = await visit.ask("alert show", alert=visit.place["code"])
        return await visit.html("alert.html", section="alert", title=shown.rule or shown.kind, alert=shown,
                          chart=_fired(visit, shown.would_have_fired_on))  # fmt: skip

    @cockpit.get("/cockpit/digests")
    async def digests(visit: Visit) -> Response[Any]:
        listed = await visit.ask("digest list", limit=200)
        return await visit.html("digests.html", section="digest", title="Digests", digests=listed.items)

    @cockpit.get("/cockpit/webhooks")
    async def webhooks(visit: Visit) -> Response[Any]:
        hooks = await visit.ask("webhook list", limit=200)
        calls = await visit.ask("webhook log", limit=50, **visit.filled("after"))
        return await visit.html("webhooks.html", section="team", title="Webhooks", hooks=hooks.items,
                                calls=calls.items, next=calls.next, every=len(EVENTS),
                                names={hook.code: hook.name for hook in hooks.items})  # fmt: skip

    @cockpit.get("/cockpit/imports")
    async def imports(visit: Visit) -> Response[Any]:
        listed = await visit.ask("import list", limit=50, **visit.filled("after"))
        return await visit.html("imports.html", section="team", title="Imports", rows=listed.items, next=listed.next,
                                one=None, systems=TITLES)  # fmt: skip

    @cockpit.get("/cockpit/imports/{number:str}")
    async def one_import(visit: Visit) -> Response[Any]:
        from bot.render import web_html

        done = await visit.answer("import show", {"import": visit.place["number"]})
        return await visit.html("imports.html", section="team", title=f"Import {done.result.id}", one=done.result,
                                shown=web_html.render(done.message), systems=TITLES)  # fmt: skip

    return [team, alerts, alert, digests, webhooks, imports, one_import]


def _fired(visit: Visit, fired_on: list[str] | None) -> dict[str, Any] | None:
    """The days of the last 30 on which an alert would have fired."""
    today = visit.context().today
    days = [today - timedelta(days=n) for n in range(30, -1, -1)]
    return days_chart({day: (fired_on or []).count(day.isoformat()) for day in days}, "fired") if fired_on else None
