"""The one place where the parts are joined."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import structlog
from litestar import Litestar, Request, Response, get
from litestar.exceptions import HTTPException
from litestar.params import FromQuery
from litestar.types import ControllerRouterHandler

import bot.commands  # noqa: F401  registers every command
from hub.clicks.handler import Clicks, is_click_path
from hub.clicks.responses import Added
from hub.cockpit import handler
from hub.cockpit.page import Cockpit
from hub.cockpit.problem_page import as_page
from hub.cockpit.sign_in import ENTER
from hub.jobs import sync
from hub.jobs.scheduler import Jobs
from hub.jobs.timetable import TIMETABLE
from hub.postbacks import old_addresses
from hub.postbacks.handler import Postbacks
from hub.requests import limits, problems, request_ids
from hub.requests.bodies import in_time
from hub.requests.heads import allowing_head, answer_head
from hub.requests.limits import Limits
from hub.runtime import boot, offline_start
from hub.runtime.helper_process import HelperProcess
from hub.runtime.loop_lag import LoopLag
from hub.runtime.offline_start import SnapshotKeeper
from hub.runtime.ports import HubPorts
from hub.runtime.runtime import Runtime
from hub.runtime.settings import Settings
from hub.sites.handler import Sites
from hub.web import agents, api, health, openapi
from hub.web.chats import Chats
from hub.web.headers import SecurityHeaders
from storage.db import pool_size, tasks
from storage.db.unavailable import is_unavailable
from storage.ledger.errors import CasinoFluxError

log = structlog.get_logger()

#: Asked by machines of the deployment itself: balancers, Prometheus, Caddy.
UNLIMITED = frozenset({"/healthz", "/readyz", "/metrics", "/tls/ask"})

ROLES = ("hub", "jobs", "bots")


class Hub(Litestar):
    """Litestar with the hot paths answered before its router."""

    runtime: Runtime
    clicks: Clicks
    postbacks: Postbacks
    sites: Sites
    headers: SecurityHeaders
    visitors_headers: Added
    limits: Limits

    def try_fast_path(self, scope: Any, send: Any) -> bool:
        """Clicks and bodiless postbacks, answered without a task (hub.web.listener); False for anything else."""
        if self.clicks.try_fast_path(scope, send, self.visitors_headers):
            return True
        return self.postbacks.try_fast_path(scope, send, self.headers.visitors_lines)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            if is_click_path(path):
                await self.clicks(scope, receive, self.headers.for_visitors(send))
                return
            receive = in_time(receive)
            if path.startswith("/postback/"):
                await self.postbacks(scope, receive, self.headers.for_visitors(send))
                return
            if await self._from_another_tracker(scope, receive, send):
                return
            if path.startswith(("/s/", "/i/")) or self.sites.owns(scope):
                await self.sites(scope, receive, self.headers.for_visitors(send))
                return
            send = self.headers.for_team(request_ids.named(scope, send))
            refused = None if path in UNLIMITED else limits.use(self.limits.requests, self.limits.address(scope))
            if refused is not None:
                await refused.to_asgi_response(None, Request(scope))(scope, receive, send)
                return
            await self.runtime.database.loop_share.run(self._routed(scope, receive, allowing_head(send)))
            return
        await super().__call__(scope, receive, send)

    async def _routed(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "HEAD" and not scope["path"].startswith(ENTER):  # whose GET uses up what it is asked for
            await answer_head(super().__call__, scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _from_another_tracker(self, scope: Any, receive: Any, send: Any) -> bool:
        """Whether it was a link or a postback address of a tracker a team has moved from, on the team's own domain."""
        if code := self.clicks.old_link(scope):
            await self.clicks.follow(scope, self.headers.for_visitors(send), code)
            return True
        word = old_addresses.click_of(scope["path"], scope["query_string"])
        team_id = self.clicks.team_of_domain(scope) if word else None
        if team_id is None:
            return False
        async with self.runtime.database.read() as tx:
            key = await old_addresses.postback_key(tx, team_id, word)
        if key is None:
            return False
        here: Any = {**scope, "path": f"/postback/{key}", "raw_path": f"/postback/{key}".encode()}
        await self.postbacks(here, receive, self.headers.for_visitors(send))
        return True


