"""Questions a command's struct asks, and the answers there are to choose from: for modals and dialogues alike."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, get_args, get_origin

import msgspec
from sqlalchemy import ColumnElement, select
from sqlalchemy import Table as SqlTable

from bot.chat.session import ChatSessions
from bot.core.arguments import bare_kinds, field_names, meta
from bot.core.command import Command
from bot.core.context import Actor
from bot.core.permissions import ENTITIES, changeable, visible
from storage.catalogue import names
from storage.catalogue.groups import SORTED

Kind = Literal["text", "choice", "yes", "day", "secret"]

#: Fields whose name says what they refer to, on whatever command.
REFERRED_FIELDS = {"platform", "preset"}
MOST = 100


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A field to ask for. `many`: it takes several values."""

    name: str
    description: str
    required: bool
    kind: Kind
    many: bool = False
    choices: tuple[str, ...] = ()
    refers: str = ""
    changes: bool = False  # the command changes what is referred to
    archived: bool = False  # it is chosen among what is archived, which is in no other choice
    default: str = ""

    @property
    def label(self) -> str:
        """`fallback_url` as people read it."""
        words = self.name.replace("_", " ")
        return (
            (words[:1].upper() + words[1:])
            .replace("url", "URL")
            .replace("Url", "URL")
            .replace("Csv", "CSV")
            .replace("Api", "API")
        )


class Option(msgspec.Struct, frozen=True):
    value: str
    label: str


def questions(command: Command) -> list[Question]:
    """The command's fields as questions, in order; what is required comes first."""
    # A file comes with a message: no form has a place for it.
    changes = {reference.name for reference in command.references if reference.changes}
    all_questions = [
        _question(field, changes=field.name in changes, archived=command.name == f"{field.name} restore")
        for field in msgspec.structs.fields(command.parameters)
        if bytes not in bare_kinds(field.type)
    ]
    return sorted(all_questions, key=lambda question: not question.required)


def open_questions(
    known_platforms: Mapping[str, type[msgspec.Struct]], command: Command, arguments: Mapping[str, Any]
) -> list[Question]:
    """The command's questions as they stand with what is given: of the platforms' credentials only the chosen one's,
    right after what is required, and any that was given before the platform was chosen."""
    made = questions(command)
    if not any(question.refers == "platform" for question in made):
        return made
    platforms = {name: set(field_names(struct)) for name, struct in known_platforms.items()}
    own = platforms.get(str(arguments.get("platform", "")).lower(), set())
    others = set().union(*platforms.values()) - own - REFERRED_FIELDS
    others -= {name for name, value in arguments.items() if value}
    shown = [question for question in made if question.name not in others]
    return sorted(shown, key=lambda question: 0 if question.required else 1 if question.name in own else 2)


def _question(field: msgspec.structs.FieldInfo, *, changes: bool, archived: bool) -> Question:
    _, description, extra = meta(field.type)
    kinds = bare_kinds(field.type)
    values = tuple(extra.get("choices", ())) or _enumerated(kinds) or _literals(field.type)
    refers = extra.get("refers", "") or (field.encode_name if field.encode_name in REFERRED_FIELDS else "")
    kind: Kind = "text"
    if extra.get("secret"):
        kind = "secret"
    elif bool in kinds:
        kind = "yes"
    elif values or refers:
        kind = "choice"
    elif date in kinds or (field.encode_name == "day" and list not in kinds):
        kind = "day"
    default = field.default if isinstance(field.default, str | int | Decimal) else ""
    return Question(
        name=field.encode_name, description=description, required=field.required, kind=kind,
        many=bool(kinds & {list, tuple}), choices=values, refers=refers, changes=changes, archived=archived,
        default=str(getattr(default, "value", default)),
    )  # fmt: skip


def _enumerated(kinds: set[Any]) -> tuple[str, ...]:
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, Enum):
            return tuple(str(member.value) for member in kind)
    return ()


def _literals(annotation: Any) -> tuple[str, ...]:
    """Values of a Literal, alone or in `Literal[...] | None`."""
    bare = meta(annotation)[0]
    if get_origin(bare) is Literal:
        return tuple(str(literal) for literal in get_args(bare))
    return next((literals for argument in get_args(bare) if (literals := _literals(argument))), ())


async def options(
    sessions: ChatSessions, actor: Actor, question: Question, *, typed: str = "", limit: int = MOST
) -> list[Option]:
    """What the question may be answered with, of the data there is now; empty where anything may be typed."""
    if question.kind == "yes":
        return [Option("yes", "Yes"), Option("no", "No")]
    if question.kind == "day":
        return [Option("today", "Today"), Option("yesterday", "Yesterday")]
    if question.choices:
        return [Option(choice, choice) for choice in question.choices if typed.lower() in choice.lower()][:limit]
    if question.refers in {"platform", "preset"}:
        choices = sessions.ports.platforms() if question.refers == "platform" else sessions.ports.presets()
        return [Option(name, name) for name in sorted(choices) if typed.lower() in name.lower()][:limit]
    if question.refers not in ENTITIES:
        return []
    table = ENTITIES[question.refers].table
    allowed = (changeable if question.changes else visible)(actor, question.refers)
    if question.refers in SORTED:
        put_away = table.c.archived_from
        allowed &= put_away.is_not(None) if question.archived else put_away.is_(None)
    return await _entities(sessions, actor, table, allowed, typed=typed, limit=limit)


async def _entities(
    sessions: ChatSessions, actor: Actor, table: SqlTable, allowed: ColumnElement[bool], *, typed: str, limit: int
) -> list[Option]:
    query = select(table.c.code, table.c.name).where(table.c.team_id == actor.team_id, allowed)
    for column in ("removed_at", "revoked_at"):
        if column in table.c:
            query = query.where(table.c[column].is_(None))
    async with sessions.database.read() as tx:
        if typed:
            query = query.where(await names.holding(tx, table, actor.team_id, typed))
        rows = await tx.execute(query.order_by(table.c.id.desc()).limit(limit))
        return [Option(row.code, row.name) for row in rows]
