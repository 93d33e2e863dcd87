"""`find`: everything of the team that holds some words, whatever kind it is, with what opens it."""

from typing import Annotated, Any

import msgspec
from sqlalchemy import Row, select

from bot.commands.views import is_own_view
from bot.core import permissions
from bot.core.arguments import Arguments
from bot.core.command import COMMANDS, command
from bot.core.context import Context
from bot.core.limits import limited
from bot.core.listing import Page
from bot.core.message import Button, Buttons, Message, Table, Text
from bot.core.permissions import Scope, may, of_own_campaigns, visible
from bot.forms.report_view import saved_report
from bot.render.figures import event_name
from storage.catalogue import search
from storage.catalogue.groups import ARCHIVED, SORTED
from storage.catalogue.search import EXACT, MAX_WORDS, MOST, Match
from storage.clicks import queries
from storage.ledger.alerts.thresholds import Rule, describe
from storage.ledger.errors import CasinoFluxError, Forbidden, Refused
from storage.ledger.facts import Role
from storage.reports import views
from storage.tables import alerts, automations, members
from storage.tables import campaigns as campaigns_table

#: What people call a kind, where its noun alone does not say it.
KINDS = {"source": "traffic source", "account": "platform account", "view": "saved report"}


class Find(Arguments):
    words: Annotated[
        str, limited("name, code, address, note, tag, group, click id or transaction id", text=300)
    ]  # fmt: skip


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What was found: its kind and code, by which field, with the text around the words, and the line that opens it."""

    kind: str
    code: str
    name: str
    by: str
    text: str
    status: str
    command: str


def find_message(ctx: Context, page: Page[Finding]) -> Message:
    words = ctx.notes["words"]
    if not page.items:
        return Message(f"Nothing holds {words!r}", (Text("Fewer words, or the beginning of a name, find more."),),
                       private=True)  # fmt: skip
    rows = tuple(
        (KINDS.get(f.kind, f.kind).capitalize(), f.name, f.code if f.code != f.name else "–", _why(f))
        for f in page.items
    )
    buttons = Buttons(tuple(Button(f"{f.kind.capitalize()} {f.name}"[:40], f.command) for f in page.items))
    return Message(f"Found for {words!r}", (Table(("What", "Name", "Code", "Found by"), rows), buttons), private=True)


def _why(finding: Finding) -> str:
    words = finding.by if finding.by in {"name", "id"} else f"{finding.by}: {finding.text}"
    return f"{words} · {ARCHIVED}" if finding.status else words


@command("find", role=Role.VIEWER, scope=Scope.OWN, render=find_message, reads=True, positional=("words",),
         sentence="words", aliases=("search",))  # fmt: skip
async def find(ctx: Context, new: Find) -> Page[Finding]:
    """Find campaigns, offers, casinos, sites, sources, accounts, domains, members, automations, alerts and clicks."""
    words = new.words.casefold().split()
    if not words or len(words) > MAX_WORDS:
        raise Refused(f"words: write between 1 and {MAX_WORDS} words", field="words")
    ctx.notes["words"] = new.words.strip()
    matches = [*await _of_ids(ctx, new.words.strip()), *await _of_link(ctx, words)]
    kinds = {kind: visible(ctx.actor, kind) for kind in (*SORTED, "group") if _shows(ctx, kind)}
    matches += await search.search(ctx.tx, ctx.team_id, words, kinds)
    matches += [*await _members(ctx, words), *await _alerts(ctx, words), *await _automations(ctx, words)]
    matches += await _views(ctx, words)
    distinct = {(match.kind, match.code): match for match in reversed(search.best(matches))}
    return Page([_finding(ctx, match) for match in reversed(distinct.values())][:MOST])


def _shows(ctx: Context, kind: str) -> bool:
    return may(COMMANDS[f"{kind} show"], ctx.actor)


def _finding(ctx: Context, match: Match) -> Finding:
    opened = {"member": "member list", "view": ctx.notes.get(f"view {match.code}", "view list")}
    line = opened.get(match.kind, f"{match.kind} show {match.code}")
    return Finding(
        kind=match.kind, code=match.code, name=match.name, by=match.by, text=match.text, status=match.status,
        command=line,
    )  # fmt: skip


async def _of_ids(ctx: Context, word: str) -> list[Match]:
    """A click by its id, and the clicks of a transaction, of the actor's campaigns."""
    if not word or " " in word:
        return []
    matches = []
    try:
        codec = await queries.codec(ctx.tx)
    except CasinoFluxError:
        return []  # no click was ever served
    if (number := _decoded(codec, word)) is not None and await queries.show(ctx.tx, ctx.team_id, number):
        matches += await _click(ctx, codec.encode(number), by="id", text="")
    for conversion in await search.of_transaction(ctx.tx, ctx.team_id, word):
        if conversion.click_id:
            text = f"{event_name(conversion.event)} of {conversion.day.isoformat()}, transaction {conversion.txn_id}"
            matches += await _click(ctx, codec.encode(conversion.click_id), by="transaction", text=text)
    return matches