def create_app(settings: Settings, *, only: str | None = None, away: bool = False) -> Hub:
    """The whole application, or one of its roles: `hub` (HTTP), `jobs` (timetable), `bots` (polling, sockets).

    `away`: the database does not answer; clicks and postbacks go by the snapshot until it does.
    """
    helper = HelperProcess(seconds=settings.limit_seconds)
    ports = HubPorts(settings, helper)
    runtime = boot.new_runtime(settings, ports)
    helper.loop_share = runtime.database.loop_share
    clicks, postbacks, sites = Clicks(runtime), Postbacks(runtime), Sites(runtime)
    chats = Chats(runtime, polling=only in {None, "bots"})
    runtime.state |= {"clicks": clicks, "postbacks": postbacks, "sites": sites, "chats": chats, "loop_lag": LoopLag()}
    limited, cockpit = Limits(settings), Cockpit(runtime)
    ports.listeners += [clicks.refresh, postbacks.refresh, sites.refresh]
    serving: list[Any] = [clicks, postbacks, sites]
    working: list[Any] = [chats, SnapshotKeeper(runtime)]  # those that need the database
    if only in {None, "jobs"}:
        working += [sync.of(runtime), Jobs(runtime, TIMETABLE)]

    parts = Parts(runtime, serving, working)

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        try:
            await parts.start(away=away)
            yield
        finally:
            await parts.stop()
            helper.close()
            await runtime.close()

    app = Hub(
        route_handlers=_handlers(cockpit, chats, sites, limited),
        lifespan=[lifespan],
        exception_handlers={
            HTTPException: as_page(problems.on_http_error, cockpit.assets),
            CasinoFluxError: as_page(problems.on_known_error, cockpit.assets),
            Exception: as_page(problems.on_any_error, cockpit.assets),
        },
        openapi_config=None,
        logging_config=None,
    )
    app.headers = SecurityHeaders(https=settings.public_url.startswith("https:"))
    app.visitors_headers = Added(app.headers.visitors)
    app.limits = limited
    app.runtime, app.clicks, app.postbacks, app.sites = runtime, clicks, postbacks, sites
    return app


class Parts:
    """What is started and stopped with the process: `serving` answers requests, `working` needs the database."""

    def __init__(self, runtime: Runtime, serving: list[Any], working: list[Any]) -> None:
        self._runtime = runtime
        self._serving, self._working = serving, working
        self._started: list[Any] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, *, away: bool) -> None:
        """All of it; while the database is `away` what serves, and the rest when it is back."""
        runtime = self._runtime
        if away:
            await offline_start.begin(runtime)
            await self._begin(self._serving)
            self._tasks.append(tasks.start_loop("database return", self._start_rest))
        else:
            await boot.prepare(runtime)
            await boot.recover(runtime)
            await pool_size.fit(runtime.database)
            await self._begin([*self._serving, *self._working])
        self._tasks.append(tasks.start_interval("pool size", pool_size.EVERY, partial(pool_size.fit, runtime.database)))

    async def stop(self) -> None:
        await tasks.stop(*self._tasks)
        for part in reversed(self._started):
            await _stop(part)

    async def _start_rest(self) -> None:
        await offline_start.await_database(self._runtime)
        await self._runtime.state["clicks"].database_back()
        await self._begin(self._working)

    async def _begin(self, parts: list[Any]) -> None:
        for part in parts:
            if part not in self._started:
                await part.start()
                self._started.append(part)


async def _stop(part: Any) -> None:
    """One part that cannot be stopped (no database) must not keep the others from saving their work."""
    try:
        await part.stop()
    except Exception as error:
        cause = None if is_unavailable(error) else error  # a database that is away needs no traceback
        log.error("a part could not be stopped", part=type(part).__name__, error=type(error).__name__, exc_info=cause)


def _handlers(cockpit: Cockpit, chats: Chats, sites: Sites, limited: Limits) -> list[ControllerRouterHandler]:
    runtime = cockpit.runtime

    @get("/schema/openapi.json", sync_to_thread=False)
    def schema() -> Response[bytes]:
        return Response(openapi.document(runtime.settings.public_url), media_type="application/json")

    @get("/tls/ask")
    async def tls_ask(domain: FromQuery[str] = "") -> Response[str]:
        is_ours = await sites.is_our_host(domain)
        return Response("ours" if is_ours else "unknown", status_code=200 if is_ours else 404, media_type="text/plain")

    return [
        *health.health_routes(runtime), schema, tls_ask,
        *api.command_routes(runtime, limited), *handler.cockpit_routes(cockpit, limited), *chats.handlers,
        agents.agent_route(runtime, limited),
    ]  # fmt: skip
