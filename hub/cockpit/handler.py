"""`/cockpit`: the team's web page; another face of the same commands, for whoever is signed in."""

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from hub.cockpit.assets import asset_route
from hub.cockpit.automations import automation_routes
from hub.cockpit.bulk import bulk_routes
from hub.cockpit.cohorts import cohort_routes
from hub.cockpit.command_line import command_line_routes
from hub.cockpit.entities import entity_routes
from hub.cockpit.events import event_routes
from hub.cockpit.find import find_routes
from hub.cockpit.forms import form_routes
from hub.cockpit.logs import log_routes
from hub.cockpit.page import Cockpit
from hub.cockpit.reports import report_routes
from hub.cockpit.revenue import revenue_routes
from hub.cockpit.rotation import rotation_routes
from hub.cockpit.sign_in import sign_in_routes
from hub.cockpit.site_editor import site_editor_routes
from hub.cockpit.team import team_routes
from hub.cockpit.today import today_routes
from hub.requests.limits import Limits

PAGES = (
    today_routes, report_routes, cohort_routes, revenue_routes, log_routes, entity_routes, rotation_routes,
    site_editor_routes, team_routes, automation_routes, find_routes, form_routes, bulk_routes, command_line_routes,
    event_routes,
)  # fmt: skip


def cockpit_routes(cockpit: Cockpit, limited: Limits) -> list[HTTPRouteHandler]:
    """Every page, the sign-in and the static files."""

    @get("/", include_in_schema=False, sync_to_thread=False)
    def front() -> Response[str]:
        return Response("", status_code=302, headers={"location": "/cockpit"})

    pages = [route for routes in PAGES for route in routes(cockpit)]
    return [front, *pages, *sign_in_routes(cockpit, limited), asset_route(cockpit.assets, cockpit.runtime)]
