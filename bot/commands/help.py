"""Help, from the commands themselves."""

from typing import Annotated

import msgspec
from msgspec import Meta

from bot.core.arguments import Arguments, meta
from bot.core.command import COMMANDS, Command, command, unknown
from bot.core.context import Context
from bot.core.limits import Limit
from bot.core.message import Button, Buttons, Fields, Message, Text
from bot.core.permissions import Scope, may
from storage.ledger.errors import Missing
from storage.ledger.facts import Role


class HelpQuery(Arguments):
    command: Annotated[str | None, Meta(description="a command or its first word")] = None
    verb: Annotated[str | None, Meta(description="its second word")] = None


class FieldHelp(msgspec.Struct, frozen=True):
    name: str
    required: bool
    description: str


class CommandHelp(msgspec.Struct, frozen=True):
    name: str
    summary: str
    usage: str
    role: str
    fields: list[FieldHelp]


class Help(msgspec.Struct, frozen=True):
    commands: list[CommandHelp]


def help_text(_ctx: Context, listing: Help) -> Message:
    if len(listing.commands) == 1:
        entry = listing.commands[0]
        fields = tuple((f.name + ("" if f.required else " (optional)"), f.description or "–") for f in entry.fields)
        return Message(entry.summary, (Text(entry.usage, code=True), Fields(fields)), private=True)
    if len({each.name.partition(" ")[0] for each in listing.commands}) == 1:
        return _noun_help(listing.commands)
    nouns = {each.name.partition(" ")[0] for each in listing.commands} - _UNSEEN
    listed = {noun for _, group in GROUPS for noun in group}
    groups = (*GROUPS, ("More", tuple(sorted(nouns - listed))))
    lines = tuple(
        (title, ", ".join(noun for noun in group if noun in nouns)) for title, group in groups if nouns & {*group}
    )
    buttons = tuple(Button(noun.capitalize(), f"help {noun}") for noun in _FIRST if noun in nouns)
    ending = Text("help <word> explains one. Words are key=value; quotes go around spaces.")
    return Message("What do you want to do?", (Fields(lines), Buttons(buttons), ending), private=True)


#: What people want to do, and the nouns for it.
GROUPS = (
    ("See how it goes",
     ("stats", "cohorts", "forecast", "why", "report", "revenue", "digest", "alert", "view", "find")),
    ("Set up deals", ("account", "offer", "casino")),
    ("Bring visitors", ("campaign", "source", "placement", "site", "variant", "domain", "registrar")),
    ("Keep order", ("group", "note")),
    ("Move in from another tracker", ("import", "history")),
    ("Let it act by itself", ("automation",)),
    ("Check single events", ("click", "conversion", "postback", "simulate")),
    ("Get the money right", ("sync", "player", "spend", "payment", "invoice", "rate")),
    ("The team and its rooms", ("member", "token", "webhook", "settings", "cockpit", "audit", "undo")),
)  # fmt: skip
_FIRST = ("stats", "campaign", "offer", "account", "site", "source", "alert", "digest", "sync", "member")
#: Said by buttons, or before one is a member.
_UNSEEN = {"confirm", "cancel", "help", "join"}


def _noun_help(commands: list[CommandHelp]) -> Message:
    """What can be done to one kind of thing, each at a press."""
    noun = commands[0].name.partition(" ")[0]
    buttons = tuple(Button((command.name.partition(" ")[2] or noun).capitalize(), command.name) for command in commands)
    summaries = Fields(tuple((command.name, command.summary) for command in commands))
    return Message(f"{noun.capitalize()}: what there is", (summaries, Buttons(buttons)), private=True)


@command("help", role=Role.VIEWER, scope=Scope.OPEN, render=help_text, reads=True, positional=("command", "verb"))
async def show_help(ctx: Context, new: HelpQuery) -> Help:
    """List the commands, or explain one."""
    typed = " ".join(word for word in (new.command, new.verb) if word).lower()
    allowed = [command for command in COMMANDS.values() if may(command, ctx.actor)]
    if not typed:
        return Help([describe(command) for command in sorted(allowed, key=lambda command: command.name)])
    matches = [command for command in COMMANDS.values() if command.name == typed] or [
        command for command in allowed if command.noun == typed
    ]
    if not matches:
        raise Missing(unknown(typed, typed.split()), field="command")
    return Help([describe(command) for command in sorted(matches, key=lambda command: command.name)])


def describe(command: Command) -> CommandHelp:
    """What help and the command reference say of a command."""
    fields = [
        FieldHelp(field.encode_name, field.required, _description(field, command.limits[field.encode_name]))
        for field in sorted(msgspec.structs.fields(command.parameters), key=lambda field: not field.required)
    ]
    return CommandHelp(command.name, command.summary, command.usage(), command.role.value, fields)


def _description(field: msgspec.structs.FieldInfo, limit: Limit) -> str:
    _, text, extra = meta(field.type)
    text = f"{text} ({', '.join(extra['choices'])})" if "choices" in extra else text
    return ", ".join(part for part in (text, str(limit)) if part)
