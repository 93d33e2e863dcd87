"""`/cockpit`: the team's web page. Whoever is signed in asks every command that only reads."""

from html import escape
from typing import Annotated, Any

from litestar import HttpMethod, Request, Response, get, post, route
from litestar.datastructures import Cookie
from litestar.enums import RequestEncodingType
from litestar.handlers import HTTPRouteHandler
from litestar.params import Body

from bot.core.command import parse, run
from bot.core.context import Actor
from bot.core.message import Message, error
from bot.render import web_html
from hub.clicks.user_agents import UserAgents
from hub.cockpit.page import ENTER, LOGIN, PAGE, STYLE_HASH
from hub.cockpit.session import CSRF_FIELD, Sessions
from hub.runtime.runtime import Runtime
from hub.web import limits
from hub.web.api import context, record_failure
from hub.web.headers import CONTENT_SECURITY_POLICY
from hub.web.limits import Limits
from storage.ledger.errors import CasinoFluxError

FRONT = ("stats today", "stats 7d by day", "stats 7d by campaign", "sync status", "campaign list")
HEADERS = {"cache-control": "no-store", "content-security-policy": CONTENT_SECURITY_POLICY.format(style=STYLE_HASH)}
Form = Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)]
_PREFETCHES = ("sec-purpose", "purpose", "x-moz", "x-purpose")


def cockpit_routes(runtime: Runtime, limited: Limits) -> list[HTTPRouteHandler]:
    """The page, signing in and signing out."""
    sessions = Sessions(runtime)

    @get("/", include_in_schema=False, sync_to_thread=False)
    def front() -> Response[str]:
        return Response("", status_code=302, headers={"location": "/cockpit"})

    @get("/cockpit", include_in_schema=False)
    async def cockpit(request: Request[Any, Any, Any], say: str = "") -> Response[str]:
        session = await sessions.find(request)
        if session is None:
            return _html(LOGIN.format(message=""), 401)
        texts = (say.strip(),) if say.strip() else FRONT
        answers = [web_html.render(await _answer(runtime, session.actor, text)) for text in texts]
        links = "".join(f'<a href="/cockpit?say={escape(text)}">{escape(text)}</a>' for text in ("help", *FRONT[2:]))
        return _html(PAGE.format(
            who=escape(session.actor.name), say=escape(say), links=links, shown="".join(answers), csrf=session.csrf,
        ))  # fmt: skip

    return [front, cockpit, *_sign_in_routes(runtime, limited, sessions)]


def _sign_in_routes(runtime: Runtime, limited: Limits, sessions: Sessions) -> list[HTTPRouteHandler]:
    agents = UserAgents()

    @route("/cockpit/enter/{code:str}", http_method=[HttpMethod.GET, HttpMethod.HEAD], include_in_schema=False)
    async def enter(request: Request[Any, Any, Any], code: str) -> Response[str]:
        """Sign in by a one-time link. What previews links in a chat does not use it up."""
        address = limited.address(request.scope)
        if (refused := limits.waiting(limited.sign_ins, address)) is not None:
            return refused  # type: ignore[return-value]
        agent = agents.of(request.headers.get("user-agent", "").encode("latin-1", "replace"))
        if request.method == "HEAD" or agent.bot or any(name in request.headers for name in _PREFETCHES):
            return _html(ENTER)
        cookie = await sessions.enter(code)
        if cookie is None:
            limits.use(limited.sign_ins, address)
            await record_failure(runtime, limited, request, "sign-in by link")
            return _html(LOGIN.format(message="This link was used already, or is older than ten minutes."), 401)
        return _back(cookie)

    @post("/cockpit/sign-in", include_in_schema=False)
    async def sign_in(request: Request[Any, Any, Any], data: Form) -> Response[str]:
        if (refused := limits.use(limited.sign_ins, limited.address(request.scope))) is not None:
            return refused  # type: ignore[return-value]
        sessions.check_form(request, None)
        cookie = await sessions.sign_in(data.get("token", "").strip())
        if cookie is None:
            await record_failure(runtime, limited, request, "sign-in by token")
            return _html(LOGIN.format(message="This token is not known, was revoked, or has expired."), 401)
        return _back(cookie)

    @post("/cockpit/sign-out", include_in_schema=False)
    async def sign_out(request: Request[Any, Any, Any], data: Form) -> Response[str]:
        session = await sessions.find(request)
        if session is None:
            return _back()
        sessions.check_form(request, session, data.get(CSRF_FIELD, ""))
        return _back(await sessions.end(session))

    return [enter, sign_in, sign_out]


async def _answer(runtime: Runtime, actor: Actor, text: str) -> Message:
    """What a command says; one that would change something is not run from a page."""
    try:
        command, arguments = parse(text)
        if not command.reads or command.changes:
            return error(f"{command.name!r} changes something: say it in chat, in the shell or over the API")
        return (await run(command, arguments, context(runtime, actor, face="web"))).message
    except CasinoFluxError as fault:
        return error(str(fault))


def _html(page: str, status: int = 200) -> Response[str]:
    return Response(page, status_code=status, media_type="text/html; charset=utf-8", headers=HEADERS)


def _back(cookie: Cookie | None = None) -> Response[str]:
    cookies = [] if cookie is None else [cookie]
    return Response("", status_code=303, headers=HEADERS | {"location": "/cockpit"}, cookies=cookies)
