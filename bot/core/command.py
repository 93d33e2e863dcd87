"""Commands: declared once, parsed from every face, run with one role check, transaction and audit line."""

import asyncio
import contextlib
import dataclasses
import difflib
import re
import time
import types
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

import msgspec
import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.core import limits, permissions
from bot.core.arguments import (
    MissingFields,
    credential_fields,
    day_fields,
    field_names,
    file_fields,
    fill,
    list_fields,
    secret_fields,
)
from bot.core.context import Context
from bot.core.entity_names import names_in
from bot.core.message import Button, Buttons, Message, Notice, Text
from bot.core.permissions import Reference, Scope
from bot.core.tokenizer import DAY_WORDS, RANGE_WORDS, is_day, is_period, split
from storage.db import config_version
from storage.db.cooperative import yield_control
from storage.db.report_database import SAID_FROM, ReportDatabase
from storage.ledger.credentials import HIDDEN, hide_credentials, looks_secret
from storage.ledger.errors import Forbidden, Refused, TooLong
from storage.ledger.facts import Role
from storage.ledger.rate_limit import RateLimit
from storage.people import audits, confirmations
from storage.people.audits import Recorded

log = structlog.get_logger()

Render = Callable[[Context, Any], Message]
Handler = Callable[[Context, Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command: its words, its parameters, its result, and how the result is rendered."""

    name: str
    parameters: type[msgspec.Struct]
    result: Any
    bulk_result: Any  # where it is another struct for several entities; else None
    handler: Handler
    role: Role
    scope: Scope
    judged: bool  # the declaration says what a member limited to campaigns may do
    references: tuple[Reference, ...]
    limits: dict[str, limits.Limit]
    render: Render
    reads: bool = False
    reports: bool = False  # may be answered from a standby
    changes: bool = True
    positional: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    sentence: str = ""
    prepare: Handler | None = None
    confirm: Handler | None = None
    loss: Handler | None = None
    summary: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def noun(self) -> str:
        return self.name.partition(" ")[0]

    @property
    def path(self) -> str:
        """Where the command is in the HTTP API: `offer add` is `offer/add`."""
        return self.name.replace(" ", "/")

    def usage(self, *, most: int | None = None) -> str:
        """`offer add <casino> account=… [tag=…]`; beside an error only the first `most` of the optional fields."""
        fields = msgspec.structs.fields(self.parameters)
        names = {field.encode_name: field.required for field in fields}
        words = {name: f"<{name}>" if name in self.positional else f"{name}=…" for name in names}
        required = [words[name] for name, needed in names.items() if needed]
        optional = [f"[{words[name]}]" for name, needed in names.items() if not needed]
        more = [f"… help {self.name}"] if most is not None and len(optional) > most else []
        return " ".join([self.name, *required, *optional[:most], *more])


class Answer(msgspec.Struct, frozen=True):
    """A command's result (for machines), its message (for people), and the change it recorded."""

    result: Any
    message: Message
    change: Recorded | None = None


COMMANDS: dict[str, Command] = {}


def command(
    name: str,
    *,
    role: Role,
    render: Render,
    scope: Scope | None = None,
    reads: bool = False,
    reports: bool = False,
    changes: bool | None = None,
    positional: tuple[str, ...] = (),
    keywords: tuple[str, ...] = (),
    sentence: str = "",
    prepare: Handler | None = None,
    confirm: Handler | None = None,
    loss: Handler | None = None,
    aliases: tuple[str, ...] = (),
) -> Callable[[Handler], Handler]:
    """Declare a command: `async def f(ctx, new: Struct) -> Result`, its docstring the help line.

    `role`, `scope`: who may (bot.core.permissions); without `scope` a command is judged by the field it requires that
    refers to an entity, and one without such a field is the whole team's.
    `reads`: runs on a read transaction, and (unless it `changes` something by other means) answers GET.
    `reports`: reads figures only, which may be some seconds old: from the standby where there is one.
    `positional`: fields that may come without their name. `keywords`: bare words that take the next word (`by day`).
    `sentence`: the positional field that takes all bare words, so that it needs no quotes.
    `prepare`: slow outside work done before the transaction, its result in `ctx.prepared`.
    `confirm`: returns the consequence in words, or None. What it puts into `ctx.notes["narrowed"]` replaces arguments,
    so that what is done is what was listed.
    `loss`: the same, of a command that asks only where several entities are chosen at once.
    """

    def declare(handler: Handler) -> Handler:
        hints = get_type_hints(handler, include_extras=True)
        parameters = next(hint for argument, hint in hints.items() if argument not in {"ctx", "return"})
        single, several = _results(hints["return"])
        altering = not reads if changes is None else changes
        fields = permissions.references(parameters, changes=altering)
        kind, judged = permissions.scope_of(scope, role, fields)
        COMMANDS[name] = Command(
            name=name, parameters=parameters, result=single, bulk_result=several,
            handler=handler, role=role, scope=kind, judged=judged, references=fields,
            limits=limits.limits_of(parameters), render=render, reads=reads, reports=reports,
            positional=positional, keywords=keywords, sentence=sentence, prepare=prepare, confirm=confirm, loss=loss,
            aliases=aliases,
            changes=altering,
            summary=(handler.__doc__ or "").strip().partition("\n")[0],
        )  # fmt: skip
        return handler

    return declare


def _results(annotation: Any) -> tuple[Any, Any]:
    """The struct of one entity, and that of several where a handler may return either."""
    if get_origin(annotation) in {Union, types.UnionType}:
        single, several = get_args(annotation)
        return single, several
    return annotation, None


def find(words: list[tuple[str | None, str]]) -> tuple[Command, int]:
    """The command that the first one or two words name, and how many they were. Raises Refused with the nearest."""
    bare = [value.lower() for key, value in words[:2] if key is None]
    by_name = {alias: command for command in COMMANDS.values() for alias in (command.name, *command.aliases)}
    for count in (2, 1):
        name = " ".join(bare[:count])
        if len(bare) >= count and name in by_name:
            return by_name[name], count
    raise Refused(unknown(" ".join(bare), bare), field="command")


def unknown(typed: str, bare: list[str]) -> str:
    """The error for words that name no command: the nearest command, or the verbs of the noun."""
    verbs = sorted(name for name in COMMANDS if bare and name.split()[0] == bare[0])
    near = difflib.get_close_matches(typed, COMMANDS, n=1, cutoff=0.6)
    if not near and bare:
        near = difflib.get_close_matches(bare[0], {name.split()[0] for name in COMMANDS}, n=1, cutoff=0.6)
    if near:
        return f"no command {typed!r}: did you mean {near[0]!r}?"
    if verbs:
        return f"no command {typed!r}: there is {', '.join(verbs)}"
    return f"no command {typed!r}: 'help' lists them all" if typed else "say a command: 'help' lists them all"


def line_of(command: Command, arguments: dict[str, Any]) -> str:
    """A command line with the arguments, quoted where needed."""
    words = [command.name]
    for name, value in arguments.items():
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        quoted = re.sub(r'(["\\\\])', r"\\\1", text)
        words.append(f'{name}="{quoted}"' if re.search(r"[\s\"'=\\\\]", text) or not text else f"{name}={text}")
    return " ".join(words)


def parse(text: str) -> tuple[Command, dict[str, Any]]:
    """A command line to its command and its arguments, still words. Raises Refused."""
    return parse_words(split(text.strip().removeprefix("/")))


def parse_words(words: list[tuple[str | None, str]]) -> tuple[Command, dict[str, Any]]:
    """The same from words that are split already, as a shell passes them."""
    command, used = find(words := ranked(words))
    arguments: dict[str, Any] = {}
    free = list(command.positional)
    rest = list(words[used:])
    while rest:
        key, value = rest.pop(0)
        if key is None and value.lower() in command.keywords:
            name: str | None = value.lower()
            value = rest.pop(0)[1] if rest else ""
        else:
            name = key or next((field for field in free if field not in arguments), None)
        if name in command.limits and command.limits[name].days is not None:
            value = _whole_range(value, rest, command)
        elif name is not None and name in day_fields(command.parameters):
            value = _whole_day(value, rest, last=name not in command.positional[:-1])
        if name in list_fields(command.parameters):
            value = _whole_list(value, rest)
        if name is None and command.sentence in arguments:
            arguments[command.sentence] += f" {value}"
            continue
        if name is None:
            raise Refused(_too_much(command, value), field=value)
        if name in arguments:
            raise Refused(f"{name} is given twice", field=name)
        arguments[name] = value
    return command, arguments


#: Words that begin a ranking, and the sign of its order.
RANKED = {"best": "-", "top": "-", "worst": "", "bottom": ""}


def ranked(words: list[tuple[str | None, str]]) -> list[tuple[str | None, str]]:
    """`best campaign this week`, `top 5`, `worst 3 offers 7d by roi` as the words of `stats`; any other line as it is.

    Without a range it is the last seven days: of today alone little is settled.
    """
    if not words or words[0][0] is not None or words[0][1].lower() not in RANKED:
        return words
    order, rest = RANKED[words[0][1].lower()], list(words[1:])
    top = _leading_number(rest)
    noun = rest.pop(0)[1].lower() if _begins_with_noun(rest) else "campaigns"
    top = top or _leading_number(rest)
    single = singular(noun)
    measure = "profit"
    for n, (key, word) in enumerate(rest[:-1]):
        if key is None and word.lower() == "by":
            measure = rest[n + 1][1].lower()
            del rest[n : n + 2]
            break
    if measure == "cpa" and words[0][1].lower() in {"best", "worst"}:  # the less a deposit costs the better
        order = "" if order else "-"
    top = top or ("1" if single == noun else "5")
    if all(key is not None for key, _ in rest):
        rest.append(("range", "7d"))
    return [(None, "stats"), ("by", single), ("sort", order + measure), ("top", top), *rest]


def _leading_number(words: list[tuple[str | None, str]]) -> str:
    """The number that the words begin with, taken off them; empty if there is none, or it begins a range: `5 nov`."""
    bare = [word for _, word in takewhile(lambda word: word[0] is None, words[:DAY_WORDS])]
    if not bare or not bare[0].isdecimal() or any(is_period(" ".join(bare[:n])) for n in range(1, len(bare) + 1)):
        return ""
    return words.pop(0)[1]


def _begins_with_noun(words: list[tuple[str | None, str]]) -> bool:
    """Whether the next word says what is ranked, rather than a range, or by what."""
    if not words or words[0][0] is not None or words[0][1].lower() in {"by", "vs"}:
        return False
    bare = [word for _, word in takewhile(lambda word: word[0] is None, words[:RANGE_WORDS])]
    return not any(is_period(" ".join(bare[:n])) for n in range(1, len(bare) + 1))


def singular(noun: str) -> str:
    """`offers` as `offer`, as commands and reports call it."""
    word = noun.lower()
    return {"countries": "country"}.get(word, word.removesuffix("s"))


def _whole_range(value: str, rest: list[tuple[str | None, str]], command: Command) -> str:
    """A range and those of the next words that belong to it: `last`, `week`. Takes them off `rest`."""
    texts = [value]
    for key, word in rest[: RANGE_WORDS - 1]:
        if key is not None or word.lower() in command.keywords:
            break
        texts.append(word)
    most = next((n for n in range(len(texts), 1, -1) if is_period(" ".join(texts[:n]))), 1)
    del rest[: most - 1]
    return " ".join(texts[:most])


def _whole_day(value: str, rest: list[tuple[str | None, str]], *, last: bool) -> str:
    """A day and those of the next words that belong to it: `25 nov`, `last monday`. Takes them off `rest`.

    Where another field follows, a number after the day is that field's and no year.
    """
    texts = [value, *(word for _, word in takewhile(lambda word: word[0] is None, rest[:DAY_WORDS]))]
    counts = [n for n in range(1, len(texts) + 1) if is_day(" ".join(texts[:n]))]
    count = (counts[-1] if last else counts[0]) if counts else 1
    del rest[: count - 1]
    return " ".join(texts[:count])


def _whole_list(value: str, rest: list[tuple[str | None, str]]) -> str:
    """A list with spaces around its commas: `a, b`, `"Spring push", "Autumn"`. Takes the words off `rest`."""
    while rest and rest[0][0] is None and (value.endswith(",") or rest[0][1].startswith(",")):
        value += rest.pop(0)[1]
    return value


def _too_much(command: Command, value: str) -> str:
    near = difflib.get_close_matches(value, field_names(command.parameters), n=1)
    hint = f"did you mean {near[0]}=…?" if near else "write key=value, with quotes around spaces"
    shown = HIDDEN if secret_fields(command.parameters) or looks_secret(value) else value
    return f"{shown!r} is one word too many for {command.name!r}: {hint}"


async def run(command: Command, arguments: dict[str, Any], ctx: Context, *, confirmed: bool = False) -> Answer:
    """Run a command as `ctx.actor`. Raises Refused, Forbidden, ConnectorError; changes nothing then.

    One that only reads is given up after `Deployment.limit_seconds`: raises TooLong.
    """
    with ctx.ports.span(f"command {command.name}", face=ctx.face, role=ctx.actor.role, team=ctx.team_id):
        return await _run_in_time(command, arguments, ctx, confirmed=confirmed)


async def _run_in_time(command: Command, arguments: dict[str, Any], ctx: Context, *, confirmed: bool) -> Answer:
    if not command.reads:
        return await _run(command, arguments, ctx, confirmed=confirmed)
    seconds = ctx.deployment.limit_seconds
    try:
        async with asyncio.timeout(seconds + _GRACE) as limit:
            return await _run(command, arguments, ctx, confirmed=confirmed)
    except TimeoutError:
        if not limit.expired():
            raise
        raise TooLong(f"this takes longer than {seconds:g} seconds: ask for fewer days, or for fewer rows") from None


#: Holds the arguments of a question where they are encrypted.
SEALED = "sealed"

#: Seconds that the helper process is given to say with better advice that a request takes too long.
_GRACE = 1.0


async def _run(command: Command, arguments: dict[str, Any], ctx: Context, *, confirmed: bool) -> Answer:
    try:
        new = await _admitted(command, arguments, ctx)
    except Forbidden as refusal:
        await _record_refusal(command, ctx, str(refusal))
        raise
    await yield_control()
    consequence = (
        None if confirmed else await _consequence(command.confirm, new, ctx) or _change(command, arguments, ctx)
    )
    if consequence is not None:
        return await _ask(command, arguments | ctx.notes.pop("narrowed", {}), ctx, consequence)
    if command.prepare:
        ctx.prepared = await command.prepare(ctx, new)
    if command.reports and ctx.reports is not None:
        return await _report(command, arguments, new, ctx, ctx.reports)
    return await _carry_out(command, arguments, new, ctx)


async def _report(
    command: Command, arguments: dict[str, Any], new: Any, ctx: Context, reports: ReportDatabase
) -> Answer:  # fmt: skip
    """From the standby, with its lag said; from the primary where the standby cannot be used or fails."""
    standby = await reports.choose()
    if standby is None:
        return await _carry_out(command, arguments, new, ctx)
    there = dataclasses.replace(ctx, database=standby, ports=ctx.ports.reading(standby.url))
    try:
        answer = await _carry_out(command, arguments, new, there)
    except Exception as error:
        if not reports.failed(error):
            raise
        return await _carry_out(command, arguments, new, ctx)
    if reports.lag < SAID_FROM:
        return answer
    ctx.notes["behind"] = round(reports.lag)
    notice = Notice("info", f"These figures are {reports.lag:.0f} seconds old: they come from the standby")
    message = msgspec.structs.replace(answer.message, blocks=(*answer.message.blocks, notice))
    return Answer(answer.result, message, answer.change)


async def _carry_out(command: Command, arguments: dict[str, Any], new: Any, ctx: Context) -> Answer:
    """Once more where another person made the same thing at the same moment: what they made is seen then."""
    try:
        return await _carry_out_once(command, arguments, new, ctx)
    except IntegrityError as error:
        log.warning("a command is retried after a conflict", command=command.name, error=type(error.orig).__name__)
    try:
        return await _carry_out_once(command, arguments, new, ctx)
    except IntegrityError as error:
        log.error("a command conflicts with stored data", command=command.name, exc_info=error)
        raise Refused("this clashes with what another person just changed: look at it again, then repeat it") from None


async def _carry_out_once(command: Command, arguments: dict[str, Any], new: Any, ctx: Context) -> Answer:
    change = ctx.prepared.change if isinstance(ctx.prepared, Answer) else None
    async with _transaction(command, ctx) as tx:
        result = await _within(ctx, tx, command.handler, new)
        if not ctx.encodes and not ctx.unread:
            ctx.names = await names_in(tx, ctx.team_id, result)
        if not command.reads and not ctx.unchanged:
            change = await audits.record(tx, ctx.now, audits.Entry(
                team_id=ctx.team_id, actor=ctx.actor.name, face=ctx.face, room=ctx.room.room if ctx.room else "",
                command=command.name, arguments=masked(command.parameters, arguments), **ctx.notes,
            ))  # fmt: skip
            if ctx.recorded is not None:
                await ctx.recorded(tx, change)
            await config_version.bump(tx)
    if not command.reads and not ctx.unchanged:
        await ctx.ports.changed()
    return Answer(result, Message("") if ctx.encodes or ctx.unread else command.render(ctx, result), change)


def _change(command: Command, arguments: dict[str, Any], ctx: Context) -> str | None:
    """What a change is, in the words of its command line, where every change is asked about first."""
    if not ctx.asks or not command.changes or command.noun in {"confirm", "cancel"}:
        return None
    return f"This changes something: {line_of(command, masked(command.parameters, arguments))}"


async def consequence_of(command: Command, arguments: dict[str, Any], ctx: Context) -> str | None:
    """What is lost by a command among several, None if nothing; it is not run. Raises as `run` does."""
    return await _consequence(command.confirm or command.loss, await _admitted(command, arguments, ctx), ctx)


async def _consequence(question: Handler | None, new: Any, ctx: Context) -> str | None:
    if question is None:
        return None
    async with ctx.database.read() as tx:
        return cast(str | None, await _within(ctx, tx, question, new))


async def admit_words(command: Command, arguments: dict[str, Any], ctx: Context) -> None:
    """Raises as `run` does where the actor may not give the command with these arguments."""
    await _admitted(command, arguments, ctx)


async def _admitted(command: Command, arguments: dict[str, Any], ctx: Context) -> Any:
    """The command's arguments, read and within their limits, of an actor who may use them so."""
    permissions.check_role(command, ctx.actor)
    limits.check(command.limits, arguments)
    new = fill(command.parameters, arguments, ctx.today)
    limits.check_days(command.limits, new, ctx.today)
    await permissions.admit(command, new, ctx)
    return new


#: Refusals of one actor that are recorded a minute.
_RECORDED_REFUSALS = RateLimit(30)


async def _record_refusal(command: Command, ctx: Context, reason: str) -> None:
    if _RECORDED_REFUSALS.use(f"{ctx.team_id} {ctx.actor.name}", time.monotonic()):
        return
    entry = audits.Entry(
        team_id=ctx.team_id, actor=ctx.actor.name, face=ctx.face, room=ctx.room.room if ctx.room else "",
        command=command.name, arguments={"refused": reason},
    )  # fmt: skip
    await ctx.database.run(lambda tx: audits.record(tx, ctx.now, entry))


def _transaction(command: Command, ctx: Context) -> AbstractAsyncContextManager[AsyncConnection]:
    return ctx.database.read() if command.reads else ctx.database.begin()


async def _within(ctx: Context, tx: AsyncConnection, handler: Handler, new: Any) -> Any:
    ctx._connection = tx
    try:
        return await handler(ctx, new)
    finally:
        ctx._connection = None


async def _ask(command: Command, arguments: dict[str, Any], ctx: Context, consequence: str) -> Answer:
    async with ctx.database.begin() as tx:
        code = await confirmations.ask(tx, ctx.now, confirmations.Question(
            team_id=ctx.team_id, actor=ctx.actor.name, command=command.name,
            arguments=_sealed(command, msgspec.to_builtins(arguments), ctx),  # a file as base64
        ))  # fmt: skip
    buttons = Buttons((Button("Confirm", f"confirm {code}", style="danger"), Button("Cancel", f"cancel {code}")))
    message = Message(
        f"Confirm: {command.name}",
        (Notice("warning", consequence), Text(f"Confirm within ten minutes: confirm {code}"), buttons),
        private=True,
    )
    return Answer({"confirm": code, "consequence": consequence, "command": command.name}, message)


def _sealed(command: Command, arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Arguments as a question keeps them: encrypted where a credential is among them."""
    secret = secret_fields(command.parameters) | credential_fields(command.parameters)
    return {SEALED: ctx.box.seal(arguments)} if secret & arguments.keys() else arguments


def masked(parameters: type[msgspec.Struct], arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments as the audit trail may keep them: credentials, files and addresses of people replaced."""
    hidden = secret_fields(parameters) | set(file_fields(parameters))
    partly = credential_fields(parameters)
    shown = {name: HIDDEN if name in hidden else value for name, value in arguments.items()}
    return {name: hide_credentials(_parsed(value)) if name in partly else value for name, value in shown.items()}


def _parsed(value: Any) -> Any:
    """JSON that came as text, as in a chat, so that its parts are seen."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            return msgspec.json.decode(value)
    return value


__all__ = [
    "COMMANDS",
    "Answer",
    "Command",
    "MissingFields",
    "admit_words",
    "command",
    "consequence_of",
    "find",
    "masked",
    "parse",
    "run",
]
