"""Every command as a form: fields, choices, help and defaults come from its struct, errors stand at their field."""

import asyncio
import inspect
import secrets
from datetime import timedelta
from hashlib import sha256
from typing import Any

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler
from litestar.status_codes import HTTP_303_SEE_OTHER
from sqlalchemy import literal, select

from bot.chat.questions import Question, open_questions, questions
from bot.core.arguments import MissingArgument, MissingFields, file_fields, meta
from bot.core.command import COMMANDS, Command
from hub.cockpit.page import Cockpit, Visit
from storage.chat import presses, processed_events
from storage.chat.subscriptions import channel as channel_address
from storage.chat.subscriptions import room_name
from storage.ledger.clicks.rules_in_words import in_words
from storage.ledger.errors import CasinoFluxError, Refused
from storage.tables import rooms

NOUNS = ("account", "campaign", "casino", "domain", "member", "offer", "site", "source")
#: Commands of a chat alone; a page has no room to bind or to be linked to.
NOT_HERE = {"join", "confirm", "cancel", "member link", "cockpit"}
TICKED, TICKED_WORDS = 8, 12  # entities, or words of a command; of more, names are written
_SENT_WAIT = 30  # seconds that a form is waited for which is being carried out
_SENT_KEPT = timedelta(days=1)
FIRST = 6  # fields that a form begins with where none is required
#: What a form shows beside the required fields; the others are unfolded.
FIRST_OF = {"campaign create": ("offers", "site", "source")}
LONG_TEXTS = {"rules", "intro", "about", "faq", "csv", "options", "settings", "parameters", "postbacks", "statuses"}


#: Where what a command is about is shown, if not on a page of its own noun.
PLACES = {
    "digest": "/cockpit/digests", "alert": "/cockpit/alerts", "member": "/cockpit/team", "token": "/cockpit/team",
    "view": "/cockpit/reports", "payment": "/cockpit/revenue", "sync": "/cockpit/revenue",
    "revenue": "/cockpit/revenue", "rate": "/cockpit/revenue", "postback": "/cockpit/logs/postbacks",
    "webhook": "/cockpit/webhooks", "import": "/cockpit/imports", "conversion": "/cockpit/logs/conversions",
    "click": "/cockpit/logs/clicks", "player": "/cockpit/cohorts", "cohorts": "/cockpit/cohorts",
    "automation": "/cockpit/automation",
}  # fmt: skip


def place_of(command: Command) -> str:
    """The page that shows what a command is about."""
    return PLACES.get(command.noun, f"/cockpit/{command.noun}" if command.noun in NOUNS else "/cockpit")


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One field of a form: what it asks, what may be chosen, what stands in it, what is wrong with it."""

    question: Question
    value: str
    options: tuple[tuple[str, str], ...] = ()
    fault: str = ""
    free: bool = False  # something else than the options may be written
    long: bool = False
    file: bool = False
    fixed: bool = False
    first: bool = False  # shown without being unfolded

    @property
    def ticks(self) -> bool:
        """Whether it shows as boxes to tick: some of a few, with nothing said of each beside."""
        values = {value for value, _ in self.options}
        few = self.question.many and 0 < len(values) <= (TICKED if self.question.refers else TICKED_WORDS)
        return few and set(self.chosen) <= values

    @property
    def chosen(self) -> list[str]:
        return [part.strip() for part in self.value.split(",") if part.strip()]


async def fields(
    visit: Visit, command: Command, values: dict[str, str], *, fault: Refused | None = None, fixed: tuple[str, ...] = ()
) -> list[Field]:
    """The command's fields as they stand; `fixed` ones are sent along without being shown for editing."""
    form_fields = [
        await _field(visit, question, values, fault=fault, fixed=fixed)
        for question in _questions(visit, command, values)
    ]
    form_fields += [
        Field(question=Question(name=name, description=_described(command, name), required=False, kind="text"),
              value="", file=True, fault=str(fault) if fault is not None and fault.field == name else "")
        for name in file_fields(command.parameters)
    ]  # fmt: skip
    needed = [field for field in form_fields if field.question.required or field.fixed or field.fault or field.file]
    shown = {field.question.name for field in needed} or {field.question.name for field in form_fields[:FIRST]}
    shown |= {*FIRST_OF.get(command.name, ()), *_to_log_in(visit, values)}
    shown |= {field.question.name for field in form_fields if field.question.name in command.positional[:1]}
    ordered = sorted(form_fields, key=lambda field: field.question.name not in shown)
    chosen = values.get("platform", "").lower()
    return [
        msgspec.structs.replace(
            field, first=field.question.name in shown, question=_of_platform(field.question, chosen)
        )
        for field in ordered
    ]


