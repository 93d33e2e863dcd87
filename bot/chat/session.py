"""A line of text from a chat: who wrote it, in whose room, which command it is, and its reply."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import msgspec

from bot import commands as _commands
from bot.chat.readings import cards, figures, readings, repeatable, with_whole_name
from bot.commands.audits import with_undo
from bot.commands.members import join_team, joined_card
from bot.core.arguments import (
    MissingArgument,
    MissingFields,
    credential_fields,
    day_fields,
    file_fields,
    fill,
    list_fields,
    secret_fields,
)
from bot.core.command import COMMANDS, Command, line_of, parse, run
from bot.core.context import Actor, Context, Deployment, Ports, Room
from bot.core.listing import Listing
from bot.core.message import Button, Buttons, Message, error
from bot.core.tokenizer import is_day, split
from bot.forms.first_steps import STEP_COMMANDS, done_steps, with_next_step
from bot.render.text_columns import cut
from storage.catalogue.entities import MAX_PAGE
from storage.chat import presses, rooms
from storage.chat.dialogues import press_id
from storage.db import config_version
from storage.db.engine import Database
from storage.db.report_database import ReportDatabase
from storage.db.secrets import Box
from storage.ledger.credentials import HIDDEN
from storage.ledger.errors import CasinoFluxError, Refused
from storage.ledger.rate_limit import RateLimit
from storage.people import audits, people

log = logging.getLogger(__name__)

FEW = 6  # optional fields in the usage beside an error: more are a wall on a phone
PRESS_WAIT = 20.0  # seconds that a press waits for another one of the same button

assert _commands  # noqa: S101 - importing the package registers every command


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSessions:
    """What a chat needs to answer: handed in by the hub."""

    database: Database
    deployment: Callable[[], Deployment]
    ports: Ports
    box: Box
    clock: Callable[[], datetime]
    reports: ReportDatabase | None = None


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """The author of a line, the room, and the author's name on the platform."""

    room: Room
    name: str = ""


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """A command that lacks fields (`missing`), or had one refused (`fault`): to be asked for."""

    command: str
    arguments: dict[str, Any]
    missing: tuple[str, ...] = ()
    any_of: bool = False  # none of them must be given: which, is for the person to choose
    fault: str = ""
    field: str | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What to show. `public`: for all in the room (something was made or changed there). `form`: ask for these.

    `line` is the command that shows the same again; empty where it changed something.
    """

    message: Message
    public: bool = False
    form: Form | None = None
    actor: Actor | None = None
    done: bool = False  # the command was carried out
    secret: bool = False  # it made something only the asker may see (an invitation, a token)
    line: str = ""


Attached = Callable[[str], Awaitable[bytes]]
"""Fetches the file that came with a line, for that field. Raises Refused if the platform does not hand it over."""

JOIN = {"slack": "/flux join CODE", "telegram": "/start CODE"}


async def handle(sessions: ChatSessions, caller: Caller, text: str, *, attached: Attached | None = None) -> Reply:
    """Answer a line of text, and the file that came along if its command takes one; never raises."""
    try:
        return await _handle(sessions, caller, text, attached)
    except CasinoFluxError as fault:
        return Reply(message=error(str(fault)))
    except Exception:
        return Reply(message=broken(text))


async def press(sessions: ChatSessions, caller: Caller, text: str, *, origin: str, once: bool = False) -> Reply | None:
    """Run a button's command. Of several presses of the button of one message (`origin`), whoever presses, one runs
    it: another person is notified, the same one gets no reply (None).

    `once`: although the command changes nothing.
    """
    if not once and not _changes(text):
        return await handle(sessions, caller, text)
    room = caller.room
    message = f"press:{room.face}:{room.workspace}:{room.room}:{origin}:"
    button = message + press_id(text)
    before = await _claim(sessions, button, room.user)
    if before:
        return None if before == "same" else Reply(message=error("Another member has just pressed it: it is done."))
    reply = Reply(message=error(""))
    try:
        reply = await handle(sessions, caller, text)
    finally:
        async with sessions.database.begin() as tx:
            if reply.done:
                await presses.complete(tx, sessions.clock(), message, button=button, user=room.user)
            else:
                await presses.release(tx, button)
    return reply


def _changes(text: str) -> bool:
    try:
        return parse(text)[0].changes
    except Refused:
        return False


async def _claim(sessions: ChatSessions, button: str, user: str) -> str:
    """Wait until the button is ours (empty), or another press of it was carried out."""
    for _ in range(int(PRESS_WAIT / 0.1)):
        async with sessions.database.begin() as tx:
            now = sessions.clock()
            if before := await presses.pressed_before(tx, now, button, user=user):
                return before
            if await presses.claim(tx, now, button):
                return ""
        await asyncio.sleep(0.1)
    return "other"


def broken(text: str) -> Message:
    """The answer where a line failed; it is logged."""
    log.exception("a command failed: %s", _command_in(text))
    return error("Something went wrong on our side; nothing was changed. It is in the log: please tell an owner.")


def _command_in(text: str) -> str:
    """The command that a line gives, without what follows it, which may be a credential or an invitation."""
    words = text.strip().removeprefix("/").split()
    return next((name for n in (2, 1) if (name := " ".join(words[:n]).lower()) in COMMANDS), "a line that is none")


async def _handle(sessions: ChatSessions, caller: Caller, text: str, attached: Attached | None) -> Reply:
    text = text.strip().removeprefix("/")
    joining = _joining(text)
    if joining is not None:
        return await _join(sessions, caller, joining)
    actor = await identify(sessions, caller)
    if isinstance(actor, Message):
        return Reply(message=actor)
    try:
        command, arguments = parse(text or "help")
    except Refused as fault:
        if fault.field != "command":
            return await _with_readings(sessions, text, Reply(message=error(str(fault)), actor=actor))
        if text.lower() not in {command.noun for command in COMMANDS.values()}:
            return await _understood(sessions, caller.room, actor, text)
        command, arguments = COMMANDS["help"], {"command": text.lower()}
    if attached is None or not file_fields(command.parameters) or not actor.role.includes(command.role):
        reply = await carry_out(sessions, caller.room, actor, command, arguments)
        return await _with_readings(sessions, text, reply) if reply.form and reply.form.fault else reply
    field = file_fields(command.parameters)[0]
    arguments[field] = await attached(field)
    reply = await carry_out(sessions, caller.room, actor, command, arguments)
    return msgspec.structs.replace(reply, form=None)  # a form would have to remember the file


async def _understood(sessions: ChatSessions, room: Room, actor: Actor, text: str) -> Reply:
    """What a line that is no command gets: the card of what it names, else what it may mean, as buttons."""
    bare = repeatable(text).strip("\"'“”«»„*_~` ?!.")
    async with sessions.database.read() as tx:
        shown = await cards(tx, actor, bare) if bare else []
        lines = shown or await readings(tx, actor, bare)
    if len(shown) == 1:
        found, arguments = parse(shown[0])
        return await carry_out(sessions, room, actor, found, arguments)
    why = f"no command {cut(bare, 100)!r}"
    why += f": did you mean {' or '.join(map(repr, lines))}?" if lines else ": 'help' lists them all"
    if shown:
        why = f"{cut(bare, 100)!r} is the name of several: which one?"
    return Reply(message=_with_lines(error(why), lines or ["help"]), actor=actor)


async def _with_readings(sessions: ChatSessions, text: str, reply: Reply) -> Reply:
    """The fault of a line with what it may mean as buttons: `stats spring`, a name of several words without quotes."""
    if reply.actor is None:
        return reply
    async with sessions.database.read() as tx:
        of_stats = text.split()[0].lower() == "stats"
        lines = await (figures if of_stats else with_whole_name)(tx, reply.actor, text)
    return msgspec.structs.replace(reply, message=_with_lines(reply.message, lines))


async def carry_out(
    sessions: ChatSessions, room: Room, actor: Actor, command: Command, arguments: dict[str, Any]
) -> Reply:
    """Run a command whose words are sorted already; faults come back as messages, missing fields as a form."""
    if room.face == "telegram" and issubclass(command.parameters, Listing):
        arguments = {"limit": MAX_PAGE} | arguments  # the list is turned page by page in one message
    ctx = context(sessions, room, actor)
    try:
        answer = await run(command, arguments, ctx)
    except MissingFields as lack:
        message = error(str(lack), usage=command.usage(most=FEW))
        form = Form(command=command.name, arguments=arguments, missing=tuple(lack.names))
        return Reply(message=message, form=form, actor=actor)
    except MissingArgument as fault:
        form = _optional(command, arguments, fault)
        return Reply(message=error(str(fault), usage=command.usage(most=FEW)), form=form, actor=actor)
    except Refused as fault:
        text = without_secrets(command, arguments, str(fault))
        refused = {fault.field} & secret_fields(command.parameters)
        kept = {name: value for name, value in arguments.items() if name not in refused}
        form = Form(command=command.name, arguments=kept, fault=text, field=fault.field)
        message = _with_lines(
            error(text, usage=command.usage(most=FEW)), _corrected_lines(command, arguments, fault, ctx.today)
        )
        return Reply(message=message, form=form, actor=actor)
    except CasinoFluxError as fault:
        return Reply(message=error(without_secrets(command, arguments, str(fault))), actor=actor)
    except Exception:
        return Reply(message=broken(command.name), actor=actor)
    message, private = with_undo(answer, actor), answer.message.private
    asks = isinstance(answer.result, dict) and "confirm" in answer.result
    if answer.change is not None and command.name in STEP_COMMANDS:
        message = await with_next_step(ctx, message)
    secret = command.changes and private and not asks and (command.reads or answer.change is not None)
    line = "" if command.changes else line_of(command, arguments)
    return Reply(
        message=message, public=command.changes and not private, actor=actor, done=True, secret=secret, line=line
    )


def _corrected_lines(command: Command, arguments: dict[str, Any], fault: Refused, today: date) -> list[str]:
    """The command with each of the nearest names in the place of the one that does not exist, where that can be run."""
    if not fault.near or secret_fields(command.parameters) & arguments.keys():
        return []
    named = [name for name, value in arguments.items() if value == fault.word]
    field = fault.field if fault.field in arguments or not named else named[0]
    several = field in list_fields(command.parameters)
    value = arguments.get(str(field))
    words = value if isinstance(value, list) else str(value).split(",") if several else [fault.word]
    lines = []
    for code in fault.near:
        corrected = [code if str(word).strip() == fault.word else word for word in words]
        fixed = arguments | {str(field): code if len(corrected) == 1 else corrected}
        days = day_fields(command.parameters) & fixed.keys()
        with suppress(Refused):
            fill(command.parameters, fixed, today)
            lines += [line_of(command, fixed)] if all(is_day(str(fixed[name])) for name in days) else []
    return lines


def holds_credential(text: str) -> bool:
    """Whether a line gives a credential, or something like one where it is no command."""
    try:
        command, arguments = parse(text)
    except Refused:
        return repeatable(text) != " ".join(text.split())
    return bool((secret_fields(command.parameters) | credential_fields(command.parameters)) & arguments.keys())


def _with_lines(message: Message, lines: list[str]) -> Message:
    """Lines that may have been meant, each as a button: nothing is done before one is pressed."""
    buttons = tuple(Button(line, line) for line in lines)
    return msgspec.structs.replace(message, blocks=(*message.blocks, Buttons(buttons))) if buttons else message


def without_secrets(command: Command, arguments: dict[str, Any], text: str) -> str:
    """An error's text without the credentials among the arguments: a refused token is never sent to a chat."""
    for name in secret_fields(command.parameters):
        value = str(arguments.get(name) or "").strip()
        if len(value) > 3:
            text = text.replace(value, HIDDEN)
    return text


