"""Commands as tools for agents: a server of the Model Context Protocol, by the official Python SDK.

Each command is a tool. What changes something is asked about first: the first call answers with the consequence and a
code, and the tool `confirm` carries it out. Permissions are those of the actor, as on every other face.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import msgspec
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams, TextContent, Tool

from bot.chat.session import FEW, broken, without_secrets
from bot.core.arguments import bare_kinds, field_names, meta
from bot.core.command import COMMANDS, Command, MissingFields, run, unknown
from bot.core.context import Context
from bot.core.permissions import may
from bot.render import terminal
from bot.render.text_columns import cut
from storage.ledger.errors import CasinoFluxError, Refused

MAX_LIST = 37_500  # bytes of the tool list: an agent reads it before anything else, and 40 kB is too much
MAX_TEXT = 16_000  # characters of one result
PAGE = 20  # items of a list, where the call says no limit
#: How much is said of a tool, most first: optional fields, and characters of the description.
DETAIL = (*((fields, 200) for fields in range(12, -1, -1)), *((0, length) for length in (80, 65, 55, 48, 42, 36, 20)))

INSTRUCTIONS = (
    "CasinoFlux: campaigns, offers, clicks, conversions and revenue of an affiliate team. Begin with find, stats, "
    "campaign_list or help. A tool takes more optional fields than its schema lists: help command=<noun> verb=<verb> "
    "names all of them. Campaigns, offers and the like are named by code, name or id; days as 2026-11-21, yesterday "
    "or 7d; amounts as 12.50 EUR. A tool that changes something does nothing at first: it answers with the "
    "consequence and a code; show the consequence to the person, then call confirm with the code."
)

_TYPES = {int: "integer", bool: "boolean", list: "array", dict: "object"}


def new_server(context: Callable[[], Context]) -> Server[Any]:
    """A server whose calls run each in a context of their own."""

    async def list_tools(
        _request: ServerRequestContext[Any], _params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        described = await asyncio.to_thread(tools, allowed(context()))  # 0.1 s at first
        return ListToolsResult(tools=[Tool.model_validate(tool) for tool in described])

    async def call_tool(_request: ServerRequestContext[Any], params: CallToolRequestParams) -> CallToolResult:
        return await call(context(), params.name, params.arguments or {})

    return Server(
        "casinoflux", version=version("casinoflux"), title="CasinoFlux", instructions=INSTRUCTIONS,
        on_list_tools=list_tools, on_call_tool=call_tool,
    )  # fmt: skip


def allowed(ctx: Context) -> tuple[str, ...]:
    """The commands that the actor may give, those that only read first."""
    mine = [command for command in COMMANDS.values() if may(command, ctx.actor)]
    return tuple(command.name for command in sorted(mine, key=lambda command: (command.changes, command.name)))


@lru_cache(maxsize=8)
def tools(names: tuple[str, ...]) -> Sequence[dict[str, Any]]:
    """The tools of these commands, with as many of their optional fields as the list has room for."""
    for fields, length in DETAIL:
        described = [_tool(COMMANDS[name], fields, length) for name in names]
        if len(msgspec.json.encode(described)) <= MAX_LIST:
            break
    return described


def _tool(command: Command, most: int, length: int) -> dict[str, Any]:
    fields = msgspec.structs.fields(command.parameters)
    required = [field.encode_name for field in fields if field.required]
    optional = [field for field in fields if not field.required][:most]
    properties: dict[str, Any] = {field.encode_name: _schema(field) for field in fields if field.required}
    properties |= {field.encode_name: {} for field in optional}
    schema: dict[str, Any] = {"type": "object"}
    schema |= {"properties": properties} if properties else {}
    schema |= {"required": required} if required else {}
    hint = {"destructiveHint": command.confirm is not None} if command.changes else {"readOnlyHint": True}
    return {
        "name": tool_name(command), "description": _brief(command.summary, length),
        "inputSchema": schema, "annotations": hint,
    }  # fmt: skip


def _brief(summary: str, length: int) -> str:
    """A summary, or its beginning up to where it can be left off, in so many characters."""
    text = summary.partition(";")[0]
    if len(text) <= length:
        return text
    ends = [text.rfind(mark, length // 3, length) for mark in (": ", ", ", ". ", " (")]
    return text[: max(ends)] if max(ends) > 0 else cut(text, length)


def _schema(field: msgspec.structs.FieldInfo) -> dict[str, Any]:
    """A required field's values; a plain text says no type, for the list is long."""
    kinds = bare_kinds(field.type)
    choices = meta(field.type)[2].get("choices")
    if choices:
        return {"enum": list(choices)}
    kind = next((name for kind, name in _TYPES.items() if kind in kinds), None)
    return {"type": kind} if kind else {}


def tool_name(command: Command) -> str:
    """`campaign list` as `campaign_list`."""
    return command.name.replace(" ", "_")


async def call(ctx: Context, name: str, arguments: dict[str, Any]) -> CallToolResult:
    """Run a tool's command and give its message as people read it. Faults are results, which the agent can correct."""
    words = name.replace("_", " ")
    command = COMMANDS.get(words)
    if command is None:
        return _fault(unknown(words, words.split()))
    if "limit" in field_names(command.parameters):
        arguments = {"limit": PAGE} | arguments
    ctx.asks = True
    try:
        answer = await run(command, arguments, ctx)
    except MissingFields as lack:
        return _fault(f"{lack}\nusage: {command.usage(most=FEW)}")
    except Refused as error:
        text = without_secrets(command, arguments, str(error))
        field = f"{error.field}: " if error.field and error.field not in text else ""
        return _fault(field + text)
    except CasinoFluxError as error:
        return _fault(without_secrets(command, arguments, str(error)))
    except Exception:
        return _fault(broken(command.name).title)
    text = terminal.render(answer.message)
    after = getattr(answer.result, "next", None)
    if isinstance(answer.result, dict) and "confirm" in answer.result:
        return _result(text, answer.result)
    return _result(_shortened(text) + (f"\n\nThere are more: call again with after={after}" if after else ""))


def _shortened(text: str) -> str:
    """A text cut at the end of a line where it is longer than an agent should read."""
    if len(text) <= MAX_TEXT:
        return text
    whole = text[:MAX_TEXT].rpartition("\n")[0] or text[:MAX_TEXT]
    return f"{whole}\n\n… {len(text) - len(whole):,} characters more: ask for fewer rows (limit, top) or fewer days"


def _result(text: str, structured: dict[str, Any] | None = None) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=structured)


def _fault(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)