def _decoded(codec: Any, word: str) -> int | None:
    try:
        number: int | None = codec.decode(word)
    except CasinoFluxError:
        return None
    return number


async def _click(ctx: Context, click_id: str, *, by: str, text: str) -> list[Match]:
    try:
        await permissions.judge(ctx, "click", click_id, field="words")
    except Forbidden:
        return []
    return [Match(kind="click", code=click_id, name=f"Click {click_id}", rank=EXACT, by=by, text=text)]


async def _of_link(ctx: Context, words: list[str]) -> list[Match]:
    """The campaign of a tracking link of ours."""
    link = f"{ctx.deployment.public_url}/c/".casefold()
    code = words[0].removeprefix(link).partition("?")[0] if words[0].startswith(link) else ""
    c = campaigns_table.c
    mine = select(c.code, c.name).where(c.team_id == ctx.team_id, c.code == code, visible(ctx.actor, "campaign"))
    rows = await ctx.tx.execute(mine) if code else ()
    return [Match(kind="campaign", code=row.code, name=row.name, rank=EXACT, by="address", text=words[0])
            for row in rows]  # fmt: skip


async def _members(ctx: Context, words: list[str]) -> list[Match]:
    """Members; one who is limited to campaigns sees those who share some."""
    m = members.c
    rows = await ctx.tx.execute(
        select(m.code, m.name, m.campaigns).where(m.team_id == ctx.team_id, m.removed_at.is_(None))
    )
    mine = ctx.actor.campaigns
    seen = [row for row in rows if mine is None or row.campaigns is None or set(mine) & set(row.campaigns)]
    return search.among("member", seen, words, lambda row: (row.code, row.name, ""))


async def _alerts(ctx: Context, words: list[str]) -> list[Match]:
    a = alerts.c
    rows = await ctx.tx.execute(
        select(a.id, a.rule, a.campaigns).where(a.team_id == ctx.team_id, a.removed_at.is_(None))
    )
    visible = [row for row in rows if of_own_campaigns(ctx.actor, row.campaigns)]
    return search.among("alert", visible, words, _alert)


def _alert(row: Row[Any]) -> tuple[str, str, str]:
    return f"alert-{row.id}", describe(msgspec.convert(row.rule["rule"], Rule)), ""


async def _automations(ctx: Context, words: list[str]) -> list[Match]:
    a = automations.c
    rows = await ctx.tx.execute(
        select(a.id, a.name, a.terms, a.campaigns).where(a.team_id == ctx.team_id, a.removed_at.is_(None))
    )
    visible = [row for row in rows if of_own_campaigns(ctx.actor, row.campaigns)]
    return search.among("automation", visible, words, lambda row: (f"automation-{row.id}", row.name, row.terms["rule"]))


async def _views(ctx: Context, words: list[str]) -> list[Match]:
    """Saved reports of what the actor may see; `notes` keeps the lines that show them."""
    rows = await ctx.tx.execute(views.of_team(ctx.team_id))
    rows_by_code = {row.code: row for row in rows}
    matches = search.among("view", rows_by_code.values(), words, lambda row: (row.code, row.name, row.query))
    visible = []
    for match in matches:
        view = views.shown(rows_by_code[match.code])
        if await is_own_view(ctx, view):
            ctx.notes[f"view {match.code}"] = saved_report(view.query, ctx.today).stats()
            visible.append(msgspec.structs.replace(match, text=view.query))
    return visible