def _optional(command: Command, arguments: dict[str, Any], fault: MissingArgument) -> Form:
    """A form that asks for one of the optional fields, where none was given."""
    remaining = [
        field.encode_name for field in msgspec.structs.fields(command.parameters) if field.encode_name not in arguments
    ]
    return Form(command=command.name, arguments=arguments, missing=tuple(remaining[:1]), any_of=True, fault=str(fault))


def context(sessions: ChatSessions, room: Room, actor: Actor) -> Context:
    """One call's context."""
    return Context(
        database=sessions.database, deployment=sessions.deployment(), actor=actor, face=room.face, ports=sessions.ports,
        box=sessions.box, clock=sessions.clock, room=room, reports=sessions.reports,
    )  # fmt: skip


async def identify(sessions: ChatSessions, caller: Caller) -> Actor | Message:
    """The member who writes, in a room of their team; a message for anyone else."""
    room = caller.room
    async with sessions.database.read() as tx:
        person = await people.who(tx, room.face, room.workspace, room.user)
        place = await rooms.find(tx, room.face, room.workspace, room.room)
    if person is None or person.removed_at is not None:
        return Message(_polite(room), private=True)
    if place is not None and not place.is_open_to(person.team_id, private=room.private):
        return Message(_polite(room), private=True)
    if place is not None and place.team_id != person.team_id:
        place = None
    if place is None and not room.private:
        join_command = "/flux join" if room.face == "slack" else "/join"
        return Message(f"This chat belongs to no team yet: {join_command} makes it your team's.", private=True)
    if place is None or place.lost_at is not None or not place.heard:
        await _bind_room(sessions, room, person.team_id)
    if place is not None and room.title and not room.private and place.title != room.title[:200]:
        async with sessions.database.begin() as tx:
            await rooms.rename(tx, place, room.title)
    return Actor(
        team_id=person.team_id, name=person.code, role=person.role, member_id=person.member_id,
        campaigns=None if person.campaigns is None else tuple(person.campaigns),
    )  # fmt: skip


