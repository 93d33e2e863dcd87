"""Pages hosted elsewhere: the script that tracks one, and the call by which its own server does."""

import gzip
from functools import cache
from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar.types import Receive

from hub.runtime.runtime import Runtime
from hub.sites.beacon import read_body
from hub.sites.pages import FOLDER, Page
from hub.sites.visits import Visits
from storage.catalogue.site_snapshot import Served
from storage.catalogue.sites import DRAFT
from storage.ledger.addresses import origin_of

SCRIPT, VISIT = "page.js", "visit"


class ServerVisit(msgspec.Struct, kw_only=True):
    """What a page's own server says of a visitor."""

    ip: str
    user_agent: str
    click: str = ""
    campaign: str = ""  # code: a click is stored for a visitor who came without one
    query: dict[str, str] = {}  # the page's own parameters: the source's click id, sub ids, cost
    referrer: str = ""
    language: str = ""


_decoder = msgspec.json.Decoder(ServerVisit)


class OwnPages:
    """Visits reported by servers of other pages."""

    def __init__(self, runtime: Runtime, visits: Visits) -> None:
        self._runtime = runtime
        self._visits = visits

    async def handle(self, receive: Receive, site: Served) -> tuple[int, bytes]:
        """Count a visit; the status and the answer: the click id, and the address of each offer's link."""
        body = await read_body(receive)
        clicks = self._runtime.state.get("clicks")
        if body is None or clicks is None:
            return (413, _fault("over 4,096 bytes")) if body is None else (503, _fault("no clicks are taken here"))
        try:
            visit = _decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return 400, _fault(str(error))
        scope = _scope(visit, site)
        click = visit.click[:32]
        if not click and visit.campaign:
            plan = clicks.state.plans.campaigns.get(visit.campaign.lower())
            if plan is None or plan.team_id != site.team_id:
                return 400, _fault(f"campaign: no campaign {visit.campaign[:80]!r}")
            click = await clicks.track(scope, plan)
        if site.status != DRAFT:
            self._visits.add(scope, site, click)
        base = f"{self._runtime.settings.public_url}/go/{site.code}"
        links = {
            card.offer_code: f"{base}/{card.offer_code}" + (f"?{urlencode({'click': click})}" if click else "")
            for card in site.variants[0].cards
        }
        return 200, msgspec.json.encode({"click": click or None, "links": links})


def _fault(text: str) -> bytes:
    return msgspec.json.encode({"error": text})


def _scope(visit: ServerVisit, site: Served) -> Any:
    """The request as the visitor's browser would have sent it to us."""
    words = {b"user-agent": visit.user_agent, b"referer": visit.referrer, b"accept-language": visit.language}
    headers = [(name, text[:1000].encode("utf-8", "replace")) for name, text in words.items() if text]
    return {
        "type": "http", "method": "GET", "path": f"/s/{site.code}", "client": (visit.ip[:45], 0),
        "query_string": urlencode({name[:80]: value[:500] for name, value in list(visit.query.items())[:50]}).encode(),
        "headers": [*headers, (b"host", b""), (b"origin", origin_of(site.page).encode() if site.page else b"")],
    }  # fmt: skip


@cache
def script_page() -> Page:
    """The script for a page hosted elsewhere; browsers keep it for five minutes."""
    body = script().encode()
    headers = (
        (b"content-type", b"text/javascript; charset=utf-8"), (b"cache-control", b"public, max-age=300"),
        (b"cross-origin-resource-policy", b"cross-origin"), (b"access-control-allow-origin", b"*"),
        (b"x-content-type-options", b"nosniff"), (b"vary", b"accept-encoding"),
    )  # fmt: skip
    return Page(status=200, headers=headers, parts=(body,), plain=body, zipped=gzip.compress(body, 9, mtime=0))


def script() -> str:
    return "".join((FOLDER / "own_page.js").read_text(encoding="utf-8").splitlines())
