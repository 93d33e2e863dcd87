"""Sites over HTTP: on their own domains by Host, and under /s/{site}; all from memory.

A draft is shown under the signed address of its preview, and to visitors that a campaign sent there."""

import asyncio
import hmac
import math
import re
from datetime import date
from typing import Any
from urllib.parse import parse_qs, quote

import structlog
from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, Receive, Scope, Send

from hub.requests.hosts import CHALLENGE, EVERY_TEAM, NO_TEAM, Hosts, challenge, host_of, normal_host
from hub.runtime.runtime import Runtime
from hub.sites import pages as site_pages
from hub.sites.beacon import BEACON, Beacon
from hub.sites.images import Images
from hub.sites.own_files import OwnFiles
from hub.sites.own_page import SCRIPT, VISIT, OwnPages, script_page
from hub.sites.pages import LEGAL, Page
from hub.sites.variant_choice import choose
from hub.sites.visits import Visits
from storage.catalogue import site_snapshot
from storage.catalogue.site_files import INDEX
from storage.catalogue.site_snapshot import Served, Serving, Variant
from storage.catalogue.sites import DRAFT, PUBLISHED, preview_signature
from storage.db import config_version, tasks
from storage.ledger.hostnames import is_address

REFRESH_SECONDS = 0.3
_CLICK = re.compile(r"[0-9A-Za-z]{1,32}")
_log = structlog.get_logger()


