"""What a browser is shown under `/cockpit` in place of a problem document: no such page, a database that is away."""

from collections.abc import Callable
from html import escape
from typing import Any, TypeVar

import msgspec
from litestar import Request, Response

from hub.cockpit.assets import Assets
from hub.cockpit.page import HEADERS, MENU
from hub.requests.problems import Problem

E = TypeVar("E", bound=Exception)
Handler = Callable[[Request[Any, Any, Any], E], Response[Any]]

#: The words that people type for a page, and its address: `campaigns` as well as `campaign`.
PAGES = {
    word.lower().replace(" ", "-"): item.path
    for _, items in MENU
    for item in items
    for word in (item.label, item.section, f"{item.section}s", item.path.rsplit("/", 1)[-1])
}
_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · CasinoFlux</title>
<link rel="icon" href="{icon}" type="image/svg+xml"><link rel="stylesheet" href="{style}"></head>
<body class="alone"><main><div class="panel narrow"><h1>{title}</h1><p>{detail}</p>
<div class="buttons"><a class="button primary" href="/cockpit">To Today</a></div></div></main></body></html>
"""


def as_page(handle: Handler[E], assets: Assets) -> Handler[E]:
    """An exception handler whose answers are pages for browsers that ask for one of the cockpit's."""

    def answer(request: Request[Any, Any, Any], error: E) -> Response[Any]:
        response = handle(request, error)
        path = request.url.path
        if not path.startswith("/cockpit/") or "text/html" not in request.headers.get("accept", ""):
            return response
        fault = msgspec.json.decode(response.content, type=Problem)
        page = PAGES.get(path.removeprefix("/cockpit/").strip("/").lower())
        if page and fault.status == 404 and request.method == "GET":
            return Response("", status_code=302, headers=HEADERS | {"location": page})
        return Response(
            _text(fault, path, assets), status_code=fault.status, media_type="text/html",
            headers={**HEADERS, **{k: v for k, v in response.headers.items() if k.lower() == "retry-after"}},
        )  # fmt: skip

    return answer


def _text(fault: Problem, path: str, assets: Assets) -> str:
    detail = f"The cockpit has no page {path[:200]}." if fault.status == 404 else fault.detail
    return _PAGE.format(
        title=escape(fault.title), detail=escape(detail), icon=assets.address("icon.svg"),
        style=assets.address("cockpit.css"),
    )  # fmt: skip