def _polite(room: Room) -> str:
    return f"I work for members of a team only. With an invitation of its owner: {JOIN.get(room.face, 'join CODE')}"


async def _bind_room(sessions: ChatSessions, room: Room, team_id: int) -> None:
    """Bind a member's own chat with the bot to their team, or a room that their team has named so far; a lost room in
    which someone writes is found again."""
    async with sessions.database.begin() as tx:
        await rooms.bind(
            tx, team_id=team_id, face=room.face, workspace=room.workspace, room=room.room, title=room.title,
            private=room.private, now=sessions.clock(), heard=True,
        )  # fmt: skip


def _joining(text: str) -> str | None:
    """The code of `join CODE` or `start CODE`; empty for the bare word, None for anything else."""
    word, _, rest = text.partition(" ")
    if word.lower() not in {"join", "start"}:
        return None
    words = split(rest)
    if len(words) > 1 or (words and words[0][0] not in {None, "code"}):
        raise Refused("join takes one word, the code of your invitation", field="code")
    return words[0][1] if words else ""


#: Invitation codes that one person may try a minute.
_JOINS = RateLimit(10)


async def _join(sessions: ChatSessions, caller: Caller, code: str) -> Reply:
    """People who join have no role yet, so this is not run like other commands; it is audited like them."""
    now, room = sessions.clock(), caller.room
    wait = _JOINS.use(f"{room.face} {room.workspace} {room.user}", time.monotonic())
    if wait:
        raise Refused(f"too many codes were tried: try again in {math.ceil(wait)} s", field="code")
    async with sessions.database.begin() as tx:
        joined = await join_team(tx, now, room, name=caller.name, code=code or None)
        await audits.record(tx, now, audits.Entry(
            team_id=joined.team_id, actor=joined.code, face=room.face, room=room.room, command="join", arguments={},
            entity="member", entity_id=joined.id, after=joined,
        ))  # fmt: skip
        await config_version.bump(tx)
        done = await done_steps(tx, joined.team_id)
    actor = Actor(
        team_id=joined.team_id, name=joined.code, role=joined.role, member_id=joined.id,
        campaigns=None if joined.campaigns is None else tuple(joined.campaigns),
    )  # fmt: skip
    ctx = context(sessions, room, actor)
    ctx.notes["done_steps"] = done
    message = joined_card(ctx, joined)
    return Reply(message=message, actor=actor, done=True, public=not room.private)


__all__ = ["COMMANDS", "Caller", "ChatSessions", "Form", "Reply", "carry_out", "context", "handle", "identify"]