class Sites:
    """Every site of the deployment in memory, renewed within a second of a change in any process."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._hosts = Hosts(runtime.settings.public_url)
        self._preview_key = runtime.box.derive("previews")
        self._secure = runtime.settings.public_url.startswith("https:")
        self._by_host: dict[str, Served] = {}
        self._by_code: dict[str, Served] = {}
        self._moved: dict[str, str] = {}
        self._pages: dict[tuple[Any, ...], Page] = {}
        self._seen = -1
        self._turn = asyncio.Lock()  # a slow look must not put older pages over newer ones
        self.visits = Visits(runtime)
        self.beacon = Beacon(runtime, self.visits)
        self.own_pages = OwnPages(runtime, self.visits)
        self.images = Images(runtime)
        self.files = OwnFiles(runtime)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.refresh()
        self.visits.start()
        self.beacon.start()
        self._task = tasks.start_interval("sites refresh", REFRESH_SECONDS, self.refresh)

    async def stop(self) -> None:
        if self._task:
            await tasks.stop(self._task)
            await self.visits.stop()
            await self.beacon.stop()

    async def refresh(self) -> None:
        """Load all sites again if anything configured has changed since."""
        async with self._turn:
            if await self.runtime.configuration.look(config_version.current) == self._seen:
                return
            async with self.runtime.configuration.read() as tx:
                version = await config_version.current(tx)
                self._set_snapshot(await site_snapshot.load(tx))
                self._seen = version

    def _set_snapshot(self, serving: Serving) -> None:
        by_code: dict[str, Served] = {}
        for site in serving.sites:
            by_code.setdefault(site.code, site)
        published = (site for site in serving.sites if site.status == PUBLISHED)
        self._by_host = {host: site for site in published for host in site.hosts}
        self._by_code, self._moved, self._pages = by_code, serving.moved, {}
        self.files.forget()
        self._hosts.replace(serving.hosts)

    def owns(self, scope: Scope) -> bool:
        """Whether a request is for a site by its Host: a team's domain, or a name of no team (a neutral 404).

        The hub itself answers under its public address, on IP addresses, and on names of a private network.
        """
        return self._hosts.team(scope) != EVERY_TEAM

    async def is_our_host(self, domain: str) -> bool:
        """Whether a certificate may be had for a name: it is a team's domain, or the hub's own. No network here."""
        name = normal_host(domain)
        return bool(name) and (name in self._hosts or (name == self._hosts.own and not is_address(name)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]  # type: ignore[typeddict-item]
        if scope["path"].startswith("/i/") and method in {"GET", "HEAD"}:
            await self._picture(scope, send)
            return
        if await self._challenge_or_redirect(scope, send):
            return
        site, base, name = self._place(scope)
        if method == "POST" and name == BEACON and site is not None:
            status, wait = await self.beacon.handle(scope, receive, site)
            await _send(send, status, [(b"retry-after", str(math.ceil(wait)).encode())] if wait else [], b"")
        elif method == "POST" and name == VISIT and site is not None and self._signed(scope, site):
            status, body = await self.own_pages.handle(receive, site)
            await _send(send, status, [(b"content-type", b"application/json")], body)
        elif method not in {"GET", "HEAD"}:
            await _send(send, 405, [(b"allow", b"GET, HEAD")], b"")
        elif site is None:
            await _answer(send, site_pages.nothing_page(), scope, "", [])
        elif site.page:
            await self._redirect_to_offer(scope, send, site, name)
        else:
            await self._show(scope, send, site, base, name)

    async def _redirect_to_offer(self, scope: Scope, send: Send, site: Served, name: str) -> None:
        """A site whose page is hosted elsewhere: its script, and the way there for whoever opens our address."""
        if name == SCRIPT:
            await _answer(send, script_page(), scope, "", [])
            return
        await _send(
            send, 302, [(b"location", site.page.encode("ascii", "ignore")), (b"cache-control", b"no-store")], b""
        )

    def _signed(self, scope: Scope, site: Served) -> bool:
        """Whether the address holds the site's signature, which members of its team see."""
        carried = scope["path"][3:].partition("/")[0].lower().partition("~")[2]
        return hmac.compare_digest(carried.encode(), preview_signature(self._preview_key, site.code).encode())

    async def _picture(self, scope: Scope, send: Send) -> None:
        """A picture, under every name that is ours; a name that belongs to no team has none."""
        ours = self._hosts.team(scope) != NO_TEAM
        page = await self.images.page(scope["path"]) if ours else None
        if page is None:
            await _answer(send, site_pages.nothing_page(), scope, "", [])
            return
        headers = [*page.headers, (b"content-length", str(len(page.plain)).encode())]
        await _send(send, 200, headers, b"" if scope["method"] == "HEAD" else page.plain)  # type: ignore[typeddict-item]

    async def _show(self, scope: Scope, send: Send, site: Served, base: str, name: str) -> None:
        if not base and name in ("robots.txt", "sitemap.xml"):
            await _answer(send, site_pages.for_crawlers(name, host_of(scope) or ""), scope, "", [])
            return
        if site.files and name not in LEGAL:
            await self._show_file(scope, send, site, base, name or INDEX)
            return
        click = _click(scope)
        variant = site.variants[0]
        cookies: list[tuple[bytes, bytes]] = []
        if not name:
            forced = _requested_variant(scope) if base else ""
            variant, cookies = choose(scope, site, click, forced=forced, ident=self._ident, secure=self._secure)
            if site.status != DRAFT:
                self.visits.add(scope, site, click)
        await _answer(send, self._page(site, variant, name, base), scope, click, cookies)

    async def _show_file(self, scope: Scope, send: Send, site: Served, base: str, path: str) -> None:
        """A file of the team's own page; the page itself is a visit."""
        if base and path == INDEX and not scope["path"].endswith(("/", INDEX)):
            query = scope["query_string"]
            location = f"{base}/".encode() + (b"?" + query if query else b"")  # so that its own links are found
            await _send(send, 302, [(b"location", location), (b"cache-control", b"no-store")], b"")
            return
        page, click = await self.files.page(site, base, path), _click(scope)
        if page is None:
            await _answer(send, self._page(site, site.variants[0], path, base), scope, "", [])
            return
        if path == INDEX and site.status != DRAFT:
            self.visits.add(scope, site, click)
        await _answer(send, page, scope, click, [])

    def _ident(self, scope: Scope) -> tuple[str, bool]:
        """Something that stays with a visitor without a cookie, and whether it is a machine."""
        clicks = self.runtime.state.get("clicks")
        if clicks is None:
            return "", False
        client = clicks.client(scope)
        return f"{client.address} {client.agent.text}", bool(client.bot)

    async def _challenge_or_redirect(self, scope: Scope, send: Send) -> bool:
        """Whether the request was for what a domain answers whatever its site: our proof of it, or where it moved."""
        path, host = scope["path"], host_of(scope) or ""
        if path.startswith(CHALLENGE) and host in self._hosts:
            await _send(send, 200, [(b"content-type", b"text/plain")], challenge(self.runtime.box, host).encode())
            return True
        if host in self._moved and not path.startswith("/s/"):
            query = scope["query_string"]
            target = f"https://{self._moved[host]}".encode() + quote(path).encode() + (b"?" + query if query else b"")
            await _send(send, 302, [(b"location", target), (b"cache-control", b"no-store")], b"")
            return True
        return False

    def _place(self, scope: Scope) -> tuple[Served | None, str, str]:
        """The site that a request is for, what stands before its paths, and the page's name."""
        path = scope["path"]
        if not path.startswith("/s/"):
            return self._by_host.get(host_of(scope) or ""), "", path[1:].rstrip("/")
        word, _, rest = path[3:].partition("/")
        code, _, carried = word.lower().partition("~")
        site = self._by_code.get(code)
        if site is None or not self._hosts.admits(scope, site.team_id):
            return None, "", ""
        if site.status != DRAFT:
            return site, f"/s/{code}", rest.rstrip("/")
        signature = preview_signature(self._preview_key, code)
        signed = hmac.compare_digest(carried.encode(), signature.encode())
        return (site if signed or self._is_click(scope) else None), f"/s/{code}~{signature}", rest.rstrip("/")

    def _is_click(self, scope: Scope) -> bool:
        """Whether a campaign sent the visitor: a click id cannot be guessed."""
        clicks, word = self.runtime.state.get("clicks"), _click(scope)
        return bool(word) and clicks is not None and clicks.state.codec.decode(word) is not None

    def _page(self, site: Served, variant: Variant, name: str, base: str) -> Page:
        today = self.runtime.clock().astimezone(self.runtime.deployment.zone).date()
        key = (site.id, variant.code, name if name in ("", *LEGAL) else None, base, today.month)
        if key not in self._pages:
            self._pages[key] = _rendered(site, variant, name, base=base, today=today)
        return self._pages[key]


