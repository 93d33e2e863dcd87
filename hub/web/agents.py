"""`/mcp`: commands as tools for agents over HTTP, by the Model Context Protocol's streamable HTTP.

Every request stands by itself and is answered with JSON: there are no sessions to keep, so any process answers any of
them. The SDK is imported with the first request: it takes memory that a hub without agents does not need.
"""

import asyncio
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from litestar import Request, Response, asgi
from litestar.handlers import ASGIRouteHandler

from bot.core.context import Actor
from hub.requests import limits
from hub.requests.actors import bearer, no_bearer
from hub.requests.limits import Limits
from hub.requests.problems import problem
from hub.runtime.left_out_modules import let_pydantic_in
from hub.runtime.runtime import Runtime
from hub.web.api import context

PATH = "/mcp"
NOT_INSTALLED = "the agents' part is not installed: pip install 'casinoflux[mcp]'"


def agent_route(runtime: Runtime, limited: Limits) -> ASGIRouteHandler:
    """The route; a token says who asks, as over the API."""

    @asgi(PATH, copy_scope=True)
    async def agents(scope: Any, receive: Any, send: Any) -> None:
        request: Request[Any, Any, Any] = Request(scope, receive, send)
        refused = _foreign_page(runtime, request) or _no_stream(request)
        actor = await bearer(runtime, request)
        if refused is None and actor is not None:
            refused = limits.use(limited.token, str(actor.token_id))
        if actor is None or refused is not None:
            refused = refused or await no_bearer(runtime, limited, request, "mcp")
            await refused.to_asgi_response(None, request)(scope, receive, send)
            return
        try:
            await _answer(runtime, actor, scope, receive, send)
        except ModuleNotFoundError:
            await problem(501, NOT_INSTALLED).to_asgi_response(None, request)(scope, receive, send)

    return agents


async def _answer(runtime: Runtime, actor: Actor, scope: Any, receive: Any, send: Any) -> None:
    new_server, new_manager = await asyncio.to_thread(_sdk)
    server = new_server(lambda: context(runtime, actor, "mcp"))
    manager = new_manager(server, json_response=True, stateless=True)
    async with manager.run():
        await manager.handle_request(scope, receive, send)


@cache
def _sdk() -> tuple[Any, Any]:
    """What makes a server and what answers for it. Reading the SDK takes a second: not on the event loop."""
    let_pydantic_in()
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from bot.agents import new_server

    return new_server, StreamableHTTPSessionManager


def _no_stream(request: Request[Any, Any, Any]) -> Response[bytes] | None:
    """Nothing is sent unasked: there is no stream to open, and no session to end."""
    if request.method == "POST":
        return None
    return problem(405, "send POST with a message of the Model Context Protocol", headers={"allow": "POST"})


def _foreign_page(runtime: Runtime, request: Request[Any, Any, Any]) -> Response[bytes] | None:
    """A browser that acts for another site is refused, as the protocol asks."""
    origin = request.headers.get("origin")
    own = urlsplit(runtime.settings.public_url)
    if origin is None or (urlsplit(origin).scheme, urlsplit(origin).netloc) == (own.scheme, own.netloc):
        return None
    return problem(403, f"pages of {origin[:100]} may not ask here")
