"""The command line of every page (Ctrl-K): each chat command, completed while it is typed, its answer as HTML."""

from typing import Any

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler
from sqlalchemy import select

from bot.chat.questions import questions
from bot.commands.find import KINDS
from bot.core.command import COMMANDS, parse, run
from bot.core.message import error
from bot.core.permissions import ENTITIES, visible
from bot.render import web_html
from hub.cockpit.find import page_of
from hub.cockpit.forms import NOUNS
from hub.cockpit.page import Cockpit, Visit
from storage.catalogue import names
from storage.ledger.errors import CasinoFluxError

MOST = 12
FEW = 6  # commands that fit: with more, what is typed is a command
SHORTEST = 2  # letters that are looked for


def command_line_routes(cockpit: Cockpit) -> list[HTTPRouteHandler]:
    @cockpit.post("/cockpit/say")
    async def run_line(visit: Visit) -> Response[Any]:
        text = visit.form.get("say", "")[:4_000]
        try:
            command, arguments = parse(text or "help")
            message = (await run(command, arguments, visit.context())).message
        except CasinoFluxError as fault:
            message = error(str(fault))
        return Response(web_html.render(message), media_type="text/html")

    @cockpit.get("/cockpit/complete")
    async def complete(visit: Visit) -> Response[Any]:
        choices = await _choices(visit, visit.query.get("text", "")[:500])
        return Response(msgspec.json.encode(choices), media_type="application/json")

    return [run_line, complete]


async def _choices(visit: Visit, text: str) -> list[dict[str, str]]:
    """Commands that begin so; after a whole command its fields, and the entities a field may name."""
    command = next((c for name, c in COMMANDS.items() if text.lower().startswith(f"{name} ")), None)
    if command is None:
        typed = text.strip().lower()
        names = [n for n in COMMANDS if visit.may(n) and (n.startswith(typed) or typed in n)]
        names.sort(key=lambda name: (not name.startswith(typed), name))
        choices = [{"text": f"{n} ", "label": f"{n} — {COMMANDS[n].summary}"} for n in names[:MOST]]
        return [*choices, *await _findings(visit, typed)] if len(choices) < FEW else choices
    head, _, last = text.rpartition(" ")
    field, equals, typed = last.partition("=")
    by_name = {question.name: question for question in questions(command)}
    question = by_name.get(field) if equals else by_name.get(command.positional[0]) if command.positional else None
    named = await _entities(visit, question.refers, (typed if equals else last).lower()) if question else []
    prefix = f"{head} {field}=" if equals else f"{head} "
    fields = [] if equals else [
        {"text": f"{head} {name}=", "label": f"{name}=  {question.description}"}
        for name, question in by_name.items() if name.startswith(last.lower()) and f" {name}=" not in text
    ]  # fmt: skip
    return [*({"text": f"{prefix}{code} ", "label": f"{name}  {code}"} for code, name in named), *fields][:MOST]


async def _findings(visit: Visit, typed: str) -> list[dict[str, str]]:
    """What holds the words, each leading to its page."""
    if len(typed) < SHORTEST:
        return []
    try:
        matches = (await visit.ask("find", words=typed)).items
    except CasinoFluxError:
        return []
    return [
        {"text": finding.command, "label": f"{finding.name}  {KINDS.get(finding.kind, finding.kind)}",
         "page": page_of(finding)}
        for finding in matches[:MOST]
    ]  # fmt: skip


async def _entities(visit: Visit, noun: str, typed: str) -> list[tuple[str, str]]:
    """Codes and names of the entities that hold what is typed."""
    if noun not in NOUNS:
        return []
    table, team_id = ENTITIES[noun].table, visit.actor.team_id
    query = select(table.c.code, table.c.name).where(table.c.team_id == team_id, visible(visit.actor, noun))
    async with visit.cockpit.runtime.database.read() as tx:
        if typed:
            query = query.where(await names.holding(tx, table, team_id, typed))
        rows = await tx.execute(query.order_by(table.c.id.desc()).limit(MOST))
        return [(row.code, row.name) for row in rows]