def _of_platform(question: Question, chosen: str) -> Question:
    """Without the names of the platforms that ask for it, once one is chosen: `netrefer, trackbox: password`."""
    names, _, description = question.description.partition(": ")
    if chosen and chosen in names.split(", "):
        return msgspec.structs.replace(question, description=description)
    return question


def _to_log_in(visit: Visit, values: dict[str, str]) -> set[str]:
    """What the chosen platform must know to let us in."""
    ports, chosen = visit.cockpit.runtime.ports, values.get("platform", "").lower()
    if chosen not in (platforms := ports.platforms()):
        return set()
    needed = {field.encode_name for field in msgspec.structs.fields(platforms[chosen]) if field.required}
    return needed | ({"base_url"} if ports.platform_options(chosen)["needs_base_url"] else set())


async def fields_named(
    visit: Visit, command: Command, values: dict[str, str], names: tuple[str, ...], *, fault: Refused | None = None
) -> list[Field]:
    """Some of the command's fields, in the order of their names."""
    by_name = {question.name: question for question in questions(command)}
    return [await _field(visit, by_name[name], values, fault=fault) for name in names]


async def _field(
    visit: Visit, question: Question, values: dict[str, str], *, fault: Refused | None = None,
    fixed: tuple[str, ...] = (),
) -> Field:  # fmt: skip
    at_fault = fault is not None and fault.field == question.name
    return Field(
        question=question, value=values.get(question.name, _default(question)), fault=str(fault) if at_fault else "",
        options=await _options(visit, question), free=question.name in {"channel", "group"},
        long=question.name in LONG_TEXTS, fixed=question.name in fixed,
    )  # fmt: skip


_OF_PROGRAMS = {("sync upload", "lines")}  # a person has a file, or pastes it


def _questions(visit: Visit, command: Command, values: dict[str, str]) -> list[Question]:
    """The questions as they stand; a form that asks for a platform asks for the credentials of the chosen one only.

    What only this command asks comes before what it has in common with others, such as a group and tags.
    """
    asked = open_questions(visit.cockpit.runtime.ports.platforms(), command, values)
    names = {field.name: field.encode_name for field in msgspec.structs.fields(command.parameters)}
    rank: dict[str, int] = {}
    for distance, struct in enumerate(command.parameters.__mro__):
        for name in inspect.get_annotations(struct):
            rank.setdefault(names.get(name, name), distance)
    shown = [question for question in asked if (command.name, question.name) not in _OF_PROGRAMS]
    return sorted(shown, key=lambda question: rank.get(question.name, 0))


def _default(question: Question) -> str:
    return {"True": "yes", "False": "no"}.get(question.default, question.default) if question.kind == "yes" else (
        question.default
    )  # fmt: skip


def _described(command: Command, name: str) -> str:
    for field in msgspec.structs.fields(command.parameters):
        if field.encode_name == name:
            return meta(field.type)[1].partition(": comes with")[0]  # what a chat and HTTP do is not asked here
    return ""


async def _options(visit: Visit, question: Question) -> tuple[tuple[str, str], ...]:
    if question.kind == "yes":
        return (("yes", "Yes"), ("no", "No"))
    if question.choices:
        return tuple((choice, choice.replace("_", " ") if question.many else choice) for choice in question.choices)
    if question.refers == "platform":
        return tuple((name, name) for name in sorted(visit.cockpit.runtime.ports.platforms()))
    if question.refers == "preset":
        return tuple((name, name) for name in sorted(visit.cockpit.runtime.ports.presets()))
    if question.name == "group":
        return tuple((await visit.labels("group"))["group"].items())
    if question.refers in NOUNS:
        listed = await visit.ask_if_allowed(f"{question.refers} list", limit=500)
        return tuple((item.code, item.name) for item in listed.items) if listed else ()
    return await rooms_of(visit) if question.name == "channel" else ()


