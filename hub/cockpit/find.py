"""`/cockpit/find?q=`: everything of the team that holds some words, each with the page that shows it."""

from typing import Any

from litestar import Response
from litestar.handlers import HTTPRouteHandler

from bot.commands.find import KINDS, Finding
from hub.cockpit.entities import BY_NOUN
from hub.cockpit.page import Cockpit, Visit
from storage.ledger.errors import Refused

#: Pages of what is no entity of its own.
_PAGES = {
    "member": "/cockpit/team", "group": "/cockpit/campaign?group={code}", "click": "/cockpit/story/{code}",
    "automation": "/cockpit/automation/{code}", "alert": "/cockpit/alert/{code}", "view": "/cockpit/reports?{text}",
}  # fmt: skip


def find_routes(cockpit: Cockpit) -> list[HTTPRouteHandler]:
    @cockpit.get("/cockpit/find")
    async def found(visit: Visit) -> Response[Any]:
        words = visit.query.get("q", "").strip()
        findings: list[Finding] = []
        fault = ""
        try:
            findings = (await visit.ask("find", words=words)).items if words else []
        except Refused as refusal:
            fault = str(refusal)
        shown = [(finding, KINDS.get(finding.kind, finding.kind), page_of(finding)) for finding in findings]
        return await visit.html("find.html", section="find", title="Find", words=words, found=shown, fault=fault)

    return [found]


def page_of(finding: Finding) -> str:
    """The page of the cockpit that shows what was found."""
    if finding.kind in BY_NOUN:
        return f"/cockpit/{finding.kind}/{finding.code}"
    return _PAGES[finding.kind].format(code=finding.code, text=finding.text)
