"""What visitors do on a site, as its page tells: first party, without cookies, nothing of those who object."""

import asyncio
import hashlib
import time
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog
from litestar.types import Receive, Scope

from hub.requests.limits import Limits
from hub.runtime.runtime import Runtime
from hub.sites.visits import Visits
from storage.catalogue.site_snapshot import Served
from storage.catalogue.sites import DRAFT
from storage.clicks.queries import links
from storage.db import tasks
from storage.ledger.addresses import origin_of
from storage.reports import analytics
from storage.reports.analytics import View
from storage.tables.types import EPOCH_DAY

BEACON = "b"
LONGEST = 4096  # bytes of one message
MOST_WAITING = 50_000
MOST_EVENTS = 30  # of a page
LONGEST_EVENT = 40  # characters
STOP_WITHIN = 3.0  # seconds the last views are given at a stop
FLUSH_SECONDS = 1.0
LONGEST_VISIT = 6 * 3600 * 1000  # milliseconds
_log = structlog.get_logger()


class BeaconReport(msgspec.Struct):
    """The page's message; it comes again and again with what has been added. Lengths guard the database."""

    i: str  # the view
    v: str = "a"  # variant
    c: str = ""  # click id
    r: str = ""  # referrer
    m: int = 0  # milliseconds in view
    s: int = 0  # percent scrolled
    o: list[str] = []  # offers that came into view
    k: list[str] = []  # offers clicked
    e: list[str] = []  # events that the page names
    n: int = 0  # 1 in a page's first message: a visit to count, where the page is hosted elsewhere


_decoder = msgspec.json.Decoder(BeaconReport)


class Beacon:
    """Takes messages in memory and stores them once a second."""

    def __init__(self, runtime: Runtime, visits: Visits) -> None:
        self._runtime = runtime
        self.visits = visits
        self._limits = Limits(runtime.settings)
        self._waiting: dict[int, tuple[View, str]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = tasks.start_interval("page views", FLUSH_SECONDS, self.store)

    async def stop(self) -> None:
        await tasks.stop(self._task)
        try:
            async with asyncio.timeout(STOP_WITHIN):
                await self.store()
        except Exception as error:  # the database is unavailable: the stop goes on
            _log.warning("page views could not be stored", error=type(error).__name__)

    async def handle(self, scope: Scope, receive: Receive, site: Served) -> tuple[int, float]:
        """Read one message; returns the HTTP status to answer, and with 429 the seconds to wait."""
        wait = self._limits.beacons.use(self._limits.address(scope), time.monotonic())
        return (429, wait) if wait else (await self._read(scope, receive, site), 0.0)

    async def _read(self, scope: Scope, receive: Receive, site: Served) -> int:
        headers = dict(scope["headers"])
        if headers.get(b"dnt") == b"1" or headers.get(b"sec-gpc") == b"1":
            return 204
        if site.page and headers.get(b"origin", b"").decode("latin-1") != origin_of(site.page):
            return 403
        body = await read_body(receive)
        if body is None:
            return 413
        try:
            report = _decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return 400
        if site.page and site.status == DRAFT:
            return 204
        if site.page and report.n == 1:
            self.visits.add(scope, site, report.c[:32])
        view = self._view(scope, site, report)
        if view is not None and (view.id in self._waiting or len(self._waiting) < MOST_WAITING):
            self._waiting[view.id] = view, report.c[:32]
        return 204

    def _view(self, scope: Scope, site: Served, report: BeaconReport) -> View | None:
        """The view as it is stored; None of machines."""
        clicks = self._runtime.state.get("clicks")
        if clicks is None or (client := clicks.client(scope)).bot:
            return None
        now = self._runtime.clock()
        visitor = clicks.state.keys.address(f"{client.address}\n{client.agent.text}").hex()
        offers = {card.offer_code for variant in site.variants for card in variant.cards}
        return View(
            id=view_id(site.id, visitor, report.i), team_id=site.team_id, site_id=site.id, at=now, day=self._day(now),
            variant=report.v if report.v in {variant.code for variant in site.variants} else "a", visitor=visitor,
            country=client.country or "", device=client.agent.device, os=client.agent.os, browser=client.agent.browser,
            referrer=_host(report.r), milliseconds=min(max(report.m, 0), LONGEST_VISIT),
            scroll=min(max(report.s, 0), 100),
            seen=[offer for offer in dict.fromkeys(report.o) if offer in offers],
            clicked=[offer for offer in report.k[:50] if offer in offers],
            events=[name for each in dict.fromkeys(report.e[:MOST_EVENTS]) if (name := _event(each))],
        )  # fmt: skip

    def _day(self, now: datetime) -> int:
        return (now.astimezone(self._runtime.deployment.zone).date() - EPOCH_DAY).days

    async def store(self) -> None:
        """Write what is waiting; the campaign comes from the click the page was opened with."""
        waiting, self._waiting = self._waiting, {}
        clicks = self._runtime.state.get("clicks")
        if not waiting or clicks is None:
            return
        decoded = {word: clicks.state.codec.decode(word) for _, word in waiting.values() if word}
        try:
            async with self._runtime.database.begin() as tx:
                links_by_click = await links(tx, [click_id for click_id in decoded.values() if click_id is not None])
                views = [_joined(view, links_by_click.get(decoded.get(word) or 0)) for view, word in waiting.values()]
                await analytics.record(tx, views)
        except Exception:
            self._waiting = waiting | self._waiting  # the database is unavailable: a view is stored under its id, once
            raise


def _joined(view: View, link: Any) -> View:
    if link is None or link.site_id != view.site_id:
        return view
    return msgspec.structs.replace(view, click_id=link.click_id, campaign_id=link.campaign_id)


def view_id(site_id: int, visitor: str, report_id: str) -> int:
    """A positive 63-bit number for one view of one visitor: no visitor can write into another's."""
    digest = hashlib.sha256(f"{site_id} {visitor} {report_id[:64]}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _event(name: str) -> str:
    """An event's name without control characters."""
    return "".join(letter for letter in name[:LONGEST_EVENT] if letter.isprintable()).strip()


def _host(referrer: str) -> str:
    try:
        return (urlsplit(referrer[:500]).hostname or "")[:200].replace("\x00", "")
    except ValueError:
        return ""


async def read_body(receive: Receive) -> bytes | None:
    """The request's body; None if it is longer than any message of ours."""
    body: bytes = b""
    while True:
        event: Any = await receive()
        if event["type"] == "http.disconnect":
            return None
        body += event.get("body", b"")
        if len(body) > LONGEST:
            return None
        if not event.get("more_body"):
            return body