async def rooms_of(visit: Visit) -> tuple[tuple[str, str], ...]:
    """The rooms that the team's bot can write to, as a command names them, with what people call them."""
    r = rooms.c
    query = select(rooms, literal("").label("thread")).where(
        r.team_id == visit.actor.team_id, r.lost_at.is_(None), r.private.is_(False), r.face != "terminal"
    )  # fmt: skip
    async with visit.cockpit.runtime.database.read() as tx:
        rows = (await tx.execute(query.order_by(r.face, r.title).limit(100))).all()
    return tuple((channel_address(row.face, row.room, row.thread), room_name(row)) for row in rows)


def form_arguments(visit: Visit, command: Command) -> dict[str, Any]:
    """What a form sent, as arguments: empty fields are left out, choices of many become one list."""
    arguments: dict[str, Any] = {}
    for field in msgspec.structs.fields(command.parameters):
        name = field.encode_name
        values = [value for value in visit.form_lists.get(name, []) if value.strip()]
        if len(values) == 1:
            arguments[name] = values[0]
        elif values:
            arguments[name] = values
    return arguments


def edited(command: Command, arguments: dict[str, Any], before: dict[str, str]) -> dict[str, Any]:
    """Of an edit only what was changed; a field that was emptied is emptied by the word every face uses for it."""
    changed: dict[str, Any] = {}
    for field in msgspec.structs.fields(command.parameters):
        name = field.encode_name
        now, shown = arguments.get(name), before.get(name, "")
        if field.required or (now or "") != shown:
            if now is None and shown and meta(field.type)[2].get("empties"):
                changed[name] = "none"
            elif now is not None:
                changed[name] = now
    return changed


def form_values(command: Command, entity: Any) -> dict[str, str]:
    """What an entity's fields hold, as its edit form shows them."""
    shown = msgspec.to_builtins(entity)
    values: dict[str, str] = {}
    for field in msgspec.structs.fields(command.parameters):
        value = shown.get(field.encode_name)
        if value is not None:
            values[field.encode_name] = _as_text(field.encode_name, value)
    return values


def _as_text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "rules":
        return in_words(value, "\n")
    if isinstance(value, list) and all(isinstance(part, str | int) for part in value):
        return ",".join(str(part) for part in value)
    if name == "offers" and isinstance(value, list):
        return ",".join(f"{part['code']}:{part['weight']}" if "weight" in part else part["code"] for part in value)
    if isinstance(value, dict | list):
        return msgspec.json.encode(value).decode() if value else ""
    return str(value)


def form_routes(cockpit: Cockpit) -> list[HTTPRouteHandler]:
    """`/cockpit/do/<command>`: a command's form, and running it."""

    @cockpit.get("/cockpit/do/{noun:str}/{verb:str}")
    async def show(visit: Visit) -> Response[Any]:
        return await _show(visit, _command(visit), visit.query)

    @cockpit.post("/cockpit/do/{noun:str}/{verb:str}")
    async def send(visit: Visit) -> Response[Any]:
        return await _send(visit, _command(visit))

    @cockpit.post("/cockpit/do/{noun:str}")
    async def send_single(visit: Visit) -> Response[Any]:
        return await _send(visit, _command(visit))

    return [show, send, send_single]


def _command(visit: Visit) -> Command:
    name = " ".join(filter(None, (visit.place["noun"], visit.place.get("verb", ""))))
    if name not in COMMANDS or (name in NOT_HERE and name not in {"confirm", "cancel"}):
        raise Refused(f"the cockpit has no form for {name!r}", field="command")
    return COMMANDS[name]


