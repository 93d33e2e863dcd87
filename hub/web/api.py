"""One HTTP route per bot command, made from the commands themselves."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from litestar import HttpMethod, Request, Response, route
from litestar.exceptions import MethodNotAllowedException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream

from bot.core import limits as sizes
from bot.core.arguments import field_names
from bot.core.command import COMMANDS, Command, run
from bot.core.context import Actor, Context, Face
from bot.core.message import File
from bot.core.permissions import may
from hub.requests import limits
from hub.requests.actors import bearer, no_bearer
from hub.requests.limits import Limits
from hub.requests.problems import API, from_error
from hub.runtime.runtime import Runtime
from storage.ledger.errors import CasinoFluxError, Refused
from storage.ledger.reports.report_pages import PagedReport
from storage.reports.report_in_helper import ReportParts

MAX_BODY = 20_000_000  # a CSV of a year's spend fits
AT_ONCE = 64_000  # bytes of JSON that are decoded without giving others their turn: a millisecond
_HEAD, _CUTS = 32_000, 12  # bytes of a large body that are looked at first, and how often they are cut
PART = 500  # entries of a list decoded between two turns of others


def command_routes(runtime: Runtime, limited: Limits) -> list[HTTPRouteHandler]:
    """Every command: POST with JSON, and GET with a query for those that only read.

    One route for all of them: one for each would take 3 MB.
    """
    commands = {_path(name): command for command in COMMANDS.values() for name in (command.name, *command.aliases)}

    @route(
        f"{API}{{command:path}}", http_method=[HttpMethod.GET, HttpMethod.POST], status_code=200,
        include_in_schema=False, request_max_body_size=MAX_BODY,
    )  # fmt: skip
    async def handle(request: Request[Any, Any, Any]) -> Response[Any]:
        command = commands.get(request.url.path.rstrip("/"))
        if command is None:
            raise NotFoundException
        if request.method == HttpMethod.GET and not (command.reads and not command.changes):
            raise MethodNotAllowedException(headers={"allow": "OPTIONS, POST"})
        return await answer(runtime, limited, command, request)

    return [handle]


def _path(name: str) -> str:
    return f"{API}{name.replace(' ', '/')}"


async def answer(runtime: Runtime, limited: Limits, command: Command, request: Request[Any, Any, Any]) -> Response[Any]:
    """Who asks, what, and the result as JSON."""
    actor = await bearer(runtime, request)
    if actor is None:
        return await no_bearer(runtime, limited, request, command.name)
    if (refused := limits.use(limited.token, str(actor.token_id))) is not None:
        return refused
    try:
        # Who may not give the command is refused before the body is read as JSON.
        arguments = await _arguments(request, command) if may(command, actor) else {}
        if _wants_csv(request) and "format" in field_names(command.parameters):
            arguments.setdefault("format", "csv")
        ctx = context(runtime, actor)
        ctx.encodes = True
        result = (await run(command, arguments, ctx)).result
    except CasinoFluxError as error:
        subject = (
            command.positional[0] if command.positional and not command.name.endswith((" add", " create")) else None
        )
        return from_error(error, subject=subject)
    response: Response[Any]
    file = ctx.notes.get("file")
    if isinstance(file, File) and (ctx.notes.get("csv") or file.mime == "application/pdf"):
        response = _attachment(file)
        if following := ctx.notes.get("next"):
            response.headers["casinoflux-next"] = following
    elif isinstance(result, PagedReport | ReportParts):
        response = _pieces(list(result.json()))
    else:
        response = Response(msgspec.json.encode(result), media_type="application/json")
    if "behind" in ctx.notes:
        response.headers["casinoflux-report-lag"] = str(ctx.notes["behind"])
    return response


def _wants_csv(request: Request[Any, Any, Any]) -> bool:
    return request.headers.get("accept", "").partition(";")[0].strip().lower() == "text/csv"


def _attachment(file: File) -> Response[Any]:
    disposition = f'attachment; filename="{file.name}"'
    headers = {"content-disposition": disposition}
    return Response(file.data, media_type=file.mime, headers=headers)


def _pieces(parts: list[bytes]) -> Stream:
    """JSON sent piece by piece: a year's report is 50 MB, which need not be in memory twice."""

    async def send() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    length = {"content-length": str(sum(map(len, parts)))}
    return Stream(send(), media_type="application/json", headers=length)


def context(runtime: Runtime, actor: Actor, face: Face = "api") -> Context:
    return Context(
        database=runtime.database, deployment=runtime.deployment, actor=actor, face=face, ports=runtime.ports,
        box=runtime.box, clock=runtime.clock, reports=runtime.reports,
    )  # fmt: skip


async def _arguments(request: Request[Any, Any, Any], command: Command) -> dict[str, Any]:
    if request.method == "GET":
        return _query(request.query_params.multi_items())
    body = await request.body()
    if not body.strip():
        return _query(request.query_params.multi_items())
    try:
        arguments = msgspec.json.decode(body) if len(body) <= AT_ONCE else await _decode_by_parts(body, command)
    except msgspec.ValidationError:
        arguments = None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"the body is not JSON ({error}): send an object of arguments", field="body") from None
    if not isinstance(arguments, dict):
        raise Refused("the body is JSON, but not an object of arguments", field="body")
    return arguments


async def _decode_by_parts(body: bytes, command: Command) -> dict[str, Any]:
    """A large body, decoded so that clicks are answered in between; a list that is too long is refused before its
    entries are decoded."""
    _check_beginning(body, command)
    arguments: dict[str, Any] = {}
    for name, raw in msgspec.json.decode(body, type=dict[str, msgspec.Raw]).items():
        await asyncio.sleep(0)
        if bytes(memoryview(raw)[:1]) != b"[":
            arguments[name] = msgspec.json.decode(raw)
            continue
        entries = msgspec.json.decode(raw, type=list[msgspec.Raw])
        sizes.check_number(command.limits, name, len(entries))
        values = arguments[name] = []
        for first in range(0, len(entries), PART):
            await asyncio.sleep(0)
            values += [msgspec.json.decode(entry) for entry in entries[first : first + PART]]
    return arguments


def _check_beginning(body: bytes, command: Command) -> None:
    """Raises Refused where the beginning of a body shows that a list is too long, so that its rest is not decoded.

    Cut at a comma between two entries of a list, and closed, the beginning is JSON; at any other comma it is not.
    """
    head = body[:_HEAD]
    for _ in range(_CUTS):
        head = head[: max(head.rfind(b","), 0)]
        try:
            lists = msgspec.json.decode(head + b"]}", type=dict[str, msgspec.Raw])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        for name, raw in lists.items():
            if bytes(memoryview(raw)[:1]) == b"[":
                number = len(msgspec.json.decode(raw, type=list[msgspec.Raw]))
                sizes.check_number(command.limits, name, number, counted=False)
        return


def _query(pairs: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        values[name] = f"{values[name]},{value}" if name in values else value
    return values
