"""`/cockpit`: the team's web page. Signed in with an API token, it answers every command that only reads."""

from html import escape
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.enums import RequestEncodingType
from litestar.handlers import HTTPRouteHandler
from litestar.params import Body

from bot.core.command import parse, run
from bot.core.context import Actor
from bot.core.message import Message, error
from bot.render import web_html
from hub.cockpit.page import LOGIN, PAGE
from hub.runtime.runtime import Runtime
from hub.web.api import context
from storage.ledger.errors import CasinoFluxError
from storage.people import tokens

COOKIE = "cf_cockpit"
FRONT = ("stats today", "stats 7d by day", "stats 7d by campaign", "sync status", "campaign list")
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}  # fmt: skip


def cockpit_routes(runtime: Runtime) -> list[HTTPRouteHandler]:
    """The page, signing in and signing out."""

    @get("/cockpit", include_in_schema=False)
    async def cockpit(request: Request[Any, Any, Any], say: str = "") -> Response[str]:
        actor = await _actor(runtime, request.cookies.get(COOKIE, ""))
        if actor is None:
            return _html(LOGIN.format(told=""), 401)
        asked = (say.strip(),) if say.strip() else FRONT
        shown = [web_html.render(await _answer(runtime, actor, text)) for text in asked]
        links = "".join(f'<a href="/cockpit?say={escape(one)}">{escape(one)}</a>' for one in ("help", *FRONT[2:]))
        return _html(PAGE.format(who=escape(actor.name), say=escape(say), links=links, shown="".join(shown)))

    @post("/cockpit/sign-in", include_in_schema=False)
    async def sign_in(
        data: Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)],
    ) -> Response[str]:
        token = data.get("token", "").strip()
        if await _actor(runtime, token) is None:
            return _html(LOGIN.format(told="This token is not known, or was revoked."), 401)
        return _back(Cookie(COOKIE, value=token, **_kept(runtime)))

    @post("/cockpit/sign-out", include_in_schema=False)
    async def sign_out() -> Response[str]:
        return _back(Cookie(COOKIE, value="", max_age=0, **_kept(runtime)))

    return [cockpit, sign_in, sign_out]


async def _answer(runtime: Runtime, actor: Actor, text: str) -> Message:
    """What a command says; one that would change something is not run from a page."""
    try:
        found, arguments = parse(text)
        if not found.reads or found.changes:
            return error(f"{found.name!r} changes something: say it in chat, in the shell or over the API")
        return (await run(found, arguments, context(runtime, actor))).message
    except CasinoFluxError as fault:
        return error(str(fault))


async def _actor(runtime: Runtime, token: str) -> Actor | None:
    if not token:
        return None
    async with runtime.database.read() as tx:
        holder = await tokens.holder(tx, token)
    return None if holder is None else Actor(team_id=holder.team_id, name=holder.name, role=holder.role)


def _kept(runtime: Runtime) -> dict[str, Any]:
    secure = runtime.settings.public_url.startswith("https")
    return {"path": "/cockpit", "httponly": True, "samesite": "strict", "secure": secure}


def _html(page: str, status: int = 200) -> Response[str]:
    return Response(page, status_code=status, media_type="text/html; charset=utf-8", headers=HEADERS)


def _back(cookie: Cookie) -> Response[str]:
    return Response("", status_code=303, headers=HEADERS | {"location": "/cockpit"}, cookies=[cookie])