async def _show(
    visit: Visit, command: Command, values: dict[str, str], *, fault: Refused | None = None, status: int = 200
) -> Response[Any]:
    before = await stored_values(visit, command, values)
    shown = {**before, **{name: value for name, value in values.items() if value}}
    fixed = tuple(name for name in command.positional[:1] if command.name.endswith(" edit") and values.get(name))
    at_no_field = fault is not None and not any(fault.field == question.name for question in questions(command))
    return await visit.html(
        "form.html", section=command.noun, title=_title(command), status=status, command=command,
        summary=command.summary, fields=await fields(visit, command, shown, fault=fault, fixed=fixed), before=before,
        fault=str(fault) if at_no_field else "", back=values.get("back", ""), place=place_of(command),
        once=secrets.token_hex(8),
    )  # fmt: skip


_TITLES = {
    "alert ack": "Acknowledge alert", "alert mute": "Mute all alerts", "casino fill": "Fill in the casino",
    "casino logo": "Set the logo", "conversion import": "Import conversions", "digest subscribe": "Send a digest",
    "digest unsubscribe": "Stop the digest", "import binom": "Move in from Binom", "import csv": "Move in with tables",
    "import cutover": "Set the day of the cutover", "import keitaro": "Move in from Keitaro",
    "import map": "Say what statuses mean", "import redtrack": "Move in from RedTrack",
    "import statsdrone": "Move in from StatsDrone", "import voluum": "Move in from Voluum",
    "invoice details": "Set the invoice details", "member link": "Link another chat", "member role": "Change role",
    "payment add": "Record payment", "payment rule": "Set the rule for balances",
    "placement allow": "Allow placements", "placement block": "Block placements",
    "placement import": "Import placements", "placement remove": "Take placements off",
    "player upload": "Upload players", "postback map": "Map the platform's words", "postback replay": "Read again",
    "postback resend": "Send again", "rate set": "Set exchange rate", "site files": "Upload a page of your own",
    "site image": "Set the picture", "spend add": "Record spend", "spend import": "Import spend",
    "sync confirm": "Confirm the held report", "sync discard": "Discard the held report", "sync now": "Sync now",
    "sync read": "Read unreadable reports again", "sync upload": "Upload a report",
    "variant distribute": "Distribute variants", "view save": "Save view", "webhook resend": "Call again",
}  # fmt: skip


def _title(command: Command) -> str:
    noun, _, verb = command.name.partition(" ")
    if command.name in _TITLES:
        return _TITLES[command.name]
    return f"{verb or noun} {noun if verb else ''}".strip().capitalize()


async def stored_values(visit: Visit, command: Command, values: dict[str, str]) -> dict[str, str]:
    """What stands, for an edit's form: field by field, as text; nothing for any other command."""
    subject = command.positional[0] if command.positional else ""
    show = f"{command.noun} show"
    if not command.name.endswith(" edit") or not values.get(subject) or show not in COMMANDS:
        return {}
    entity = await visit.ask(show, **{COMMANDS[show].positional[0]: values[subject]})
    return {**form_values(command, entity), subject: values[subject]}


async def _send(visit: Visit, command: Command) -> Response[Any]:
    """Carry the form out, once: sent again as it was (a second press, or the browser's way back), it does nothing."""
    form = _sent_form(visit, command)
    if not form:
        return await _carry_out(visit, command)
    database, clock, user = visit.cockpit.runtime.database, visit.cockpit.runtime.clock, visit.actor.name
    if not await _claim(visit, form):
        return visit.leave_for(visit.form.get("back", "") or place_of(command), toast="Sent twice, done once")
    done = False
    try:
        answer = await _carry_out(visit, command)
        done = answer.status_code == HTTP_303_SEE_OTHER
    finally:
        async with database.begin() as tx:
            if done:
                await presses.complete(tx, clock(), form, button=form, user=user)
                await processed_events.forget(tx, clock())
            else:
                await presses.release(tx, form)
    return answer


