"""Signing in to the cockpit: by a one-time link from a chat or the shell, or by an API token."""

from typing import Annotated, Any

from litestar import HttpMethod, Request, Response, post, route
from litestar.datastructures import Cookie
from litestar.enums import RequestEncodingType
from litestar.handlers import HTTPRouteHandler
from litestar.params import Body, FromPath

from hub.cockpit.page import HEADERS, Cockpit
from hub.cockpit.session import CSRF_FIELD
from hub.requests import limits
from hub.requests.actors import record_failure
from hub.requests.limits import Limits
from hub.requests.user_agents import fetches_preview
from storage.db import tasks

ENTER = "/cockpit/enter/"  # what a one-time link leads to, with its code
Form = Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)]
MOST_BYTES = 16_000  # of a form whose sender may be a stranger
_PREFETCHES = ("sec-purpose", "purpose", "x-moz", "x-purpose")


def sign_in_routes(cockpit: Cockpit, limited: Limits) -> list[HTTPRouteHandler]:
    """The one-time link, the token form, and signing out."""
    return [*_link_routes(cockpit, limited), *_form_routes(cockpit, limited)]


def _link_routes(cockpit: Cockpit, limited: Limits) -> list[HTTPRouteHandler]:
    runtime, sessions = cockpit.runtime, cockpit.sessions

    @route(ENTER + "{code:str}", http_method=[HttpMethod.GET, HttpMethod.HEAD], include_in_schema=False)
    async def enter(request: Request[Any, Any, Any], code: FromPath[str]) -> Response[Any]:
        """Sign in by a one-time link. What previews links in a chat does not use it up, and where another site's page
        leads here the person is asked first: it may be a link that signs them in as another person."""
        if (refused := limits.waiting(limited.sign_ins, limited.address(request.scope))) is not None:
            return refused
        preview = fetches_preview(request.headers.get("user-agent", ""))
        if request.method == "HEAD" or preview or any(name in request.headers for name in _PREFETCHES):
            return Response("CasinoFlux cockpit", media_type="text/plain")
        if sessions.comes_from_elsewhere(request):
            name = await sessions.named_by(code)
            return await (turned_away(request) if name is None else cockpit.sign_in_as(name, request.url.path))
        return await entered(request, code)

    @post(ENTER + "{code:str}", include_in_schema=False, request_max_body_size=MOST_BYTES)
    async def enter_after_all(request: Request[Any, Any, Any], code: FromPath[str]) -> Response[Any]:
        if (refused := limits.waiting(limited.sign_ins, limited.address(request.scope))) is not None:
            return refused
        sessions.check_form(request, None)
        return await entered(request, code)

    async def entered(request: Request[Any, Any, Any], code: str) -> Response[str]:
        cookie = await sessions.enter(code)
        if cookie is None:
            return await turned_away(request)
        await sessions.end_earlier(request)
        tasks.start_loop("chart library", lambda: cockpit.assets.make_chart_library(runtime))
        return _back(cookie)

    async def turned_away(request: Request[Any, Any, Any]) -> Response[str]:
        limits.use(limited.sign_ins, limited.address(request.scope))
        await record_failure(runtime, limited, request, "sign-in by link")
        return await cockpit.sign_in_first("This link was used already, or is older than ten minutes.")

    return [enter, enter_after_all]


def _form_routes(cockpit: Cockpit, limited: Limits) -> list[HTTPRouteHandler]:
    runtime, sessions = cockpit.runtime, cockpit.sessions

    @post("/cockpit/sign-in", include_in_schema=False, request_max_body_size=MOST_BYTES)
    async def sign_in(request: Request[Any, Any, Any], data: Form) -> Response[Any]:
        if (refused := limits.use(limited.sign_ins, limited.address(request.scope))) is not None:
            return refused
        sessions.check_form(request, None)
        cookie = await sessions.sign_in(data.get("token", "").strip())
        if cookie is None:
            await record_failure(runtime, limited, request, "sign-in by token")
            return await cockpit.sign_in_first("This token is not known, was revoked, or has expired.")
        await sessions.end_earlier(request)
        return _back(cookie)

    @post("/cockpit/sign-out", include_in_schema=False, request_max_body_size=MOST_BYTES)
    async def sign_out(request: Request[Any, Any, Any], data: Form) -> Response[str]:
        session = await sessions.find(request)
        if session is None:
            return _back()
        sessions.check_form(request, session, data.get(CSRF_FIELD, ""))
        return _back(await sessions.end(session))

    return [sign_in, sign_out]


def _back(cookie: Cookie | None = None) -> Response[str]:
    cookies = [] if cookie is None else [cookie]
    return Response("", status_code=303, headers=HEADERS | {"location": "/cockpit"}, cookies=cookies)