def _rendered(site: Served, variant: Variant, name: str, *, base: str, today: date) -> Page:
    preview = bool(base)
    if not name:
        return site_pages.variant_page(site, variant, base=base, preview=preview, today=today)
    if name in LEGAL:
        return site_pages.legal_page(site, variant, name, base=base, preview=preview, today=today)
    return site_pages.missing_page(site, variant, base=base, today=today)


def _accepts_gzip(scope: Scope) -> bool:
    return any(name == b"accept-encoding" and b"gzip" in value for name, value in scope["headers"])


def _click(scope: Scope) -> str:
    """The click id that the page was opened with; empty if there is none."""
    query = scope["query_string"]
    if b"click=" not in query:
        return ""
    click = parse_qs(query[:2000].decode("latin-1")).get("click", [""])[0]
    return click if _CLICK.fullmatch(click) else ""


def _requested_variant(scope: Scope) -> str:
    """A variant asked for by name (`?look=b`), for the team to look at."""
    query = scope["query_string"]
    return parse_qs(query[:2000].decode("latin-1")).get("look", [""])[0] if b"look=" in query else ""


async def _answer(send: Send, page: Page, scope: Scope, click: str, cookies: list[tuple[bytes, bytes]]) -> None:
    zipped = bool(page.zipped) and not click and _accepts_gzip(scope)
    body = page.zipped if zipped else page.body(click)
    headers = [*page.headers, *cookies, (b"content-length", str(len(body)).encode())]
    if zipped:
        headers.append((b"content-encoding", b"gzip"))
    await _send(send, page.status, headers, b"" if scope["method"] == "HEAD" else body)  # type: ignore[typeddict-item]


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    start: HTTPResponseStartEvent = {"type": "http.response.start", "status": status, "headers": headers}
    ending: HTTPResponseBodyEvent = {"type": "http.response.body", "body": body, "more_body": False}
    await send(start)
    await send(ending)