def _sent_form(visit: Visit, command: Command) -> str:
    """The key of a form with what it holds; empty where it may be sent again: a search, or one that shows a secret."""
    once = visit.form.get("form.once", "")
    if not once or not command.changes or command.name in _SHOWN_ONCE:
        return ""
    held = sha256(msgspec.json.encode([command.name, sorted(visit.form_lists.items())])).hexdigest()
    return f"form:{visit.actor.team_id}:{held}"


async def _claim(visit: Visit, form: str) -> bool:
    """Wait while the same form is being carried out; whether it is still to be."""
    runtime = visit.cockpit.runtime
    for _ in range(_SENT_WAIT * 10):
        async with runtime.database.begin() as tx:
            now = runtime.clock()
            if await presses.pressed_before(tx, now, form, user=visit.actor.name, within=_SENT_KEPT):
                return False
            if await presses.claim(tx, now, form):
                return True
        await asyncio.sleep(0.1)
    return False


async def _carry_out(visit: Visit, command: Command) -> Response[Any]:
    arguments = form_arguments(visit, command)
    shown = {name[7:]: value for name, value in visit.form.items() if name.startswith("before.")}
    if shown and (clash := await clash_of(visit, command, arguments, shown)):
        return clash
    if command.name.endswith(" edit"):
        arguments = edited(command, arguments, shown)
        if shown and not arguments.keys() - {*command.positional[:1]}:
            subject = arguments.get(command.positional[0], "")
            back = visit.form.get("back", "") or f"/cockpit/{command.noun}/{subject}"
            return visit.leave_for(back, toast="Nothing was changed")
    try:
        done = await visit.answer(command.name, arguments)
    except MissingFields as lack:
        first = Refused(f"{lack.names[0].replace('_', ' ')} is needed", field=lack.names[0])
        return await _show(visit, command, _typed(visit), fault=first, status=400)
    except (MissingArgument, Refused) as fault:
        return await _show(visit, command, _typed(visit), fault=fault, status=400)
    if isinstance(done.result, dict) and "confirm" in done.result:
        return await visit.html("confirm.html", section=command.noun, title=done.message.title, question=done.result,
                          back=visit.form.get("back", ""))  # fmt: skip
    return await _done(visit, command, done.result, done.message)


def _typed(visit: Visit) -> dict[str, str]:
    """What the form held, boxes that were ticked with commas between."""
    return {name: ",".join(filter(None, values)) for name, values in visit.form_lists.items()}


async def clash_of(
    visit: Visit, command: Command, arguments: dict[str, Any], shown: dict[str, str]
) -> Response[Any] | None:
    """Two people edit the same thing: the second sees what has changed meanwhile."""
    try:
        now = await stored_values(visit, command, {name: str(value) for name, value in arguments.items()})
    except CasinoFluxError:
        return None
    moved = {name: (shown.get(name, ""), now[name]) for name in now if name in shown and shown[name] != now[name]}
    if not moved:
        return None
    title = "Another member has changed this meanwhile"
    return await visit.html("clash.html", section=command.noun, title=title, status=409, command=command, moved=moved,
                            arguments=arguments, now=now)  # fmt: skip


async def _done(visit: Visit, command: Command, result: Any, message: Any) -> Response[Any]:
    code = getattr(result, "code", "")
    secret = any(getattr(result, name, None) for name in _SHOWN_ONCE.get(command.name, ()))
    if secret or not command.changes:
        from bot.render import web_html

        return await visit.html("done.html", section=command.noun, title=message.title, shown=web_html.render(message),
                          back=visit.form.get("back", ""))  # fmt: skip
    back = visit.form.get("back", "")
    if (
        not back
        and code
        and command.noun in {*NOUNS, "automation"} - {"member"}
        and not command.name.endswith(" remove")
    ):
        back = f"/cockpit/{command.noun}/{code}"
    return visit.leave_for(back or place_of(command), toast=message.title or f"Done: {command.name}",
                           undo=command.name != "undo" and visit.may("undo"))  # fmt: skip


_SHOWN_ONCE = {
    "automation add": ("webhook_secret",),
    "webhook add": ("secret",),
    "token create": ("token",),
    "member invite": ("code", "link"),
}
